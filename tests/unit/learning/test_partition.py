from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fbfl.errors import InvalidInputError
from fbfl.learning import partition

LABELS = np.random.default_rng(0).integers(0, 10, 3_000)
SETTINGS: dict[str, dict[str, float]] = {
    "iid": {},
    "shards": {"shards_per_client": 2},
    "dirichlet": {"alpha": 0.3},
    "label_quantity": {"labels_per_client": 2},
    "label_bias": {"bias": 0.5},
    "quantity_skew": {"sigma": 1.0},
}


def divide(
    name: str, labels: npt.NDArray[Any], num_clients: int, seed: int = 0, **more: float
) -> list[npt.NDArray[Any]]:
    return partition.resolve(name, **{**SETTINGS[name], **more})(labels, num_clients, seed=seed)


@pytest.mark.parametrize("name", SETTINGS)
@given(n=st.integers(1, 40), seed=st.integers(0, 1_000), size=st.integers(80, 300))
@settings(max_examples=25)
def test_every_sample_is_used_at_most_once_and_the_same_seed_gives_the_same(
    name: str, n: int, seed: int, size: int
) -> None:
    labels = LABELS[:size]
    parts = divide(name, labels, n, seed)
    used = np.concatenate(parts)
    assert len(parts) == n
    assert len(np.unique(used)) == used.size
    assert used.size == 0 or (used.min() >= 0 and used.max() < size)
    if name != "label_quantity":
        assert used.size == size
    for one, other in zip(parts, divide(name, labels, n, seed), strict=True):
        assert one.dtype == np.int64
        assert (one == other).all()


