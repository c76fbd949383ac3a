"""The settings of `fbfl.settings` as options of a command."""

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fbfl import settings as run_settings
from fbfl.learning.plugins import parse_settings
from fbfl.settings import SETTINGS, RunSettings
from fbfl.values import checks, money
from fbfl.values.fields import Place

_FIELDS = {each.name: each for each in dataclasses.fields(RunSettings)}


def add_options(command: argparse.ArgumentParser, place: Place) -> None:
    """Add `--config` and an option for every setting. The help leaves out those that mean nothing in that place."""
    command.add_argument(
        "--config", type=Path, metavar="FILE", help="settings as TOML, or settings.json of a run; options win"
    )
    for name in SETTINGS:
        add_option(command, name, None if place in SETTINGS[name].places else argparse.SUPPRESS)


def add_option(command: argparse.ArgumentParser, name: str, text: str | None = None) -> None:
    """Add the option of one setting, with `text` as help if given; `given` or `taken` find its value."""
    command.add_argument(option_of(name), dest=name, help=text or _help(name), **_reading(name))


def option_of(name: str) -> str:
    """Return the option of a setting; if that is a table of parameters, the option of one of them."""
    return "--" + (name.removesuffix("s") if _holds(name, Mapping) else name).replace("_", "-")


def given(options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that the command line names."""
    named = {name: value for name in SETTINGS if (value := getattr(options, name, None)) is not None}
    return {
        name: parse_settings(option_of(name), value) if _holds(name, Mapping) else value
        for name, value in named.items()
    }


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
    if _holds(name, Mapping):
        return ""
    return money.text(default) if _holds(name, checks.Wei) else str(default)


def _help(name: str) -> str:
    text = SETTINGS[name].help
    if _holds(name, Mapping):
        text = f"one of the {text}"
    default = "" if _holds(name, bool) and not SETTINGS[name].by_default else default_text(name)
    return (f"{text} (default: {default})" if default else text).replace("%", "%%")


def _reading(name: str) -> dict[str, Any]:
    if _holds(name, Mapping):
        return {"action": "append", "metavar": "KEY=VALUE"}
    if _holds(name, bool):
        return {"action": argparse.BooleanOptionalAction}
    kinds: dict[object, type] = {int: int, float: float}
    metavars = {"int": "N", "float": "X", "Wei": "AMOUNT"}
    kind = next((kinds[kind] for kind in kinds if _holds(name, kind)), str)
    metavar = metavars["Wei"] if _holds(name, checks.Wei) else metavars.get(kind.__name__)
    return {"type": kind, "metavar": metavar or name.upper()}


def _holds(name: str, kind: object) -> bool:
    return kind in checks.kinds_of(_FIELDS[name].type)
