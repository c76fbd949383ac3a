"""This project."""

from rounds import arguments, serve

from fbfl.learning.federation import Federation


def main() -> None:
    model, clients, test = arguments()
    cnn = model == "cnn"
    federation = Federation(
        clients, test, model, optimizer="sgd" if cnn else "adam", learning_rate=0.1 if cnn else 0.001
    )
    results = []

    def play() -> float:
        (result,) = federation.rounds(1)
        results.append(result)
        return result.train_seconds + result.aggregate_seconds

    serve(play, lambda: results[-1].accuracy)


main()
