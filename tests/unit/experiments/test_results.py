"""Stored runs, tables, pictures and the report of an experiment whose numbers are given."""

import pytest

from fbfl.errors import InvalidInputError
from fbfl.experiments import definition, figures, report, results
from fbfl.experiments.stored import FinishedRun, FinishedRuns, name_of
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


def a_run(settings):
    gain = 0.1 * (settings.local_epochs - 1) + 0.01 * settings.seed
    noise = 0.25 * (settings.seed - 1) * settings.local_epochs
    first = {"round": 1, "accuracy": 0.5, "loss": 2 + noise - 0.125 * settings.local_epochs, "leader": "0xA"}
    last = {"round": 2, "accuracy": 0.6 + gain, "loss": 1.0, "leader": "0xB"}
    return FinishedRun(
        tuple({**line, "seconds": 1.5, "views": 1, "updates": 2, "gas_used": 9} for line in (first, last)), "00"
    )


@pytest.fixture
def experiment(tmp_path):
    (tmp_path / "x.toml").write_text(DEFINITION)
    return definition.load(tmp_path / "x.toml")


def test_tables_have_a_line_per_run_and_round_and_equal_bytes(experiment, tmp_path):
    results.write_tables(tmp_path, experiment, a_run)
    learning = (tmp_path / "x.csv").read_bytes()
    lines = learning.decode().split("\n")
    assert lines[:2] == [
        "experiment,variant,seed,round,accuracy,loss,attack_success_rate",
        'x,"a, plain",0,1,0.5,1.625,',
    ]
    assert len(lines) == 1 + 2 * 3 * 2 + 1
    costs = (tmp_path / "x-costs.csv").read_text().split("\n")
    assert costs[1] == 'x,"a, plain",0,1,1.5,,,0xA,1,2,9'
    results.write_tables(tmp_path, experiment, a_run)
    assert (tmp_path / "x.csv").read_bytes() == learning
    curves = results.read_curves(tmp_path, experiment)
    assert curves.seeds == (0, 1, 2)
    assert curves.measured("b", "accuracy")[0] == [
        line["accuracy"] for line in a_run(RunSettings(local_epochs=2)).rounds
    ]


def test_a_table_of_another_definition_is_refused(experiment, tmp_path):
    assert results.read_curves(tmp_path, experiment) is None
    results.write_tables(tmp_path, experiment, a_run)
    path = tmp_path / "x.csv"
    whole = path.read_text()
    path.write_text(whole.replace("x,b", "x,c"))
    with pytest.raises(InvalidInputError, match="does not belong"):
        results.read_curves(tmp_path, experiment)
    path.write_text("\n".join(line for line in whole.split("\n") if not line.startswith("x,b,2")))
    with pytest.raises(InvalidInputError, match="variant 'b' has the seeds"):
        results.read_curves(tmp_path, experiment)


def test_claims_are_judged_by_means_and_test(experiment, tmp_path):
    results.write_tables(tmp_path, experiment, a_run)
    curves = results.read_curves(tmp_path, experiment)
    assert [report.verdict(claim, curves) for claim in experiment.claims] == ["holds", "not shown", "does not hold"]
    report.write_report(tmp_path / "RESULTS.md", [(experiment, curves)], "results/")
    text = (tmp_path / "RESULTS.md").read_text()
    assert "| a, plain | 0.6100 ± 0.0248 | 1.0000 ± 0.0000 |" in text
    assert "**b ends much higher**: **does not hold**." in text
    assert text.count("Because of this test.") == 1


def test_the_picture_is_the_same_for_the_same_curves(experiment, tmp_path):
    results.write_tables(tmp_path, experiment, a_run)
    curves = results.read_curves(tmp_path, experiment)
    png, svg = figures.draw(tmp_path, experiment, curves)
    first = svg.read_bytes()
    assert png.read_bytes().startswith(b"\x89PNG")
    figures.draw(tmp_path, experiment, curves)
    assert svg.read_bytes() == first


def test_a_stored_run_is_found_by_its_settings_alone(tmp_path):
    stored = FinishedRuns(tmp_path / "finished")
    settings = RunSettings(rounds=2, aggregator_args={"trim": 3})
    run = a_run(settings)
    assert stored.load(settings) is None
    stored.save(settings, run)
    assert stored.load(settings) == run
    assert name_of(settings) == name_of(settings.replace(seed=0)) != name_of(settings.replace(seed=1))
    assert stored.load(settings.replace(seed=1)) is None
    path = stored.path(settings)
    path.write_text(path.read_text().replace('"servers": 10', '"servers": 11'))  # a default that has changed since
    assert stored.load(settings) is None
    path.write_text(path.read_text()[:50])
    assert stored.load(settings) is None
    stored.forget([settings])
    assert not path.exists()
