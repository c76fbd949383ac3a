import numpy as np
import pytest

from fbfl.errors import InvalidInputError
from fbfl.learning.sampling import draw, participants, straggler_epochs, without_dropouts
from fbfl.randomness import seed_sequence


def test_draws_are_uniform_without_repetition() -> None:
    hits = np.zeros(13)
    for seed in range(2_000):
        drawn = draw(13, 4, np.random.SeedSequence(seed))
        assert len(set(drawn.tolist())) == 4
        assert (np.diff(drawn) > 0).all()
        hits[drawn] += 1
    assert np.abs(hits / 2_000 - 4 / 13).max() < 0.04
    assert draw(7, 7, np.random.SeedSequence(0)).tolist() == list(range(7))
    assert draw(1, 1, np.random.SeedSequence(0)).tolist() == [0]


def test_draws_are_pinned() -> None:
    """Servers with another version of NumPy must draw the same: the raw stream never changes."""
    words = np.random.PCG64(seed_sequence(1, "pin")).random_raw(1_000).tolist()
    smallest = sorted(sorted(range(1_000), key=lambda i: words[i])[:5])
    assert draw(1_000, 5, seed_sequence(1, "pin")).tolist() == smallest == [94, 153, 241, 327, 962]


def test_participants_are_a_function_of_seed_and_round() -> None:
    rounds = [participants(50, 0.2, 3, r) for r in range(200)]
    assert {len(clients) for clients in rounds} == {10}
    assert rounds == [participants(50, 0.2, 3, r) for r in range(200)]
    assert rounds[0] != participants(50, 0.2, 4, 0)
    assert len(set(rounds)) == 200
    counts = np.bincount(np.concatenate(rounds), minlength=50)
    assert counts.min() > 15
    assert participants(50, 1.0, 0, 0) == tuple(range(50))
    assert len(participants(50, 1e-9, 0, 0)) == 1
    for fraction in (0, 1.1):
        with pytest.raises(InvalidInputError, match="participation"):
            participants(50, fraction, 0, 0)


def test_dropouts_do_not_depend_on_who_else_takes_part() -> None:
    everybody = range(100)
    left = [without_dropouts(everybody, 0.3, 1, r) for r in range(50)]
    assert np.mean([len(clients) for clients in left]) == pytest.approx(70, abs=2)
    assert without_dropouts([5, 17, 80], 0.3, 1, 7) == tuple(c for c in left[7] if c in (5, 17, 80))
    assert without_dropouts(everybody, 0, 1, 1) == tuple(everybody)
    assert without_dropouts(everybody, 1, 1, 1) == ()
    with pytest.raises(InvalidInputError, match="drop-out"):
        without_dropouts(everybody, 1.5, 0, 0)


def test_stragglers_do_part_of_the_epochs() -> None:
    clients = tuple(range(20, 40))
    epochs = straggler_epochs(clients, 5, 0.5, 0, 1)
    assert tuple(epochs) == clients
    assert sum(count < 5 for count in epochs.values()) == 10
    seen = {count for r in range(30) for count in straggler_epochs(clients, 5, 0.5, 0, r).values()}
    assert seen == {1, 2, 3, 4, 5}
    assert set(straggler_epochs(clients, 1, 0.9, 0, 1).values()) == {1}
    assert set(straggler_epochs(clients, 5, 0, 0, 1).values()) == {5}
    with pytest.raises(InvalidInputError, match="straggler"):
        straggler_epochs(clients, 5, -1, 0, 1)
