"""Messages go to the right place, and a misbehaving other side does no harm."""

import contextlib
import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from urllib3.util import parse_url

from fbfl.errors import InvalidInputError
from fbfl.mec.board import UPDATES, VOTES
from fbfl.mec.courier import Courier, Directory, check_url, health_of, is_endpoint
from fbfl.mec.uploads import UploadError, Uploads
from tests.support.ports import free_ports

_PACKED = gzip.compress(b'{"held": []}')  # sound by itself: it is the encoding that is refused
BROKEN = {
    "silent in mid-answer": b"Content-Length: 100\r\n\r\n{",
    "cut off": b"Content-Length: 100\r\nConnection: close\r\n\r\n{",
    "chunks that are none": b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "not what it is encoded as": b"Content-Encoding: gzip\r\nContent-Length: 9\r\n\r\nno gzip!!",
    "packed, and larger than any memory": b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
    % (len(_PACKED), _PACKED),
    "nested without end": b"Content-Length: 65536\r\n\r\n" + b"[" * 65_536,
}


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8600", "https://mec.example.org/servers/3/", "HTTP://[::1]:8600", "http://h\u00f6st"],
)
def test_endpoints_may_be_behind_a_path(url: str) -> None:
    assert check_url(url) == url
    assert Directory(1, [], {"0x": url}.get).urls_of("0x") == (url,)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:5001/api/v0/shutdown#",
        "http://127.0.0.1:5001/api/v0/shutdown?",
        "http://h/x?a=1",
        "http://user:password@host",
        "http://h\\@other",
        "http://h/a b",
        "http://h/a\n",
        "\thttp://h",
        "http://h/\u2028",
        "",
        "127.0.0.1:8600",
        "http://",
        "http://:80",
        "http:///path",
        "ftp://h",
        "http://h:x",
        "http://h:99999",
        "http://[::1",
        "file:///etc/passwd",
        "http:h",
    ],
)
def test_what_would_lead_requests_elsewhere_is_no_endpoint(url: str) -> None:
    with pytest.raises(InvalidInputError, match=r"(?s)--peer .*allowed: http\(s\) URLs"):
        check_url(url)
    assert Directory(1, [], {"0x": url}.get).urls_of("0x") == ()


@given(rest=st.text(st.sampled_from("/:.%;,&=?#@\\ abc0[]\t\u00e9"), max_size=12))
def test_a_request_ends_in_the_path_that_is_appended(rest: str) -> None:
    url = f"http://host{rest}"
    if is_endpoint(url):
        with contextlib.suppress(requests.RequestException):  # to hosts that cannot be, nothing is sent
            sent = requests.Request("POST", url.rstrip("/") + UPDATES).prepare().url
            parts = parse_url(str(sent))
            assert str(parts.path).endswith(UPDATES)
            assert (parts.query, parts.fragment, parts.auth) == (None, None, None)


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN.keys())
def test_an_answer_that_breaks_off_is_none(answer: bytes) -> None:
    with answering(answer) as url:
        assert health_of(url, 0.3) is None


@pytest.mark.parametrize("name", [name for name in BROKEN if name != "nested without end"])
def test_a_device_tries_again_when_an_answer_breaks_off(name: str) -> None:
    with answering(BROKEN[name]) as url, pytest.raises(UploadError, match=f"{url} does not answer") as caught:
        Uploads(0, "token", timeout=0.3).held(url)
    assert not caught.value.final


@pytest.mark.parametrize(
    "held",
    [
        "[" * 100_000,
        "[[Infinity,1]]",
        "[[1e400,1]]",
        "[[0,1e3]]",
        "[[true,2]]",
        "[[-1,2]]",
        f"[[0,{10**20}]]",
        f"[[{'9' * 5000},1]]",
        "[[5,3]]",
        "[[3,9],[0,1]]",
        "[[0,3],[2,4]]",
        '"ab"',
        "[1]",
        "null",
    ],
)
def test_a_device_believes_no_answer_of_another_form(held: str) -> None:
    body = f'{{"held":{held}}}'.encode()
    answer = b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with answering(answer) as url, pytest.raises(UploadError, match="not as a MEC server does") as caught:
        Uploads(0, "token").held(url)
    assert caught.value.final


def test_an_answer_that_never_ends_holds_nobody_for_ever() -> None:
    with dripping() as url:
        started = time.monotonic()
        assert health_of(url, 0.3) is None
        assert time.monotonic() - started < 3


def test_endpoints_that_drip_hold_up_no_message_to_others() -> None:
    with dripping() as bad, receiving() as (good, arrived):
        courier = Courier({"bad": [bad], "good": [good]}.__getitem__, timeout=5, patience=60)
        with contextlib.closing(courier):
            for _ in range(50):
                courier.send("bad", UPDATES, {})
            courier.send("good", UPDATES, {"here": True})
            assert arrived.wait(5)


@pytest.mark.parametrize("lies_first", [True, False])
def test_who_says_it_is_another_server_does_not_get_its_messages_alone(lies_first: bool) -> None:
    with receiving("0xC") as (liar, _), receiving("0xC") as (honest, arrived):
        peers = [liar, honest] if lies_first else [honest, liar]
        directory = Directory(7, peers, dict[str, str]().get, timeout=5)
        assert directory.urls_of("0xD") == ()  # so that all are asked
        with contextlib.closing(Courier(directory.urls_of, timeout=5)) as courier:
            courier.send("0xC", UPDATES, {})
            assert arrived.wait(5)


