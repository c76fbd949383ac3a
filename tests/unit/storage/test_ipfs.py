"""The IPFS store against a small server that answers as Kubo's RPC does: same paths, multipart in, same messages."""

import email
import hashlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from fbfl.errors import InvalidInputError, PayloadNotFoundError, PayloadRefusedError, StorageError
from fbfl.storage.cid import CHUNK_SIZE, cid_of, node
from fbfl.storage.ipfs import IpfsStore
from fbfl.storage.store import Reference, Store

STANDARD = {
    "cid-version": "1",
    "raw-leaves": "true",
    "chunker": "size-262144",
    "max-file-links": "174",
    "hash": "sha2-256",
    "trickle": "false",
}


class Daemon(ThreadingHTTPServer):
    """State of a Kubo daemon, and the ways in which this one misbehaves."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Rpc)
        self.files: dict[str, bytes] = {}
        self.nodes: dict[str, bytes] = {}
        self.unreadable: set[str] = set()
        self.pins: set[str] = set()
        self.requests: list[str] = []
        self.broken_connections = 0
        self.other_profile = False
        self.trickle = 0.0
        self.silent = False
        self.gives_up = False
        self.full = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that give up in the middle of an answer are part of the tests."""

    @property
    def address(self) -> str:
        return f"/ip4/127.0.0.1/tcp/{self.server_address[1]}/http"


class Rpc(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Daemon

    def do_POST(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        command = url.path.removeprefix("/api/v0/")
        self.server.requests.append(command)
        if self.server.silent:
            time.sleep(2)
        if self.server.gives_up:
            self.fail("context deadline exceeded")
            return
        if self.server.broken_connections:
            self.server.broken_connections -= 1
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        {
            "add": self.add,
            "cat": self.cat,
            "block/get": self.block_get,
            "block/stat": self.block_stat,
            "pin/add": self.pin_add,
            "pin/rm": self.pin_rm,
            "pin/ls": self.pin_ls,
        }[command](query)

    def add(self, query: dict[str, str]) -> None:
        if self.server.full:
            self.body()
            self.fail("no space left on device")
            return
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        message = email.message_from_bytes(head + self.body(), policy=HTTP)
        (part,) = message.iter_parts()
        data = part.get_payload(decode=True)
        assert isinstance(data, bytes)
        cid = cid_of(data) if STANDARD.items() <= query.items() and not self.server.other_profile else "bafyother"
        self.server.files[cid] = data
        if len(data) > CHUNK_SIZE:
            chunks = [data[start : start + CHUNK_SIZE] for start in range(0, len(data), CHUNK_SIZE)]
            self.server.nodes[cid] = node(len(data), 1, [hashlib.sha256(chunk).digest() for chunk in chunks])
        if query["pin"] == "true":
            self.server.pins.add(cid)
        self.answer({"Name": cid, "Hash": cid, "Size": str(len(data))})

    def block_get(self, query: dict[str, str]) -> None:
        block = self.server.nodes.get(query["arg"])
        if block is None:
            self.fail(f"block was not found locally (offline): ipld: could not find {query['arg']}")
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(block)))
        self.end_headers()
        self.wfile.write(block)

    def cat(self, query: dict[str, str]) -> None:
        data = self.server.files.get(query["arg"])
        if query["arg"] in self.server.unreadable:
            self.fail("unrecognized object")
            return
        if data is None:
            self.fail(f"block was not found locally (offline): ipld: could not find {query['arg']}")
            return
        data = data[: int(query.get("length", len(data)))]
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("X-Stream-Output", "1")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        step = 1 if self.server.trickle else 4096
        for start in range(0, len(data), step):
            chunk = data[start : start + step]
            self.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
            time.sleep(self.server.trickle)
        self.wfile.write(b"0\r\n\r\n")

    def block_stat(self, query: dict[str, str]) -> None:
        assert query["offline"] == "true"
        if query["arg"] in self.server.files:
            self.answer({"Key": query["arg"], "Size": len(self.server.files[query["arg"]])})
        else:
            self.fail(f"ipld: could not find {query['arg']}")

    def pin_add(self, query: dict[str, str]) -> None:
        if query["arg"] not in self.server.files:
            self.fail("pin: ipld: could not find it")
            return
        self.server.pins.add(query["arg"])
        self.answer({"Pins": [query["arg"]]})

    def pin_rm(self, query: dict[str, str]) -> None:
        if query["arg"] not in self.server.pins:
            self.fail("not pinned or pinned indirectly")
            return
        self.server.pins.remove(query["arg"])
        self.answer({"Pins": [query["arg"]]})

    def pin_ls(self, query: dict[str, str]) -> None:
        if query["arg"] not in self.server.pins:
            self.fail(f"path '{query['arg']}' is not pinned")
            return
        self.answer({"Keys": {query["arg"]: {"Type": query["type"]}}})

    def body(self) -> bytes:
        if "Content-Length" in self.headers:
            return self.rfile.read(int(self.headers["Content-Length"]))
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def answer(self, content: dict[str, Any], status: int = 200) -> None:
        data = json.dumps(content).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def fail(self, message: str) -> None:
        self.answer({"Message": message, "Code": 0, "Type": "error"}, status=500)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with Daemon() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join(5)


