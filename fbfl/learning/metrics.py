"""Measures of a model, of an attack's success, and of a rule's detection of attackers: pure functions on arrays.

Predictions are class numbers [n] or scores (logits or probabilities) [n, classes], of which the largest counts. Where
labels are numbers, so are predictions, [n].
"""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fbfl.errors import InvalidInputError
from fbfl.learning.clients import client_numbers


def accuracy(predictions: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Return the share of samples whose predicted class is the true one."""
    classes, truth = _paired(predictions, labels)
    return float(np.mean(classes == truth))


def cross_entropy(logits: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Return the mean of ``-ln softmax(logits)[label]``, in float64 and safe for finite logits of any size.

    It is NaN where a logit is NaN or +Inf, and infinite where a label's is -Inf.
    """
    scores = np.asarray(logits, dtype=np.float64)
    if scores.ndim != 2:
        raise InvalidInputError(f"logits must be of shape [n, classes], not {scores.shape}")
    _, truth = _paired(scores, labels)
    if truth.min() < 0 or truth.max() >= scores.shape[1]:
        raise InvalidInputError(f"labels must be 0 to {scores.shape[1] - 1}")
    with np.errstate(invalid="ignore"):
        shifted = scores - scores.max(axis=1, keepdims=True)
        losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(truth)), truth]
    return float(losses.mean())


def mean_squared_error(predictions: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Mean of the squared differences of numbers [n] from labels [n], in float64."""
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.mean(_differences(predictions, labels) ** 2))


def mean_absolute_error(predictions: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Mean of the absolute differences of numbers [n] from labels [n], in float64."""
    return float(np.mean(np.abs(_differences(predictions, labels))))


def warnings_of(loss: float) -> tuple[str, ...]:
    """Return the warnings about a round's figures: a line if the loss is not finite, else nothing."""
    return () if math.isfinite(loss) else ("loss is not finite",)


def per_class_recall(predictions: npt.ArrayLike, labels: npt.ArrayLike, num_classes: int) -> npt.NDArray[np.float64]:
    """Return for each class the share of its samples that are predicted as it; NaN for a class without samples."""
    classes, truth = _paired(predictions, labels)
    if truth.min() < 0 or truth.max() >= num_classes:
        raise InvalidInputError(f"labels must be 0 to {num_classes - 1}")
    right = np.bincount(truth[classes == truth], minlength=num_classes)
    total = np.bincount(truth, minlength=num_classes)
    return np.where(total > 0, right / np.maximum(total, 1), np.nan)


def balanced_accuracy(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Mean recall of the classes that have samples. Brodersen et al. 2010, "The Balanced Accuracy"."""
    return float(np.nanmean(per_class_recall(scores, labels, _classes(scores, labels))))


def f1(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Mean over the classes with samples of ``2 TP / (2 TP + FP + FN)`` (macro F1). Opitz and Burst 2019, formula 2."""
    classes, truth = _paired(scores, labels)
    number = _classes(scores, labels)
    right = np.bincount(truth[classes == truth], minlength=number)
    total, taken = np.bincount(truth, minlength=number), np.bincount(classes, minlength=number)
    return float(np.mean((2 * right / np.maximum(total + taken, 1))[total > 0]))


OF_CLASSES: dict[str, Callable[..., float]] = {"f1": f1, "balanced_accuracy": balanced_accuracy}
"""Further figures where labels are classes, by name: functions of scores [n, classes] and labels [n]."""

OF_NUMBERS: dict[str, Callable[..., float]] = {"mae": mean_absolute_error, "mse": mean_squared_error}
"""Figures where labels are numbers, by name: functions of the model's numbers [n] and labels [n]."""

METRICS = OF_CLASSES | OF_NUMBERS
"""All of them."""


def attack_success_rate(predictions: npt.ArrayLike, labels: npt.ArrayLike, target: int) -> float:
    """Return the share of triggered samples predicted as the attacker's target.

    Samples whose true class is the target do not count: a clean model predicts the target for them too.
    """
    classes, truth = _paired(predictions, labels)
    others = truth != target
    if not others.any():
        raise InvalidInputError(f"every sample is of the target class {target}: none is left to measure an attack on")
    return float(np.mean(classes[others] == target))


@dataclass(frozen=True)
class Detection:
    """Detection of malicious clients by a rule that selects clients; those not selected count as caught."""

    precision: float
    """Share of the caught that are malicious; 1 when nobody was caught."""
    recall: float
    """Share of the malicious that were caught; 1 when there are none."""


def detection(selected: Collection[int], num_clients: int, malicious: Collection[int]) -> Detection:
    """Compare the clients that a rule left out with the malicious ones."""
    caught = set(range(num_clients)) - set(client_numbers("selected", selected, num_clients))
    attackers = set(client_numbers("malicious", malicious, num_clients))
    hits = len(caught & attackers)
    return Detection(hits / len(caught) if caught else 1.0, hits / len(attackers) if attackers else 1.0)


def _differences(predictions: npt.ArrayLike, labels: npt.ArrayLike) -> npt.NDArray[np.float64]:
    numbers, truth = np.asarray(predictions, np.float64), np.asarray(labels, np.float64)
    if truth.ndim != 1 or numbers.shape != truth.shape or truth.size == 0:
        raise InvalidInputError(f"predictions {numbers.shape} and labels {truth.shape} must be of the same samples")
    with np.errstate(invalid="ignore"):  # of infinite ones
        return numbers - truth


def _classes(predictions: npt.ArrayLike, labels: npt.ArrayLike) -> int:
    classes, truth = _paired(predictions, labels)
    return int(max(classes.max(), truth.max())) + 1


def _paired(predictions: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    given = np.asarray(predictions)
    classes = given.argmax(axis=1) if given.ndim == 2 else given
    truth = np.asarray(labels)
    if truth.ndim != 1 or classes.shape != truth.shape or truth.size == 0:
        raise InvalidInputError(f"predictions {given.shape} and labels {truth.shape} must be of the same samples")
    return classes.astype(np.int64), truth.astype(np.int64)
