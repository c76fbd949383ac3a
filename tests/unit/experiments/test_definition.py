"""Definitions of experiments: what is read, and what is refused."""

from pathlib import Path

import pytest

from fbfl import simulation
from fbfl.errors import InvalidInputError
from fbfl.experiments import definition, runner

FOLDER = Path(__file__).resolve().parents[3] / "experiments"
NAMES = ("backdoor", "fig2", "fig3", "fig4", "fig5", "fig6", "fig7", "fig8")

GOOD = """
title = "T"
seeds = 3
[base]
dataset = "digits"
rounds = 4
[quick]
seeds = 2
rounds = 1
[[variants]]
label = "a"
[[variants]]
label = "b"
settings = { local_epochs = 2 }
[[claims]]
text = "b beats a"
measure = "final_accuracy"
variant = "b"
relation = "higher"
than = "a"
"""


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_of_the_repository_can_be_run(name, quick):
    experiment = definition.load(FOLDER / f"{name}.toml", quick=quick)
    assert experiment.claims
    for settings in runner.runs_of([experiment]):
        simulation.check(settings)
        assert settings.dataset == ("digits" if quick else "mnist")
        assert settings.signatures
    assert len(experiment.seeds) == (3 if quick else 5)


def test_variants_change_the_base_and_the_small_version_changes_both(tmp_path):
    path = tmp_path / "x.toml"
    path.write_text(GOOD)
    experiment = definition.load(path)
    b = experiment.settings(experiment.variants[1], 2)
    assert (b.local_epochs, b.rounds, b.seed, experiment.seeds) == (2, 4, 2, (0, 1, 2))
    small = definition.load(path, quick=True)
    assert (small.rounds, small.seeds) == (1, (0, 1))
    assert definition.load(path, quick=True, seeds=7).seeds == tuple(range(7))


def test_runs_that_experiments_share_are_run_once(tmp_path):
    path = tmp_path / "x.toml"
    path.write_text(GOOD)
    experiment = definition.load(path)
    assert len(runner.runs_of([experiment, experiment])) == 6


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('title = "T"', "", "title is missing"),
        ('title = "T"', "title = 3", "title is 3; allowed: a text"),
        ("seeds = 3", "seeds = 0", "seeds is 0; allowed: 1 or more"),
        ("seeds = 3", "sedes = 3", "unknown key 'sedes'"),
        ("seeds = 3", "seeds =", "not TOML"),
        ("rounds = 4", 'rounds = "4"', "rounds is '4'; allowed: a whole number"),
        ("rounds = 4", "rouns = 4", "unknown key 'rouns'"),
        ("rounds = 1", "rouns = 1", "unknown key 'rouns'"),
        ('label = "b"', 'label = "a"', "label 'a' is used twice"),
        ("local_epochs = 2", "local_epochs = 0", "variant 'b': local_epochs is 0"),
        ("local_epochs = 2", "rounds = 2", "variant 'b' sets rounds"),
        ("final_accuracy", "accuracy", "measure is 'accuracy'; allowed: final_accuracy"),
        ("final_accuracy", "mean_accuracy", "rounds belongs to a mean"),
        ('"higher"', '"equal"', "margin is 0.0"),
        ('"higher"', '"bigger"', "relation is 'bigger'; allowed: higher, lower, equal, different"),
        ('than = "a"', 'than = "c"', "variant is 'c'; allowed: a, b"),
        ('than = "a"', 'than = "b"', "allowed: other variants"),
        ('than = "a"', 'than = "a"\nmargin = -1', "margin is -1.0"),
    ],
)
def test_what_is_not_allowed_is_named_with_its_file(tmp_path, old, new, message):
    path = tmp_path / "x.toml"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(InvalidInputError) as raised:
        definition.load(path)
    assert message in str(raised.value)
    assert str(path) in str(raised.value)


def test_an_unknown_name_lists_those_that_there_are(tmp_path, monkeypatch):
    monkeypatch.chdir(FOLDER.parent)
    with pytest.raises(InvalidInputError, match="allowed: all, backdoor, fig2"):
        definition.load_named("fig9")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInputError, match="no definitions"):
        definition.load_named("all")
