"""Figures of a global model on a test set, whatever its trainer can tell."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fbfl.errors import InvalidInputError
from fbfl.learning import metrics, plugins
from fbfl.learning.trainer import Classifier, Trainer
from fbfl.tensors import Vector

Array = npt.NDArray[Any]

Metric = plugins.Plugin
"""A further figure: a function of scores, float32 [n, classes], or without classes of the model's numbers [n], and of
labels [n], that returns a number."""


@dataclass(frozen=True)
class Figures:
    """Figures of a model on a test set."""

    accuracy: float
    """Share of right answers; NaN if the trainer does not tell, or labels are numbers."""
    loss: float
    recall: tuple[float, ...]
    """Per class: share of its samples that are classified correctly (NaN: it has none); empty if it does not tell."""
    metrics: Mapping[str, float]
    """Further figures by name: those that were asked for, or that the trainer tells of itself."""


def figures(
    trainer: Trainer, weights: Vector, x: Array, y: Array, num_classes: int, further: Sequence[Metric] = ()
) -> Figures:
    """Evaluate `weights` [P] on samples x [n, ...] and labels y [n], which are numbers if `num_classes` is 0.

    `further` figures are functions of the model's output, of numbers by default `mae`. A trainer that does not show it
    has named numbers of its own.
    """
    if isinstance(trainer, Classifier):
        scores = trainer.logits(weights, x)
        others = {metric.name: _measured(metric, scores, y) for metric in further}
        loss = trainer.loss(scores, y)
        if not num_classes:
            return Figures(math.nan, loss, (), others or {"mae": metrics.mean_absolute_error(scores, y)})
        recall = metrics.per_class_recall(scores, y, num_classes)
        return Figures(metrics.accuracy(scores, y), loss, tuple(recall.tolist()), others)
    found = trainer.evaluate(weights, x, y)
    accuracy, loss = _figure(found, "accuracy", math.nan), _figure(found, "loss")
    own = {name: float(value) for name, value in found.items() if isinstance(value, int | float | np.number)}
    for name in own:
        if not isinstance(name, str) or not name.isprintable():
            raise InvalidInputError(f"the trainer's evaluation has a figure named {name!r}; needed: printable text")
    others = {**own, **{metric.name: _figure(found, metric.name) for metric in further}}
    return Figures(accuracy, loss, (), {name: others[name] for name in others if name not in ("accuracy", "loss")})


def resolve_metrics(
    names: str | Callable[..., Any] | Sequence[str | Callable[..., Any]] | None, num_classes: int | None = None
) -> tuple[Metric, ...]:
    """Return further figures by name, ``package.module:function`` or function of scores [n, classes] and labels [n].

    `num_classes` is 0 where labels are numbers: then figures of classes are refused, as are those of numbers elsewhere.
    """
    if names is None:
        return ()
    if not isinstance(names, str | Iterable) and not callable(names):
        raise InvalidInputError(f"metric is {names!r}; allowed: a name, a function, or several of them")
    allowed, labels = (metrics.OF_NUMBERS, "numbers") if num_classes == 0 else (metrics.OF_CLASSES, "classes")
    several = [names] if isinstance(names, str) or callable(names) else list(names)
    for each in several:
        if isinstance(each, str) and each in metrics.METRICS and each not in allowed:
            raise InvalidInputError(
                f"metric is {each!r}, but labels are {labels}; allowed: {', '.join(allowed)}, or a function"
            )
    found = tuple(plugins.resolve("metric", each, allowed, {}, data=2) for each in several)
    if len({each.name for each in found}) != len(found):
        raise InvalidInputError(f"metric names {[each.name for each in found]}; allowed: each once")
    return found


def attack_success_rate(trainer: Trainer, weights: Vector, x: Array, y: Array, target: int) -> float:
    """Return the share of triggered samples x [n, ...] of other classes y [n] that are taken for the target."""
    if isinstance(trainer, Classifier):
        return metrics.attack_success_rate(trainer.logits(weights, x), y, target)
    others = y != target
    metrics.attack_success_rate(y, y, target)  # refuses samples that are all of the target
    return _figure(trainer.evaluate(weights, x[others], np.full_like(y[others], target)), "accuracy", math.nan)


def _measured(metric: Metric, scores: Array, y: Array) -> float:
    value = metric(scores.copy(), y.copy())  # which a user's function may change
    try:
        return float(value)
    except Exception as error:  # whatever its class raises
        form = f"an array {list(value.shape)}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
        raise InvalidInputError(f"metric {metric.name} returned {form}; needed: a number") from error


def _figure(found: Mapping[str, float], name: str, absent: float | None = None) -> float:
    try:
        value = found.get(name, absent)
        if value is not None:
            return float(value)
    except (AttributeError, TypeError, ValueError):
        pass
    raise InvalidInputError(f"the trainer's evaluation is {found!r}; needed: a table of numbers with {name!r}")
