"""Attackers of a federation: several attacks of theirs, and those that change nothing."""

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fbfl.errors import InvalidInputError, VacuousAttackError
from fbfl.learning import attacks
from fbfl.learning.adversary import Adversary
from fbfl.learning.attacks import ATTACKS, resolve
from fbfl.learning.attacks.lookup import CONTEXT, Attack
from fbfl.learning.attacks.registry import traits_of
from fbfl.learning.plugins import own_settings
from tests.unit.learning.attacked import honest_updates, samples


def identity(honest: Any, own: Any, rng: np.random.Generator) -> Any:
    return own


def lonely(honest: Any, own: Any, rng: np.random.Generator, *, num_clients: Any) -> None:
    raise VacuousAttackError(f"nothing to do with {num_clients}")


@pytest.mark.parametrize(
    ("attack", "why"),
    [
        (
            attacks.resolve("targeted_label_flipping", source=15, target=1),
            r"\(source=15, target=1\) has no effect: no sam",
        ),
        (attacks.resolve("label_flipping", fraction=0.001), "no sample of the attackers is changed"),
        (attacks.resolve("backdoor", fraction=0.001), "no sample of the attackers is changed"),
        (attacks.resolve("scaling", factor=1.0), "what the attackers send is what they have trained"),
        (attacks.resolve(identity), "identity has no effect: what the attackers send"),
        (attacks.resolve(lonely), "nothing to do with 4"),
        (attacks.resolve("label_flipping"), None),
        (attacks.resolve("same_value"), None),
    ],
)
def test_an_attack_that_changes_nothing_gets_one_line(attack: Attack, why: str | None) -> None:
    adversary = Adversary((attack,), (0, 1), seed=0, num_classes=10, sample_range=(0.0, 1.0))
    assert adversary.warnings == (), "it has not had its turn"
    for client in range(4):
        adversary.poisoned_samples(client, samples(size=40))
    for number in (1, 2):
        adversary.poison_updates(number, range(4), honest_updates(m=4))
    assert len(adversary.warnings) == (why is not None)
    warnings: tuple[str, ...] = adversary.warnings
    assert all(re.search(str(why), line) for line in warnings)


def test_of_several_attacks_each_knows_the_updates_as_trained() -> None:
    seen = []

    def spy(compromised: npt.NDArray[Any], own: npt.NDArray[Any], rng: np.random.Generator) -> npt.NDArray[Any]:
        seen.append((compromised.copy(), own.copy()))
        return own

    adversary = Adversary((attacks.resolve("sign_flipping"), attacks.resolve(spy)), (0, 1), seed=0)
    rows = np.ones((4, 3), np.float32)
    adversary.poison_updates(1, range(4), rows)
    for known, own in seen:
        assert (known == 1).all()
        assert (own == -1).all()
    assert rows[:, 0].tolist() == [-1, -1, 1, 1]


@pytest.mark.parametrize("name", [name for name, each in ATTACKS.items() if traits_of(each).kind == "update"])
@pytest.mark.parametrize("value", [1e300, 1.7e308])
def test_parameters_beyond_float32_warn_of_nothing(name: str, value: float) -> None:
    """The attackers then send what nobody counts, or what their attack cuts to the range of float32."""
    settings = own_settings(ATTACKS[name], 3, {*CONTEXT, "honest", "everybody", "compromised"})
    numbers = {key: value for key, default in settings.items() if isinstance(default, float)}
    updates = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)
    try:
        attack = resolve(name, **numbers)
        sent = attack.poison_update(updates, updates[0], np.random.default_rng(1), num_clients=7, num_byzantine=1)
    except InvalidInputError:
        return  # bounds of its own
    assert sent.dtype == np.float32


def test_an_attack_that_changes_what_it_gets_changes_no_update_of_others_and_has_an_effect() -> None:
    def spoils(everybody: Any, own: Any, rng: np.random.Generator) -> Any:
        everybody[:] = 9
        own *= -1
        return own

    adversary = Adversary((attacks.resolve(spoils),), (0,), seed=0)
    rows = np.ones((3, 2), np.float32)
    adversary.poison_updates(1, [0, 1, 2], rows)
    assert rows.tolist() == [[-1, -1], [1, 1], [1, 1]]
    assert adversary.warnings == ()
    clean = np.ones((4, 2), np.float32), np.zeros(4, np.int64)

    def darkens(x: Any, y: Any, rng: np.random.Generator) -> Any:
        x[:] = 0
        return x, y

    darkens.triggered = lambda x, y: (*darkens(x, y + 1, np.random.default_rng(0)), 0)  # type: ignore[attr-defined]
    adversary = Adversary((attacks.resolve(darkens),), (0,), seed=0, num_classes=10, sample_range=(0.0, 1.0))
    assert not adversary.poisoned_samples(0, clean)[0].any()
    triggered = adversary.triggered(*clean)
    assert triggered is not None
    assert not triggered[0].any()
    assert clean[0].all()
    assert adversary.warnings == ()
