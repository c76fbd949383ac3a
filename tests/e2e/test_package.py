"""The wheel and the sdist: what is installed from them works without the checkout."""

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import REPOSITORY
from tests.support.tasks_guide import prepared

pytestmark = pytest.mark.slow


def call(*command: Any, folder: Any, status: Any = 0) -> Any:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The sdist, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    call(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, REPOSITORY, folder=folder)
    return next(folder.glob("*.tar.gz")), next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(built: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A new environment with the wheel, and with this one's packages in place of what it would download."""
    home = tmp_path_factory.mktemp("installed")
    venv.create(home)
    python = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    packages = Path(call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=home).strip())
    # A path alone: the files *.pth there, which name the checkout, are not read.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    call(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", built[1], folder=home)
    return python


def fbfl(python: Any, *words: Any, folder: Any, status: Any = 0) -> Any:
    return call(python.with_name("fbfl"), *words, folder=folder, status=status)


@pytest.mark.skipif(not (REPOSITORY / ".git").exists(), reason="no git repository, which says what files there are")
def test_the_sdist_has_every_file(built: Any) -> None:
    tracked = call("git", "ls-files", "-z", folder=REPOSITORY).split("\0")
    with tarfile.open(built[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {name for name in tracked if name and (REPOSITORY / name).exists()} - names == set()


def test_the_wheel_has_the_package_the_steps_and_the_definitions_and_nothing_else(built: Any) -> None:
    names = set(zipfile.ZipFile(built[1]).namelist())
    shipped = {name for name in names if name.startswith("fbfl/shipped/")}
    definitions = {f"fbfl/shipped/experiments/{path.name}" for path in (REPOSITORY / "experiments").glob("*.toml")}
    steps = {f"fbfl/shipped/migrations/{path.name}" for path in (REPOSITORY / "migrations").glob("[0-9]*.py")}
    assert shipped == definitions | steps
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"fbfl"}
    assert {"fbfl/chain/artifacts/FederatedTasks.json", "fbfl/nodes/pins/kubo/go.sum", "fbfl/py.typed"} <= names


def test_what_it_requires_is_there(installed: Any, tmp_path: Path) -> None:
    call(sys.executable, "-m", "pip", "--python", installed, "check", folder=tmp_path)


def test_the_lowest_versions_that_it_allows_can_be_had_together(tmp_path: Path) -> None:
    # `make test-lowest` installs them, and runs the quick tests.
    options = ["--no-sources", "--universal", "--python-version", "3.11", "--resolution", "lowest-direct"]
    extras = [f"--extra={name}" for name in ("cluster", "cuda", "nodes")]
    call(
        sys.executable, "-m", "uv", "pip", "compile", *options, *extras, REPOSITORY / "pyproject.toml", folder=tmp_path
    )


def test_it_plays_audits_and_deploys_in_an_empty_folder(installed: Any, tmp_path: Path) -> None:
    where = call(installed, "-c", "import fbfl; print(fbfl.__file__)", folder=tmp_path)
    assert Path(where).is_relative_to(installed.parents[1])
    small = ["--dataset", "digits", "--servers", "3", "--devices", "3", "--batch-size", "16"]
    assert "accuracy" in fbfl(installed, "run", "--rounds", "1", *small, folder=tmp_path)
    assert len(json.loads(fbfl(installed, "rounds", "--json", folder=tmp_path))) == 1
    fbfl(installed, "audit", folder=tmp_path)
    assert "FederatedTasks" in fbfl(installed, "deploy", folder=tmp_path)


@pytest.mark.parametrize(
    ("title", "figure"),
    [
        ("Numbers instead of classes", "mae"),
        ("Sensors", "accuracy"),
        ("Text", "accuracy"),
        ("A module of PyTorch", "accuracy"),
    ],
)
def test_tasks_of_a_users_run_in_an_empty_folder(installed: Any, tmp_path: Path, title: str, figure: str) -> None:
    if "PyTorch" in title:
        pytest.importorskip("torch", reason="PyTorch is not installed; make test-torch has it")
    for program, *words in prepared(title, tmp_path):
        call(installed.with_name(program), *words, folder=tmp_path)
    (summary,) = (json.loads(file.read_bytes()) for file in tmp_path.glob("*/summary.json"))
    if figure == "mae":
        assert summary["final_metrics"]["mae"] < 0.4
    else:
        assert summary["final_accuracy"] > 0.9


def test_it_plays_an_experiment_that_comes_with_it(installed: Any, tmp_path: Path) -> None:
    fbfl(installed, "experiment", "fig3", "--quick", "--seeds", "1", "--jobs", "1", folder=tmp_path)
    assert (tmp_path / "runs" / "quick" / "results" / "fig3.csv").exists()
    assert "Fig. 3" in (tmp_path / "runs" / "quick" / "RESULTS.md").read_text()
