"""A federation's state on disk: a resumed one is the one that was never stopped."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fbfl.errors import FbflError, InvalidInputError
from fbfl.learning import aggregation, checkpoint
from tests.unit.learning.small_federations import CLIENTS, federation, flat


def strided(updates: Any, state: Any) -> Any:
    """A rule whose state is a transposed view, a column and a number."""
    both = np.stack([updates.mean(axis=0), np.full(updates.shape[1], state.get("rounds", 0.0), np.float32)], axis=1)
    kept = {"pair": both[:2].T, "column": both[:, 0], "rounds": 1.0 + state.get("rounds", 0.0)}
    return aggregation.Aggregate(both[:, 0] + 0.1 * state.get("column", 0.0), kept)


def strided_server(update: Any, state: Any) -> Any:
    step, kept = strided(update[np.newaxis], state).vector, strided(update[np.newaxis], state).state
    return step, kept


SAVED: dict[str, dict[str, Any]] = {
    "plain": {},
    "rule with state": {"aggregator": "centered_clipping"},
    "foolsgold": {"aggregator": "foolsgold", "participation": 0.8},
    "fldetector": {"aggregator": "fldetector", "aggregator_args": {"window": 1}, "participation": 0.8},
    "server with state": {"server_optimizer": "fedadam", "model": "mlp", "dropout": 0.3, "stragglers": 0.5},
    "state that is not contiguous": {"aggregator": strided, "server_optimizer": strided_server},
    "attack": {"attack": "gaussian_noise", "malicious": (2,), "aggregator": "median"},
}


@pytest.mark.parametrize("case", SAVED)
def test_resumed_equals_uninterrupted(case: str, tmp_path: Path) -> None:
    options = SAVED[case] | {"local_epochs": 2}
    whole = federation(**options)
    expected = list(whole.rounds(4))
    first = federation(**options)
    list(first.rounds(2))
    first.save(tmp_path / "state")
    second = federation(**options)
    second.load(tmp_path / "state")
    assert np.array_equal(flat(second), flat(first))
    rest = list(second.rounds(2))
    assert [r.round for r in rest] == [3, 4]
    assert [(r.loss, r.participants, r.selected) for r in rest] == [
        (r.loss, r.participants, r.selected) for r in expected[2:]
    ]
    assert np.array_equal(flat(second), flat(whole))


def test_states_of_others_and_spoilt_ones_are_refused(tmp_path: Path) -> None:
    fed = federation()
    list(fed.rounds(1))
    path = tmp_path / "state"
    fed.save(path)
    assert [file.name for file in tmp_path.iterdir()] == ["state"]
    for options, word in (
        ({"seed": 1}, "seed"),
        ({"aggregator": "median"}, "plugins"),
        ({"local_epochs": 2}, "training"),
        ({"participation": 0.5}, "sampling"),
        ({"clients": CLIENTS[::-1]}, "data"),
        ({"model": "2nn"}, "model"),
    ):
        with pytest.raises(InvalidInputError, match=f"another federation: its {word}"):
            federation(**options).load(path)
    empty = (CLIENTS[0][0][:0], CLIENTS[0][1][:0])
    with pytest.raises(InvalidInputError, match="its data"):
        federation(clients=[*CLIENTS, empty]).load(path)
    trusting, other = (federation(aggregator="fltrust", root=CLIENTS[place]) for place in (0, 1))
    trusting.save(path)
    with pytest.raises(InvalidInputError, match="its data"):
        other.load(path)
    fed.save(path)
    content = path.read_bytes()
    for spoilt in (b"", content[:100], b"\xff" * 200):
        path.write_bytes(spoilt)
        with pytest.raises(InvalidInputError, match="not the saved state"):
            fed.load(path)
    for number, name in (("x", "weights"), ("1", "weights"), ("1", "weight")):
        checkpoint.write(path, 1, fed._identity() | {"round": number}, {name: np.zeros(3, np.float32)})
        with pytest.raises(InvalidInputError, match=r"not the saved state .*: (its round is x|it holds no weights)"):
            fed.load(path)
    ways: tuple[Callable[[Any], None], ...] = (fed.load, fed.save)
    for way in ways:
        with pytest.raises(InvalidInputError, match="path is 3; allowed: a text or a path"):
            way(3)
    with pytest.raises(InvalidInputError, match="cannot be read"):
        fed.load(tmp_path / "absent")
    (tmp_path / "folder").mkdir()
    for place in (tmp_path / "no folder" / "state", tmp_path / "folder"):
        with pytest.raises(FbflError, match="cannot be written"):
            fed.save(place)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["folder", "state"]
