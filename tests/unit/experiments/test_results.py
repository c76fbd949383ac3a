"""Stored runs, tables, pictures and the report of an experiment whose numbers are given."""

import dataclasses
import html
import json
import math
import re
import tomllib
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fbfl.errors import InvalidInputError, StorageError
from fbfl.experiments import definition, figures, report, results
from fbfl.experiments.definition import Experiment
from fbfl.experiments.run_store import LINES, FinishedRun, FinishedRuns, Run
from fbfl.runs.measures import text_of
from fbfl.settings import RunSettings

DEFINITION = """
title = "T"
seeds = 3
[base]
rounds = 2
[[variants]]
label = "a, plain"
[[variants]]
label = "b"
settings = { local_epochs = 2 }
[[claims]]
text = "b ends higher"
measure = "final_accuracy"
variant = "b"
relation = "higher"
than = "a, plain"
[[claims]]
text = "b starts with less loss"
measure = "mean_loss"
rounds = 1
variant = "b"
relation = "lower"
than = "a, plain"
[[claims]]
text = "b ends much higher"
measure = "final_accuracy"
variant = "b"
relation = "higher"
than = "a, plain"
margin = 0.5
remark = "Because of this test."
"""


def a_run(run: Run) -> FinishedRun:
    settings = run.settings
    gain = 0.1 * (settings.local_epochs - 1) + 0.01 * settings.seed
    noise = 0.25 * (settings.seed - 1) * settings.local_epochs
    first = {"round": 1, "accuracy": 0.5, "loss": 2 + noise - 0.125 * settings.local_epochs, "leader": "0xA"}
    last = {"round": 2, "accuracy": 0.6 + gain, "loss": 1.0, "leader": "0xB"}
    return FinishedRun(
        tuple({**line, "seconds": 1.5, "views": 1, "updates": 2, "gas_used": 9} for line in (first, last)), "00"
    )


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    (tmp_path / "x.toml").write_text(DEFINITION)
    return definition.load(tmp_path / "x.toml")


def test_tables_have_a_line_per_run_and_round_and_equal_bytes(experiment: Experiment, tmp_path: Path) -> None:
    results.write_tables(tmp_path, experiment, a_run)
    learning = (tmp_path / "x.csv").read_bytes()
    lines = learning.decode().split("\n")
    assert lines[:2] == [
        "experiment,variant,seed,round,accuracy,loss,attack_success_rate",
        'x,"a, plain",0,1,0.5,1.625,',
    ]
    assert len(lines) == 1 + 2 * 3 * 2 + 1
    costs = (tmp_path / "x-costs.csv").read_text().split("\n")
    assert costs[0] == "experiment,variant,seed,round,leader," + ",".join(definition.COSTS[:-1])
    assert costs[1] == 'x,"a, plain",0,1,0xA,1.5,,,,1,2,9,,,,,'
    results.write_tables(tmp_path, experiment, a_run)
    assert (tmp_path / "x.csv").read_bytes() == learning
    curves = results.read_curves(tmp_path, experiment)
    assert curves.seeds == (0, 1, 2)
    assert curves.measured("b", "accuracy")[0] == [
        line["accuracy"] for line in a_run(Run(RunSettings(local_epochs=2))).rounds
    ]
    assert curves.means("b", "gas_used") == [9, 9, 9]


