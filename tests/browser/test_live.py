"""The dashboard while a federation plays: rounds appear without a reload, on a network and in the folder of a run."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fbfl.nodes import chains
from tests.browser.starting import dashboard
from tests.support.browser import Browser
from tests.support.paths import REPOSITORY
from tests.support.ports import free_ports

pytestmark = [pytest.mark.integration, pytest.mark.browser]

ROUNDS = "8"
SMALL = ("--dataset", "digits", "--servers", "4", "--devices", "4", "--rounds", ROUNDS, "--quiet")


def test_rounds_on_a_network_appear_as_they_end(window: Browser, tmp_path: Path) -> None:
    state = tmp_path / "nodes"
    (node,) = chains.up("anvil", port=free_ports(), state=state)
    command = [sys.executable, "-m", "fbfl", "run", *SMALL, "--network", node.address, "--output", "run"]

    def over() -> int:
        return int((window.text(".tile b") or "0").split(" of ")[0].replace(",", "") or 0)

    try:
        with (
            subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}) as player,
            contextlib.ExitStack() as stack,
        ):
            window.wait(lambda: (tmp_path / "run" / "deployment.json").exists())
            url = stack.enter_context(dashboard("--network", node.address, "--payloads", "run/payloads", cwd=tmp_path))
            window.open(url + "/")
            window.run("window.same = true")
            window.wait(lambda: window.count("#seats .seat.in") > 0 or over() > 1)
            window.wait(lambda: over() >= 2)
            assert window.run("return window.same"), "without a reload"
            assert player.wait(300) == 0
            window.wait(lambda: over() == int(ROUNDS))
            for page in ("/rounds", "/round/4", "/servers", "/updates/4", "/map", "/compare"):
                window.open(url + page)
                window.wait(lambda: window.count(".working") == 0)
                assert window.count(".trouble") == 0
                assert page == "/compare" or "read from the network" in window.text()
                if page == "/updates/4":
                    assert window.count("#distances") == 1
            window.open(url + "/audit")
            window.follow("main button")
            window.wait(lambda: "everything recomputed is as recorded" in window.text())
            assert window.complaints() == []
            window.open(url + "/rounds")
            assert window.count("#rounds tr") == 1 + int(ROUNDS)
            with dashboard("--run", tmp_path / "run") as of_run:
                window.open(of_run + "/")
                window.wait(lambda: over() == int(ROUNDS))
                assert window.text("#accuracy")
            window.open(url + "/")
            chains.down("anvil", state=state)
            window.wait(lambda: "no node answers" in window.text(".trouble"))
            assert over() == int(ROUNDS), "what was known stays"
    finally:
        chains.down("anvil", state=state)
