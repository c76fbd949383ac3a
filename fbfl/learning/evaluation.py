"""Figures of a global model on a test set, whatever its trainer can tell."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fbfl.errors import InvalidInputError
from fbfl.learning import metrics
from fbfl.learning.trainer import Classifier, Trainer
from fbfl.tensors import Vector

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Figures:
    """Figures of a model on a test set."""

    accuracy: float
    """Share of right answers; NaN if the trainer does not tell."""
    loss: float
    recall: tuple[float, ...]
    """Per class: share of its samples that are classified correctly (NaN: it has none); empty if it does not tell."""


def figures(trainer: Trainer, weights: Vector, x: Array, y: Array, num_classes: int) -> Figures:
    """Evaluate `weights` [P] on samples x [n, ...] and labels y [n]."""
    if isinstance(trainer, Classifier):
        logits = trainer.logits(weights, x)
        recall = metrics.per_class_recall(logits, y, num_classes)
        return Figures(metrics.accuracy(logits, y), metrics.cross_entropy(logits, y), tuple(recall.tolist()))
    found = trainer.evaluate(weights, x, y)
    return Figures(_figure(found, "accuracy", math.nan), _figure(found, "loss"), ())


def attack_success_rate(trainer: Trainer, weights: Vector, x: Array, y: Array, target: int) -> float:
    """Return the share of triggered samples x [n, ...] of other classes y [n] that are taken for the target."""
    if isinstance(trainer, Classifier):
        return metrics.attack_success_rate(trainer.logits(weights, x), y, target)
    others = y != target
    metrics.attack_success_rate(y, y, target)  # refuses samples that are all of the target
    return _figure(trainer.evaluate(weights, x[others], np.full_like(y[others], target)), "accuracy", math.nan)


def _figure(found: Mapping[str, float], name: str, absent: float | None = None) -> float:
    try:
        value = found.get(name, absent)
        if value is not None:
            return float(value)
    except (AttributeError, TypeError, ValueError):
        pass
    raise InvalidInputError(f"the trainer's evaluation is {found!r}; needed: a table of numbers with {name!r}")
