"""Options, JSON Schema and the guide follow from the table of settings."""

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from fbfl.cli.main import main, parser
from fbfl.cli.schema import json_schema, markdown
from fbfl.cli.settings import option_of, settings_of
from fbfl.errors import InvalidInputError
from fbfl.settings import SETTINGS, RunSettings, as_dict
from fbfl.values import checks
from fbfl.values.fields import Place
from tests.support.paths import REPOSITORY

GUIDE = REPOSITORY / "docs" / "settings.md"
OTHERS: dict[str, Any] = {
    "rounds": 3,
    "servers": 4,
    "stake": "2 ether",
    "signatures": True,
    "learning_rate": 0.1,
    "dataset": "digits",
    "aggregator": "krum",
    "aggregator_args": {"num_byzantine": 1},
    "consensus": "pbft",
}


def words_of(values: Mapping[str, object]) -> list[str]:
    words = []
    for name, value in values.items():
        if isinstance(value, bool):
            words += [option_of(name) if value else option_of(name).replace("--", "--no-")]
        elif isinstance(value, Mapping):
            words += [word for key, each in value.items() for word in (option_of(name), f"{key}={each}")]
        else:
            words += [option_of(name), str(value)]
    return words


def test_options_say_what_files_say(tmp_path: Path) -> None:
    assert settings_of(parser().parse_args(["run", *words_of(OTHERS)])) == RunSettings(**OTHERS)
    file = tmp_path / "settings.json"
    file.write_text(json.dumps(as_dict(RunSettings(**OTHERS))))
    assert settings_of(parser().parse_args(["run", "--config", str(file)])) == RunSettings(**OTHERS)
    options = parser().parse_args(["run", "--config", str(file), "--no-signatures", "--rounds", "5"])
    assert settings_of(options) == RunSettings(**OTHERS).replace(signatures=False, rounds=5)


MANY: dict[str, Any] = {
    "attack": ["backdoor", "scaling"],
    "attack_args": [{"target": 3}, {"factor": 2.5}],
    "malicious": 1,
}
TOML = """
malicious = 1
attack = ["backdoor", "scaling"]
attack_args = [{ target = 3 }, { factor = 2.5 }]
"""


def test_several_attacks_are_an_option_each_or_lists_in_a_file(tmp_path: Path) -> None:
    assert RunSettings(**MANY).attacks == (("backdoor", {"target": 3}), ("scaling", {"factor": 2.5}))
    words = ["--attack", "backdoor:target=3", "--attack", "scaling:factor=2.5", "--malicious", "1"]
    assert settings_of(parser().parse_args(["run", *words])) == RunSettings(**MANY)
    for name, text in (("settings.json", json.dumps(as_dict(RunSettings(**MANY)))), ("settings.toml", TOML)):
        (tmp_path / name).write_text(text)
        assert settings_of(parser().parse_args(["run", "--config", str(tmp_path / name)])) == RunSettings(**MANY)


@pytest.mark.parametrize(
    ("words", "attacks"),
    [
        (["scaling"], [("scaling", {})]),
        (["scaling:factor=2"], [("scaling", {"factor": 2})]),
        (["lab:mine"], [("lab:mine", {})]),
        (["lab:mine:at=(1, 2),how=a:b", "alie"], [("lab:mine", {"at": (1, 2), "how": "a:b"}), ("alie", {})]),
    ],
)
def test_parameters_of_an_attack_stand_behind_its_name(words: list[str], attacks: list[object]) -> None:
    options = [word for each in words for word in ("--attack", each)]
    assert [*settings_of(parser().parse_args(["run", *options, "--malicious", "1"])).attacks] == attacks


def test_one_attack_in_a_list_is_that_attack() -> None:
    alone = RunSettings(attack="scaling", attack_args={"factor": 2}, malicious=1)
    assert RunSettings(attack=["scaling"], attack_args=[{"factor": 2}], malicious=1) == alone


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attack": ["backdoor", "scaling"], "attack_args": {"target": 3}}, "allowed: a table for each attack"),
        ({"attack": ["backdoor", "scaling"], "attack_args": [{}, {}, {}]}, "allowed: a table for each attack"),
        ({"attack": "backdoor", "attack_args": [{}, {}]}, "allowed: a table for each attack"),
        ({"attack": []}, r"attack is \[\]; allowed: a text, or a list of one or more texts"),
        ({"attack": ["alie", 3]}, "allowed: a text, or a list of one or more texts"),
        ({"attack": "alie", "attack_args": [3]}, "allowed: a table of settings, or a list of them"),
        ({"attack_args": [{"target": 3}, {}], "malicious": 0}, "but no attack is named"),
    ],
)
def test_what_is_refused_of_several_attacks(settings: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        RunSettings(**{"malicious": 1, **settings})


def test_one_option_for_parameters_cannot_tell_whose_they_are() -> None:
    for words in (["--attack", "backdoor", "--attack", "scaling"], ["--attack", "scaling:factor=2"]):
        with pytest.raises(InvalidInputError, match=r"--attack-arg is given with --attack .*; allowed: with"):
            settings_of(parser().parse_args(["run", *words, "--attack-arg", "factor=2", "--malicious", "1"]))


def test_a_metric_may_be_repeated_and_takes_no_parameters() -> None:
    options = ["run", "--metric", "f1", "--metric", "lab:mine"]
    assert settings_of(parser().parse_args(options)).metric == ("f1", "lab:mine")
    with pytest.raises(InvalidInputError, match="--metric f1:beta=2: has parameters; allowed: none"):
        settings_of(parser().parse_args(["run", "--metric", "f1:beta=2"]))


def test_every_setting_is_an_option_whose_help_says_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    helps = {}
    for words in (("run",), ("task", "create")):
        with pytest.raises(SystemExit):
            main([*words, "--help"])
        helps[words[0]] = capsys.readouterr().out
    for name, setting in SETTINGS.items():
        for command, place in (("run", Place.SIMULATION), ("task", Place.NETWORK)):
            shown = re.search(rf"^  {option_of(name)}[ ,]", helps[command], re.MULTILINE) is not None
            assert shown == (place in setting.places), (command, name)
    assert "(default: 0.01 ether)" in " ".join(helps["run"].split())


def test_the_schema_takes_what_settings_take() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    for values in ({}, OTHERS, as_dict(RunSettings()), as_dict(RunSettings(**OTHERS))):
        jsonschema.validate(values, schema)
    fields = {each.name: each for each in dataclasses.fields(RunSettings)}
    for name in fields:
        tried: tuple[Any, ...] = (-1, 0.5, 2**200, "x", {"a": {}}, [], True)
        for value in tried:
            kinds = checks.kinds_of(fields[name].type)
            try:
                jsonschema.validate({name: value}, schema)
            except jsonschema.ValidationError:
                with pytest.raises(InvalidInputError, match=f"{name} is "):
                    RunSettings(**{name: value})
                continue
            if kinds != (checks.Wei,):  # a text may be an amount or none
                checks.check("", name, value, fields[name].type)
                SETTINGS[name].check("", name, value)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"rouns": 1}, schema)


def test_the_guide_is_what_the_table_says() -> None:
    assert GUIDE.read_text() == markdown() + "\n", "run: fbfl schema --markdown > docs/settings.md"


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json_schema()
