"""The device's side of `fbfl.mec.ingest`: ask a server what it has, and send it a batch."""

import contextlib
import itertools
from typing import Any

import requests
from urllib3.exceptions import HTTPError

from fbfl.errors import FbflError, InvalidInputError
from fbfl.mec.batches import encode_batch
from fbfl.mec.samples import Batch
from fbfl.system.http import request
from fbfl.system.strictjson import read_object

_MAX_ANSWER = 4 * 2**20  # bytes
_MOST_SECONDS = 60.0  # for a batch on its way, and for its answer; a server gives a batch half of that
_MOST_SAMPLES = 2**63 - 1  # that the database can number
_LATER = (408, 429)


class UploadError(FbflError):
    """A server does not answer, or refuses; `final` if that will not change by itself."""

    def __init__(self, problem: str, *, final: bool) -> None:
        super().__init__(problem)
        self.final = final


class Uploads:
    """The requests of one device. Each waits at most `timeout` seconds to connect and for any part of an answer."""

    def __init__(self, device: int, token: str, *, timeout: float = 10.0) -> None:
        self.device = device
        self._token = token
        self._timeout = timeout

    def held(self, server: str) -> list[tuple[int, int]]:
        """Return the sequence numbers of its samples at the server with this URL, as ranges: from, up to but without.

        Raises `UploadError`, as `send` does.
        """
        said = self._ask("GET", server, f"/devices/{self.device}/samples")
        try:
            held = [(first, end) for first, end in said["held"]]
        except (KeyError, TypeError, ValueError) as error:
            raise UploadError(f"{server} answers, but not as a MEC server does", final=True) from error
        bounds = [0, *itertools.chain.from_iterable(held), _MOST_SAMPLES]
        if not all(type(bound) is int for bound in bounds) or bounds != sorted(bounds):
            raise UploadError(f"{server} answers, but not as a MEC server does", final=True)
        return held

    def send(self, server: str, batch: Batch) -> None:
        """Send a batch; returns when the server has it for good."""
        self._ask("PUT", server, f"/devices/{self.device}/samples/{batch.first}", encode_batch(batch))

    def _ask(self, method: str, server: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/octet-stream"}
        try:
            status, text = request(
                method,
                server + path,
                timeout=self._timeout,
                seconds=self._timeout + _MOST_SECONDS,
                most=_MAX_ANSWER,
                data=body,
                headers=headers,
            )
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            raise UploadError(f"{server} does not answer: {type(error).__name__}", final=False) from error
        said: dict[str, Any] = {}
        with contextlib.suppress(InvalidInputError):
            said = read_object(text, "the answer")
        if status != 200:
            problem = said.get("error", "no reason given")
            final = status not in _LATER and (status < 500 or status == 507)
            raise UploadError(f"{server} answers {status}: {problem}", final=final)
        return said