@pytest.mark.parametrize("name", SETTINGS)
def test_seeds_matter_and_a_clients_samples_are_shuffled(name: str) -> None:
    parts, others = divide(name, LABELS, 5), divide(name, LABELS, 5, seed=1)
    assert any(set(a.tolist()) != set(b.tolist()) for a, b in zip(parts, others, strict=True))
    assert any((np.diff(part) < 0).any() for part in parts)
    for part in parts:
        half = LABELS[part[: part.size // 2]]
        assert set(np.unique(LABELS[part])) == set(np.unique(half)) or part.size < 60


def test_iid_sizes_and_labels_are_even() -> None:
    parts = divide("iid", LABELS, 7)
    assert {len(part) for part in parts} == {428, 429}
    counts = np.array([np.bincount(LABELS[part], minlength=10) for part in parts])
    assert counts.min() > 20


def test_mcmahans_shards() -> None:
    """60,000 samples, 100 clients, 2 shards of 300: 600 samples each, at most 4 labels, mostly 2."""
    labels = np.repeat(np.arange(10), 6_000)
    parts = partition.shards(labels, 100, 2, seed=3)
    assert {len(part) for part in parts} == {600}
    kinds = [len(np.unique(labels[part])) for part in parts]
    assert max(kinds) == 2
    assert np.concatenate(parts).size == 60_000
    pairs = {tuple(np.unique(labels[part])) for part in parts}
    assert len(pairs) > 20, "shards are dealt out at random"


@pytest.mark.parametrize("alpha", [1e-300, 1e-9, 1e-3, 0.1, 1, 1e3, 1e300])
def test_dirichlet_ends_for_every_alpha_and_leaves_nobody_empty(alpha: float) -> None:
    parts = partition.dirichlet(LABELS, 50, alpha, seed=1)
    assert min(len(part) for part in parts) >= 1
    assert sum(len(part) for part in parts) == LABELS.size


def test_dirichlet_follows_alpha() -> None:
    def share_of_largest_label(alpha: float) -> float:
        parts = partition.dirichlet(LABELS, 10, alpha, seed=2, min_samples=0)
        return float(np.mean([np.bincount(LABELS[part]).max() / len(part) for part in parts if len(part)]))

    assert share_of_largest_label(1e3) < 0.2
    assert share_of_largest_label(0.01) > 0.7
    # Marginals of Dirichlet(a, ..., a) over n clients: variance (n - 1) / (n^2 (n a + 1)).
    shares = [
        len(part) / 3_000 for seed in range(60) for part in partition.dirichlet(np.zeros(3_000, int), 5, 0.5, seed)
    ]
    assert np.var(shares) == pytest.approx(4 / 25 / 3.5, rel=0.2)


def test_min_samples_are_taken_from_the_largest_and_zero_leaves_clients_empty() -> None:
    raw = partition.dirichlet(LABELS, 30, 0.001, seed=0, min_samples=0)
    assert min(map(len, raw)) == 0
    filled = partition.dirichlet(LABELS, 30, 0.001, seed=0, min_samples=20)
    assert min(map(len, filled)) == 20
    largest = int(np.argmax([len(part) for part in raw]))
    assert len(filled[largest]) < len(raw[largest])
    assert set(filled[largest].tolist()) < set(raw[largest].tolist())
    with pytest.raises(InvalidInputError, match="num_clients is 30"):
        partition.dirichlet(LABELS[:100], 30, 0.5, seed=0, min_samples=4)


def test_label_quantity_gives_each_client_its_number_of_labels() -> None:
    parts = partition.label_quantity(LABELS, 20, 3, seed=0)
    assert [len(np.unique(LABELS[part])) for part in parts] == [3] * 20
    assert sum(map(len, parts)) == LABELS.size
    few = partition.label_quantity(LABELS, 2, 3, seed=0)
    assert sum(map(len, few)) < LABELS.size, "labels without an owner are left out"


def test_label_bias_gives_a_label_to_its_own_group_so_often_and_to_the_others_evenly() -> None:
    """Fang et al.'s setting: 100 clients in ten groups of ten, recognised by the label they have most of."""
    labels = np.tile(np.arange(10), 6_000)
    parts = partition.label_bias(labels, 100, 0.5, seed=4)
    counts = np.array([np.bincount(labels[part], minlength=10) for part in parts])
    assert counts.sum() == labels.size
    group = counts.argmax(axis=1)
    assert (np.bincount(group) == 10).all()
    assert (group[:20] != np.sort(group)[:20]).any(), "who belongs to a group is drawn"
    shares = np.array([counts[group == label].sum(axis=0) / 6_000 for label in range(10)])
    expected = np.full((10, 10), 0.5 / 9)
    np.fill_diagonal(expected, 0.5)
    assert np.abs(shares - expected).max() < 5 * np.sqrt(0.25 / 6_000)
    own = counts[np.arange(100), group]  # within a group: each sample to anybody, so binomial and not even
    assert own.std() == pytest.approx(np.sqrt(3_000 * 0.1 * 0.9), rel=0.3)


def test_label_bias_between_iid_and_a_single_label() -> None:
    labels = np.tile(np.arange(10), 6_000)
    even = partition.label_bias(labels, 20, 0.1, seed=0)
    counts = np.array([np.bincount(labels[part], minlength=10) for part in even])
    assert stats.chi2_contingency(counts).pvalue > 1e-3
    alone = partition.label_bias(labels, 20, 1.0, seed=0)
    assert {len(np.unique(labels[part])) for part in alone} == {1}
    never = partition.label_bias(labels, 10, 0.0, seed=0)
    assert {len(np.unique(labels[part])) for part in never} == {9}
    few = partition.label_bias(labels, 3, 1.0, seed=0)
    assert sorted(np.unique(labels[part]).tolist() for part in few) == [[0, 3, 6, 9], [1, 4, 7], [2, 5, 8]]


def test_quantity_skew_sizes_are_log_normal() -> None:
    assert {len(part) for part in partition.quantity_skew(LABELS, 10, 0.0, seed=0)} == {300}
    sizes = [len(part) for s in range(30) for part in partition.quantity_skew(np.tile(LABELS, 20), 50, 0.8, seed=s)]
    assert np.std(np.log(sizes)) == pytest.approx(0.8, rel=0.1)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_feature_noise_grows_with_the_client(dtype: type[Any]) -> None:
    top = 255 if dtype == np.uint8 else 1
    x = np.full((50, 20, 20), top / 2).astype(dtype)
    spread = []
    for client in (0, 4, 9):
        noisy = partition.feature_noise(x, client, 10, 0.01, seed=0)
        assert noisy.dtype == dtype
        assert noisy.min() >= 0
        assert noisy.max() <= top
        spread.append(noisy.std() / top)
    np.testing.assert_allclose(spread, np.sqrt(0.01 * np.array([1, 5, 10]) / 10), rtol=0.1)


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("shards", {"shards_per_client": 0}, "shards_per_client is 0"),
        ("shards", {"shards_per_client": 1_000}, "allowed: 1 to 300, a sample in each"),
        ("dirichlet", {"alpha": 0}, "alpha is 0"),
        ("dirichlet", {"alpha": float("inf")}, "alpha"),
        ("dirichlet", {"min_samples": -1}, "min_samples"),
        ("label_quantity", {"labels_per_client": 11}, "allowed: 1 to 10, as the data have"),
        ("label_bias", {"bias": 1.1}, "bias is 1.1"),
        ("label_bias", {"bias": float("nan")}, "bias is nan"),
        ("quantity_skew", {"sigma": -1.0}, "sigma"),
        ("iid", {"alpha": 1.0}, "does not take 'alpha'; allowed: no settings"),
    ],
)
def test_bad_settings_are_named(name: str, more: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=f"^partition {name}: .*{message}"):
        divide(name, LABELS, 10, **more)