@pytest.fixture
def store(daemon: Daemon) -> IpfsStore:
    return IpfsStore(daemon.address, timeout=1.0)


@pytest.mark.parametrize("size", [0, 5, 262_145])
def test_what_was_put_is_got_and_pinned(store: Store, daemon: Daemon, size: int) -> None:
    data = bytes(index % 251 for index in range(size))
    reference = store.put(data)
    assert reference == Reference.to(data)
    assert store.get(reference) == data
    assert store.has(reference)
    assert daemon.pins == {reference.cid}


def test_an_absent_payload_is_not_found(store: Store) -> None:
    reference = Reference.to(b"never added")
    assert not store.has(reference)
    for read in (store.get, store.pin):
        with pytest.raises(PayloadNotFoundError, match=f"{reference.cid} was not found"):
            read(reference)


def test_a_payload_that_no_peer_sends_in_time_is_not_found(store: Store, daemon: Daemon) -> None:
    reference = store.put(b"model")
    daemon.silent = True
    started = time.monotonic()
    with pytest.raises(PayloadNotFoundError, match="was not found"):
        store.get(reference)
    assert time.monotonic() - started < 1.9


def test_a_daemon_that_gave_up_waiting_for_peers_did_not_find_it(store: Store, daemon: Daemon) -> None:
    reference = store.put(b"model")
    daemon.gives_up = True
    with pytest.raises(PayloadNotFoundError, match="was not found"):
        store.get(reference)


@pytest.mark.parametrize("way", ["silent", "gives_up"])
@pytest.mark.parametrize("request_", ["put", "has", "pin", "unpin"])
def test_a_daemon_that_is_busy_says_nothing_about_who_has_a_payload(daemon: Daemon, request_: str, way: str) -> None:
    store = IpfsStore(daemon.address, timeout=0.3)
    reference = store.put(b"model")
    setattr(daemon, way, True)
    with pytest.raises(StorageError, match=f"{daemon.address} did not answer within 0.3 s") as caught:
        getattr(store, request_)(b"other" if request_ == "put" else reference)
    assert not isinstance(caught.value, PayloadNotFoundError)


def test_a_daemon_that_takes_no_connection_says_nothing_about_who_has_a_payload() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, socket.socket() as waiting:
        waiting.connect(server.getsockname())  # there is no room for another
        address = f"/ip4/127.0.0.1/tcp/{server.getsockname()[1]}/http"
        with pytest.raises(StorageError, match=f"{address} took no connection within 0.2 s") as caught:
            IpfsStore(address, timeout=0.2).get(Reference.to(b"model"))
    assert not isinstance(caught.value, PayloadNotFoundError)


