"""The settings of `fbfl.settings` as options of a command."""

import argparse
import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fbfl import settings as run_settings
from fbfl.errors import InvalidInputError
from fbfl.learning.plugins import parse_settings
from fbfl.settings import SETTINGS, RunSettings
from fbfl.values import checks, money
from fbfl.values.fields import Place

_BEGIN = re.compile(r":[A-Za-z_]\w*=")
_COMMA = re.compile(r",(?=[A-Za-z_]\w*=)")
"""Where the parameters of a repeated name begin, and what stands between two; values may hold commas and colons."""

_FIELDS = {each.name: each for each in dataclasses.fields(RunSettings)}


def add_options(command: argparse.ArgumentParser, place: Place) -> None:
    """Add `--config` and an option for every setting, in groups. The help leaves out what means nothing there."""
    command.add_argument(
        "--config", type=Path, metavar="FILE", help="settings as TOML, or settings.json of a run; options win"
    )
    group: argparse._ActionsContainer = command
    for name, setting in SETTINGS.items():
        if setting.begins:
            group = command.add_argument_group(setting.begins)
        add_option(group, name, None if place in setting.places else argparse.SUPPRESS)


def add_option(command: argparse._ActionsContainer, name: str, text: str | None = None) -> None:
    """Add the option of one setting, with `text` as help if given; `given` or `taken` find its value."""
    command.add_argument(option_of(name), dest=name, help=text or _help(name), **_reading(name))


def option_of(name: str) -> str:
    """Return the option of a setting; if that is a table of parameters, the option of one of them."""
    return "--" + (name.removesuffix("s") if _is_table(name) else name).replace("_", "-")


def given(options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that the command line names."""
    named = {name: value for name in SETTINGS if (value := getattr(options, name, None)) is not None}
    tables = {name: parse_settings(option_of(name), value) for name, value in named.items() if _is_table(name)}
    several = {name: value for name, value in named.items() if _holds(name, checks.Names)}
    found = {**named, **tables}
    for name, words in several.items():
        found |= _several(name, words, tables.get(f"{name}_args"))
    return found


def _several(name: str, words: list[str], table: dict[str, Any] | None) -> dict[str, Any]:
    """Return the names of an option that may be repeated, with the parameters that each brings: ``NAME:KEY=VALUE,...``.

    `table` are those of the option for parameters, which is for a single name without any.
    """
    option = option_of(name)
    names, tables = [], []
    for word in words:
        start = _BEGIN.search(word)
        if start is None and word.endswith(":"):
            raise InvalidInputError(f"{option} {word}: allowed: NAME, or NAME:KEY=VALUE,...")
        names.append(word[: start.start()] if start else word)
        tables.append(parse_settings(option, _COMMA.split(word[start.start() + 1 :])) if start else {})
    own = any(tables)
    if own and f"{name}_args" not in SETTINGS:
        raise InvalidInputError(f"{option} {' '.join(words)}: has parameters; allowed: none")
    if table is not None and (own or len(names) > 1):
        raise InvalidInputError(
            f"{option_of(f'{name}_args')} is given with {option} {' '.join(words)}; allowed: with a single name, or "
            f"{option} NAME:KEY=VALUE,... for each"
        )
    found: dict[str, Any] = {name: names, f"{name}_args": tables} if own else {name: names}
    return {key: values[0] if len(values) == 1 else values for key, values in found.items()}


def settings_of(options: argparse.Namespace) -> RunSettings:
    """Return the settings that the command line and its configuration file ask for."""
    return run_settings.read(options.config, given(options))


def taken(options: argparse.Namespace, name: str) -> Any:
    """Return the value of one setting, or its default; one that is not allowed raises `InvalidInputError`."""
    return run_settings.checked(name, given(options).get(name, run_settings.default_of(name)), "--")


def default_text(name: str) -> str:
    """Return the default of a setting in words; nothing for a table of parameters, which is empty."""
    if by_default := SETTINGS[name].by_default:
        return by_default
    default = run_settings.default_of(name)
    if _is_table(name):
        return ""
    return money.text(default) if _holds(name, checks.Wei) else str(default)


def _help(name: str) -> str:
    text = SETTINGS[name].help
    if _is_table(name):
        text = f"one of the {text}"
    if _holds(name, checks.Names):
        text += "; may be repeated"
        if f"{name}_args" in SETTINGS:
            text += ", with parameters as NAME:KEY=VALUE,..."
    default = "" if _holds(name, bool) and not SETTINGS[name].by_default else default_text(name)
    return (f"{text} (default: {default})" if default else text).replace("%", "%%")


def _reading(name: str) -> dict[str, Any]:
    if _is_table(name):
        return {"action": "append", "metavar": "KEY=VALUE"}
    if _holds(name, checks.Names):
        return {"action": "append", "metavar": name.upper()}
    if _holds(name, bool):
        return {"action": argparse.BooleanOptionalAction}
    kinds: dict[object, type] = {int: int, float: float}
    metavars = {"int": "N", "float": "X", "Wei": "AMOUNT"}
    kind = next((kinds[kind] for kind in kinds if _holds(name, kind)), str)
    metavar = metavars["Wei"] if _holds(name, checks.Wei) else metavars.get(kind.__name__)
    return {"type": kind, "metavar": metavar or name.upper()}


def _is_table(name: str) -> bool:
    return _holds(name, Mapping) or _holds(name, checks.Tables)


def _holds(name: str, kind: object) -> bool:
    return kind in checks.kinds_of(_FIELDS[name].type)
