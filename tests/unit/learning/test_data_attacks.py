"""Every attack on data against its formula, and that it leaves what it was given alone."""

import contextlib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fbfl.errors import InvalidInputError
from fbfl.learning import attacks
from fbfl.learning.metrics import attack_success_rate
from fbfl.learning.samples import Array
from tests.unit.learning.attacked import REQUIRED, kinds, poison, samples


@pytest.mark.parametrize("name", kinds("data"))
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_data_attacks_keep_type_range_and_input(name: str, dtype: type[Any]) -> None:
    x, y = samples(dtype)
    x.flags.writeable = y.flags.writeable = False
    poisoned_x, poisoned_y = poison(name, x, y)
    assert poisoned_x.dtype == dtype
    assert poisoned_y.dtype == y.dtype
    assert poisoned_x.shape == x.shape
    assert poisoned_x.min() >= 0
    assert poisoned_x.max() <= (255 if dtype == np.uint8 else 1)
    assert (poisoned_x != x).any() or (poisoned_y != y).any()
    again = poison(name, x, y)
    assert (again[0] == poisoned_x).all()
    assert (again[1] == poisoned_y).all()


@given(
    name=st.sampled_from(kinds("data")),
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple),
    size=st.integers(0, 6),
    kind=st.sampled_from([np.uint8, np.float32, np.float64]),
    label_kind=st.sampled_from([np.uint8, np.int64]),
    classes=st.integers(1, 300),
    settings=st.fixed_dictionaries(
        {},
        optional={
            "fraction": st.floats(-0.5, 1.5),
            "source": st.integers(-1, 300),
            "target": st.integers(-1, 2**70),
            "num_classes": st.integers(-1, 2**70),
            "size": st.integers(-1, 5),
            "parts": st.integers(-1, 9),
            "std": st.floats(),
        },
    ),
)
def test_a_data_attack_gives_samples_to_train_on_or_says_in_a_line_why_not(
    name: str,
    shape: tuple[Any, ...],
    size: int,
    kind: type[Any],
    label_kind: type[Any],
    classes: int,
    settings: dict[str, Any],
) -> None:
    rng = np.random.default_rng(0)
    x = (rng.random((size, *shape)) * 200 - (0 if kind == np.uint8 else 100)).astype(kind)
    y = rng.integers(0, min(classes, np.iinfo(label_kind).max), size).astype(label_kind)
    known: dict[str, Any] = {"num_classes": classes, "sample_range": (-100.0, 100.0)}
    with contextlib.suppress(InvalidInputError):  # anything else escapes and fails the test
        attack = attacks.resolve(name, **{**REQUIRED.get(name, {}), **accepted(name, settings)})
        poisoned_x, poisoned_y = attack.poison_data(x, y, rng, num_byzantine=2, attacker=1, **known)
        assert poisoned_x.dtype == x.dtype
        assert poisoned_x.shape == x.shape
        assert poisoned_y.shape == y.shape
        assert poisoned_y.max(initial=0) < classes
        tested = attack.triggered(x, y, **known)
        assert tested is None or tested[0].shape[1:] == shape


def accepted(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key in inspect.signature(attacks.ATTACKS[name]).parameters}


def test_label_attacks_change_the_labels_they_say() -> None:
    x, y = samples()
    flipped = poison("label_flipping", x, y)[1]
    assert (flipped == 9 - y).all()
    half = poison("label_flipping", x, y, fraction=0.5)[1]
    assert (half != y).sum() == 200
    targeted = poison("targeted_label_flipping", x, y)[1]
    assert (targeted[y == 3] == 5).all()
    assert (targeted[y != 3] == y[y != 3]).all()
    random = poison("random_label_flipping", x, y)[1]
    assert (random != y).all()
    assert set(random) == set(range(10))
    assert (poison("label_flipping", x, y % 6, num_classes=6)[1] == 5 - y % 6).all()
    assert (poison("label_flipping", x, y, num_classes=300)[1] == 299 - y.astype(int)).all(), "more than uint8 holds"
    for name in ("label_flipping", "random_label_flipping"):
        with pytest.raises(InvalidInputError, match="labels do not fit num_classes 5"):
            poison(name, x, y, num_classes=5)
        with pytest.raises(InvalidInputError, match="fraction"):
            poison(name, x, y, fraction=0.0)
    with pytest.raises(InvalidInputError, match="source = target"):
        poison("targeted_label_flipping", x, y, source=1, target=1)


def test_data_poisoning_adds_noise_of_its_strength() -> None:
    x = np.full((200, 10, 10), 0.5, np.float32)
    noisy, labels = poison("data_poisoning", x, np.zeros(200, int), std=0.1)
    assert noisy.std() == pytest.approx(0.1, rel=0.02)
    assert (labels == 0).all()
    wide = np.full((200, 10, 10), 20, np.float32)
    noisy = poison("data_poisoning", wide, np.zeros(200, int), std=0.1, sample_range=(-10.0, 30.0))[0]
    assert noisy.std() == pytest.approx(4, rel=0.03), "a share of the range"
    assert noisy.max() == 30
    some = poison("data_poisoning", x, np.zeros(200, int), fraction=0.25)[0]
    assert (some != x).any(axis=(1, 2)).sum() == 50


