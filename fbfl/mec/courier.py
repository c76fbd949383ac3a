"""Send messages to other agents' endpoints in the background: a slow or dead one holds up no other."""

import functools
import itertools
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError

from fbfl.errors import InvalidInputError
from fbfl.system.backoff import pause_after
from fbfl.system.http import request
from fbfl.system.strictjson import read_object

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.25
"""Seconds after a first failed attempt; each further one doubles them."""

_AT_ONCE = 8  # messages on their way to one server
_MAX_ANSWER = 65_536  # bytes
_TRY_AGAIN = (408, 409, 429)
_JSON = {"Content-Type": "application/json"}


class Courier:
    """Posts JSON to servers, each to all URLs that `urls_of` its address tells.

    One request takes at most `timeout` seconds to connect, and as long to answer; what was refused for the moment, or
    did not arrive, is tried again until `patience` seconds have passed. Then it is dropped: its receiver can do without
    it. So is what is sent to a server at a URL to which many messages for it are on their way.
    """

    def __init__(
        self, urls_of: Callable[[str], Sequence[str]], *, timeout: float = 3.0, patience: float = 30.0
    ) -> None:
        self._urls_of = urls_of
        self._timeout = timeout
        self._patience = patience
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._under_way: Counter[tuple[str, ...]] = Counter()
        """Messages to servers whose URLs are looked up, and to each URL of a server: others may say it is theirs."""

    def send(self, server: str, path: str, message: Mapping[str, Any]) -> None:
        """Take a message to a server's endpoint; returns at once."""
        body = json.dumps(message).encode()
        self._begin((server,), path, lambda: self._find(server, path, body))

    def close(self) -> None:
        """Drop what is still on its way."""
        self._closed.set()

    def _begin(self, to: tuple[str, ...], path: str, task: Callable[[], None]) -> None:
        with self._lock:
            if self._under_way[to] >= _AT_ONCE:
                log.warning("a message to %s%s was not sent: %d others are on their way", to[-1], path, _AT_ONCE)
                return
            self._under_way[to] += 1
        # A thread of its own, which nobody waits for: no server holds up what is for others, or the end of the process.
        threading.Thread(target=self._take, args=(to, task), name="courier", daemon=True).start()

    def _take(self, to: tuple[str, ...], task: Callable[[], None]) -> None:
        try:
            task()
        finally:
            with self._lock:
                self._under_way[to] -= 1
                self._under_way += Counter()  # forgets those with none

    def _find(self, server: str, path: str, body: bytes) -> None:
        """Begin to deliver to each URL of a server: one that takes nothing holds up none of the others."""
        urls = list[str]()

        def ask() -> tuple[str | None, bool]:
            try:
                urls[:] = self._urls_of(server)
            except Exception as error:
                # Any error: the chain may be reorganised while the registry is read, and a thread must not be lost.
                return f"{type(error).__name__}: {error}", False
            return (None, True) if urls else ("where it is, nobody says", True)

        self._persist(ask, server, path)
        for url in urls:
            self._begin((server, url), path, functools.partial(self._deliver, url, path, body))

    def _deliver(self, url: str, path: str, body: bytes) -> None:
        self._persist(lambda: self._attempt(url, path, body), url, path)

    def _persist(self, attempt: Callable[[], tuple[str | None, bool]], to: str, path: str) -> None:
        """Try until an attempt succeeds, another one is useless, or the patience is over."""
        waited = 0.0
        for number in itertools.count(1):
            problem, is_final = attempt()
            if problem is None:
                return
            if is_final or waited >= self._patience or self._closed.is_set():
                log.warning("a message to %s%s was not delivered: %s", to, path, problem)
                return
            pause = pause_after(number, first=FIRST_PAUSE, longest=self._patience)
            self._closed.wait(pause)
            waited += pause

    def _attempt(self, url: str, path: str, body: bytes) -> tuple[str | None, bool]:
        """Return what went wrong, or None, and whether another attempt is useless."""
        try:
            status, _ = request("POST", url.rstrip("/") + path, timeout=self._timeout, data=body, headers=_JSON)
        except Exception as error:
            # Any error: a thread must not be lost.
            return f"{type(error).__name__}: {error}", False
        return (None, True) if status < 300 else (f"it answered {status}", status < 500 and status not in _TRY_AGAIN)


