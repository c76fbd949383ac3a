"""This project."""

from rounds import arguments, asked, say

from fbfl.learning.federation import Federation


def main() -> None:
    model, clients, test = arguments()
    cnn = model == "cnn"
    federation = Federation(
        clients, test, model, optimizer="sgd" if cnn else "adam", learning_rate=0.1 if cnn else 0.001
    )
    say(ready=True)
    while asked():  # a round evaluates, too: its own clocks leave that out, the processor time does not
        (result,) = federation.rounds(1)
        say(seconds=result.train_seconds + result.aggregate_seconds)
        say(accuracy=result.accuracy)


main()
