"""What one step of local training costs, operation by operation: why an engine cannot be faster than it is.

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
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from fbfl.learning.models import load_tensorflow
from fbfl.learning.training import Trainer

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
    print(f"{'a whole step, loop and dispatch included':<44}{whole_step(options.repeats):8.1f}")


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

    @tf.function(autograph=False)
    def loop() -> Any:
        start = tf.constant(0), tf.constant(0.0)
        return tf.while_loop(lambda i, _: i < STEPS, body, start, parallel_iterations=1)

    loop()
    return 1e6 / STEPS * statistics.median(seconds(loop) for _ in range(repeats))


def operations(batch: int) -> dict[str, Callable[[Any], Any]]:
    import tensorflow as tf

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

    return {
        "samples of a batch: gather, cast, divide": samples,
        "dropout of the hidden layer": lambda i: tf.nn.experimental.stateless_dropout(hidden, 0.2, tf.stack([i, 0])),
        "product forward, inputs x kernel": lambda _: tf.matmul(x, kernel),
        "product backward, kernel's gradient": lambda _: tf.matmul(x, hidden, transpose_a=True),
        "Adam on the kernel": adam,
    }


def whole_step(repeats: int) -> float:
    rng = np.random.default_rng(0)
    samples = rng.integers(0, 256, (SAMPLES, 28, 28), np.uint8), rng.integers(0, CLASSES, SAMPLES)
    trainer = Trainer("mlp", lanes=1)
    weights = trainer.initial_weights()

    def round_of_one() -> None:
        list(trainer.train(weights, [samples], round_number=1, client_ids=[0]))

    round_of_one()
    return (
        1e6
        / np.ceil(SAMPLES / trainer.settings.batch_size)
        * statistics.median(seconds(round_of_one) for _ in range(repeats))
    )


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
