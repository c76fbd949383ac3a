"""The federation on a chain computes what the one without a chain computes, byte for byte."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fbfl.audit import audit
from fbfl.chain.digests import draw_seed
from fbfl.chain.queries import block_listing
from fbfl.errors import InvalidInputError
from fbfl.experiments import single_run
from fbfl.experiments.run_store import Run
from fbfl.learning.aggregation import Aggregate, AggregationRule, resolve
from fbfl.learning.federation import Federation
from fbfl.settings import RunSettings
from fbfl.simulation import Simulation
from tests.support.federations import federation


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"aggregator": "krum", "aggregator_args": {"num_byzantine": 1}, "attack": "label_flipping", "malicious": 1},
        pytest.param(
            {"aggregator": "centered_clipping", "attack": "sign_flipping", "malicious": 1}, marks=pytest.mark.slow
        ),
        {"aggregator": "dnc", "aggregator_args": {"num_byzantine": 1, "coordinates": 5}, "partition": "shards"},
        pytest.param({"aggregator": "signguard", "partition": "shards"}, marks=pytest.mark.slow),
        pytest.param({"aggregator": "random_selection", "partition": "shards"}, marks=pytest.mark.slow),
        pytest.param(
            {"aggregator": "fldetector", "aggregator_args": {"window": 1}, "attack": "sign_flipping", "malicious": 1},
            marks=pytest.mark.slow,
        ),
        pytest.param({"aggregator": "flame", "partition": "shards"}, marks=pytest.mark.slow),
    ],
    ids=lambda settings: settings.get("aggregator", "fedavg"),
)
def test_with_and_without_a_chain(tmp_path: Path, settings: Any) -> None:
    if settings.get("partition") == "shards":
        settings = {**settings, "partition_args": {"shards_per_client": 2}}
    servers = 5
    on_chain = federation(tmp_path, servers=servers, devices=servers, rounds=3, seed=4, **settings)
    chosen = settings.get("aggregator", "fedavg")
    rule = resolve(chosen, **settings.get("aggregator_args", {}))
    alone = Federation(
        [server.samples.training_set(1) for server in on_chain.servers],
        (on_chain.dataset.x_test, on_chain.dataset.y_test),
        aggregator=_drawing_as(on_chain, rule) if rule.draws else chosen,
        aggregator_args={} if rule.draws else settings.get("aggregator_args"),
        attack=settings.get("attack"),
        malicious=range(settings.get("malicious", 0)),
        seed=4,
    )
    for theirs, ours in zip(on_chain.rounds(), alone.rounds(3), strict=True):
        assert theirs.record.status == "final"
        assert (theirs.accuracy, theirs.loss) == (ours.accuracy, ours.loss)
    assert on_chain.weights.tobytes() == on_chain.plan.spec.flatten(alone.weights).tobytes()
    assert audit(on_chain.ledger, on_chain.store, on_chain.task).passed


def _drawing_as(on_chain: Simulation, rule: AggregationRule) -> Callable[..., Aggregate]:
    """The rule, drawing from what the chain draws: a federation has a seed instead, which everybody may know."""

    def drawn(updates: Any, weights: Any, state: Any, clients: Any, round_number: Any) -> Any:
        ledger, task = on_chain.ledger, on_chain.task.id
        closing = ledger.closing_hash(task, round_number)
        assert closing is not None
        seed = draw_seed(closing, ledger.accumulator(task, round_number), round_number)
        return rule(updates, weights, state=state, clients=clients, seed=seed, round_number=round_number)

    return drawn


@pytest.mark.parametrize(
    "settings",
    [
        {"aggregator": "bulyan", "aggregator_args": {"num_byzantine": 1}, "attack": "min_max", "malicious": 2},
        {
            "attack": ["backdoor", "scaling"],
            "attack_args": [{"target": 3}, {"factor": 2.0}],
            "malicious": 2,
            "partition": "dirichlet",
            "partition_args": {"alpha": 0.5},
        },
        pytest.param(
            {"aggregator": "foolsgold", "attack": "ipm", "malicious": 3, "learning_rate": 0.003}, marks=pytest.mark.slow
        ),
        {"participation": 0.4, "draw": "chain", "dropout": 0.2, "aggregator": "median"},
        {
            "participation": 0.6,
            "dropout": 0.4,
            "stragglers": 0.5,
            "local_epochs": 3,
            "proximal": 0.1,
            "optimizer": "sgd",
            "learning_rate": 0.1,
            "schedule": "exponential",
            "schedule_args": {"decay": 0.5},
            "aggregator": "centered_clipping",
            "server_optimizer": "fedadam",
            "server_optimizer_args": {"learning_rate": 0.02},
            "metric": ["f1", "balanced_accuracy"],
        },
    ],
    ids=lambda settings: settings.get("server_optimizer") or settings.get("aggregator", "fedavg"),
)
def test_experiments_with_and_without_the_chain(settings: Any) -> None:
    """An experiment with `chain = false` has the same learning curve and model."""
    chosen = RunSettings(dataset="digits", servers=8, devices=11, rounds=2, seed=5, **settings)
    whole, alone = (single_run.play(Run(chosen, chain), lanes=1) for chain in (True, False))
    assert whole.model_sha256 == alone.model_sha256
    for ours, theirs in zip(alone.rounds, whole.rounds, strict=True):
        assert ours == {name: theirs[name] for name in ours}
    assert ("attack_success_rate" in alone.rounds[0]) == ("backdoor" in settings.get("attack", ""))


def test_an_experiment_begins_each_run_as_if_it_were_the_first(tmp_path: Path) -> None:
    """Runs share a compiled trainer and begin on copies of one chain: to the last hash as on a chain of its own."""
    settings: dict[str, Any] = {"servers": 5, "devices": 5, "rounds": 2, "seed": 5}
    run = Run(RunSettings(dataset="digits", **settings), listing=True)
    single_run.play(
        Run(RunSettings(dataset="digits", **{**settings, "rounds": 1, "malicious": 1, "attack": "backdoor"}))
    )
    played = single_run.play(run)
    alone = federation(tmp_path, **settings)
    for line, result in zip(played.rounds, alone.rounds(), strict=True):
        expected = result.line()
        assert {name: line[name] for name in line if "seconds" not in name} == {
            name: expected[name] for name in expected if "seconds" not in name
        }
    assert played.listing == block_listing(alone.ledger, alone.task.id)


def test_a_trainer_of_another_federation_has_to_train_alike(tmp_path: Path) -> None:
    first = federation(tmp_path, seed=1)
    with pytest.raises(InvalidInputError, match="trainer was made for another"):
        federation(tmp_path, seed=2, simulation={"trainer": first.trainer})
