"""The settings of McMahan et al. 2017 and the rules by which they count rounds and choose the learning rate."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from experiments.external import mcmahan2017
from fbfl.learning import datasets, partition
from fbfl.learning.datasets import Dataset, load
from tests.support.models import built as build


@pytest.mark.parametrize(
    ("accuracies", "rounds"),
    [
        ([0.90, 0.96, 0.98], 2.5),
        ([0.90, 0.96, 0.93, 0.98], 3.5),  # The dip is made level first.
        ([0.90, 0.97], 2.0),
        ([0.99, 0.10], 1.0),
        ([0.90, 0.96], None),
        ([], None),
    ],
)
def test_the_best_so_far_is_interpolated_where_it_crosses_the_target(
    accuracies: list[float], rounds: float | None
) -> None:
    assert mcmahan2017.rounds_to_target(accuracies, 0.97) == (None if rounds is None else pytest.approx(rounds))


def test_who_looks_at_every_tenth_round_counts_in_tens() -> None:
    assert mcmahan2017.rounds_to_target([0.90, 0.96, 0.98], 0.97, every=10) == pytest.approx(25)
    assert mcmahan2017.rounds_to_target([0.98], 0.97, every=10) == 10


@pytest.mark.parametrize("name", ["iid", "shards"])
def test_each_of_100_clients_has_600_samples_and_two_shards_hold_few_digits(name: str) -> None:
    labels = np.repeat(np.arange(10), 6000)
    split = partition.resolve(name, **mcmahan2017.PARTITION_SETTINGS[name])
    parts = split(labels, mcmahan2017.NUM_CLIENTS, seed=0)
    assert [part.size for part in parts] == [600] * 100
    digits = max(np.unique(labels[part]).size for part in parts)
    assert digits == 10 if name == "iid" else digits <= 2


def test_samples_keep_the_order_of_a_variant_that_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def federation(
        clients: list[tuple[npt.NDArray[Any], npt.NDArray[Any]]],
        test: tuple[npt.NDArray[Any], npt.NDArray[Any]],
        **settings: Any,
    ) -> Any:
        seen.update(settings, labels=clients[0][1])
        return type("Idle", (), {"rounds": lambda self, n: iter([type("Round", (), {"accuracy": 1.0})])})()

    monkeypatch.setattr(datasets, "load", lambda name: bytes_of(load("digits")))
    monkeypatch.setattr(mcmahan2017, "Federation", federation)
    for order in ("digit by digit", "shuffled once"):
        cells = [cell for cell in mcmahan2017.CELLS if cell["variant"].endswith(order)]
        assert "shards" in {cell["partition"] for cell in cells}
        mcmahan2017.run(cells[-1], 0)
        assert seen["shuffle"] is False
        assert (np.diff(seen["labels"].astype(int)) >= 0).all() == (order == "digit by digit")
    mcmahan2017.run(cells[0] | {"variant": "ours"}, 0)
    assert seen["shuffle"] is True


def line(rate: str, seed: int, rounds: str) -> dict[str, str]:
    return {"learning_rate": rate, "seed": str(seed), "rounds_to_target": rounds}


def test_the_learning_rate_with_the_fewest_rounds_is_chosen_on_the_seeds_that_all_have() -> None:
    slow, fast = [line("0.1", 0, "50.0"), line("0.1", 1, "20.0")], [line("0.2", 0, "40.0"), line("0.2", 1, "90.0")]
    assert mcmahan2017.fewest_rounds([*slow, *fast]) == slow
    assert mcmahan2017.fewest_rounds([*slow[:1], *fast]) == fast
    missed = [line("0.4", 0, ""), line("0.4", 1, "1.0")]
    assert mcmahan2017.fewest_rounds([*slow, *missed]) == slow
    assert mcmahan2017.fewest_rounds(missed[:1]) == []
    assert mcmahan2017.fewest_rounds([]) == []


def test_models_have_the_published_numbers_of_parameters_and_the_weights_of_their_variant() -> None:
    sizes = {name: build(name, input_shape=(28, 28)).count_params() for name in mcmahan2017.TARGETS}
    assert sizes == {"2nn": 199_210, "cnn": 1_663_370}
    for variant in ("weights 0.1", "weights 0.01", "weights 1/sqrt(n)"):
        deviation = mcmahan2017.VARIANTS[variant].initial_std
        assert deviation is not None
        for name, layers in {"2nn": (784, 200, 200), "cnn": (25, 800, 3136, 512)}.items():
            model = build(mcmahan2017.model_of(name, deviation), input_shape=(28, 28))
            assert model.count_params() == sizes[name]
            for kernel, inputs in zip(model.weights[::2], layers, strict=True):
                # What cutting at two deviations leaves of the normal law's.
                assert np.std(kernel.numpy()) == pytest.approx(0.88 * deviation(inputs), rel=0.1)


@pytest.mark.parametrize("variant", ["ours", "pixels -0.5 to 0.5"])
def test_a_run_ends_at_the_target(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "load", lambda name: bytes_of(load("digits")))
    monkeypatch.setattr(mcmahan2017, "TARGETS", {"2nn": 0.8})
    cell = {"model": "2nn", "partition": "iid", "fraction": "0.1", "epochs": "1", "batch_size": "10"}
    outcome = mcmahan2017.run(cell | {"variant": variant, "learning_rate": "0.464"}, 0)
    assert set(outcome) == set(mcmahan2017.STUDY.outcomes)
    assert float(outcome["best_accuracy"]) >= 0.8
    assert int(outcome["rounds_run"]) - 1 < float(outcome["rounds_to_target"]) <= int(outcome["rounds_run"]) < 174


def bytes_of(digits: Dataset) -> Dataset:
    return replace(digits, **{name: (getattr(digits, name) * 255).astype(np.uint8) for name in ("x_train", "x_test")})


def test_the_section_has_a_line_per_cell_run_or_not() -> None:
    cell = next(cell for cell in mcmahan2017.CELLS if cell["partition"] == "shards")
    rows = [
        cell | {"seed": str(seed), "rounds_to_target": rounds, "rounds_run": "9", "best_accuracy": "", "seconds": "5"}
        for seed, rounds in enumerate(("300.0", "364.0"))
    ]
    text = mcmahan2017.section(rows)
    (line,) = [line for line in text.splitlines() if "| 664 | ours" in line]
    assert "| 332.0 ± 406.6 | 0.50 |" in line
    cells = {tuple(cell[key] for key in (*mcmahan2017.SETTINGS, "variant")) for cell in mcmahan2017.CELLS}
    assert text.count("| not run |") == len(cells) - 1
    rows[1]["rounds_to_target"] = ""
    assert "| 300.00, > 9 |" in mcmahan2017.section([rows[0] | {"rounds_to_target": "300.00"}, rows[1]])
