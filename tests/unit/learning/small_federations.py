"""Eight clients with the digits, and a model of one layer."""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from fbfl.learning import partition
from fbfl.learning.datasets import load
from fbfl.learning.federation import Federation

DIGITS = load("digits")
TEST = (DIGITS.x_test, DIGITS.y_test)


def shares(parts: list[npt.NDArray[Any]]) -> list[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    return [(DIGITS.x_train[part], DIGITS.y_train[part]) for part in parts]


CLIENTS = shares(partition.iid(DIGITS.y_train, 8, seed=0))


def linear() -> Any:
    return keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(10)])


def federation(**options: Any) -> Federation:
    given: dict[str, Any] = {"clients": CLIENTS, "test": TEST, "model": linear, "lanes": 1} | options
    return Federation(**given)


def flat(fed: Federation) -> npt.NDArray[Any]:
    return np.concatenate([array.ravel() for array in fed.weights])
