"""A federation: its ten lines and its bookkeeping. What attacks do is in test_attack_effects.py."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest

from fbfl.errors import InvalidInputError
from fbfl.learning import aggregation, attacks, partition, sampling, server_optimizers
from fbfl.learning.federation import Federation
from fbfl.learning.keras_trainer import KerasTrainer
from fbfl.learning.training import TrainingSettings, draws
from tests.support.regression import descend, evaluate, initial, with_attributes
from tests.unit.learning.small_federations import CLIENTS, DIGITS, TEST, federation, flat, linear, shares
from tests.unit.learning.small_trainings import num_traces


def test_ten_lines() -> None:
    fed = Federation(clients=CLIENTS, test=TEST, model="mlp", aggregator="fedavg", learning_rate=0.01, seed=0)
    results = list(fed.rounds(6))
    assert [r.round for r in results] == [1, 2, 3, 4, 5, 6]
    assert results[-1].accuracy > 0.85
    assert results[-1].loss < 0.6 < results[0].loss
    assert results[-1].train_seconds > 0
    assert results[-1].aggregate_seconds > 0
    assert results[-1].attack_success_rate is None
    assert results[-1].aborted is None
    assert results[-1].participants == tuple(range(8))
    assert [array.shape for array in fed.weights] == [(64, 128), (128,), (128, 10), (10,)]
    assert all(array.dtype == np.float32 for array in fed.weights)
    counts = np.bincount(DIGITS.y_test)
    assert np.dot(results[-1].recall, counts) / counts.sum() == pytest.approx(results[-1].accuracy)


def test_a_round_is_the_trainer_and_fedavg_put_together() -> None:
    """By hand: train every client from the global weights, average by sample counts, add."""
    unequal = shares(partition.quantity_skew(DIGITS.y_train, 5, sigma=1.0, seed=3))
    fed = federation(clients=unequal, local_epochs=2, optimizer="sgd", learning_rate=0.1, seed=4)
    trainer = KerasTrainer(linear, TrainingSettings(2, 32, "sgd", 0.1), input_shape=(8, 8), seed=4, lanes=2)
    weights = trainer.initial_weights()
    for number in (1, 2):
        updates = trainer.train(weights, unequal, round_number=number, client_ids=range(5))
        weights = weights + aggregation.fedavg(list(updates), [len(y) for _, y in unequal])
    results = list(fed.rounds(2))
    assert np.array_equal(flat(fed), weights)
    evaluation = trainer.evaluate(weights, *TEST)
    assert (results[-1].accuracy, results[-1].loss) == (evaluation["accuracy"], evaluation["loss"])


def test_streaming_changes_no_byte() -> None:
    """The same rule given as a function of the user's holds all updates at once."""

    def mean(updates: npt.NDArray[Any], weights: list[int]) -> npt.NDArray[Any]:
        return aggregation.fedavg(updates, weights)

    streamed, held = federation(), federation(aggregator=mean)
    assert [r.loss for r in streamed.rounds(2)] == [r.loss for r in held.rounds(2)]
    assert np.array_equal(flat(streamed), flat(held))


def test_a_trainer_of_another_federation_changes_no_byte_and_compiles_nothing() -> None:
    first = federation(attack="label_flipping", malicious=(0,))
    list(first.rounds(2))
    assert isinstance(first.trainer, KerasTrainer)
    traces = num_traces(first.trainer)
    settings = {"aggregator": "krum", "aggregator_args": {"num_byzantine": 2}}
    again, alone = federation(trainer=first.trainer, **settings), federation(**settings)
    assert [r.loss for r in again.rounds(2)] == [r.loss for r in alone.rounds(2)]
    assert np.array_equal(flat(again), flat(alone))
    assert num_traces(first.trainer) == traces
    for other in ({"seed": 1}, {"local_epochs": 2}, {"model": "mlp"}, {"optimizer": "sgd"}, {"batch_size": 16}):
        with pytest.raises(InvalidInputError, match="trainer was made for another"):
            federation(trainer=first.trainer, **other)


def test_the_seed_decides_and_the_lanes_do_not() -> None:
    options = {"model": "mlp", "participation": 0.5, "dropout": 0.2}
    runs = [federation(**options, seed=seed, lanes=lanes) for seed, lanes in ((1, 1), (1, 2), (2, 1))]
    for run in runs:
        list(run.rounds(2))
    assert np.array_equal(flat(runs[0]), flat(runs[1]))
    assert not np.array_equal(flat(runs[0]), flat(runs[2]))


