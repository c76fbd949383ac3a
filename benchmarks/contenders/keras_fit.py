"""The paper's way, written anew: for every client of every round a fresh Keras model and `fit`."""

import numpy as np
from keras_models import compiled
from rounds import arguments, serve, timed


def main() -> None:
    name, clients, test = arguments()
    model = compiled(name)
    weights = model.get_weights()

    def play() -> None:
        nonlocal weights
        trained = []
        for x, y in clients:
            local = compiled(name)
            local.set_weights(weights)
            local.fit(x, y, batch_size=32, epochs=1, verbose=0)
            trained.append(local.get_weights())
        weights = [np.mean(arrays, axis=0) for arrays in zip(*trained, strict=True)]

    def accuracy() -> float:
        model.set_weights(weights)
        return float((model.predict(test[0], batch_size=1000, verbose=0).argmax(axis=1) == test[1]).mean())

    serve(timed(play), accuracy)


main()
