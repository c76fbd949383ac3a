"""A browser, and a run to look at."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import fbfl
from fbfl import RunSettings
from tests.support.browser import Browser, browser


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with browser() as window:
        yield window


@pytest.fixture
def window(chromium: Browser) -> Browser:
    """The window, with nothing of the test before in it."""
    chromium.open("about:blank")
    chromium.complaints()
    return chromium


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four servers, one of them an attacker, and moving devices."""
    path = tmp_path_factory.mktemp("runs") / "run"
    fbfl.run(
        RunSettings(
            dataset="digits",
            servers=4,
            devices=6,
            rounds=3,
            attack="label_flipping",
            malicious=1,
            mobility="random_waypoint",
            mobility_args={"collect_rounds": 1},
        ),
        path,
    )
    return path