def test_who_says_it_is_a_server_that_is_registered_elsewhere_does_not_get_its_messages_alone() -> None:
    with receiving("0xC") as (liar, _), receiving("0xC") as (honest, _), receiving("0xD") as (other, _):
        assert Directory(7, [liar], {"0xC": honest}.get, timeout=5).urls_of("0xC") == (liar, honest)
        assert Directory(7, [honest], {"0xC": other}.get, timeout=5).urls_of("0xC") == (honest,), "0xD is there"
        assert Directory(1, [liar], {"0xC": honest}.get, timeout=5).urls_of("0xC") == (honest,), "of another chain"


@pytest.mark.parametrize("is_registered", [True, False])
def test_who_says_it_is_a_server_that_is_not_up_yet_does_not_get_its_messages_alone(
    monkeypatch: pytest.MonkeyPatch, is_registered: bool
) -> None:
    monkeypatch.setattr("fbfl.mec.courier.ASK_AGAIN", 0.1)
    registered, port = dict[str, str](), free_ports()
    own = f"http://127.0.0.1:{port}"
    with receiving("0xC") as (liar, _):
        directory = Directory(7, [liar] if is_registered else [liar, own], registered.get, timeout=5)
        for _ in range(2):  # it is looked for again in vain
            assert directory.urls_of("0xC") == (liar,)
            time.sleep(0.2)
        with receiving("0xC", port=port):
            if is_registered:
                registered["0xC"] = own
            ends = time.monotonic() + 10
            while directory.urls_of("0xC") != (liar, own):
                assert time.monotonic() < ends
                time.sleep(0.05)


def test_a_peer_outlasts_a_registry_that_cannot_be_read() -> None:
    def failing(_: str) -> str:
        raise LookupError("reorganised")

    with receiving("0xC") as (honest, _):
        directory = Directory(7, [honest], failing, timeout=5)
        assert directory.urls_of("0xC") == (honest,)
        assert directory.urls_of("0xC") == (honest,)


def test_who_says_it_is_another_server_and_takes_nothing_holds_up_no_message_to_that() -> None:
    urls = dict[str, list[str]]()
    courier = Courier(urls.__getitem__, timeout=5, patience=60)
    with dripping() as liar, contextlib.closing(courier):
        for _ in range(10):  # more than are on their way to one URL
            with receiving() as (honest, arrived):
                urls["0xC"] = [liar, honest]
                courier.send("0xC", UPDATES, {})
                assert arrived.wait(5)


def test_messages_to_a_liar_that_is_registered_at_the_url_of_another_hold_up_none_to_that() -> None:
    with receiving(unanswered=VOTES) as (honest, arrived):
        courier = Courier({"0xD": [honest], "0xC": [honest]}.__getitem__, timeout=5, patience=60)
        with contextlib.closing(courier):
            for _ in range(10):
                courier.send("0xD", VOTES, {})
            time.sleep(0.2)
            courier.send("0xC", UPDATES, {})
            assert arrived.wait(5)


def test_a_message_is_tried_again_where_it_was_not_taken_yet() -> None:
    with receiving(statuses=[500, 202]) as (late, arrived), receiving() as (first, _):
        courier = Courier({"0xC": [first, late]}.__getitem__, timeout=5)
        courier.send("0xC", UPDATES, {})
        assert arrived.wait(5)
        courier.close()


def test_a_peer_that_drips_holds_up_nobody_whose_server_is_found_and_is_asked_rarely() -> None:
    with dripping() as bad, receiving("0xC") as (good, _), receiving("0xD") as (registered, _):
        directory = Directory(7, [good, bad], {"0xD": registered}.get, timeout=1)
        assert directory.urls_of("0xC") == (good,)
        waiting = threading.Thread(target=directory.urls_of, args=["0xD"])
        waiting.start()
        assert directory.urls_of("0xC") == (good,)
        assert waiting.is_alive()
        waiting.join(10)
        started = time.monotonic()
        assert directory.urls_of("0xD") == (registered,)
        assert time.monotonic() - started < 1


@contextlib.contextmanager
def dripping() -> Iterator[str]:
    """Inside, a server that answers every request with a header that goes on and on, a byte at a time."""
    done = threading.Event()

    def drip(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 202 Accepted\r\nX: ")
            while not done.wait(0.05):
                connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=drip, args=server.accept()[:1], daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        done.set()
        server.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def receiving(
    address: str = "", statuses: Sequence[int] = (202,), port: int = 0, unanswered: str = ""
) -> Iterator[tuple[str, threading.Event]]:
    """Inside, a server that says it is `address` and answers messages thus, and the event of the last answer.

    Messages to the path `unanswered` get none.
    """
    arrived, ended, answers = threading.Event(), threading.Event(), list(statuses)

    class Taking(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"address": address, "chain_id": 7}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            if self.path == unanswered:
                ended.wait(10)
                return
            self.send_response(answers.pop(0))
            self.end_headers()
            if not answers:
                arrived.set()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", port), Taking) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", arrived
        ended.set()
        server.shutdown()


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """Inside, a server that says this after the status line, and closes the connection if it says so."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = threading.Event()

        def serve() -> None:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(10_000)
                connection.sendall(b"HTTP/1.1 200 OK\r\n" + answer)
                if b"Connection: close" not in answer:
                    done.wait(10)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            done.set()
            thread.join(10)
