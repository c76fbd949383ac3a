"""What is read of a Flower app, and what is no app."""

from pathlib import Path

import pytest

from fbfl.errors import InvalidInputError
from fbfl.learning.flower import app

WHOLE = """
[project]
name = "small"
dependencies = ["flwr>=1.26", "numpy"]
[tool.flwr.app.components]
serverapp = "small.server:app"
clientapp = "small.client:app"
[tool.flwr.app.config]
lr = 0.5
rounds = 3
name = "wide"
fast = false
[tool.flwr.app.config.model]
width = 8
"""


def _written(folder: Path, text: str) -> Path:
    (folder / "pyproject.toml").write_text(text)
    return folder


def test_an_app_is_read(tmp_path: Path) -> None:
    found = app.read(_written(tmp_path, WHOLE))
    assert (found.name, found.client, found.server) == ("small", "small.client:app", "small.server:app")
    assert found.config == {"lr": 0.5, "rounds": 3, "name": "wide", "fast": False, "model.width": 8}
    assert found.dependencies == ("flwr>=1.26", "numpy")


@pytest.mark.parametrize(
    "config",
    [
        "lr=1 model.width=9 name='so wide'",
        'name="so wide"\nlr = 1 model.width=9',
        {"lr": 1, "name": "so wide", "model": {"width": 9}},
    ],
)
def test_values_take_the_place_of_the_apps(tmp_path: Path, config: str | dict[str, object]) -> None:
    found = app.read(_written(tmp_path, WHOLE), config).config  # type: ignore[arg-type]  # a table in a table
    assert found == {"lr": 1.0, "rounds": 3, "name": "so wide", "fast": False, "model.width": 9}
    assert isinstance(found["lr"], float)


def test_a_number_of_too_many_digits_is_a_text(tmp_path: Path) -> None:
    for digits in ("9" * 5_000, f"0x{'f' * 5_000}"):
        assert app.read(_written(tmp_path, WHOLE), f"lr={digits}").config["lr"] == digits


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("depth=3", "config has no 'depth'; allowed: lr, rounds, name, fast, model.width"),
        ("lr", r"config is 'lr'; allowed: KEY=VALUE"),
        ({"lr": [1]}, r"config lr is \[1\]; allowed: numbers, texts"),
    ],
)
def test_values_that_are_refused(tmp_path: Path, config: str | dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        app.read(_written(tmp_path, WHOLE), config)  # type: ignore[arg-type]  # refused


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "pyproject.toml: not TOML"),
        ("", r"has no table \[project\]; needed: a Flower app"),
        (WHOLE.replace("tool.flwr.app.components", "tool.other"), r"has no table \[tool.flwr.app.components\]"),
        (WHOLE.replace('"small.client:app"', "3"), "clientapp is 3; needed in pyproject.toml: package.module:object"),
        (WHOLE.replace("small.server:app", "small.server"), "serverapp is 'small.server'; needed"),
        (WHOLE.replace("lr = 0.5", "lr = [1]"), r"config lr is \[1\]; allowed: numbers, texts, true, false"),
        (
            WHOLE.replace('["flwr>=1.26", "numpy"]', '"flwr"'),
            "dependencies in pyproject.toml are 'flwr'; needed: a list",
        ),
    ],
)
def test_what_is_no_app(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=f"app {tmp_path}: .*{message}"):
        app.read(_written(tmp_path, text))


def test_a_folder_without_a_project(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"pyproject.toml: cannot be read: No such file"):
        app.read(tmp_path)


def test_the_digest_is_of_the_code(tmp_path: Path) -> None:
    before = app.read(_written(tmp_path, WHOLE)).digest
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "other.py").write_text("x = 1")
    (tmp_path / "data.csv").write_text("1,2")
    assert app.read(tmp_path).digest == before
    (tmp_path / "task.py").write_text("x = 1")
    assert app.read(tmp_path).digest != before
