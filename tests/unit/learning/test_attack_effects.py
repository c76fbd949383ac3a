"""Every attack does to the digits what its paper says it does, and the rules stop it or not as theory says.

The comparison is always with the federation of the honest clients alone, so that an attack gets no credit for the
data that the attackers keep to themselves.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fbfl.learning import attacks, metrics, partition
from fbfl.learning.datasets import load
from fbfl.learning.federation import AttackLike, Federation, Round

pytest.importorskip("keras")

DIGITS = load("digits")
TEST = (DIGITS.x_test, DIGITS.y_test)
RULES: dict[str, dict[str, Any]] = {
    "fedavg": {},
    "krum": {"num_byzantine": 5},
    "multi_krum": {"num_byzantine": 5, "num_selected": 10},
    "trimmed_mean": {"trim": 5},
    "median": {},
}
ATTACKERS = tuple(range(5))


@cache
def parts(kind: str) -> list[npt.NDArray[Any]]:
    if kind == "iid":
        return partition.iid(DIGITS.y_train, 20, seed=0)
    return partition.dirichlet(DIGITS.y_train, 20, alpha=0.3, seed=0)


def play(
    attack: AttackLike | Sequence[AttackLike] | None = None,
    args: dict[str, float] | None = None,
    *,
    rule: str = "fedavg",
    malicious: tuple[int, ...] = ATTACKERS,
    kind: str = "iid",
    rounds: int = 12,
    clients: Any = None,
) -> tuple[list[Round], Federation]:
    """All rounds of a federation of 20 clients, or of those that are honest where nobody attacks."""
    if clients is None:
        clients = [(DIGITS.x_train[part], DIGITS.y_train[part]) for part in parts(kind)]
    settings = dict(RULES[rule])
    if attack is None:
        clients, malicious = clients[len(malicious) :], ()
        if "num_byzantine" in settings:
            settings["num_byzantine"] = 0
    fed = Federation(
        clients,
        TEST,
        aggregator=rule,
        aggregator_args=settings,
        attack=attack,
        attack_args=args,
        malicious=malicious,
        local_epochs=3,
        learning_rate=0.005,
        lanes=1,
    )
    return list(fed.rounds(rounds)), fed


def last(
    attack: AttackLike | Sequence[AttackLike] | None = None, args: dict[str, float] | None = None, **options: Any
) -> Round:
    return play(attack, args, **options)[0][-1]


@cache
def honest(rule: str = "fedavg", kind: str = "iid", rounds: int = 12) -> Round:
    return last(rule=rule, kind=kind, rounds=rounds)


def success_rate(result: Round) -> float:
    assert result.attack_success_rate is not None
    return result.attack_success_rate


def taken_in(rounds: Any) -> Any:
    """Share of the rounds in which the rule selected an attacker."""
    return np.mean([bool(set(r.selected) & set(ATTACKERS)) for r in rounds])


def boost_in_round_12(
    compromised: Any, own: Any, rng: np.random.Generator, *, num_clients: Any, num_byzantine: Any, round_number: Any
) -> Any:
    """Model replacement as its paper does it: once, when the honest updates have become small."""
    return own * (num_clients / num_byzantine) if round_number == 12 else own


def test_label_flipping_of_one_class_lowers_its_recall_and_no_other() -> None:
    result = last("targeted_label_flipping", {"source": 7, "target": 1}, malicious=tuple(range(9)))
    assert result.recall[7] < honest().recall[7] - 0.2
    others = [label for label in range(10) if label not in (1, 7)]
    assert np.mean([result.recall[i] for i in others]) > np.mean([honest().recall[i] for i in others]) - 0.05


def test_a_backdoor_opens_on_fedavg_and_the_clean_task_survives() -> None:
    result = last("backdoor", malicious=tuple(range(8)))
    assert success_rate(result) > 0.9
    assert result.accuracy > honest().accuracy - 0.05


@pytest.mark.slow
def test_a_noisy_attacker_ruins_the_average_and_not_the_robust_rules() -> None:
    assert last("model_poisoning").accuracy < honest().accuracy - 0.2
    for rule in ("krum", "multi_krum", "trimmed_mean", "median"):
        result = last("model_poisoning", rule=rule)
        assert result.accuracy > honest(rule).accuracy - 0.07, rule


# ---------------------------------------------------------------------------------------------------------------------
# The rest takes minutes.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("attack", "args", "least"),
    [
        ("gaussian_noise", {"mode": "add"}, 0.1),
        ("sign_flipping", {"scale": 4.0}, 0.5),
        ("same_value", {}, 0.2),
        ("ipm", {"epsilon": 5.0}, 0.5),
    ],
)
def test_gross_attacks_ruin_the_average_and_not_the_robust_rules(attack: Any, args: Any, least: Any) -> None:
    assert last(attack, args).accuracy < honest().accuracy - least
    for rule in ("krum", "multi_krum", "trimmed_mean", "median"):
        result = last(attack, args, rule=rule)
        assert result.accuracy > honest(rule).accuracy - 0.07, rule
        if result.selected is not None:
            assert not set(result.selected) & set(ATTACKERS), rule


@pytest.mark.slow
def test_slow_poisons_raise_the_loss() -> None:
    for attack in ("label_flipping", "random_label_flipping"):
        assert last(attack, malicious=tuple(range(8))).loss > 1.5 * honest().loss, attack
    assert last("data_poisoning", {"std": 1.0}, malicious=tuple(range(8))).loss > 1.05 * honest().loss


@pytest.mark.slow
def test_a_flip_of_half_the_clients_turns_classes_into_their_mirror() -> None:
    rounds, fed = play("label_flipping", malicious=tuple(range(13)))
    trainer: Any = fed.trainer
    predictions = trainer.logits(np.concatenate([w.ravel() for w in fed.weights]), TEST[0]).argmax(axis=1)
    assert rounds[-1].accuracy < 0.2
    assert np.mean(predictions == 9 - TEST[1]) > 0.7


@pytest.mark.slow
def test_model_replacement_makes_one_attacker_enough_for_a_backdoor() -> None:
    alone = last("backdoor", malicious=(0,))
    boosted = last(["backdoor", boost_in_round_12], malicious=(0,))
    assert success_rate(alone) < 0.1
    assert success_rate(boosted) > 0.8
    built_in = last("model_replacement", malicious=(0,), rounds=1)
    assert built_in.loss != last("scaling", {"factor": 10.0}, malicious=(0,), rounds=1).loss
    assert built_in.loss == last("scaling", {"factor": 20.0}, malicious=(0,), rounds=1).loss


@pytest.mark.slow
def test_scaling_boosts_a_backdoor_and_krum_stops_what_is_boosted() -> None:
    attack: list[AttackLike] = ["backdoor", attacks.resolve("scaling", factor=3.0)]
    assert success_rate(last(attack, malicious=(0, 1, 2))) > 0.9
    assert success_rate(last(attack, malicious=(0, 1, 2), rule="multi_krum")) < 0.2


@pytest.mark.slow
def test_the_parts_of_a_distributed_trigger_act_together() -> None:
    """No attacker ever shows more than a quarter of what the test samples carry."""
    together = last(["distributed_backdoor", boost_in_round_12], malicious=(0, 1, 2, 3))
    assert success_rate(together) > 0.7
    assert success_rate(last("distributed_backdoor", malicious=(0,))) < 0.2


@pytest.mark.slow
def test_the_edge_case_backdoor_takes_hold_where_honest_clients_lack_the_rare_samples() -> None:
    rare = attacks.rare_samples(DIGITS.x_train, DIGITS.y_train, source=7, fraction=0.3)
    common = np.setdiff1d(np.arange(len(DIGITS.y_train)), rare)
    shares = [common[part] for part in partition.iid(DIGITS.y_train[common], 20, seed=0)]
    held = [np.concatenate([share, rare]) if number < 8 else share for number, share in enumerate(shares)]
    clients = [(DIGITS.x_train[part], DIGITS.y_train[part]) for part in held]
    settings = {"source": 7, "target": 1, "fraction": 0.9}
    unseen = attacks.rare_samples(*TEST, source=7, fraction=0.3)

    def success(fed: Any) -> Any:
        weights = np.concatenate([w.ravel() for w in fed.weights])
        return metrics.attack_success_rate(fed.trainer.logits(weights, TEST[0][unseen]), TEST[1][unseen], target=1)

    _, clean = play(clients=clients, malicious=tuple(range(8)))
    scaled = [attacks.resolve("edge_case", **settings), attacks.resolve("scaling", factor=2.0)]
    rounds, fed = play(scaled, clients=clients, malicious=tuple(range(8)))
    assert success(clean) < 0.1
    assert success(fed) > 0.7
    assert rounds[-1].accuracy > 0.85


@pytest.mark.slow
def test_a_backdoor_gets_in_without_the_coordinates_that_honest_clients_change_most() -> None:
    rounds, _ = play([attacks.resolve("backdoor", size=2), "neurotoxin"], malicious=tuple(range(8)), rounds=6)
    success = rounds[-1].attack_success_rate
    assert success is not None
    assert success > 0.5
    assert rounds[-1].accuracy > 0.85


@pytest.mark.slow
def test_the_attack_on_krum_is_selected_and_turns_the_model() -> None:
    for attack in ("fang_krum", "fang_krum_partial"):
        rounds, _ = play(attack, rule="krum")
        assert taken_in(rounds) > 0.6, attack
        assert rounds[-1].accuracy < honest("krum").accuracy - 0.15, attack
        assert last(attack, rule="median").accuracy > 0.9, attack


@pytest.mark.slow
def test_the_attacks_on_the_trimmed_mean_raise_its_loss_and_krum_sees_them() -> None:
    for attack in ("fang_trim", "fang_trim_partial"):
        result = last(attack, rule="trimmed_mean")
        assert result.loss > 1.4 * honest("trimmed_mean").loss, attack
        assert taken_in(play(attack, rule="krum")[0]) == 0, attack


@pytest.mark.slow
def test_a_small_inner_product_manipulation_gets_past_krum() -> None:
    rounds, _ = play("ipm", {"epsilon": 0.2}, rule="krum", kind="dirichlet")
    assert taken_in(rounds) > 0.6
    assert rounds[-1].accuracy < 0.5 * honest("krum", "dirichlet").accuracy


@pytest.mark.slow
@pytest.mark.parametrize("attack", ["alie", "min_max", "min_sum"])
def test_attacks_within_the_honest_spread_get_past_distance_rules(attack: Any) -> None:
    """They are built to be let in, and to cost the median what its honest clients alone would reach."""
    args = {"z": 1.5} if attack == "alie" else {}
    result = last(attack, args, rule="median", kind="dirichlet", rounds=15)
    assert result.loss > 1.3 * honest("median", "dirichlet", 15).loss
    if attack != "alie":
        assert taken_in(play(attack, args, rule="multi_krum", kind="dirichlet")[0]) > 0.6


@pytest.mark.slow
def test_mimics_starve_what_their_victim_lacks() -> None:
    """All mimics send one client's update: with unlike clients the average drifts to that client's classes."""
    result = last("mimic", kind="dirichlet", rounds=15)
    assert result.loss > 1.3 * honest("fedavg", "dirichlet", 15).loss
    iid = last("mimic", rounds=12)
    assert iid.accuracy > honest().accuracy - 0.04
