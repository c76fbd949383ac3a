"""Losses of local training: what the labels are, how many outputs the model has, and the loss on a test set.

Labels are classes, or numbers. `num_classes` is 0 where they are numbers; the model then has one output per sample.
A binary loss also has one, the logit of class 1. A function is a loss of the trainer's framework: of Keras with the
parameters labels and outputs, of PyTorch with outputs and labels.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fbfl.errors import InvalidInputError
from fbfl.learning import metrics, plugins

Loss = str | Callable[..., Any]
"""A name of `NAMES`, `package.module:function`, or a function."""

ABOUT = {
    "cross_entropy": "Of logits, one per class.",
    "binary_cross_entropy": "Of two classes, and one output: the logit of class 1.",
    "mean_squared_error": "Of one output, a number, as labels are.",
}
"""The losses that every trainer knows, by name."""

NAMES = tuple(ABOUT)
"""Names of these losses."""

_OWN_CLASSES = {"binary_cross_entropy": 2, "mean_squared_error": 0}
"""Number of classes that a loss has; the others have as many as the labels say."""


def known_classes(loss: Loss, num_classes: int | None) -> int | None:
    """Return the number of classes that follows from the settings; 0: labels are numbers; None: the labels tell.

    `num_classes` is what the user says of it. Where that does not go with the loss, `InvalidInputError` is raised.
    """
    own = _OWN_CLASSES.get(loss) if isinstance(loss, str) else None
    if isinstance(loss, str) and loss not in NAMES and ":" not in loss:
        raise InvalidInputError(f"loss is {loss!r}; allowed: {', '.join(NAMES)}, or package.module:function")
    if num_classes is None:
        return own
    wrong = num_classes < 0 or num_classes != own if own is not None else num_classes < (loss == "cross_entropy")
    if wrong:
        allowed = f"{own}" if own is not None else "1 or more" if loss == "cross_entropy" else "0 or more"
        raise InvalidInputError(
            f"num_classes is {num_classes}; allowed with loss {plugins.label_of(loss)}: {allowed}"
            + ("; labels that are numbers have loss mean_squared_error, or a function" if not num_classes else "")
        )
    return num_classes


def has_one_output(loss: Loss, num_classes: int) -> bool:
    """Return True if the model has one output per sample, no score of each class: a number, or the logit of class 1."""
    return not num_classes or loss == "binary_cross_entropy"


def num_outputs(loss: Loss, num_classes: int) -> int:
    """Return the number of outputs that the model has per sample."""
    return 1 if has_one_output(loss, num_classes) else num_classes


def scores_of(loss: Loss, num_classes: int, outputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return a score per class, float32 [n, classes], or without classes the numbers [n], of outputs [n, k].

    A logit z of class 1 has the scores 0 and z, of which softmax and cross-entropy are those of z.
    """
    if not num_classes:
        return outputs[:, 0]
    if has_one_output(loss, num_classes):
        return np.concatenate([np.zeros_like(outputs), outputs], axis=1)
    return outputs


def measured(loss: Loss, scores: npt.NDArray[np.float32], y: npt.NDArray[Any], own: Callable[[], float]) -> float:
    """Return the loss on a test set of `scores_of` and labels [n]; `own()` is that by a function of the user's."""
    if loss in ("cross_entropy", "binary_cross_entropy"):
        return metrics.cross_entropy(scores, y)
    if loss == "mean_squared_error":
        return metrics.mean_squared_error(scores, y)
    with plugins.users_code(f"loss {plugins.label_of(loss)}"):
        return own()
