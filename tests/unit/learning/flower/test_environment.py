"""Environments of Flower apps, made without a network of a package that lies here."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from fbfl.cli import main
from fbfl.errors import InvalidInputError, ProcessError
from fbfl.learning.flower import app as apps
from fbfl.learning.flower import environment

PROJECT = """
[project]
name = "small"
dependencies = [{}]
[tool.flwr.app.components]
serverapp = "a:b"
clientapp = "a:b"
"""


def _app(folder: Path, *dependencies: str) -> apps.App:
    folder.mkdir(exist_ok=True)
    quoted = ", ".join(f'"{each}"' for each in dependencies)
    (folder / "pyproject.toml").write_text(PROJECT.format(quoted))
    return apps.read(folder)


@pytest.fixture
def wheel(tmp_path: Path) -> str:
    """Return the requirement of a package of one module, as a wheel."""
    path = tmp_path / "greeting-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("greeting.py", "print('hello')")
        file.writestr("greeting-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n")
        file.writestr("greeting-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr("greeting-1.0.dist-info/RECORD", "")
    return f"greeting @ {path.as_uri()}"


def test_an_environment_has_what_the_app_requires(
    tmp_path: Path, wheel: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    app = _app(tmp_path / "app", wheel)
    with pytest.raises(InvalidInputError, match="has no environment here; needed: fbfl flower prepare"):
        environment.python_of(app)
    assert main(["flower", "prepare", "app"]) == 0
    assert capsys.readouterr().out.strip() == str(environment.folder_of(app))
    said = subprocess.run([environment.python_of(app), "-I", "-c", "import greeting"], capture_output=True, text=True)
    assert said.stdout == "hello\n"
    other = _app(tmp_path / "other", wheel)
    assert environment.folder_of(other) == environment.folder_of(app)
    assert main(["flower", "prepare", "other"]) == 0  # it is there


@pytest.mark.parametrize(
    ("dependency", "timeout", "status", "said"),
    [
        ("greeting @ file:///nowhere/greeting-1.0-py3-none-any.whl", "60", 3, "its environment cannot be made: "),
        (
            "numpy=>3",
            "60",
            2,
            "dependencies in pyproject.toml: error: Failed to parse: `numpy=>3`; needed: requirements",
        ),
        ("nothing", "0.01", 3, "its environment was not made within 0.01 s"),
        ("nothing", "0", 2, "--timeout 0; allowed: more than 0 seconds"),
        ("nothing", "1e9", 2, "--timeout 1e+09; allowed: more than 0 seconds, up to 2147483"),
    ],
)
def test_an_environment_that_cannot_be_made(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    dependency: str,
    timeout: str,
    status: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    app = _app(tmp_path / "app", dependency)
    assert main(["flower", "prepare", "app", "--timeout", timeout]) == status
    assert said in capsys.readouterr().err
    assert not environment.folder_of(app).exists()


def test_an_app_that_requires_nothing(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"its pyproject\.toml has no dependencies; needed: flwr, at least"):
        environment.prepare(_app(tmp_path / "app"), tmp_path)


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        (
            "error: No solution found\n  cause: Because a was not found\n",
            "error: No solution found; cause: Because a was",
        ),
        ("ERROR: Could not find a version\nERROR: No matching distribution for a\n", "ERROR: No matching distribution"),
        ("a\nb\n", "b"),
        ("", "it printed nothing"),
    ],
)
def test_the_last_error_is_told_with_its_cause(printed: str, said: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", f"import sys; sys.stderr.write({printed!r}); sys.exit(1)"]
    with pytest.raises(ProcessError, match=f"its environment cannot be made: {said}"):
        environment._run(_app(tmp_path / "app"), command, 60.0)


def test_what_pip_cannot_read_is_told_of_the_app(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit(\"ERROR: Invalid requirement: 'a b'\")"]
    with pytest.raises(
        InvalidInputError, match=r"dependencies in pyproject\.toml: ERROR: Invalid requirement: 'a b'; "
    ):
        environment._run(_app(tmp_path / "app"), command, 60.0)


@pytest.mark.slow
def test_without_uv_it_is_made_by_venv_and_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(ProcessError, match=r"its environment cannot be made: ERROR: .*nowhere"):
        environment.prepare(_app(tmp_path / "app", "a @ file:///nowhere/a-1.0-py3-none-any.whl"), tmp_path)