def test_an_attack_that_is_impossible_with_those_who_take_part_is_left_out_of_the_round() -> None:
    attacked = {"attack": "fang_trim_partial", "malicious": (0, 1), "participation": 0.5, "aggregator": "median"}
    fed = federation(**attacked)
    attackers = [len({0, 1} & set(result.participants)) for result in fed.rounds(8)]
    assert {1, 2} <= set(attackers), "the test shows nothing"
    with pytest.raises(InvalidInputError, match="at least 2 attackers"):
        federation(**{**attacked, "malicious": (0,)})


def test_sampling_dropouts_and_stragglers() -> None:
    fed = federation(participation=0.5, dropout=0.3, stragglers=0.5, local_epochs=4, seed=6)
    seen = set()
    for r in fed.rounds(6):
        asked = sampling.participants(8, 0.5, 6, r.round)
        assert r.participants == sampling.without_dropouts(asked, 0.3, 6, r.round)
        assert len(asked) == 4
        seen.add(r.participants)
    assert len(seen) > 3
    assert min(map(len, seen)) < 4


def test_stragglers_train_less() -> None:
    updates = []

    def watch(received: npt.NDArray[Any]) -> Any:
        updates.append(np.linalg.norm(received, axis=1))
        return received.mean(axis=0)

    list(federation(aggregator=watch, local_epochs=8, seed=1).rounds(1))
    list(federation(aggregator=watch, local_epochs=8, seed=1, stragglers=0.5).rounds(1))
    late = [client for client, n in sampling.straggler_epochs(range(8), 8, 0.5, 1, 1).items() if n < 8]
    assert len(late) == 4
    for client in range(8):
        assert (updates[1][client] < updates[0][client]) == (client in late)


def test_a_single_step_a_round_is_sgd_on_a_batch_of_each_client() -> None:
    """By hand, for a linear model: the mean over clients of the gradient on their batches, weighted by samples."""
    unequal = shares(partition.quantity_skew(DIGITS.y_train, 5, sigma=1.0, seed=3))
    fed = federation(clients=unequal, optimizer="sgd", learning_rate=0.5, local_steps=1, batch_size=20, seed=4)
    (kernel, bias), step = fed.weights, np.zeros(650)
    for client, (x, y) in enumerate(unequal):
        batch = draws(4, 1, client, len(y), 1, batch_size=20)[0][0]
        inputs, truth = x[batch].reshape(len(batch), -1).astype(np.float64), np.eye(10)[y[batch]]
        odds = np.exp(inputs @ kernel + bias)
        error = (odds / odds.sum(axis=1, keepdims=True) - truth) / len(batch)
        step -= 0.5 * len(y) * np.concatenate([(inputs.T @ error).ravel(), error.sum(axis=0)])
    list(fed.rounds(1))
    expected = step / len(DIGITS.y_train)
    moved = flat(fed) - np.concatenate([kernel.ravel(), bias])
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(moved, expected, atol=1e-6)


def test_stragglers_take_fewer_steps() -> None:
    whole, late = (federation(local_steps=8, stragglers=share, seed=1) for share in (0.0, 0.5))
    list(whole.rounds(1)), list(late.rounds(1))
    assert not np.array_equal(flat(whole), flat(late))


def test_a_round_without_answers_leaves_the_model() -> None:
    fed = federation(dropout=1.0)
    before = flat(fed)
    (r,) = fed.rounds(1)
    assert r.participants == ()
    assert r.aborted == "no update with a positive weight to average"
    (r,) = federation(dropout=1.0, aggregator="median").rounds(1)
    assert r.aborted == "there are no updates to aggregate"
    assert np.array_equal(flat(fed), before)


def test_clients_without_samples_stay_out() -> None:
    empty = (DIGITS.x_train[:0], DIGITS.y_train[:0])
    fed = federation(clients=[CLIENTS[0], empty, CLIENTS[2]], aggregator="median")
    (r,) = fed.rounds(1)
    assert r.participants == (0, 2)


def spoil(
    honest: npt.NDArray[Any], own: npt.NDArray[Any], rng: np.random.Generator, *, attacker: int
) -> npt.NDArray[Any]:
    own = own.copy()
    own[3] = (np.nan, np.inf)[attacker]
    return own


