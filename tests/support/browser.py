"""A headless Chromium for tests, driven by its chromedriver over the W3C's WebDriver protocol."""

import base64
import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from fbfl.system import http

SECONDS = 120.0
"""Seconds within which the browser, or what a test waits for in it, has to be there."""

OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1240,900",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)
"""The last has it find no machine but this one."""


class Browser:
    """A window of the browser."""

    def __init__(self, session: requests.Session, url: str) -> None:
        self._session = session
        self._url = url

    def ask(self, method: str, path: str, **body: Any) -> Any:
        """Send a command of the protocol and return its value."""
        answer = self._session.request(method, self._url + path, json=body if method == "POST" else None, timeout=60)
        value = answer.json()["value"]
        assert answer.ok, value
        return value

    def open(self, url: str) -> None:
        """Go to a page and wait until it is loaded."""
        self.ask("POST", "/url", url=url)

    def run(self, script: str, *arguments: Any) -> Any:
        """Run JavaScript in the page: what it returns."""
        return self.ask("POST", "/execute/sync", script=script, args=list(arguments))

    def text(self, selector: str = "main") -> str:
        """Return the text that an element shows."""
        return str(self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector))

    def texts(self, selector: str) -> list[str]:
        """Return the texts of all elements."""
        script = "return Array.from(document.querySelectorAll(arguments[0]), each => each.textContent.trim())"
        return list(self.run(script, selector))

    def count(self, selector: str) -> int:
        """Return the number of elements."""
        return int(self.run("return document.querySelectorAll(arguments[0]).length", selector))

    def click(self, selector: str) -> None:
        """Click on an element that leads to no other page."""
        found = self.ask("POST", "/element", using="css selector", value=selector)
        self.ask("POST", f"/element/{next(iter(found.values()))}/click")

    def follow(self, selector: str) -> None:
        """Click on a link or a form's button and wait until the page that it leads to is loaded.

        The driver does not wait for answers to forms, so that a test would go on reading the page that it leaves.
        """
        self.run("window.left = true")
        self.click(selector)
        self.wait(lambda: self.run("return window.left === undefined && document.readyState === 'complete'"))

    def wait(self, condition: Callable[[], object], seconds: float = SECONDS) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not within {seconds:g} s; the page says:\n{self.text('body')}"
            time.sleep(0.1)

    def complaints(self) -> list[str]:
        """Return what the browser has written to its console since the last call: errors, what it refused to load."""
        return [entry["message"] for entry in self.ask("POST", "/se/log", type="browser")]

    def loaded(self) -> list[str]:
        """Return the addresses of all that the page has loaded."""
        return list(self.run("return performance.getEntriesByType('resource').map(each => each.name)"))

    def picture(self, path: Path, *, whole: bool = True) -> Path:
        """Keep a picture of the page, as far down as it goes, as a PNG file."""
        if whole:
            self.ask("POST", "/window/rect", width=1240, height=600)
            height = self.run("return document.documentElement.scrollHeight")
            self.ask("POST", "/window/rect", width=1240, height=min(4000, int(height) + 100))
        path.write_bytes(base64.b64decode(self.ask("GET", "/screenshot")))
        return path


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Start a browser of its own. Where there is none the test is skipped, in CI it fails: `make browser` gets one."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        missing = "no chromium and chromedriver on this machine; make browser installs Debian's"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    with tempfile.TemporaryDirectory(prefix="fbfl-browser-", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            assert process.stdout is not None
            said = next(line for line in process.stdout if "started successfully on port" in line)
            url = f"http://127.0.0.1:{said.rstrip().rstrip('.').rpartition(' ')[2]}"
            options = {"binary": chromium, "args": [*OPTIONS, f"--user-data-dir={profile}"]}
            wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
            session = http.session()
            body = {"capabilities": {"alwaysMatch": wanted}}
            made = session.post(f"{url}/session", json=body, timeout=120).json()["value"]
            assert "sessionId" in made, made
            window = Browser(session, f"{url}/session/{made['sessionId']}")
            try:
                yield window
            finally:  # the driver alone does not end it
                window.ask("DELETE", "")
        finally:
            process.terminate()
            process.wait(10)
            assert process.stdout is not None
            process.stdout.close()
