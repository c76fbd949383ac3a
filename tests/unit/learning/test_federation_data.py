"""The samples and labels that a federation is given, and what it says of them."""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest

from fbfl.errors import InvalidInputError
from tests.unit.learning.small_federations import CLIENTS, TEST, federation


def six() -> Any:
    return keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(6)])


def eleven() -> Any:
    return keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(11)])


def test_labels_that_nobody_has_are_refused() -> None:
    with pytest.raises(
        InvalidInputError, match=r"backdoor \(target=99\): makes the label 99, which no sample has; allowed: 0 to 9"
    ):
        federation(attack="backdoor", attack_args={"target": 99}, malicious=(0,))
    with pytest.raises(InvalidInputError, match="source is 42"):
        federation(attack="edge_case", attack_args={"source": 42}, malicious=(0,))


def test_an_attack_that_changes_nothing_gets_a_line() -> None:
    nothing = {"attack": "targeted_label_flipping", "attack_args": {"source": 15, "target": 1}, "malicious": (0, 1)}
    with pytest.warns(UserWarning, match="has no effect: no sample of the attackers is changed"):
        fed = federation(**nothing)
    assert len(fed.warnings) == 1
    with pytest.warns(UserWarning, match="has no effect: the attackers have no samples"):
        federation(clients=[(CLIENTS[0][0][:0], CLIENTS[0][1][:0]), *CLIENTS[1:]], attack="backdoor", malicious=(0,))
    fed = federation(attack="mimic", malicious=range(7), participation=0.25, seed=3)
    assert fed.warnings == (), "there may be an honest client in some round"
    assert next(iter(fed.rounds(1))).aborted is None
    assert fed.warnings == ("attack mimic has no effect: the attack imitates honest updates and there are none",)


def test_attacks_take_classes_and_range_from_the_training_data() -> None:
    few = [(x[y < 6], y[y < 6]) for x, y in CLIENTS]
    standard = [(8 * x - 3, y) for x, y in few]
    seen: dict[str, Any] = {}

    def spy(
        x: npt.NDArray[Any],
        y: npt.NDArray[Any],
        rng: np.random.Generator,
        *,
        num_classes: int,
        sample_range: tuple[float, float],
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        seen.update(num_classes=num_classes, sample_range=sample_range)
        return x, y.max() - y

    options = {"test": (TEST[0][TEST[1] < 6], TEST[1][TEST[1] < 6]), "malicious": (0,), "model": six}
    list(federation(clients=few, attack="label_flipping", **options).rounds(1))
    for clients, expected in ((few, (0, 1)), (standard, (-3, 5))):
        federation(clients=clients, attack=spy, **options)
        assert seen == {"num_classes": 6, "sample_range": expected}


def test_samples_and_labels_are_taken_as_numpy_reads_them_or_refused() -> None:
    x, y = CLIENTS[0]
    with pytest.warns(UserWarning, match="no sample has the label 0, yet there are 11 classes") as caught:
        fed = federation(clients=[(x.tolist(), (y + 1).tolist())], test=(TEST[0], TEST[1] + 1), model=eleven)
    assert fed.warnings == tuple(str(warning.message) for warning in caught)
    for changed, said in (
        ({"clients": [CLIENTS[0], (x, np.eye(10)[y])]}, r"client 1: y is float64\[180, 10\].*argmax"),
        ({"clients": [(x * np.nan, y)]}, "client 0: x holds NaN or Inf"),
        ({"clients": CLIENTS[0]}, "client 0 is a ndarray; needed: a pair"),
        ({"clients": []}, "clients is empty"),
        ({"clients": [(x[:, :4], y)]}, r"client 0: samples have the shape \(4, 8\)"),
        ({"test": (TEST[0][:0], TEST[1][:0])}, "the test set holds no sample"),
        ({"test": (TEST[0], TEST[1].astype(str))}, r"the test set: test\[1\] is <U"),
        ({"root": (x, y + 5)}, "root: labels that neither"),
        ({"root": (x[:0], y[:0])}, "root holds no sample"),
    ):
        with pytest.raises(InvalidInputError, match=said):
            federation(**changed)