@pytest.mark.parametrize("aggregator", ["fedavg", "median", "krum"])
def test_updates_that_are_not_finite_are_left_out(aggregator: str) -> None:
    args = {"num_byzantine": 1} if aggregator == "krum" else {}
    fed = federation(attack=spoil, malicious=(1, 5), aggregator=aggregator, aggregator_args=args)
    honest = [client for client in range(8) if client not in (1, 5)]
    (r,) = fed.rounds(1)
    assert r.excluded == (1, 5)
    assert r.participants == tuple(range(8))
    assert r.aborted is None
    assert np.isfinite(flat(fed)).all()
    if aggregator == "krum":
        assert r.selected is not None
        assert r.selected[0] in honest  # numbered as clients, not as rows
    trainer = KerasTrainer(linear, TrainingSettings(), input_shape=(8, 8), lanes=1)
    start = trainer.initial_weights()
    updates = list(trainer.train(start, [CLIENTS[i] for i in honest], round_number=1, client_ids=honest))
    rule = aggregation.resolve(aggregator, **args)
    assert np.array_equal(flat(fed), start + rule(updates, [len(CLIENTS[i][1]) for i in honest]).vector)


def test_training_that_diverges_is_left_out_while_streaming() -> None:
    wild = [(np.full_like(CLIENTS[0][0], 3e38), CLIENTS[0][1]), *CLIENTS[1:]]
    fed = federation(clients=wild)
    (r,) = fed.rounds(1)
    assert r.excluded == (0,)
    assert np.isfinite(flat(fed)).all()


def test_a_model_whose_loss_is_not_finite_is_no_good_round() -> None:
    fed = federation(aggregator=lambda updates: np.full_like(updates[0], 3e38), model="mlp")
    (r,) = fed.rounds(1)
    assert r.aborted is None
    assert np.isfinite(flat(fed)).all()
    assert r.warnings == ("loss is not finite",)
    assert next(federation().rounds(1)).warnings == ()


def test_a_rule_that_cannot_answer_aborts_the_round_and_not_the_run() -> None:
    fed = federation(aggregator="krum", aggregator_args={"num_byzantine": 2}, dropout=0.5, seed=2)
    before, counts = flat(fed), set()
    for r in fed.rounds(8):
        enough = len(r.participants) >= 7
        assert (r.aborted is None) == enough
        assert enough != np.array_equal(flat(fed), before)
        before = flat(fed)
        counts.add(enough)
        if not enough:
            assert r.aborted is not None
            assert "2f+3" in r.aborted or "needs" in r.aborted
    assert False in counts


def test_server_optimizers_apply_to_the_aggregate() -> None:
    plain, fed = federation(), federation(server_optimizer="momentum", server_args={"beta": 0.5, "learning_rate": 2.0})
    start = flat(plain)
    list(plain.rounds(1)), list(fed.rounds(1))
    assert np.allclose(flat(fed) - start, 2 * (flat(plain) - start), atol=1e-6)


def with_statistics() -> Any:
    layers = keras.layers
    return keras.Sequential([layers.Flatten(), layers.Dense(16), layers.BatchNormalization(), layers.Dense(10)])


@pytest.fixture(scope="module")
def normalised() -> KerasTrainer:
    """A trainer of a model with moving statistics, to be shared."""
    return KerasTrainer(with_statistics, TrainingSettings(), input_shape=(8, 8), lanes=1)


@pytest.mark.parametrize("name", server_optimizers.SERVER_OPTIMIZERS)
def test_a_server_optimizer_steps_what_is_trained_and_the_rest_moves_by_the_aggregate(
    name: str, normalised: KerasTrainer, tmp_path: Path
) -> None:
    trained = normalised.trainable
    aggregates, seen = [], []

    def watched(updates: npt.NDArray[Any]) -> npt.NDArray[Any]:
        aggregates.append(aggregation.median(updates))
        return aggregates[-1]

    def watching(update: npt.NDArray[Any], state: dict[str, npt.NDArray[Any]]) -> Any:
        seen.append(update)
        return server_optimizers.SERVER_OPTIMIZERS[name](update, state)

    clients = [(x[:60], y[:60]) for x, y in CLIENTS[:4]]
    options = {"clients": clients, "model": with_statistics, "aggregator": watched, "server_optimizer": watching}
    fed = federation(**options, trainer=normalised)
    before = flat(fed)
    for number, r in enumerate(fed.rounds(16)):
        aggregate, moved = aggregates[number], flat(fed)
        assert np.array_equal(seen[number], aggregate[trained])
        assert np.array_equal(moved[~trained], (before + aggregate)[~trained])
        assert number == 0 or not np.array_equal(moved[trained], (before + aggregate)[trained])
        assert (r.aborted, r.warnings) == (None, ())
        before = moved
    (variance,) = (w for w, t in zip(fed.weights, fed.trainer.spec.tensors, strict=True) if "variance" in t.name)
    assert variance.min() > 0
    assert sum(~trained) == 2 * 16
    fed.save(tmp_path / "state")
    again = federation(**options, trainer=normalised)
    again.load(tmp_path / "state")
    (a,), (b,) = fed.rounds(1), again.rounds(1)
    assert a.loss == b.loss