def test_bad_labels_and_clients_are_named() -> None:
    for labels in (LABELS.astype(float), LABELS[:, None]):
        with pytest.raises(InvalidInputError, match="labels"):
            partition.dirichlet(labels, 3, 1.0, 0)
    with pytest.raises(InvalidInputError, match="labels"):
        partition.iid(LABELS[:, None], 3, 0)
    for clients in (0, -1, 3_001):
        with pytest.raises(InvalidInputError, match=f"num_clients is {clients}"):
            partition.iid(LABELS, clients, 0)
    with pytest.raises(InvalidInputError, match="needs alpha"):
        partition.resolve("dirichlet")


def test_labels_that_are_numbers_have_no_classes_to_go_by() -> None:
    numbers = LABELS + 0.5
    for name in partition.PARTITIONS:
        rule = partition.resolve(name, **SETTINGS.get(name, {}))
        devices = np.arange(len(numbers)) % 7
        if name in ("iid", "quantity_skew", "by_device"):
            rule.check_labels(0)
            own, as_classes = (rule(y, 5, seed=3, device_of=devices) for y in (numbers, LABELS))
            assert [part.tolist() for part in own] == [part.tolist() for part in as_classes]
        else:
            with pytest.raises(InvalidInputError, match=f"{name}.*goes by classes.*: iid, quantity_skew, by_device"):
                rule.check_labels(0)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "returned a NoneType; needed: the sample numbers of 2 clients"),
        ("ab", "returned a str"),
        ([[0]], "returned 1 parts"),
        ([[0], [True]], r"what client 1 gets is bool\[1\]"),
        ([[0], [0.5]], r"what client 1 gets is float64\[1\]"),
        ([[0], np.zeros((1, 1), int)], r"what client 1 gets is int64\[1, 1\]"),
        ([[0], [3000]], "gives client 1 sample number 3000; allowed: 0 to 2999"),
        ([[-1], [0]], "gives client 0 sample number -1"),
    ],
)
def test_a_users_partition_gives_sample_numbers(returned: list[Any] | str | None, message: str) -> None:
    with pytest.raises(InvalidInputError, match=f"partition <lambda>:? {message}"):
        partition.resolve(lambda labels, num_clients: returned)(LABELS, 2, seed=0)


def test_a_users_partition_may_be_lists_and_leave_clients_without_samples() -> None:
    parts = partition.resolve(lambda labels, num_clients: ([], [2, 0]))(LABELS, 2, seed=0)
    assert [part.tolist() for part in parts] == [[], [2, 0]]
    assert all(part.dtype == np.int64 for part in parts)


@given(st.data())
@settings(max_examples=40)
def test_by_device_gives_a_client_whole_devices(data: st.DataObject) -> None:
    devices = data.draw(st.integers(1, 9))
    device_of = np.array([*range(devices), *data.draw(st.lists(st.integers(0, devices - 1), max_size=40))])
    clients = data.draw(st.integers(1, devices))
    parts = partition.by_device(np.zeros(device_of.size, int), clients, 0, device_of)
    assert sorted(np.concatenate(parts).tolist()) == list(range(device_of.size))
    for client, part in enumerate(parts):
        assert set(device_of[part] % clients) == {client}
        assert list(dict.fromkeys(device_of[part].tolist())) == list(range(client, devices, clients))


@pytest.mark.parametrize(
    ("clients", "device_of", "said"),
    [
        (1, None, "'by_device', and the data do not tell the devices of their samples; allowed: har, or a table"),
        (1, [0, 1], "device_of has 2 entries; needed: one for each of 4 samples"),
        (3, [0, 1, 1, 0], "num_clients is 3; allowed with 2 devices: 1 to 2"),
        (1, [0.5, 1, 1, 0], "device_of is float64"),
    ],
)
def test_devices_that_the_data_do_not_have_are_refused(clients: int, device_of: list[float] | None, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        partition.resolve("by_device")([0, 1, 0, 1], clients, seed=0, device_of=device_of)