def test_a_payload_that_trickles_is_given_up(daemon: Daemon) -> None:
    store = IpfsStore(daemon.address, timeout=0.3)
    reference = store.put(bytes(100))
    daemon.trickle = 0.02
    with pytest.raises(PayloadNotFoundError, match=r"longer than 0.3 s"):
        store.get(reference)


@pytest.mark.parametrize("content", [b"moden", b"mode", b"models and more"])
def test_a_daemon_that_answers_with_other_bytes_is_refused(store: Store, daemon: Daemon, content: bytes) -> None:
    reference = store.put(b"model")
    daemon.files[reference.cid] = content
    with pytest.raises(PayloadRefusedError, match=reference.cid):
        store.get(reference)


@pytest.mark.parametrize("block", [b"\x0a\x02\x08\x01", b"", b"\xff" * 50], ids=["directory", "nothing", "no protobuf"])
def test_the_digest_of_what_is_no_file_is_the_payloads_fault(store: Store, daemon: Daemon, block: bytes) -> None:
    reference = Reference(hashlib.sha256(block).digest(), 400_000)
    daemon.nodes[reference.cid] = block
    daemon.unreadable.add(reference.cid)
    with pytest.raises(PayloadRefusedError, match="not the node that a file of 400000 bytes has there"):
        store.get(reference)


def test_an_error_answer_is_the_payloads_fault_unless_the_daemon_is_unwell(store: Store, daemon: Daemon) -> None:
    reference = store.put(b"model")
    daemon.unreadable.add(reference.cid)
    with pytest.raises(PayloadRefusedError, match=f"{reference.cid} cannot be read: .* answered: unrecognized object"):
        store.get(reference)
    assert daemon.pins == {reference.cid}
    daemon.full = True
    with pytest.raises(StorageError, match="answered: unrecognized object") as caught:
        store.get(reference)
    assert not isinstance(caught.value, PayloadRefusedError)


def test_a_daemon_that_answers_with_another_block_is_at_fault_itself(store: Store, daemon: Daemon) -> None:
    reference = store.put(bytes(400_000))
    daemon.nodes[reference.cid] += b"\x00"
    with pytest.raises(StorageError, match="other bytes than those of block") as caught:
        store.get(reference)
    assert not isinstance(caught.value, PayloadRefusedError)


def test_a_daemon_that_names_payloads_otherwise_is_refused(store: Store, daemon: Daemon) -> None:
    daemon.other_profile = True
    with pytest.raises(StorageError, match="as bafyother"):
        store.put(b"model")


def test_broken_connections_are_tried_again(store: Store, daemon: Daemon) -> None:
    daemon.broken_connections = 2
    reference = store.put(b"model")
    assert daemon.requests == ["add"] * 3
    daemon.broken_connections = 3
    with pytest.raises(StorageError, match="no IPFS daemon answers properly"):
        store.get(reference)


def test_pins_come_and_go(store: Store, daemon: Daemon) -> None:
    reference = store.put(b"model")
    store.unpin(reference)
    store.unpin(reference)
    assert daemon.pins == set()
    assert not store.is_pinned(reference)
    store.pin(reference)
    assert daemon.pins == {reference.cid}
    assert store.is_pinned(reference)


def test_no_daemon_is_one_line_with_the_address() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"/ip4/127.0.0.1/tcp/{unused.getsockname()[1]}/http"
        with pytest.raises(StorageError, match=f"no IPFS daemon answers properly at {address}") as caught:
            IpfsStore(address, attempts=1).put(b"model")
    assert "\n" not in str(caught.value)


def test_the_address_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, daemon: Daemon) -> None:
    monkeypatch.setenv("FBFL_IPFS", daemon.address)
    IpfsStore().put(b"model")
    assert daemon.requests == ["add"]
    monkeypatch.setenv("FBFL_IPFS", "localhost:5001")
    with pytest.raises(InvalidInputError, match=r"'localhost:5001' is not a multiaddr"):
        IpfsStore()