@pytest.mark.parametrize("server_optimizer", [None, "momentum"])
def test_no_rule_is_bypassed_for_statistics(server_optimizer: str | None, normalised: KerasTrainer) -> None:
    """A liar's variance of -1e6 is one coordinate of an update that krum does not choose."""
    (place,) = (i for i, t in enumerate(normalised.spec.tensors) if "variance" in t.name)

    def lie(honest: npt.NDArray[Any], own: npt.NDArray[Any], rng: np.random.Generator) -> npt.NDArray[Any]:
        parts = normalised.spec.unflatten(own.copy())
        parts[place][:] = -1e6
        return normalised.spec.flatten(parts)

    options = {"model": with_statistics, "trainer": normalised, "attack": lie, "malicious": (3,)}
    options["server_optimizer"] = server_optimizer
    fed = federation(**options, aggregator="krum", aggregator_args={"num_byzantine": 1})
    for r in fed.rounds(2):
        assert r.selected is not None
        assert 3 not in r.selected
        assert r.warnings == ()
    assert fed.weights[place].min() > 0
    fooled = federation(**options)
    (r,) = fooled.rounds(1)
    assert fooled.weights[place].max() < -1e5
    assert r.warnings == ("loss is not finite",)


def test_fltrust_has_its_root_update() -> None:
    root = (DIGITS.x_train[:100], DIGITS.y_train[:100])
    fed = federation(
        aggregator="fltrust", root=root, attack="sign_flipping", malicious=(0, 1, 2, 3, 4), learning_rate=0.01
    )
    (*_, r) = fed.rounds(5)
    assert set(r.selected or ()) == {5, 6, 7}
    assert r.accuracy > 0.7
    with pytest.raises(InvalidInputError, match="fltrust needs root"):
        federation(aggregator="fltrust")


