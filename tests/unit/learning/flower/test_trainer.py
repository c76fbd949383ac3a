"""Flower apps as trainers, with a stand-in for the app's process; tests/e2e/test_flower.py has real ones."""

import math
from pathlib import Path

import numpy as np
import pytest

import fbfl
from fbfl.errors import FbflError, InvalidInputError
from fbfl.learning.datasets import Dataset
from fbfl.learning.federation import Federation
from fbfl.learning.flower import trainer as flower
from fbfl.learning.flower.trainer import FlowerTrainer, standing_for
from fbfl.tensors import Vector
from tests.support import flower_node


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the folder of an app that the stand-in serves."""
    _serve(monkeypatch, flower_node.HONEST)
    return flower_node.app_in(tmp_path / "app")


def _serve(monkeypatch: pytest.MonkeyPatch, node: str) -> None:
    monkeypatch.setattr(flower, "_runner", lambda app: flower_node.command(node))


def _updates(trainer: FlowerTrainer) -> list[Vector]:
    data: Dataset = standing_for(trainer.app, trainer.servers)
    clients = [(data.x_train[:1], data.y_train[:1])] * trainer.servers
    start = trainer.initial_weights()
    return list(trainer.train(start, clients, round_number=1, client_ids=range(trainer.servers)))


def test_tensors_are_the_arrays_of_floating_point(app: str) -> None:
    trainer = FlowerTrainer(app=app, servers=3)
    assert [(tensor.name, tensor.shape) for tensor in trainer.spec.tensors] == [("kernel", (2, 3)), ("bias", (3,))]
    assert trainer.initial_weights().tolist() == [0, 1, 2, 3, 4, 5, 0, 0, 0]
    updates = _updates(trainer)
    assert [update.tolist() for update in updates] == [[node + 1.0] * 9 for node in range(3)]
    assert [trainer.counted(node) for node in range(3)] == [1, 2, 3]


@pytest.mark.parametrize("lanes", [1, 3])
def test_figures_are_means_weighted_by_examples(app: str, lanes: int) -> None:
    trainer = FlowerTrainer(app=app, servers=3, lanes=lanes)
    _updates(trainer)
    figures = trainer.evaluate(trainer.initial_weights(), np.zeros(1), np.zeros(1))
    assert figures["accuracy"] == pytest.approx(3 / 60)
    assert figures["loss"] == 15
    assert figures["fit"] == pytest.approx((0 * 1 + 0.5 * 2 + 1 * 3) / 6)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (
            "lambda n, r, a: ({'num-examples': 1}, {})",
            r"node 0: returned array 'kernel' of the shape none; needed: \[2, 3\]",
        ),
        (
            "lambda n, r, a: ({'num-examples': 1}, {k: v[:1] if v.ndim else v for k, v in a.items()})",
            r"of the shape \[1, 3\]",
        ),
        ("lambda n, r, a: ({'num-examples': 1}, {**a, 'more': a['bias']})", r"'more' of the shape \[3\]; needed: none"),
        (
            "lambda n, r, a: ({'num-examples': 1}, {k: v.astype(int) for k, v in a.items()})",
            "'kernel' of int64; needed: float32",
        ),
        ("lambda n, r, a: ({}, a)", "its metric 'num-examples' is None; needed: a whole number from 1"),
        ("lambda n, r, a: ({'num-examples': 0}, a)", "'num-examples' is 0; needed"),
        ("lambda n, r, a: ({'num-examples': 1.5}, a)", "'num-examples' is 1.5; needed"),
        ("lambda n, r, a: ({'num-examples': float('nan')}, a)", "'num-examples' is nan; needed"),
        ("lambda n, r, a: ({'num-examples': float('inf')}, a)", "'num-examples' is inf; needed"),
        ("lambda n, r, a: exit(3)", "its process ended with status 3 during train of node 0"),
    ],
)
def test_updates_that_are_none(app: str, monkeypatch: pytest.MonkeyPatch, node: str, message: str) -> None:
    _serve(monkeypatch, node)
    with pytest.raises(FbflError, match=message):
        _updates(FlowerTrainer(app=app, servers=1))


def test_an_update_that_is_not_finite_is_left_out(app: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _serve(monkeypatch, "lambda n, r, a: ({'num-examples': 1}, moved(a, 1e300 if n else 1))")
    (result,) = Federation(trainer="flower", trainer_args={"app": app, "servers": 3}).rounds(1)
    assert result.excluded == (1, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"servers": 0}, "servers is 0; allowed: 1 or more"),
        ({"timeout": 0.0}, "timeout is 0; allowed: more than 0 seconds"),
        ({"config": 3}, "config is 3; allowed: a table, or KEY=VALUE"),
        ({"model": "cnn"}, "model is 'cnn', but a Flower app has its own; allowed: its default"),
        ({"settings": fbfl.learning.training.TrainingSettings(batch_size=8)}, "batch_size is 8, but a Flower app"),
    ],
)
def test_arguments_that_are_refused(app: str, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        FlowerTrainer(app=app, **arguments)  # type: ignore[arg-type]  # refused


def test_an_app_without_an_environment(app: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInputError, match=f"has no environment here; needed: fbfl flower prepare {app}"):
        FlowerTrainer(app=app)


def test_a_federation_of_an_app(app: str) -> None:
    federation = Federation(trainer="flower", trainer_args={"app": app, "servers": 3}, participation=0.67)
    first, second = federation.rounds(2)
    moved = sum((node + 1) * (node + 1) for node in first.participants) / sum(node + 1 for node in first.participants)
    assert first.loss == pytest.approx(15 + 6 * moved)
    assert math.isclose(
        first.metrics["fit"],
        sum(0.5 * n * (n + 1) for n in first.participants) / sum(n + 1 for n in first.participants),
    )
    assert second.accuracy == pytest.approx(3 / 60)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"clients": [([[1.0]], [0])]}, "clients is given; allowed with a Flower app: none"),
        ({"test": ([[1.0]], [0])}, "test is given; allowed with a Flower app: none"),
        ({"attack": "label_flipping", "malicious": [0]}, "attack changes samples; allowed where"),
        ({"stragglers": 1.0}, "stragglers is 1; allowed with a Flower app: 0"),
    ],
)
def test_federations_that_are_refused(app: str, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        list(Federation(**arguments, trainer="flower", trainer_args={"app": app}, local_epochs=1).rounds(1))  # type: ignore[arg-type]  # refused


def test_a_run_records_the_examples_of_its_nodes(app: str, tmp_path: Path) -> None:
    settings = fbfl.RunSettings(trainer="flower", app=app, servers=4, rounds=2, consensus="pbft")
    run = fbfl.run(settings, tmp_path / "run")
    assert [[update.samples for update in record.updates] for record in run.rounds] == [[1, 2, 3, 4]] * 2
    assert run.settings.aggregator == "fedavg"
    assert run.summary["final_accuracy"] == pytest.approx(4 / 100)
    assert run.metrics[0]["loss"] == pytest.approx(15 + 6 * 3)
    assert run.audit() == ()
