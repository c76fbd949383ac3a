"""Requests to other programs over HTTP."""

import contextlib
import socket
import threading
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


def session(seconds: float | None = None) -> requests.Session:
    """Return a session that takes nothing from the environment, and whose connections are cut after so many seconds.

    Proxies and the passwords of a netrc file are for other machines and services than those of a federation. The
    time-out of a request is for each part of an answer alone: one that comes byte by byte would hold its reader for
    ever.
    """
    made = requests.Session()
    made.trust_env = False
    made.headers["Accept-Encoding"] = "identity"
    if seconds is not None:
        for scheme in ("http://", "https://"):
            made.mount(scheme, _Hasty(seconds))
    return made


def request(
    method: str, url: str, *, timeout: float, seconds: float | None = None, most: int = 0, **options: Any
) -> tuple[int, bytes]:
    """Return the status of an answer, and its first `most` bytes; no redirect is followed, it may lead anywhere.

    `timeout` is for the connection and for each part, `seconds` (default: twice that) for all of it. What is compressed
    is refused (`requests.RequestException`): a few bytes may unpack to more than the memory holds.
    """
    with (
        session(2 * timeout if seconds is None else seconds) as asking,
        asking.request(method, url, timeout=timeout, allow_redirects=False, stream=True, **options) as answer,
    ):
        if most and answer.headers.get("Content-Encoding", "identity") != "identity":
            raise requests.exceptions.ContentDecodingError("the answer is compressed, and nobody asked for that")
        return answer.status_code, answer.raw.read(most, decode_content=True) if most else b""


class _Hasty(HTTPAdapter):
    """Opens connections that end after some seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        plain = type("_Pool", (HTTPConnectionPool,), {"ConnectionCls": _ending(HTTPConnection, self._seconds)})
        secure = type("_Pool", (HTTPSConnectionPool,), {"ConnectionCls": _ending(HTTPSConnection, self._seconds)})
        self.poolmanager.pool_classes_by_scheme = {"http": plain, "https": secure}


def _ending(kind: type[HTTPConnection], seconds: float) -> type[HTTPConnection]:
    class Ending(kind):  # type: ignore[misc,valid-type]
        """A connection that is cut after `seconds`, also in the middle of a handshake."""

        _cut: threading.Timer | None = None

        def _new_conn(self) -> socket.socket:
            connected: socket.socket = super()._new_conn()
            # TLS takes the socket over: only a duplicate can end the connection whatever happens to it.
            self._same = connected.dup()
            self._cut = threading.Timer(seconds, _shut, [self._same])
            self._cut.daemon = True
            self._cut.start()
            return connected

        def close(self) -> None:
            if self._cut is not None:
                self._cut.cancel()
                self._same.close()
            super().close()

    return Ending


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the other side may have gone
        connection.shutdown(socket.SHUT_RDWR)
