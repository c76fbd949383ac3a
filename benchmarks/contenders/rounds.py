"""Protocol of a contender with the benchmark: one JSON line when it is ready, then two per requested round:
after training, and after the evaluation, whose processor time is not counted."""

import functools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

LAYERS = {"mlp": (128,), "2nn": (200, 200)}


def arguments() -> tuple[str, list[tuple[Any, Any]], tuple[Any, Any]]:
    """Model, clients and test set from the command line `MODEL CLIENTS SAMPLES DATA.npz`; x float32 [n, 28, 28]."""
    model, clients, samples, path = sys.argv[1:5]
    return model, *load(int(clients), int(samples), Path(path))


@functools.cache  # an actor of Ray asks for it once per client
def load(clients: int, samples: int, path: Path) -> tuple[list[tuple[Any, Any]], tuple[Any, Any]]:
    with np.load(path) as data:
        x_train, y_train, x_test, y_test = (data[name] for name in ("x_train", "y_train", "x_test", "y_test"))
    order = np.random.default_rng(0).permutation(len(y_train))[: clients * samples].reshape(clients, samples)
    pixels = x_train.astype(np.float32) / np.float32(255)
    test = (x_test.astype(np.float32) / np.float32(255), y_test)
    return [(pixels[part], y_train[part]) for part in order], test


def say(**values: Any) -> None:
    print("@" + json.dumps(values), flush=True)  # marked, since libraries print what they like


def asked() -> bool:
    """Wait for the next request; False when there is none any more."""
    return sys.stdin.readline().strip() == "round"


def serve(play: Callable[[], float], accuracy: Callable[[], float]) -> None:
    """Answer requests; `play` runs one round of training and aggregation and returns its seconds."""
    say(ready=True)
    while asked():
        say(seconds=play())
        say(accuracy=accuracy())


def timed(work: Callable[[], None]) -> Callable[[], float]:
    def play() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return play
