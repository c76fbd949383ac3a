"""Files about the project that nothing else reads: they are valid, and say the same as the package."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator

import pytest
import yaml

import fbfl
from tests.support.paths import REPOSITORY

PYTHONS = [f"3.{minor}" for minor in (11, 12, 13)]


@pytest.mark.parametrize(
    ("schema", "file"),
    [("vendor.github-workflows", ".github/workflows/ci.yaml"), ("vendor.citation-file-format", "CITATION.cff")],
)
def test_they_keep_to_their_schemas(schema: str, file: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(REPOSITORY / file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_changelog_and_the_citation_are_of_this_version() -> None:
    newest = re.search(r"^## (\S+)", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())["version"] == fbfl.__version__


def test_ci_runs_every_python_that_is_supported() -> None:
    workflow = yaml.safe_load((REPOSITORY / ".github" / "workflows" / "ci.yaml").read_text())
    assert workflow["jobs"]["tests"]["strategy"]["matrix"]["python"] == PYTHONS
    supported = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["requires-python"]
    assert supported == ">=3.11,<3.14"


def test_hooks_before_a_commit_are_what_make_lint_does() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    linted = re.search(r"^lint:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert linted is not None
    programs = [line.strip().removeprefix("$(BIN)/").split()[0] for line in linted[1].splitlines()]
    hooks = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert [hook["entry"].removeprefix(".venv/bin/").split()[0] for hook in hooks] == programs


def test_tests_share_only_what_is_in_their_folder_and_in_support() -> None:
    """A test that imports another, or a unit test that needs a folder of slower ones, cannot be read or moved alone."""
    for path in REPOSITORY.joinpath("tests").rglob("*.py"):
        folder = path.relative_to(REPOSITORY).parts[1]
        for module in imported(ast.parse(path.read_text())):
            if module.startswith("tests."):
                place = f"{path.relative_to(REPOSITORY)} imports {module}"
                assert module.split(".")[1] in {folder, "support"}, place
                assert not module.rsplit(".")[-1].startswith(("test_", "conftest")), place


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
