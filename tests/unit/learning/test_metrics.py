import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, recall_score

from fbfl.errors import InvalidInputError
from fbfl.learning.metrics import (
    accuracy,
    attack_success_rate,
    balanced_accuracy,
    cross_entropy,
    detection,
    f1,
    per_class_recall,
    warnings_of,
)


def test_accuracy_of_classes_and_of_scores() -> None:
    assert accuracy([1, 2, 3, 3], [1, 2, 0, 3]) == 0.75
    assert accuracy([[0.1, 0.9], [0.8, 0.2]], [1, 1]) == 0.5
    for predictions, labels in (([1], [1, 2]), ([], []), ([[1, 2]], [[1]])):
        with pytest.raises(InvalidInputError, match="same samples"):
            accuracy(predictions, labels)


def test_cross_entropy_is_the_mean_negative_logarithm_of_the_softmax() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(20, 4)), rng.integers(0, 4, 20)
    truth = [
        -math.log(math.exp(row[label]) / sum(math.exp(value) for value in row))
        for row, label in zip(logits, labels, strict=True)
    ]
    assert cross_entropy(logits, labels) == pytest.approx(sum(truth) / 20)
    assert cross_entropy(np.array([[1e5, 0], [0, 1e5]], np.float32), [0, 0]) == pytest.approx(5e4)
    with pytest.raises(InvalidInputError, match="0 to 3"):
        cross_entropy(logits, labels + 1)
    with pytest.raises(InvalidInputError, match="logits"):
        cross_entropy(labels, labels)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_loss_that_is_not_finite_is_said(value: float) -> None:
    loss = cross_entropy([[0.0, 1.0], [value, 0.0]], [0, 0])
    assert not math.isfinite(loss)
    assert warnings_of(loss) == ("loss is not finite",)
    assert warnings_of(1e30) == ()


def test_recall_counts_each_class_by_itself() -> None:
    recall = per_class_recall([0, 0, 1, 1, 1], [0, 1, 1, 1, 0], 3)
    assert recall[:2].tolist() == [0.5, pytest.approx(2 / 3)]
    assert math.isnan(recall[2])
    with pytest.raises(InvalidInputError, match="0 to 1"):
        per_class_recall([0, 2], [0, 2], 2)


def test_attack_success_leaves_out_the_target_class() -> None:
    assert attack_success_rate([7, 7, 1, 7], [7, 1, 1, 2], 7) == pytest.approx(2 / 3)
    with pytest.raises(InvalidInputError, match="target class 7"):
        attack_success_rate([7], [7], 7)


def test_detection_counts_who_was_left_out() -> None:
    found = detection(selected=(0, 1, 2, 5), num_clients=7, malicious=(3, 5))
    assert (found.precision, found.recall) == (pytest.approx(1 / 3), 0.5)
    perfect = detection((0, 1), 3, (2,))
    assert (perfect.precision, perfect.recall) == (1, 1)
    assert detection((0, 1), 2, ()).precision == 1
    with pytest.raises(InvalidInputError, match="malicious"):
        detection((0,), 2, (2,))


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1))
def test_f1_and_balanced_accuracy_are_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    predicted, truth = np.array(pairs).T
    present = np.unique(truth)
    expected = f1_score(truth, predicted, labels=present, average="macro", zero_division=0)
    assert f1(predicted, truth) == pytest.approx(expected)
    recalls = recall_score(truth, predicted, labels=present, average=None, zero_division=0)
    assert balanced_accuracy(predicted, truth) == pytest.approx(np.mean(recalls))
