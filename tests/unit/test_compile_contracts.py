import json
from pathlib import Path

import pytest

from fbfl.chain.artifacts import Artifact, artifact_names, load_artifact, parse_artifact
from fbfl.errors import ChainError, InvalidInputError
from tools import compile_contracts as compilation

SOURCES = compilation.REPOSITORY / "tests" / "contracts" / "sources"
COMPILED = compilation.REPOSITORY / "tests" / "contracts" / "artifacts"

ARTIFACT = {"contract": "A", "abi": [], "bytecode": "0x6000", "deployedBytecode": "0x"}


def test_writing_artifacts_makes_the_folder_hold_exactly_them(tmp_path: Path) -> None:
    (tmp_path / "Old.json").write_text("{}")
    assert compilation.write_artifacts({"A": ARTIFACT}, tmp_path) == ["A", "Old"]
    assert [file.name for file in tmp_path.iterdir()] == ["A.json"]
    assert compilation.write_artifacts({"A": ARTIFACT}, tmp_path) == []
    assert compilation.stale_artifacts({"A": {**ARTIFACT, "bytecode": "0x6001"}}, tmp_path) == ["A"]


def test_an_artifact_file_reads_back() -> None:
    content = json.loads(compilation.render(ARTIFACT))
    assert parse_artifact("A", content) == Artifact("A", [], bytes.fromhex("6000"))


def test_every_shipped_artifact_loads() -> None:
    for name in artifact_names():
        assert load_artifact(name).name == name
    with pytest.raises(InvalidInputError, match="contract 'Nonsense' is none of"):
        load_artifact("Nonsense")


@pytest.mark.slow
def test_the_tests_contracts_are_what_their_sources_compile_to() -> None:
    assert compilation.stale_artifacts(compilation.compile_folder(SOURCES), COMPILED) == []


@pytest.mark.slow
def test_the_shipped_artifacts_are_what_the_contracts_compile_to() -> None:
    artifacts = compilation.compile_folder(compilation.REPOSITORY / "contracts")
    assert compilation.stale_artifacts(artifacts) == []
    assert sorted(artifacts) == artifact_names()


@pytest.mark.slow
def test_the_compiler_speaks_where_only_the_wheel_has_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "Ledger" in compilation.compile_folder(SOURCES)


@pytest.mark.slow
def test_a_broken_source_is_refused_with_the_compilers_words(tmp_path: Path) -> None:
    (tmp_path / "Broken.sol").write_text("contract Broken { uint x = y; }")
    with pytest.raises(ChainError, match="Undeclared identifier"):
        compilation.compile_folder(tmp_path)


def test_a_folder_without_contracts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ChainError, match="no contract to compile"):
        compilation.compile_folder(tmp_path)
