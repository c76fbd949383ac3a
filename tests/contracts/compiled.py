"""The compiled contracts: those that ship, and those that only the tests use."""

import json
from functools import cache
from pathlib import Path

from fbfl.chain.artifacts import Artifact, artifact_names, load_artifact, parse_artifact

_FOLDER = Path(__file__).parent / "artifacts"


def compiled_for_tests(name: str) -> Artifact:
    """A contract from sources/."""
    return parse_artifact(name, json.loads((_FOLDER / f"{name}.json").read_text()))


@cache
def all_artifacts() -> list[Artifact]:
    """All contracts whose events and errors the tests can read."""
    names = sorted(file.stem for file in _FOLDER.glob("*.json"))
    return [load_artifact(name) for name in artifact_names()] + [compiled_for_tests(name) for name in names]
