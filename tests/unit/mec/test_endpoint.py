"""An agent's endpoint: the address it listens on, and connections that bring nothing."""

import contextlib
import socket

import pytest
import requests
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from fbfl.errors import InvalidInputError
from fbfl.mec import endpoint
from fbfl.mec.endpoint import serving

APP = Starlette(routes=[Route("/", lambda _: PlainTextResponse("here"))])


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answer(host: str, port: int) -> str:
    return requests.get(f"http://{host}:{port}/", timeout=5).text


@pytest.mark.parametrize(("host", "other"), [("127.0.0.1", "127.0.0.2"), ("127.0.0.2", "127.0.0.1")])
def test_it_listens_at_its_address_and_at_no_other(port: int, host: str, other: str) -> None:
    with serving(APP, port, host):
        assert answer(host, port) == "here"
        with pytest.raises(requests.ConnectionError):
            answer(other, port)
    with pytest.raises(requests.ConnectionError):
        answer(host, port)


def test_an_address_that_cannot_be_had_is_named(port: int) -> None:
    refused = rf"^--host 192\.0\.2\.1 --port {port}: cannot be listened on"
    with pytest.raises(InvalidInputError, match=refused), serving(APP, port, "192.0.2.1"):
        pass
    refused = rf"^--port {port}: cannot be listened on"
    with serving(APP, port), pytest.raises(InvalidInputError, match=refused), serving(APP, port):
        pass


def test_idle_connections_of_strangers_leave_room_for_requests(port: int) -> None:
    with serving(APP, port), contextlib.ExitStack() as held:
        idle = []
        for _ in range(2 * endpoint.MOST_CONNECTIONS):
            idle.append(held.enter_context(socket.create_connection(("127.0.0.1", port), 5)))
            if len(idle) % 32 == 0:
                assert answer("127.0.0.1", port) == "here"
        assert sum(not is_cut(each) for each in idle) <= endpoint.MOST_CONNECTIONS


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nX: ", b"GET / HTTP/1.1\r\nHost: here\r\n\r\nGET / HTT"])
def test_a_connection_ends_soon_without_a_whole_request(
    port: int, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "HEAD_SECONDS", 0.2)
    with serving(APP, port), socket.create_connection(("127.0.0.1", port), 5) as idle:
        idle.sendall(sent)
        with contextlib.suppress(ConnectionResetError):
            while idle.recv(4096):
                pass


def test_who_asks_for_a_websocket_gets_an_ordinary_answer(port: int) -> None:
    """A websocket would no longer be counted among the connections, and its package is loaded for nothing."""
    wish = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    with serving(APP, port):
        assert (
            requests.get(f"http://127.0.0.1:{port}/", headers={**wish, "Sec-WebSocket-Key": "a" * 24}, timeout=5).text
            == "here"
        )


def is_cut(connection: socket.socket) -> bool:
    connection.settimeout(0.01)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True