def test_a_table_of_another_definition_is_refused(experiment: Experiment, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be read"):
        results.read_curves(tmp_path, experiment)
    results.write_tables(tmp_path, experiment, a_run)
    path = tmp_path / "x.csv"
    whole = path.read_text()
    path.write_text(whole.replace("x,b", "x,c"))
    with pytest.raises(InvalidInputError, match="does not belong"):
        results.read_curves(tmp_path, experiment)
    path.write_text("\n".join(line for line in whole.split("\n") if not line.startswith("x,b,2")))
    with pytest.raises(InvalidInputError, match="variant 'b' has the seeds"):
        results.read_curves(tmp_path, experiment)


def test_claims_are_judged_by_means_and_test(experiment: Experiment, tmp_path: Path) -> None:
    results.write_tables(tmp_path, experiment, a_run)
    curves = results.read_curves(tmp_path, experiment)
    assert [report.verdict(claim, curves) for claim in experiment.claims] == ["holds", "not shown", "does not hold"]
    report.write_report(tmp_path / "RESULTS.md", [(experiment, curves)], "results/")
    text = (tmp_path / "RESULTS.md").read_text()
    assert "| a, plain | 0.6100 ± 0.0248 | 1.0000 ± 0.0000 |" in text
    assert "| variant | final accuracy (n = 3) | final loss (n = 3) |" in text
    assert "final accuracy: b: 0.7100 ± 0.0248; a, plain: 0.6100 ± 0.0248; difference +0.1000 ± 0.0000, claimed" in text
    assert "**b ends much higher**: **does not hold**." in text
    assert text.count("Because of this test.") == 1


def test_settings_are_named_as_the_definition_has_them(experiment: Experiment, tmp_path: Path) -> None:
    results.write_tables(tmp_path, experiment, a_run)
    curves = results.read_curves(tmp_path, experiment)
    settings: dict[str, Any] = {
        "partition": "dirichlet",
        "partition_args": {"alpha": 0.5},
        "attack": ["backdoor", "scaling"],
        "attack_args": [{"target": 3, "fraction": 0.5}, {}],
        "signatures": True,
    }
    report.write_report(tmp_path / "x.md", [(dataclasses.replace(experiment, base=settings), curves)], "results/")
    (line,) = (line for line in (tmp_path / "x.md").read_text().splitlines() if "all variants: " in line)
    assert tomllib.loads("\n".join(re.findall(r"`(.+?)`", line))) == settings


def test_further_metrics_have_columns_panels_and_claims_where_there_is_no_accuracy(tmp_path: Path) -> None:
    named = DEFINITION.replace("rounds = 2", 'rounds = 2\nmetric = ["mae", "lab:r2"]', 1)
    (tmp_path / "m.toml").write_text(named.replace("final_accuracy", "final_lab:r2"))
    experiment = definition.load(tmp_path / "m.toml")

    def regression(run: Run) -> FinishedRun:
        finished = a_run(run)
        lines = [
            {**line, "accuracy": None, "metrics": {"mae": 0.5, "lab:r2": line["accuracy"] - 1}}
            for line in finished.rounds
        ]
        return dataclasses.replace(finished, rounds=tuple(lines))

    results.write_tables(tmp_path, experiment, regression)
    columns = (tmp_path / "m.csv").read_text().split("\n")[0]
    assert columns.endswith(",accuracy,loss,attack_success_rate,mae,lab:r2")
    curves = results.read_curves(tmp_path, experiment)
    assert curves.curves == ["loss", "mae", "lab:r2"]
    assert [report.verdict(claim, curves) for claim in experiment.claims] == ["holds", "not shown", "does not hold"]
    report.write_report(tmp_path / "RESULTS.md", [(experiment, curves)], "results/")
    said = (tmp_path / "RESULTS.md").read_text()
    assert "| variant | final loss (n = 3) | final mae (n = 3) | final lab:r2 (n = 3) |" in said
    assert "| b | 1.0000 ± 0.0000 | 0.5000 ± 0.0000 | -0.2900 ± 0.0248 |" in said
    figures.draw(tmp_path, experiment, curves)
    picture = (tmp_path / "m.svg").read_text()
    assert [f"test {name}" in picture for name in ("accuracy", "loss", "mae", "lab:r2")] == [False, True, True, True]


def test_a_metric_that_is_not_finite_after_some_round_is_a_gap_there(tmp_path: Path) -> None:
    named = DEFINITION.replace("rounds = 2", 'rounds = 2\nmetric = "lab:r2"', 1)
    (tmp_path / "m.toml").write_text(named.replace("final_accuracy", "final_lab:r2"))
    experiment = definition.load(tmp_path / "m.toml")

    def undefined(run: Run) -> FinishedRun:
        finished = a_run(run)
        last = 2 if run.settings.seed == 1 else 0  # after this round of one seed it is not known
        lines = [
            {**line, "metrics": {"lab:r2": None if line["round"] == last else line["accuracy"]}}
            for line in finished.rounds
        ]
        return dataclasses.replace(finished, rounds=tuple(lines))

    results.write_tables(tmp_path, experiment, undefined)
    curves = results.read_curves(tmp_path, experiment)
    assert [len(series) for series in curves.measured("b", "lab:r2")] == [2, 2, 2]
    assert [math.isnan(series[-1]) for series in curves.measured("b", "lab:r2")] == [False, True, False]
    figures.draw(tmp_path, experiment, curves)
    assert report.verdict(experiment.claims[0], curves) == "cannot be judged"


def test_an_interval_of_a_rate_stays_a_rate() -> None:
    assert text_of(0.5, 0.25, ".2f", is_rate=True) == "0.50 ± 0.25"
    assert text_of(0.25, 0.5, ".2f", is_rate=True) == "0.25 (0.00 to 0.75)"
    assert text_of(0.75, 0.5, ".2f", is_rate=True) == "0.75 (0.25 to 1.00)"
    assert text_of(1.0, 0.0, ".2f", is_rate=True) == "1.00 ± 0.00"
    assert text_of(0.25, 0.5, ".2f", is_rate=False) == "0.25 ± 0.50"


def test_the_picture_is_the_same_for_the_same_curves(experiment: Experiment, tmp_path: Path) -> None:
    results.write_tables(tmp_path, experiment, a_run)
    curves = results.read_curves(tmp_path, experiment)
    png, svg = figures.draw(tmp_path, experiment, curves)
    first = svg.read_bytes()
    assert png.read_bytes().startswith(b"\x89PNG")
    figures.draw(tmp_path, experiment, curves)
    assert svg.read_bytes() == first


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_curves_that_never_move_are_drawn_without_a_word(experiment: Experiment, tmp_path: Path, value: float) -> None:
    def still(run: Run) -> FinishedRun:
        return FinishedRun(tuple({**line, "loss": value, "accuracy": value} for line in a_run(run).rounds), "00")

    results.write_tables(tmp_path, experiment, still)
    figures.draw(tmp_path, experiment, results.read_curves(tmp_path, experiment))


def diverging(run: Run, rounds: tuple[Any, ...] = (2,)) -> FinishedRun:
    """As `a_run`, but the loss of b is not finite in some rounds."""
    lines = a_run(run).rounds
    if run.settings.local_epochs == 2:
        lines = tuple({**line, "loss": None} if line["round"] in rounds else line for line in lines)
    return FinishedRun(lines, "00", warnings=("loss is not finite",))


def test_a_loss_that_is_not_finite_is_an_empty_cell_and_a_gap(experiment: Experiment, tmp_path: Path) -> None:
    results.write_tables(tmp_path, experiment, diverging)
    assert "x,b,0,2,0.7,,\n" in (tmp_path / "x.csv").read_text()
    curves = results.read_curves(tmp_path, experiment)
    assert curves.has("loss")
    assert [[math.isnan(value) for value in series] for series in curves.measured("b", "loss")] == [[False, True]] * 3
    report.write_report(tmp_path / "RESULTS.md", [(experiment, curves)], "results/")
    assert "| b | 0.7100 ± 0.0248 | – |" in (tmp_path / "RESULTS.md").read_text()
    assert [report.verdict(claim, curves) for claim in experiment.claims] == ["holds", "not shown", "does not hold"]
    assert all(path.stat().st_size > 10_000 for path in figures.draw(tmp_path, experiment, curves))


def test_a_claim_about_what_is_not_finite_cannot_be_judged_unless_another_pair_decides(
    experiment: Experiment, tmp_path: Path
) -> None:
    results.write_tables(tmp_path, experiment, lambda run: diverging(run, (1, 2)))
    curves = results.read_curves(tmp_path, experiment)
    claim = experiment.claims[1]
    assert report.verdict(claim, curves) == "cannot be judged"
    values = {**curves.values, "c": curves.values["a, plain"]}
    worse = dataclasses.replace(claim, variant="a, plain", than=("b", "c"))
    assert report.verdict(worse, results.Curves(values)) == "does not hold"
    report.write_report(tmp_path / "RESULTS.md", [(experiment, curves)], "results/")
    said = (tmp_path / "RESULTS.md").read_text()
    assert "mean loss of the first round: b: –; a, plain: 1.8750" in said
    assert "difference –, claimed < 0: not finite, no test" in said
    nothing = {"b": curves.values["b"]}
    figures.draw(tmp_path, dataclasses.replace(experiment, variants=experiment.variants[1:]), results.Curves(nothing))


UNREADABLE = r"$\frac$ | <b> [/a]"  # as a formula, it ends in an error


@pytest.mark.parametrize("name", ["DEFINITION", "GRID", "COSTLY"])
def test_names_are_drawn_and_tabulated_letter_by_letter(tmp_path: Path, name: str) -> None:
    text, play = {"DEFINITION": (DEFINITION, a_run), "GRID": (GRID, a_cell), "COSTLY": (COSTLY, a_costly_run)}[name]
    for old in ('title = "', 'label = "', 'series = "', 'variant = "', 'than = "', 'text = "'):
        text = text.replace(old, old + "_" + UNREADABLE.replace("\\", "\\\\"))
    (tmp_path / "x.toml").write_text(text)
    experiment = definition.load(tmp_path / "x.toml")
    results.write_tables(tmp_path, experiment, play)
    curves = results.read_curves(tmp_path, experiment)
    _, svg = figures.draw(tmp_path, experiment, curves)
    drawn = html.unescape(svg.read_text())
    names = [rule.label for rule in experiment.grid.rules] if experiment.grid else []
    names += [variant.series or variant.label for variant in experiment.variants if not experiment.grid]
    for each in names:
        assert f"<!-- {each} -->" in drawn
    report.write_report(tmp_path / "RESULTS.md", [(experiment, curves)], "results/")
    said = (tmp_path / "RESULTS.md").read_text()
    assert said.count(UNREADABLE) == 0
    assert said.count(r"\_\$\\frac\$ \| \<b\> \[/a\]") >= 6


LISTS: dict[str, Any] = {
    "attack": ["backdoor", "scaling"],
    "attack_args": [{"target": 3}, {}],
    "malicious": 1,
    "metric": ["f1", "balanced_accuracy"],
}


@pytest.mark.parametrize("settings", [{"aggregator_args": {"trim": 3}}, LISTS], ids=["table", "lists"])
@pytest.mark.parametrize("chain", [True, False])
def test_a_stored_run_is_found_by_its_settings_alone(tmp_path: Path, chain: bool, settings: Any) -> None:
    stored = FinishedRuns(tmp_path / "finished")
    run = Run(RunSettings(rounds=2, **settings), chain)
    other = Run(run.settings.replace(seed=1), chain)
    assert run.name == Run(run.settings.replace(seed=0), chain).name
    assert len({run.name, other.name, Run(run.settings, not chain).name}) == 3
    assert stored.load(run) is None
    stored.save(run, a_run(run))
    warned = dataclasses.replace(a_run(other), warnings=("w",))
    stored.save(other, warned)
    for store in (stored, FinishedRuns(tmp_path / "finished")):
        assert kept(store.load(run)) == kept(a_run(run))
        assert kept(store.load(other)) == kept(warned)
        assert store.load(Run(run.settings, not chain)) is None
    stored.forget([run])
    assert stored.load(run) is None
    assert FinishedRuns(tmp_path / "finished").load(run) is None
    assert kept(FinishedRuns(tmp_path / "finished").load(other)) == kept(warned)


def kept(finished: FinishedRun | None) -> tuple[list[dict[str, Any]], str, tuple[str, ...]]:
    assert finished is not None
    return [dict(line) for line in finished.rounds], finished.model_sha256, finished.warnings


@pytest.mark.parametrize("chain", [True, False])
def test_a_run_that_is_cut_off_or_of_other_defaults_counts_as_none(tmp_path: Path, chain: bool) -> None:
    run, later = Run(RunSettings(rounds=2), chain), Run(RunSettings(rounds=2, seed=1), chain)
    stored = FinishedRuns(tmp_path)
    stored.save(run, a_run(run))
    path = stored.path(run)
    whole = path.read_text()
    path.write_text(whole.replace('"servers": 10', '"servers": 11'))  # a default that has changed since
    assert FinishedRuns(tmp_path).load(run) is None
    path.write_text(whole[:-50])
    assert FinishedRuns(tmp_path).load(run) is None
    stored = FinishedRuns(tmp_path)
    stored.save(later, a_run(later))  # a line that follows a damaged one stands for itself
    stored.save(run, a_run(run))
    for each in (run, later):
        assert kept(FinishedRuns(tmp_path).load(each)) == kept(a_run(each))


def test_runs_without_the_chain_are_lines_of_one_file(tmp_path: Path) -> None:
    stored = FinishedRuns(tmp_path)
    for seed in range(3):
        run = Run(RunSettings(rounds=2, seed=seed), chain=False)
        stored.save(run, a_run(run))
    assert [path.name for path in tmp_path.iterdir()] == [LINES]
    lines = (tmp_path / LINES).read_text().splitlines()
    assert len(lines) == 1 + 3
    (tmp_path / LINES).write_text("\n".join(lines[:2] + lines[3:]) + "\n")  # the user deletes one
    left = [FinishedRuns(tmp_path).load(Run(RunSettings(rounds=2, seed=seed), chain=False)) for seed in range(3)]
    assert [run is None for run in left] == [False, True, False]


def test_the_listing_of_blocks_is_kept_and_written(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(DEFINITION.replace("seeds = 3", "seeds = 1\nlisting = true"))
    experiment = definition.load(tmp_path / "x.toml")
    listing = {"length": 1, "chain": [{"index": 1}]}
    stored = FinishedRuns(tmp_path / "finished")
    for variant in experiment.variants:
        run = experiment.run(variant, 0)
        stored.save(
            run, FinishedRun(a_run(run).rounds, "00", listing if variant.label == "a, plain" else {"length": 0})
        )
    results.write_tables(tmp_path, experiment, FinishedRuns(tmp_path / "finished").get)
    assert json.loads((tmp_path / "x.json").read_text()) == listing


GRID = """
title = "G"
seeds = 3
chain = false
[base]
rounds = 1
servers = 20
[grid]
malicious = [2, 4]
[[grid.rules]]
label = "mean"
settings = { aggregator = "fedavg" }
[[grid.rules]]
label = "Krum"
settings = { aggregator = "krum" }
byzantine = "num_byzantine"
at_most = 3
[[grid.attacks]]
label = "flip"
settings = { attack = "label_flipping" }
[[grid.attacks]]
label = "late"
settings = { attack = "alie" }
malicious = [4]
[[grid.attacks]]
label = "trigger"
settings = { attack = "backdoor" }
measure = "attack_success_rate"
"""


def a_cell(run: Run) -> FinishedRun:
    """Without attack 0.9; flipping costs the mean 0.02 per attacker, Krum half of that; 4 triggers get through."""
    settings, noise = run.settings, 0.001 * run.settings.seed
    cost = 0.02 if settings.aggregator == "fedavg" else 0.01
    line = {"round": 1, "accuracy": 0.9 - cost * settings.malicious + noise, "loss": 1.0}
    if settings.attack == "backdoor":
        line["attack_success_rate"] = 0.05 * settings.malicious + noise - 0.03
    return FinishedRun((line,), "00")


def test_a_grid_says_what_each_rule_withstands(tmp_path: Path) -> None:
    (tmp_path / "g.toml").write_text(GRID)
    experiment = definition.load(tmp_path / "g.toml")
    results.write_tables(tmp_path, experiment, a_cell)
    assert not (tmp_path / "g-costs.csv").exists()
    curves = results.read_curves(tmp_path, experiment)
    report.write_report(tmp_path / "RESULTS.md", [(experiment, curves)], "results/")
    text = (tmp_path / "RESULTS.md").read_text()
    assert "| rule | no attack | flip | late | trigger |" in text
    assert "| mean | 0.901 | 2 | – | 2 |" in text
    assert "| Krum | 0.901 | 4† | 4† | 2 |" in text
    assert "1 round, 3 seeds, without the chain;" in text
    assert all(path.stat().st_size > 10_000 for path in figures.draw(tmp_path, experiment, curves))


COSTLY = """
title = "C"
seeds = 2
against = "servers"
[base]
rounds = 2
[[variants]]
label = "4"
series = "s"
settings = { servers = 4 }
[[variants]]
label = "8"
series = "s"
settings = { servers = 8 }
[[claims]]
text = "more servers, more transactions"
measure = "mean_transactions"
rounds = 2
variant = "8"
relation = "higher"
than = "4"
margin = 5
"""


def a_costly_run(run: Run) -> FinishedRun:
    def line(number: int) -> dict[str, float | str]:
        costs = dict.fromkeys(definition.COSTS, (run.settings.servers + run.settings.seed) * 2**number)
        return {"round": number, "accuracy": 0.5, "loss": 1.0, "leader": "0xA", **costs}

    return FinishedRun((line(1), line(2)), "00")


PANELS = """
title = "P"
seeds = 2
[base]
rounds = 2
[[panels]]
measure = "hashes"
against = "pow_hashes"
[[panels]]
measure = "views"
against = "view_timeout"
[[panels]]
measure = "gas_used"
against = "view_timeout"
"""
POINTS = """
[[variants]]
label = "{label}"
series = "{series}"
settings = {{ {setting} }}
"""


def test_a_picture_against_two_settings_has_the_points_of_each(tmp_path: Path) -> None:
    settings = ("pow_hashes = 4", "pow_hashes = 8", "view_timeout = 3", "view_timeout = 9")
    points = (POINTS.format(label=each, series=each.split()[0], setting=each) for each in settings)
    (tmp_path / "p.toml").write_text(PANELS + "".join(points))
    experiment = definition.load(tmp_path / "p.toml")

    def a_run(run: Run) -> FinishedRun:
        costs = {"views": run.settings.view_timeout, "gas_used": 7}
        costs |= {"hashes": run.settings.pow_hashes} if run.settings.pow_hashes < 9 else {}
        return FinishedRun(tuple({"round": n, "accuracy": 0.5, "loss": 1.0, **costs} for n in (1, 2)), "00")

    results.write_tables(tmp_path, experiment, a_run)
    curves = results.read_curves(tmp_path, experiment)
    svg = figures.draw(tmp_path, experiment, curves)[1].read_text()
    drawn = re.findall("<!-- (.* hashes|.* timeout|.* per round) -->", svg)
    assert drawn == [
        "pow hashes",
        "hashes per round",
        "view timeout",
        "views per round",
        "view timeout",
        "gas per round",
    ]
    report.write_report(tmp_path / "RESULTS.md", [(experiment, curves)], "results/")
    said = (tmp_path / "RESULTS.md").read_text()
    assert "| variant | hashes per round (n = 2) | views per round (n = 2) | gas per round (n = 2) |" in said
    assert "| view_timeout = 3 | – | 3.0000 ± 0.0000 | 7.0000 ± 0.0000 |" in said


def test_a_cost_that_no_run_measured_has_no_column(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(COSTLY)
    experiment = definition.load(tmp_path / "c.toml")
    for added in ({}, {"hashes": 3}):
        results.write_tables(tmp_path, experiment, partial(_with_cost, added))
        assert ("hashes" in (tmp_path / "c-costs.csv").read_text()) == bool(added)


def test_costs_that_an_earlier_version_did_not_measure_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(COSTLY)
    experiment = definition.load(tmp_path / "c.toml")

    def earlier(run: Run) -> FinishedRun:
        lines = (
            {key: value for key, value in line.items() if key != "transactions"} for line in a_costly_run(run).rounds
        )
        return FinishedRun(tuple(lines), "00")

    results.write_tables(tmp_path, experiment, earlier)
    curves = results.read_curves(tmp_path, experiment)
    assert curves.has("gas_used")
    assert not curves.has("transactions")
    with pytest.raises(InvalidInputError, match="variant '4': transactions was not measured"):
        figures.draw(tmp_path, experiment, curves)


def test_an_experiment_whose_tables_lack_something_is_left_out_of_the_report(
    experiment: Experiment, tmp_path: Path
) -> None:
    (tmp_path / "c.toml").write_text(COSTLY)
    costly = definition.load(tmp_path / "c.toml")
    results.write_tables(tmp_path, experiment, a_run)
    results.write_tables(tmp_path, costly, a_run)  # without the costs that it claims something about
    found = [(one, results.read_curves(tmp_path, one)) for one in (costly, experiment)]
    (line,) = report.write_report(tmp_path / "RESULTS.md", found, "results/")
    assert line.startswith("c: variant '4': cpu_seconds was not measured")
    said = (tmp_path / "RESULTS.md").read_text()
    assert "## x" in said
    assert "c](#c)" not in said


def test_costs_are_tabulated_as_means_of_rounds_and_can_be_claimed(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(COSTLY)
    experiment = definition.load(tmp_path / "c.toml")
    results.write_tables(tmp_path, experiment, a_costly_run)
    curves = results.read_curves(tmp_path, experiment)
    assert curves.means("4", "transactions") == [12, 15]
    assert report.verdict(experiment.claims[0], curves) == "holds"
    report.write_report(tmp_path / "RESULTS.md", [(experiment, curves)], "results/")
    row = next(line for line in (tmp_path / "RESULTS.md").read_text().split("\n") if line.startswith("| 8 |"))
    assert row == "| 8 |" + " 25.5 ± 19.1 |" * 5
    assert all(path.stat().st_size > 10_000 for path in figures.draw(tmp_path, experiment, curves))


def _with_cost(cost: dict[str, int], run: Run) -> FinishedRun:
    return FinishedRun(({"round": 1, "loss": 1.0, **cost},), "00")
