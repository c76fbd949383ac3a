"""Compiled contracts, as they ship inside the package."""

import functools
import json
from dataclasses import dataclass
from importlib import resources
from typing import Any

from fbfl.errors import InvalidInputError


@dataclass(frozen=True)
class Artifact:
    """One compiled contract, or interface (whose bytecode is empty)."""

    name: str
    abi: list[dict[str, Any]]
    bytecode: bytes


def artifact_names() -> list[str]:
    """Return the names of all compiled contracts and interfaces, sorted."""
    folder = resources.files("fbfl.chain").joinpath("artifacts")
    if not folder.is_dir():
        return []
    return sorted(entry.name.removesuffix(".json") for entry in folder.iterdir() if entry.name.endswith(".json"))


@functools.cache
def load_artifact(name: str) -> Artifact:
    """Return the compiled contract of this name. An unknown name raises `InvalidInputError`."""
    if name not in artifact_names():
        raise InvalidInputError(f"contract {name!r} is none of {', '.join(artifact_names())}")
    text = resources.files("fbfl.chain").joinpath("artifacts", f"{name}.json").read_text(encoding="utf-8")
    return parse_artifact(name, json.loads(text))


def parse_artifact(name: str, content: dict[str, Any]) -> Artifact:
    """Return an artifact from the content of its JSON file."""
    return Artifact(
        name=name,
        abi=content["abi"],
        bytecode=bytes.fromhex(content["bytecode"].removeprefix("0x")),
    )
