"""500 rounds of 100 servers: pages stay quick, and the rounds are read page by page."""

import time
from pathlib import Path

import pytest

from tests.browser.starting import dashboard
from tests.support.browser import Browser
from tests.support.long_run import write_run

pytestmark = [pytest.mark.integration, pytest.mark.browser]

SECONDS = 2.0


def test_a_long_run_stays_usable(window: Browser, tmp_path: Path) -> None:
    run = write_run(tmp_path / "long")
    with dashboard("--run", run) as url:
        for page in ("/", "/rounds", "/round/250", "/servers", "/map?round=250", "/compare"):
            before = time.monotonic()
            window.open(url + page)
            assert time.monotonic() - before < SECONDS, page
            assert window.count(".trouble") == 0
        window.open(url + "/rounds")
        seen = []
        while True:
            seen += window.texts("#rounds td:first-child")
            if not window.count("a[rel=next]"):
                break
            window.follow("a[rel=next]")
        assert seen == [str(number) for number in range(1, 501)]
        window.open(url + "/round/250")
        assert window.count("#track circle") == 1 + 100 + 1 + 100 + 1
        assert window.complaints() == []
