"""The attacks on real digits: each does what its paper says, and the rules stop what theory says they stop.

The model is a softmax regression in NumPy, trained by full-batch steps, so that a federation takes well under a second.
"""

import functools
from dataclasses import dataclass

import numpy as np
import pytest
from sklearn.datasets import load_digits

from fbfl.learning import aggregation, attacks, partition
from fbfl.learning.metrics import accuracy, attack_success_rate, detection, per_class_recall

CLIENTS, ROUNDS, STEPS, RATE = 10, 12, 12, 0.9


@functools.cache
def digits():
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32).reshape(-1, 8, 8)
    order = np.random.default_rng(0).permutation(len(y))
    return x[order[:1500]], y[order[:1500]], x[order[1500:]], y[order[1500:]]


def logits(weights, x):
    flat = np.hstack([x.reshape(len(x), -1), np.ones((len(x), 1), np.float32)])
    return flat @ weights.reshape(65, 10)


def train(weights, x, y):
    flat = np.hstack([x.reshape(len(x), -1), np.ones((len(x), 1), np.float32)])
    truth = np.eye(10, dtype=np.float32)[y]
    trained = weights.reshape(65, 10).copy()
    for _ in range(STEPS):
        scores = flat @ trained
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        trained -= np.float32(RATE) * flat.T @ (scores / scores.sum(axis=1, keepdims=True) - truth) / len(y)
    return trained.ravel() - weights


@functools.cache
def federate(rule="fedavg", attack=None, malicious=2, rounds=ROUNDS, **settings):
    """Train a federation whose first `malicious` clients attack.

    Settings of the rule start with ``rule_``, the others are the attack's.
    """
    x, y, test_x, test_y = digits()
    rule_settings = {key[5:]: value for key, value in settings.items() if key.startswith("rule_")}
    combine = aggregation.resolve(rule, **rule_settings)
    bad = attacks.resolve(attack, **{k: v for k, v in settings.items() if k[:5] != "rule_"}) if attack else None
    data = [(x[part], y[part]) for part in partition.iid(y, CLIENTS, seed=1)]
    if bad and bad.kind == "data":
        for i in range(malicious):
            data[i] = bad.poison_data(*data[i], np.random.default_rng(i), num_byzantine=malicious, attacker=i)
    weights, state, answer = np.zeros(650, np.float32), {}, None
    for round_number in range(1, rounds + 1):
        updates = np.array([train(weights, *part) for part in data])
        if bad and bad.kind == "update":
            known = updates[malicious:] if bad.knowledge == "honest" else updates[:malicious]
            rngs = [np.random.default_rng([round_number, i]) for i in range(malicious)]
            updates[:malicious] = [
                bad.poison_update(known, own, rng, num_clients=CLIENTS, num_byzantine=malicious)
                for own, rng in zip(updates[:malicious].copy(), rngs, strict=True)
            ]
        root = train(weights, test_x[:50], test_y[:50])
        answer = combine(updates, [len(p[1]) for p in data], state=state, round_number=round_number, root_update=root)
        weights, state = weights + answer.vector, answer.state
    return Result(weights, answer)


@dataclass(frozen=True)
class Result:
    weights: np.ndarray
    answer: aggregation.Aggregate

    @property
    def accuracy(self):
        return accuracy(logits(self.weights, digits()[2]), digits()[3])

    @property
    def recall(self):
        return per_class_recall(logits(self.weights, digits()[2]), digits()[3], 10)

    def success(self, attack, **settings):
        x, labels, target = attacks.resolve(attack, **settings).triggered(*digits()[2:])
        return attack_success_rate(logits(self.weights, x), labels, target)

    def caught(self):
        return detection(self.answer.selected, CLIENTS, (0, 1)).recall


ROBUST = {
    "krum": {"rule_num_byzantine": 2},
    "multi_krum": {"rule_num_byzantine": 2, "rule_num_selected": 6},
    "trimmed_mean": {"rule_trim": 2},
    "median": {},
    "geometric_median": {},
    "centered_clipping": {},
    "fltrust": {},
    "dnc": {"rule_num_byzantine": 2},
}