ASK_AGAIN = 30.0
"""Seconds after which a URL that did not say who is there is asked again."""


class Directory:
    """URLs of servers: agents at the `peers` URLs tell their addresses; `registered` has the URLs of all others.

    A peer may lie, and say that it is another server, or drip: so a server is at all URLs that say so, the registered
    one among them, whenever they come to say it, and who asks them holds up nobody whose server is found.
    """

    def __init__(
        self, chain_id: int, peers: Sequence[str], registered: Callable[[str], str | None], *, timeout: float = 3.0
    ) -> None:
        self._chain_id = chain_id
        self._not_before = dict.fromkeys(peers, 0.0)
        """Peers that have not said yet who they are, with the time at which each is asked again."""
        self._registered = registered
        self._timeout = timeout
        self._found: dict[str, tuple[str, ...]] = {}
        self._asking = threading.Lock()
        self._looks_again = 0.0

    def urls_of(self, server: str) -> Sequence[str]:
        """Return the URLs of a server; none if it is not known. Safe to use from several threads."""
        if server not in self._found:
            with self._asking:
                for peer in list(self._not_before):
                    if server not in self._found:
                        self._ask(peer)
        elif time.monotonic() >= self._looks_again:
            # Who was found first may be a liar, and the server itself not up by then.
            self._looks_again = time.monotonic() + ASK_AGAIN
            threading.Thread(target=self._look_again, name="directory", daemon=True).start()
        return self._found.get(server) or self._endpoint_of(server)

    def _look_again(self) -> None:
        with self._asking:
            for peer in list(self._not_before):
                self._ask(peer)
            for server in self._found:
                self._ask_registered(server)

    def _ask(self, peer: str) -> None:
        if time.monotonic() < self._not_before[peer]:
            return
        server = self._server_at(peer)
        if server is None:
            self._not_before[peer] = time.monotonic() + ASK_AGAIN
            return
        del self._not_before[peer]
        known = self._found.get(server, ())
        self._found[server] = tuple(dict.fromkeys((*known, peer)))
        if not known:
            self._ask_registered(server)

    def _ask_registered(self, server: str) -> None:
        try:
            urls = self._endpoint_of(server)
        except Exception as error:
            # Any error: the chain may be reorganised while the registry is read. It is asked again.
            log.info("where %s is registered was not found out: %s: %s", server, type(error).__name__, error)
            return
        found = self._found[server]
        self._found[server] = (*found, *(u for u in urls if u not in found and self._server_at(u) == server))

    def _endpoint_of(self, server: str) -> tuple[str, ...]:
        url = self._registered(server)
        return (url,) if url is not None and is_endpoint(url) else ()

    def _server_at(self, url: str) -> str | None:
        health = health_of(url, self._timeout)
        return str(health.get("address")) if health is not None and health.get("chain_id") == self._chain_id else None


def health_of(url: str, timeout: float = 3.0) -> dict[str, Any] | None:
    """Return the health of the agent at a URL; None if no agent answers there in time."""
    try:
        where = f"{url.rstrip('/')}/health"
        status, text = request("GET", where, timeout=timeout, most=_MAX_ANSWER)
        said = read_object(text, "the answer")
    except (requests.RequestException, HTTPError, OSError, ValueError):
        return None
    return said if status < 400 else None


def is_endpoint(url: str) -> bool:
    """Return True for the http(s) URL of an endpoint: a request to it ends in the path that is appended.

    A registered URL must not lead requests to other services: after `?` or `#`, the appended text is no path.
    """
    if not url.isprintable() or any(mark in url for mark in " ?#@\\"):
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # an invalid port or IPv6 address
        return False


def check_url(url: str, option: str = "--peer") -> str:
    """Return the URL itself if it is that of an endpoint; else raise `InvalidInputError`."""
    if not is_endpoint(url):
        raise InvalidInputError(
            f"{option} {url}; allowed: http(s) URLs of servers' endpoints, without ?, #, @, \\ and spaces"
        )
    return url
