"""Measure one step of local training, operation by operation: why an engine cannot be faster than it is.

    python benchmarks/step.py [--batch 32] [--repeats 5]

The operations of a step of the mlp (784-128-10, dropout 0.2, Adam) on TensorFlow's kernels, each alone in a compiled
loop on one thread, as a lane runs them; the loop itself is taken off. Below them the whole step, from a round of one
client on one lane. Microseconds, medians of the repeats. The sum is a floor for any engine that uses these kernels.
"""

import argparse
import logging
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from fbfl.learning.backend import load_tensorflow
from fbfl.learning.keras_trainer import KerasTrainer
from fbfl.learning.training import Model

STEPS = 2000
SAMPLES, INPUTS, UNITS, CLASSES = 6000, 784, 128, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    load_tensorflow()  # one thread per operation
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # every loop is traced once, which it takes for a mistake
    loop = timed(lambda _: None, options.repeats)
    total = 0.0
    for name, operation in operations(options.batch).items():
        cost = timed(operation, options.repeats) - loop
        total += cost
        print(f"{name:<44}{cost:8.1f}")
    print(f"{'sum':<44}{total:8.1f}")
    ours, keras_s = whole_steps(["mlp", mlp_of_keras], options.repeats)
    print(f"{'a whole step, loop and dispatch included':<44}{ours:8.1f}")
    print(f"{'the same with the dropout layer of Keras':<44}{keras_s:8.1f}")


def timed(operation: Callable[[Any], Any], repeats: int) -> float:
    """Microseconds of one pass of a compiled loop over the operation, which gets the number of the pass."""
    import tensorflow as tf

    nothing = tf.Variable(tf.zeros(1))

    def body(i: Any, total: Any) -> Any:
        result = operation(i)
        if isinstance(result, tf.Operation):
            with tf.control_dependencies([result]):
                return i + 1, total + nothing[0]
        # Used, or it would be left out.
        return i + 1, total + tf.reshape(nothing if result is None else result, [-1])[0]

    def steps() -> Any:
        start = tf.constant(0), tf.constant(0.0)
        return tf.while_loop(lambda i, _: i < STEPS, body, start, parallel_iterations=1)

    loop = tf.function(steps, autograph=False)
    loop()
    return 1e6 / STEPS * statistics.median(seconds(loop) for _ in range(repeats))


def operations(batch: int) -> dict[str, Callable[[Any], Any]]:
    import tensorflow as tf

    from fbfl.learning.layers import Dropout

    rng = np.random.default_rng(0)
    pixels = tf.constant(rng.integers(0, 256, (SAMPLES, INPUTS), np.uint8))
    order = tf.constant(rng.permutation(SAMPLES).astype(np.int32))
    white = tf.Variable(255.0)
    x = tf.Variable(rng.random((batch, INPUTS), np.float32))
    hidden = tf.Variable(rng.random((batch, UNITS), np.float32))
    kernel = tf.Variable(rng.random((INPUTS, UNITS), np.float32))
    gradient = tf.constant(rng.random((INPUTS, UNITS), np.float32))
    first, second = (tf.Variable(tf.zeros_like(kernel)) for _ in range(2))

    def samples(i: Any) -> Any:
        indices = tf.slice(order, [i * batch % (SAMPLES - batch)], [batch])
        return tf.cast(tf.gather(pixels, indices), tf.float32) / white

    def adam(_: Any) -> Any:
        rates = {"lr": 0.001, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-7}
        powers = {"beta1_power": 0.9, "beta2_power": 0.999}
        places = {"var": kernel.handle, "m": first.handle, "v": second.handle}
        return tf.raw_ops.ResourceApplyAdam(**places, **powers, **rates, grad=gradient)

    dropout = Dropout(0.2, seed=0)
    return {
        "samples of a batch: gather, cast, divide": samples,
        "dropout of the hidden layer": lambda _: dropout(tf.identity(hidden), training=True),
        "product forward, inputs x kernel": lambda _: tf.matmul(x, kernel),
        "product backward, kernel's gradient": lambda _: tf.matmul(x, hidden, transpose_a=True),
        "Adam on the kernel": adam,
    }


def mlp_of_keras() -> Any:
    import keras

    layers = keras.layers
    return keras.Sequential(
        [
            layers.Flatten(),
            layers.Dense(UNITS, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(CLASSES),
        ]
    )


def whole_steps(models: list[Model], repeats: int) -> list[float]:
    """Microseconds of a training step of each model, measured in turns."""
    rng = np.random.default_rng(0)
    samples = rng.integers(0, 256, (SAMPLES, 28, 28), np.uint8), rng.integers(0, CLASSES, SAMPLES)
    trainers = [KerasTrainer(model, lanes=1) for model in models]

    def round_of_one(trainer: KerasTrainer) -> None:
        list(trainer.train(trainer.initial_weights(), [samples], round_number=1, client_ids=[0]))

    for trainer in trainers:
        round_of_one(trainer)
    rounds = [[seconds(partial(round_of_one, trainer)) for trainer in trainers] for _ in range(4 * repeats)]
    steps = np.ceil(SAMPLES / trainers[0].settings.batch_size)
    return [1e6 / steps * statistics.median(column) for column in zip(*rounds, strict=True)]


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
