"""Compiled contracts, as they ship inside the package."""

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fbfl.errors import InvalidInputError

ARTIFACTS = Path(__file__).resolve().parent / "artifacts"


@dataclass(frozen=True)
class Artifact:
    """One compiled contract, or interface (whose bytecode is empty)."""

    name: str
    abi: list[dict[str, Any]]
    bytecode: bytes


def artifact_names() -> list[str]:
    """Return the names of all compiled contracts and interfaces, sorted."""
    return sorted(file.stem for file in ARTIFACTS.glob("*.json"))


@functools.cache
def load_artifact(name: str) -> Artifact:
    """Return the compiled contract of this name. An unknown name raises `InvalidInputError`."""
    if name not in artifact_names():
        raise InvalidInputError(f"contract {name!r} is none of {', '.join(artifact_names())}")
    return parse_artifact(name, json.loads((ARTIFACTS / f"{name}.json").read_text(encoding="utf-8")))


def parse_artifact(name: str, content: dict[str, Any]) -> Artifact:
    """Return an artifact from the content of its JSON file."""
    return Artifact(
        name=name,
        abi=content["abi"],
        bytecode=bytes.fromhex(content["bytecode"].removeprefix("0x")),
    )
