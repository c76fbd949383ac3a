"""Definitions of experiments: what is read, and what is refused."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fbfl.errors import AggregationError, InvalidInputError
from fbfl.experiments import definition, runner, single_run
from fbfl.experiments.run_store import FinishedRuns
from fbfl.learning import aggregation
from tests.support.paths import REPOSITORY

FOLDER = REPOSITORY / "experiments"
FIGURES = ("backdoor", "fig2", "fig3", "fig4", "fig5", "fig6", "fig7", "fig8")
BEYOND = ("consensus", "defences", "difficulty", "listing1", "mobility", "payloads")

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


GRID = """
title = "G"
chain = false
[base]
rounds = 1
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
"""


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("name", FIGURES + BEYOND)
def test_every_experiment_of_the_repository_can_be_run(name: str, quick: bool) -> None:
    experiment = definition.load(FOLDER / f"{name}.toml", quick=quick)
    first_seed = dataclasses.replace(experiment, seeds=experiment.seeds[:1])  # another only draws other numbers
    for run in runner.runs_of([first_seed]):
        single_run.check(run)
        assert not quick or run.settings.dataset == "digits"
        if name in FIGURES:
            assert run.chain
            assert run.settings.dataset == ("digits" if quick else "mnist")
            assert run.settings.signatures
    assert quick or len(experiment.seeds) == (1 if name == "listing1" else 5)
    assert experiment.claims or name == "listing1"


def test_the_runs_of_every_experiment_are_stored() -> None:
    stored = FinishedRuns(FOLDER / "results" / "finished")
    for name in FIGURES + BEYOND:
        runs = runner.runs_of([definition.load(FOLDER / f"{name}.toml")])
        missing = [run.settings for run in runs if run.chain and not stored.path(run).exists()]
        assert not missing, f"{name}: a default or a name has changed; play them anew, or say in its file what it means"


def test_all_experiments_are_tested() -> None:
    assert {path.stem for path in FOLDER.glob("*.toml")} == {*FIGURES, *BEYOND}


def test_rules_of_the_grid_are_told_no_more_attackers_than_they_allow() -> None:
    experiment = definition.load(FOLDER / "defences.toml")
    servers = experiment.settings(experiment.variants[0], 0).servers
    updates = np.random.default_rng(0).normal(size=(servers, 5))
    assert experiment.grid is not None
    bounded = [rule for rule in experiment.grid.rules if rule.byzantine]
    mixed = {f"{rule} after {mixing}" for rule in ("Krum", "trimmed mean") for mixing in ("NNM", "bucketing")}
    bounds = {"Krum", "Multi-Krum", "Bulyan", "DnC", "trimmed mean", "median after NNM"} | mixed
    assert {rule.label for rule in bounded} == bounds
    for rule in bounded:
        settings: dict[str, Any] = rule.settings_against(servers)
        assert rule.at_most is not None
        name, args = settings["aggregator"], settings["aggregator_args"]
        aggregation.resolve(name, **args)(updates)
        with pytest.raises(AggregationError, match="needs"):
            aggregation.resolve(name, **{**args, rule.byzantine: rule.at_most + 1})(updates)


def test_a_grid_is_every_rule_without_and_with_every_attack(tmp_path: Path) -> None:
    path = tmp_path / "g.toml"
    path.write_text(GRID)
    experiment = definition.load(path)
    assert [variant.label for variant in experiment.variants] == [
        "mean, no attack",
        "mean, flip, 2 malicious",
        "mean, flip, 4 malicious",
        "mean, late, 4 malicious",
        "Krum, no attack",
        "Krum, flip, 2 malicious",
        "Krum, flip, 4 malicious",
        "Krum, late, 4 malicious",
    ]
    told = [experiment.settings(variant, 0).aggregator_args.get("num_byzantine") for variant in experiment.variants[4:]]
    assert told == [0, 2, 3, 3]
    assert experiment.grid is not None
    mean, krum = experiment.grid.rules
    assert [rule.is_exceeded_by(number) for rule in (mean, krum) for number in (2, 4)] == [False, False, False, True]
    assert not any(run.chain for run in runner.runs_of([experiment]))


def test_variants_change_the_base_and_the_small_version_changes_both(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(GOOD)
    experiment = definition.load(path)
    b = experiment.settings(experiment.variants[1], 2)
    assert (b.local_epochs, b.rounds, b.seed, experiment.seeds) == (2, 4, 2, (0, 1, 2))
    small = definition.load(path, quick=True)
    assert (small.rounds, small.seeds) == (1, (0, 1))
    assert definition.load(path, quick=True, seeds=7).seeds == tuple(range(7))


@pytest.mark.parametrize("numbers", ["[4, 2]", "[2, 2, 4]"])
def test_numbers_of_attackers_of_a_grid_rise(tmp_path: Path, numbers: str) -> None:
    path = tmp_path / "g.toml"
    path.write_text(GRID.replace("malicious = [2, 4]", f"malicious = {numbers}"))
    with pytest.raises(InvalidInputError, match="rising numbers, each once"):
        definition.load(path)


@pytest.mark.parametrize("setting", ['network = "anvil"', 'store = "ipfs"'])
def test_runs_have_a_chain_and_a_store_of_their_own(tmp_path: Path, setting: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(GOOD.replace("[base]", f"[base]\n{setting}"))
    run = next(iter(runner.runs_of([definition.load(path)])))
    with pytest.raises(InvalidInputError, match="allowed in experiments"):
        single_run.check(run)


def test_a_run_that_is_impossible_is_named_by_its_experiment_and_variant(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(GOOD.replace("[base]", '[base]\naggregator = "krum"'))
    experiment = definition.load(path)
    label = experiment.variants[1].label
    with pytest.raises(InvalidInputError, match=rf"^experiment x, variant '{label}': .*num_byzantine"):
        runner.check([experiment], {experiment.run(experiment.variants[1], 0).name})
    runner.check([experiment], set())


def test_runs_that_experiments_share_are_run_once(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(GOOD)
    experiment = definition.load(path)
    assert len(runner.runs_of([experiment, experiment])) == 6
    assert len(runner.runs_of([experiment, dataclasses.replace(experiment, chain=False)])) == 12


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('title = "T"', "", "title is missing"),
        ('title = "T"', "title = 3", "title is 3; allowed: a text"),
        ("seeds = 3", "seeds = 0", "seeds is 0; allowed: 1 or more"),
        ("seeds = 3", f"seeds = {2**70}", f"seeds is {2**70}; allowed: 1 to 10,000"),
        ("seeds = 3", "sedes = 3", "unknown key 'sedes'"),
        ("seeds = 3", "seeds =", "not TOML"),
        ("rounds = 4", 'rounds = "4"', "rounds is '4'; allowed: a whole number"),
        ("rounds = 4", "rouns = 4", "unknown key 'rouns'"),
        ("rounds = 1", "rouns = 1", "unknown key 'rouns'"),
        ('label = "b"', 'label = "a"', "label 'a' is used twice"),
        ("[base]", 'chain = false\n[base]\nradio = "shannon"', "radio is 'shannon'; allowed only with the chain"),
        ("seeds = 3", 'seeds = 3\ndrawn = ["c"]', "drawn is 'c'; allowed: a, b"),
        ("seeds = 3", 'drawn = ["a"]\nagainst = "servers"', "in pictures of curves only"),
        ("local_epochs = 2", "local_epochs = 0", "variant 'b': local_epochs is 0"),
        ("local_epochs = 2", "rounds = 2", "variant 'b' sets rounds"),
        ("local_epochs = 2", 'attack = "backdoor"', "variant 'b': attack is 'backdoor' but malicious is 0"),
        ("local_epochs = 2", "attack_args = { scale = 2 }", "variant 'b': attack_args is {'scale': 2} but no attack"),
        ("final_accuracy", "accuracy", "measure is 'accuracy'; allowed: final_accuracy"),
        ("final_accuracy", "final_mae", "measure is 'final_mae'; allowed: final_accuracy"),
        ("final_accuracy", "mean_accuracy", "rounds belongs to a mean"),
        ('"higher"', '"equal"', "margin is 0.0"),
        ('"higher"', '"bigger"', "relation is 'bigger'; allowed: higher, lower, equal, different"),
        ('than = "a"', 'than = "c"', "claim 1: than is 'c'; allowed: a, b"),
        ('variant = "b"', 'variant = "c"', "claim 1: variant is 'c'; allowed: a, b"),
        ('than = "a"', 'than = "b"', "allowed: other variants"),
        ('than = "a"', 'than = "a"\nmargin = -1', "margin is -1.0"),
        ("seeds = 3", "chain = 1", "chain is 1; allowed: true or false"),
        ("seeds = 3", 'against = "time"', "against is 'time'; allowed: round"),
        ("[base]", '[[panels]]\nmeasure = "loss"\n[base]', "panel 1: measure is 'loss'; allowed: seconds"),
        ("[base]", '[[panels]]\nmeasure = "views"\nagainst = "seed"\n[base]', "against is 'seed'; allowed: servers"),
        ("[base]", '[[panels]]\nmeasure = "views"\nagainst = "servers"\n[base]', "variant 'a': series belongs to"),
        ("seeds = 3", 'against = "servers"', "variant 'a': series belongs to a picture against a setting"),
        ('label = "a"', 'label = "a"\nseries = "s"', "variant 'a': series belongs"),
        ("seeds = 3", "chain = false\nlisting = true", "without chain there are no blocks"),
        ("[base]", 'chain = false\n[base]\npayload = "int8"', "variant 'a': payload is 'int8'; allowed only"),
        ("[quick]", "[grid]\nmalicious = [1]\n[quick]", "needed: [[grid.rules]] and [[grid.attacks]]"),
    ],
)
def test_what_is_not_allowed_is_named_with_its_file(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "x.toml"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(InvalidInputError) as raised:
        definition.load(path)
    assert message in str(raised.value)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("malicious = [2, 4]", "malicious = [2, 0]", "grid: malicious is 0; allowed: 1 or more"),
        ("malicious = [2, 4]", 'malicious = ["2"]', "grid: malicious has '2'; allowed: whole numbers"),
        ("malicious = [4]", "malicious = [3]", "attack 2: malicious is [3]; allowed: some of [2, 4]"),
        ("at_most = 3\n", "", "rule 2: byzantine and at_most belong together"),
        ('label = "flip"', 'label = "flip"\nmeasure = "loss"', "attack 1: measure is 'loss'; allowed: accuracy"),
        ("[[grid.rules]]", '[[variants]]\nlabel = "a"\n[[grid.rules]]', "has [grid] and [[variants]]"),
        ("attack = ", "atack = ", "unknown key 'atack'"),
        ('attack = "label_flipping"', 'model = "mlp"', "malicious is 2 but no attack is named"),
        ("rounds = 1", 'rounds = 1\nattack = "alie"\nmalicious = 2', "base sets attack: in a grid its attacks do"),
        ('"fedavg"', '"fedavg", malicious = 2', "rule 1 sets malicious: in a grid its attacks do"),
        ('"alie"', '"alie", malicious = 2', "attack 2: settings sets malicious: the key beside them does"),
    ],
)
def test_what_a_grid_does_not_allow_is_named_with_its_file(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "g.toml"
    assert old in GRID
    path.write_text(GRID.replace(old, new, 1))
    with pytest.raises(InvalidInputError) as raised:
        definition.load(path)
    assert message in str(raised.value)
    assert str(path) in str(raised.value)


def test_where_labels_are_numbers_there_is_nothing_to_say_of_accuracy(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    of_numbers = '[base]\nloss = "mean_squared_error"\nmodel = "lab:net"'
    path.write_text(GOOD.replace("[base]", of_numbers).replace("final_accuracy", "final_mae"))
    assert definition.load(path).claims[0].measure == "final_mae"
    for text, message in (
        (GOOD, "claim 1: measure is 'final_accuracy'; allowed: final_loss, final_mae"),
        (GRID.replace('"label_flipping"', '"alie"'), "allowed where labels are numbers: variants"),
    ):
        path.write_text(text.replace("[base]", of_numbers))
        with pytest.raises(InvalidInputError, match=message):
            definition.load(path)


def test_costs_cannot_be_claimed_without_the_chain(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(GOOD.replace("seeds = 3", "chain = false").replace("final_accuracy", "final_gas_used"))
    with pytest.raises(InvalidInputError, match="measure is 'final_gas_used': not known without chain"):
        definition.load(path)


def test_a_definition_goes_by_its_name_or_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").mkdir()
    for path in ("experiments/a.toml", "experiments/b.toml", "c.toml"):
        (tmp_path / path).write_text(GOOD)
    folder = definition.FOLDER
    assert definition.find("a") == [folder / "a.toml"]
    assert definition.find("all") == [folder / "a.toml", folder / "b.toml"]
    for path in ("experiments/a.toml", "./c.toml", str(tmp_path / "c.toml")):
        assert [definition.load(each).title for each in definition.find(path)] == ["T"]
    with pytest.raises(InvalidInputError, match=r"none\.toml: cannot be read: No such file"):
        definition.load(*definition.find("none.toml"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_definition_may_come_from_an_editor_of_windows(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(GOOD.replace('"T"', '"Tür"'), encoding=encoding, newline="\r\n")
    assert definition.load(path).title == "Tür"
    path.write_text(GOOD.replace('"T"', '"Tür"'), encoding="cp1252")
    with pytest.raises(InvalidInputError, match=r"x\.toml: cannot be read: byte 11 is not utf-8"):
        definition.load(path)


def test_an_unknown_name_lists_those_that_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER.parent)
    with pytest.raises(InvalidInputError, match="allowed: all, backdoor, consensus, defences, difficulty, fig2"):
        definition.find("fig9")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInputError, match="allowed: all, backdoor, consensus, defences, difficulty, fig2"):
        definition.find("fig9")


def test_where_the_folder_has_no_definitions_those_of_fbfl_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert [path.stem for path in definition.find("all")] == sorted((*FIGURES, *BEYOND))
    (tmp_path / "experiments").mkdir()
    assert definition.load(*definition.find("fig6")).title == "Fig. 6: model poisoning"
    (tmp_path / "experiments" / "mine.toml").write_text(GOOD)
    assert [path.stem for path in definition.find("all")] == ["mine"]
