"""Where an agent's endpoint listens."""

import socket

import pytest
import requests
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from fbfl.errors import InvalidInputError
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
