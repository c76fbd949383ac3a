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

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "settings.md"
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
