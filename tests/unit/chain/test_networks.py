import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from web3.types import RPCEndpoint

from fbfl.chain.networks import NodeProvider, connect, network_url, public_name
from fbfl.chain.rules import CHAIN_ID
from fbfl.errors import InvalidInputError, NodeUnavailableError


class Answer(BaseHTTPRequestHandler):
    body = b""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    """A web server that answers everything with the same body."""
    handler = type("Fixed", (Answer,), {"body": request.param})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join(5)


def test_the_embedded_network_needs_nothing() -> None:
    assert connect("eth-tester").eth.chain_id == CHAIN_ID


@pytest.mark.parametrize(
    "network", ["", "mainnet", "ftp://host", "http://", "localhost:8545", "http://h:x", "http://[::1"]
)
def test_an_unknown_network_is_told_what_is_allowed(network: str) -> None:
    with pytest.raises(InvalidInputError, match=r"allowed are eth-tester, anvil, ganache, geth and http\(s\) URLs"):
        connect(network)


def test_names_and_urls_lead_to_nodes() -> None:
    assert network_url("anvil") == "http://127.0.0.1:8545"
    assert network_url("https://example.org/rpc") == "https://example.org/rpc"


def test_a_node_that_is_not_there_is_one_line_with_its_url() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(NodeUnavailableError, match=f"no node answers at {url}") as caught:
            connect(url, timeout=0.5)
    assert "\n" not in str(caught.value)


SECRET = "s3cret"


@pytest.mark.parametrize(
    ("url", "named"),
    [
        (f"https://rpc.example.org/v3/{SECRET}", "https://rpc.example.org"),
        (f"http://me:{SECRET}@[::1]:8545/?key={SECRET}#{SECRET}", "http://[::1]:8545"),
        (f"wss://me:{SECRET}@rpc.example.org/{SECRET}", "wss://rpc.example.org"),
        (f"http://me:{SECRET}@host:port/{SECRET}", "http://..."),
        (f"me:{SECRET}@localhost:8545", "localhost:8545"),
        ("mainnet", "mainnet"),
    ],
)
def test_messages_do_not_say_what_may_be_a_key(url: str, named: str) -> None:
    assert public_name(url) == named


def test_a_refused_network_keeps_its_password() -> None:
    with pytest.raises(InvalidInputError, match="network = 'ws://host', allowed") as caught:
        network_url(f"ws://me:{SECRET}@host/{SECRET}")
    assert SECRET not in str(caught.value)


def test_a_node_that_is_not_there_keeps_its_key() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        origin = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(NodeUnavailableError, match=f"no node answers at http://{origin} ") as caught:
            connect(f"http://me:{SECRET}@{origin}/v3/{SECRET}", timeout=0.5)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("server", [b"<html>", b"[]"], indirect=True)
def test_what_is_no_node_keeps_its_key(server: str) -> None:
    provider = NodeProvider(f"{server}/v3/{SECRET}")
    with pytest.raises(NodeUnavailableError, match=f"what answers at {server} is no Ethereum node") as caught:
        provider.make_request(RPCEndpoint("eth_blockNumber"), [])
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("server", [b'{"jsonrpc": "2.0", "id": 1, "result": "0x539"}'], indirect=True)
def test_a_node_is_asked_for_its_chain(server: str) -> None:
    assert connect(server).eth.chain_id == 1337


@pytest.mark.parametrize(
    "server", [b"<html>", b'{"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "no"}}'], indirect=True
)
def test_something_else_than_a_node_is_noticed(server: str) -> None:
    with pytest.raises(NodeUnavailableError, match="is no Ethereum node"):
        connect(server)


@pytest.mark.parametrize("server", [b"<html>", b"", b"\xff", b"[]", b"null"], indirect=True)
def test_what_is_no_answer_of_a_node_is_noticed_at_any_time(server: str) -> None:
    with pytest.raises(NodeUnavailableError, match=f"what answers at {server} is no Ethereum node"):
        NodeProvider(server).make_request(RPCEndpoint("eth_blockNumber"), [])