def test_without_attack_every_rule_learns():
    assert federate().accuracy > 0.9
    for rule, settings in ROBUST.items():
        assert federate(rule, **settings).accuracy > 0.9, rule


@pytest.mark.parametrize(
    ("attack", "setting", "value"),
    [("model_poisoning", "std", 20.0), ("sign_flipping", "scale", 8.0), ("ipm", "epsilon", 5.0)],
)
def test_large_updates_ruin_the_mean_and_no_robust_rule(attack, setting, value):
    assert federate(attack=attack, **{setting: value}).accuracy < 0.75
    for rule, settings in ROBUST.items():
        assert federate(rule, attack, **{setting: value}, **settings).accuracy > 0.88, rule


def test_the_same_value_everywhere_drags_the_mean_along():
    """A softmax does not see a constant added to all its weights, so it is the weights that tell."""
    drift = federate(attack="same_value", value=100.0).weights.mean()
    assert drift == pytest.approx(ROUNDS * 20.0, rel=0.01)
    assert abs(federate("median", "same_value", value=100.0).weights.mean()) < 1


def test_ipm_below_its_bound_only_slows_the_mean():
    assert federate(attack="ipm", epsilon=0.5).accuracy > 0.88


def test_label_flipping_lowers_accuracy_and_targeted_flipping_the_recall_of_its_source():
    clean = federate()
    assert federate(attack="label_flipping", malicious=5).accuracy < clean.accuracy - 0.1
    targeted = federate(attack="targeted_label_flipping", malicious=5, source=1, target=7)
    assert targeted.recall[1] < clean.recall[1] - 0.2
    others = [c for c in range(10) if c not in (1, 7)]
    assert np.abs(targeted.recall[others] - clean.recall[others]).max() < 0.1


def test_data_noise_slows_learning_down():
    assert federate(attack="data_poisoning", malicious=10, std=2.0).accuracy < federate().accuracy - 0.03


@pytest.mark.parametrize("attack", ["backdoor", "distributed_backdoor"])
def test_backdoors_get_in_past_the_mean_and_leave_the_clean_task_alone(attack):
    """In the distributed one nobody trains on the whole trigger that the test shows."""
    settings = {"fraction": 0.8, "target": 2}
    poisoned = federate(attack=attack, malicious=4, rounds=30, **settings)
    assert poisoned.success(attack, target=2) > 0.9
    assert poisoned.accuracy > 0.85
    assert federate(rounds=30).success(attack, target=2) < 0.3


def test_edge_cases_turn_rare_samples():
    settings = {"source": 7, "target": 1, "fraction": 0.3}
    poisoned = federate(attack="edge_case", malicious=6, **settings)
    assert poisoned.success("edge_case", **settings) > federate().success("edge_case", **settings) + 0.2
    assert poisoned.accuracy > 0.85


@pytest.mark.parametrize("rule", ["krum", "multi_krum", "dnc", "fltrust"])
def test_rules_that_select_leave_sign_flippers_out(rule):
    assert federate(rule, "sign_flipping", rounds=3, scale=8.0, **ROBUST[rule]).caught() == 1


@pytest.mark.parametrize("attack", ["min_max", "min_sum"])
def test_attacks_inside_the_honest_spread_get_past_multi_krum(attack):
    assert federate("multi_krum", attack, **ROBUST["multi_krum"]).caught() < 1


def test_fangs_krum_attack_takes_krum_over():
    settings = {"malicious": 3, "rule_num_byzantine": 3, "rounds": 12}
    result = federate("krum", "fang_krum", **settings)
    assert result.answer.selected[0] < 3
    assert result.accuracy < federate("krum", "sign_flipping", scale=8.0, **settings).accuracy - 0.03


def test_mimic_makes_one_client_count_three_times():
    selected = federate("fedavg", "mimic", rounds=1, victim=0)
    honest = federate(rounds=1)
    assert np.abs(selected.weights - honest.weights).max() > 1e-4
    assert selected.accuracy > 0.8, "harmless with IID data"