def test_further_figures_are_functions_of_the_scores_or_what_the_trainer_tells() -> None:
    def worst(scores: Any, labels: Any) -> Any:
        return (scores.argmin(axis=1) == labels).mean()

    fed = federation(model=linear, metric=["balanced_accuracy", worst])
    (result,) = fed.rounds(1)
    scores = fed.trainer.logits(fed.trainer.spec.flatten(fed.weights), TEST[0])  # type: ignore[attr-defined]
    assert result.metrics == {
        "balanced_accuracy": pytest.approx(float(np.nanmean(result.recall))),
        "worst": (scores.argmin(axis=1) == TEST[1]).mean(),
    }

    def telling(weights: Any, x: Any, y: Any) -> Any:
        return {**evaluate(weights, x, y), "mae": 0.5, "shape": (1, 2)}

    own = with_attributes(descend, initial, telling)
    (result,) = federation(model="mlp", trainer=own).rounds(1)
    assert result.metrics == {"mae": 0.5}
    with pytest.raises(InvalidInputError, match=r"evaluation is .*; needed: a table of numbers with 'f1'"):
        next(federation(model="mlp", trainer=own, metric="f1").rounds(1))


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("precision", "metric is 'precision'; allowed: f1, balanced_accuracy, or package.module:function"),
        (["f1", "f1"], "allowed: each once"),
    ],
)
def test_metrics_that_are_refused(metric: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        federation(metric=metric)


def test_resolved_plugins_and_functions_are_taken_as_they_are() -> None:
    rule = aggregation.resolve("trimmed_mean", trim=1)
    attack = attacks.resolve("sign_flipping", scale=2.0)
    (a,) = federation(aggregator=rule, attack=attack, malicious=[3]).rounds(1)
    (b,) = federation(
        aggregator="trimmed_mean",
        aggregator_args={"trim": 1},
        attack="sign_flipping",
        attack_args={"scale": 2.0},
        malicious=[3],
    ).rounds(1)
    assert a.loss == b.loss


def test_several_attacks_follow_each_other() -> None:
    boosted = federation(attack=["sign_flipping", attacks.resolve("scaling", factor=3.0)], malicious=(0,))
    once = federation(attack=attacks.resolve("sign_flipping", scale=3.0), malicious=(0,))
    list(boosted.rounds(2)), list(once.rounds(2))
    assert np.array_equal(flat(boosted), flat(once))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clients": []}, "clients is empty"),
        ({"aggregator": "medain"}, "'medain'"),
        ({"aggregator": "krum"}, "num_byzantine"),
        ({"aggregator": "krum", "aggregator_args": {"num_byzantine": 3}}, "n=8, f=3 needs 9$"),
        (
            {"aggregator": "krum", "aggregator_args": {"num_byzantine": 1}, "participation": 0.5},
            r"n=4, f=1 needs 5 \(participation = 0.5 of 8\)",
        ),
        ({"aggregator": "krum", "aggregator_args": {"f": 1}}, "'f'"),
        ({"attack": "backdor", "malicious": (0,)}, "'backdor'"),
        ({"attack": "backdoor"}, "belong together"),
        ({"malicious": (0,)}, "belong together"),
        ({"attack": "backdoor", "malicious": (8,)}, "malicious holds 8: clients are 0 to 7"),
        ({"attack": "backdoor", "malicious": "01"}, "malicious is '01'; allowed: several numbers"),
        ({"attack": ["backdoor", "scaling"], "malicious": (0,), "attack_args": {"factor": 2.0}}, "exactly one attack"),
        ({"participation": 0.0}, "participation"),
        ({"dropout": 1.5}, "drop-out"),
        ({"stragglers": -1.0}, "straggler"),
        ({"server_optimizer": "fedsgd"}, "server optimizer is 'fedsgd'"),
        ({"server_optimizer": ""}, "server optimizer is ''"),
        ({"server_optimizer": 0.1}, "server optimizer 0.1: must be a function"),
        ({"server_args": {"beta": 0.5}}, "no server_optimizer"),
        ({"aggregator": aggregation.resolve("median"), "aggregator_args": {"trim": 1}}, "has its settings"),
        (
            {"attack": attacks.resolve("scaling"), "malicious": (0,), "attack_args": {"factor": 2.0}},
            "has its settings",
        ),
        ({"server_optimizer": "momentum", "server_args": {"gamma": 1}}, "'gamma'"),
        ({"batch_size": 0}, "batch_size"),
        ({"local_steps": 0}, "local_steps"),
        ({"model": "mpl"}, "'mpl'"),
    ],
)
def test_wrong_arguments_are_refused_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        federation(**options)


@pytest.mark.slow
def test_a_thousand_clients_fit_into_memory() -> None:
    """In a process of its own, since the peak of this one is past."""
    import subprocess
    import sys

    program = """
import resource
import numpy as np
from fbfl.learning.federation import Federation
rng = np.random.default_rng(0)
clients = [(rng.random((60, 28, 28), np.float32), rng.integers(0, 10, 60)) for _ in range(1000)]
fed = Federation(clients=clients, test=clients[0], model="mlp", aggregator="{aggregator}", aggregator_args={args})
(r,) = fed.rounds(1)
assert r.aborted is None
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    peaks = {}
    for aggregator, args in (("fedavg", {}), ("multi_krum", {"num_byzantine": 100, "num_selected": 500})):
        script = program.format(aggregator=aggregator, args=args)
        output = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
        peaks[aggregator] = int(output) / 2**20  # KiB to GiB
    assert peaks["fedavg"] < 1.6
    assert max(peaks.values()) < 2.5


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["iid", "two-class shards"])
def test_the_fused_kernel_changes_no_accuracy_curve(kind: Any) -> None:
    """Ten seeds with Keras's own Adam and with the fused one: no difference beyond what chance explains."""
    curves: dict[bool, Any] = {}
    for fused in (False, True):
        curves[fused] = []
        for seed in range(10):
            if kind == "iid":
                parts = partition.iid(DIGITS.y_train, 10, seed=seed)
            else:
                parts = partition.shards(DIGITS.y_train, 10, shards_per_client=2, seed=seed)
            fed = federation(clients=shares(parts), model="mlp", learning_rate=0.005, fused=fused, seed=seed)
            curves[fused].append([r.accuracy for r in fed.rounds(8)])
    exact, fast = np.array(curves[False]), np.array(curves[True])
    assert exact[:, -1].mean() > (0.85 if kind == "iid" else 0.3)
    difference = (exact - fast).mean(axis=0)
    error = np.sqrt((exact.var(axis=0, ddof=1) + fast.var(axis=0, ddof=1)) / 10)
    assert (np.abs(difference) < 2 * error).all()
    assert np.abs(difference).max() < 0.01