def triggered(
    x: Array, y: Array, name: str, sample_range: tuple[float, float] | None = None, **settings: Any
) -> tuple[Array, Array, int]:
    tested = attacks.resolve(name, **settings).triggered(x, y, sample_range=sample_range)
    assert tested is not None
    return tested


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_backdoor_stamps_a_square_and_the_target(dtype: type[Any]) -> None:
    x, y = samples(dtype)
    top = 255 if dtype == np.uint8 else 1
    poisoned_x, poisoned_y = poison("backdoor", x, y, target=2, fraction=0.5, size=4)
    changed = np.flatnonzero((poisoned_x != x).any(axis=(1, 2)))
    assert len(changed) == 180
    assert (poisoned_y[changed] == 2).all()
    assert (y[changed] != 2).all()
    assert (poisoned_x[changed][:, -4:, -4:] == top).all()
    assert (poisoned_x[:, :-4] == x[:, :-4]).all()
    tested, labels, target = triggered(x, y, "backdoor", target=2, size=4)
    assert (tested[:, -4:, -4:] == top).all()
    brighter = triggered(x, y, "backdoor", sample_range=(-2.0, 5.0))[0]
    assert (brighter[:, -3:, -3:] == (255 if dtype == np.uint8 else 5)).all()
    assert (tested[:, :, :-4] == x[:, :, :-4]).all()
    assert (labels == y).all()
    assert attack_success_rate(np.full(400, 2), labels, target) == 1
    with pytest.raises(InvalidInputError, match="does not fit"):
        poison("backdoor", x, y, size=29)


def test_distributed_backdoor_shares_the_trigger_out() -> None:
    x, y = np.zeros((100, 28, 28), np.float32), np.ones(100, int)
    parts = []
    for attacker in range(4):
        poisoned = poison("distributed_backdoor", x, y, fraction=1.0, attacker=attacker)[0]
        assert poisoned[0].sum() == 4
        parts.append(poisoned[0])
    whole = triggered(x, y, "distributed_backdoor")[0]
    assert (np.sum(parts, axis=0) == whole[0]).all(), "the parts are disjoint and make up the trigger of the test"
    assert (poison("distributed_backdoor", x, y, fraction=1.0, attacker=5)[0][0] == parts[1]).all()
    small = attacks.bar_trigger(np.zeros((1, 8, 8), np.float32))
    assert small.sum() == 4


@pytest.mark.parametrize("trigger", [attacks.square_trigger, attacks.bar_trigger])
def test_triggers_are_as_large_wherever_the_channels_are(trigger: Callable[..., Any]) -> None:
    for side in (7, 8, 29):
        flat, deep = np.zeros((2, side, side + 1), np.float32), np.zeros((2, side, side + 1, 3), np.float32)
        stamped = trigger(flat, sample_range=(0.0, 1.0))
        assert 0 < stamped.sum() < stamped.size / 2
        last = trigger(deep, sample_range=(0.0, 1.0))
        first = trigger(np.moveaxis(deep, 3, 1), sample_range=(0.0, 1.0))
        assert (last == stamped[..., None]).all()
        assert (first == stamped[:, None]).all()
    for shape in ((2, 64), (2, 3, 8, 8, 1)):
        with pytest.raises(InvalidInputError, match="are not pictures"):
            trigger(np.zeros(shape, np.float32))


def test_edge_case_relabels_the_rarest_of_a_class() -> None:
    x, y = samples(np.float32)
    x[17] = 1 - x[17]  # y[17] == 7
    x[17, :14] = 1
    poisoned_x, poisoned_y = poison("edge_case", x, y, source=7, target=1, fraction=0.05)
    changed = np.flatnonzero(poisoned_y != y)
    assert len(changed) == 2
    assert 17 in changed
    assert (y[changed] == 7).all()
    assert (poisoned_x == x).all()
    tested, labels, target = triggered(x, y, "edge_case", fraction=0.05)
    assert (len(tested), set(labels.tolist()), target) == (2, {7}, 1)
    untouched = poison("edge_case", x[y != 7], y[y != 7])[1]
    assert (untouched == y[y != 7]).all()


def test_what_a_users_data_attack_returns_is_checked() -> None:
    x, y = samples(np.float32, size=4)
    for returned, said in (
        (None, "what it returns is a NoneType"),
        ((x, y / 2), "needed: labels"),
        ((x[:3], y), "3 samples, y 4 labels"),
        ((x * np.nan, y), "NaN or Inf"),
        ((x[:, :5], y), "returns samples float32"),
        ((x, y + 7), "makes the label 10, which no sample has; allowed: 0 to 9"),
    ):
        attack = attacks.resolve(lambda x, y, rng, returned=returned: returned)
        with pytest.raises(InvalidInputError, match=said):
            attack.poison_data(x, y, np.random.default_rng(0), num_classes=10)


def test_what_a_users_triggered_returns_is_checked() -> None:
    x, y = samples(np.float32, size=20)
    for returned, said in (
        (None, "what its triggered returns is a NoneType; needed: samples, labels and target"),
        ((x, y), "is a tuple; needed: samples, labels and target"),
        ((x, y / 2, 1), "needed: labels"),
        ((x[:, :5], y, 1), r"samples \[20, 5, 28\] and the target 1; needed: samples such"),
        ((x, y, "cat"), "the target 'cat'"),
        ((x, y * 0, 0), "all test samples are of the target class 0"),
    ):

        def mine(x: Any, y: Any, rng: np.random.Generator) -> Any:
            return x, y

        vars(mine).update(triggered=lambda x, y, returned=returned: returned)
        with pytest.raises(InvalidInputError, match=f"attack mine: .*{said}"):
            attacks.resolve(mine).triggered(x, y)
