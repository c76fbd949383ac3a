"""`fbfl schema`: the settings that a file may hold, as JSON Schema or as docs/settings.md."""

import argparse
import dataclasses
import types
from collections.abc import Mapping
from typing import Any

from fbfl.cli.parser import Commands
from fbfl.cli.settings import default_text
from fbfl.settings import SETTINGS, RunSettings, default_of
from fbfl.system import strictjson
from fbfl.values import checks
from fbfl.values.fields import Place


def _list_of(kind: str) -> dict[str, Any]:
    return {"type": "array", "items": {"type": kind}, "minItems": 1}


_KINDS: dict[object, tuple[str, dict[str, Any]]] = {
    int: ("whole number", {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}),
    checks.Wei: ("amount", {"anyOf": [{"type": "integer", "maximum": 2**128 - 1}, {"type": "string"}]}),
    float: ("number", {"type": "number"}),
    bool: ("flag", {"type": "boolean"}),
    str: ("text", {"type": "string"}),
    Mapping: ("table", {"type": "object"}),
    checks.Names: ("text, or a list", {"anyOf": [{"type": "string"}, _list_of("string")]}),
    checks.Tables: ("table, or a list", {"anyOf": [{"type": "object"}, _list_of("object")]}),
}
"""Types of settings, in words and as JSON Schema."""

_PLACES = {
    Place.EVERYWHERE: "everywhere",
    Place.ON_CHAIN: "with a chain",
    Place.IN_ONE_PROCESS: "in one process",
    Place.SIMULATION: "with a chain, in one process",
}

_HEAD = """# Settings

Written by `fbfl schema --markdown > docs/settings.md` from the table in `fbfl/settings.py`. The file of `--config`
(TOML, or JSON, as in the `settings.json` of a run), experiments and `fbfl.settings.RunSettings` take a setting by its
name; as an option of `fbfl run` and `fbfl task create` it has `-` for `_`. A table is on the command line one
`--NAME-arg KEY=VALUE` for each key; a flag can be taken back with `--no-NAME`. An amount is a number of wei, or a text
such as `0.01 ether` or `5 gwei`. `fbfl schema` prints the same for programs, as JSON Schema.

Wrong values are refused in one line, and so is a setting that differs from its default and means nothing where it is
given: *with a chain* is everything but experiments with `chain = false`, *in one process* everything but
`fbfl task create`, whose servers are processes of their own.
"""

_TABLE = """
## {title}

| name | type | default | allowed | holds | meaning |
|---|---|---|---|---|---|"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    command = commands.add_parser(
        "schema", help="the settings that a file may hold", description="JSON Schema of settings."
    )
    command.add_argument("--markdown", action="store_true", help="as a guide (docs/settings.md) instead")
    command.set_defaults(command=schema)


def schema(options: argparse.Namespace) -> int:
    """Print the schema, or the guide."""
    print(markdown() if options.markdown else strictjson.dumps(json_schema(), indent=1))
    return 0


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a file of settings, without the rules on how settings go together."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings of fbfl run",
        "type": "object",
        "properties": {each.name: _property(each) for each in dataclasses.fields(RunSettings)},
        "additionalProperties": False,
    }


def _property(each: "dataclasses.Field[Any]") -> dict[str, Any]:
    setting = SETTINGS[each.name]
    found = dict(_KINDS[_kind(each)][1])
    bounds = {
        "enum": list(setting.allowed) or None,
        "minimum": setting.least,
        "exclusiveMinimum": setting.above,
        "maximum": setting.most,
        "default": None if setting.by_default else default_of(each.name),
    }
    found |= {name: value for name, value in bounds.items() if value is not None}
    if each.default is None:  # settings.json says null where nothing was given
        found = {"anyOf": [found, {"type": "null"}]}
    return {"description": _meaning(each.name), **found}


def markdown() -> str:
    """Return the guide, without the last line break."""
    lines = []
    for each in dataclasses.fields(RunSettings):
        setting, name = SETTINGS[each.name], each.name
        if setting.begins:
            lines.append(_TABLE.format(title=setting.begins.capitalize()))
        allowed = ", ".join(f"`{word}`" for word in setting.allowed) or setting.range
        words = (_KINDS[_kind(each)][0], default_text(name), allowed, _PLACES[setting.places], _meaning(name))
        lines.append(f"| `{name}` | {' | '.join(words)} |")
    return _HEAD + "\n".join(lines)


def _kind(each: "dataclasses.Field[Any]") -> object:
    (kind,) = (kind for kind in checks.kinds_of(each.type) if kind is not types.NoneType)
    return kind


def _meaning(name: str) -> str:
    setting = SETTINGS[name]
    only = " and ".join(f"{other} = {value}" for other, value in setting.only.items())
    return f"{setting.help}; only with {only}" if only else setting.help
