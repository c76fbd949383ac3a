import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

import pytest
from web3 import Web3
from web3.exceptions import BlockNotFound, TransactionNotFound, Web3RPCError
from web3.types import RPCEndpoint

from fbfl.chain.embedded.rules import CHAIN_ID
from fbfl.chain.networks import NodeProvider, connect, network_url, public_name
from fbfl.errors import InvalidInputError, NodeUnavailableError


class Answer(BaseHTTPRequestHandler):
    status = 200
    body = b""
    asked: ClassVar[list[bytes]]

    def do_POST(self) -> None:
        self.asked.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    """A web server that answers everything with the same body, with status 200 unless a pair says which."""
    status, body = request.param if isinstance(request.param, tuple) else (200, request.param)
    handler = type("Fixed", (Answer,), {"status": status, "body": body, "asked": []})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        request.node.asked = handler.asked  # type: ignore[attr-defined]
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join(5)


def test_the_embedded_network_needs_nothing() -> None:
    assert connect("eth-tester").eth.chain_id == CHAIN_ID


@pytest.mark.parametrize(
    "network", ["", "mainnet", "ftp://host", "http://", "localhost:8545", "http://h:x", "http://[::1"]
)
def test_an_unknown_network_is_told_what_is_allowed(network: str) -> None:
    with pytest.raises(InvalidInputError, match=r"allowed: eth-tester, anvil, ganache, geth and http\(s\) URLs"):
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
    with pytest.raises(InvalidInputError, match="network is 'ws://host'; allowed") as caught:
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
    with pytest.raises(NodeUnavailableError, match=f"the program at {server} is not an Ethereum node") as caught:
        provider.make_request(RPCEndpoint("eth_blockNumber"), [])
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("server", [b'{"jsonrpc": "2.0", "id": 1, "result": "0x539"}'], indirect=True)
def test_a_node_is_asked_for_its_chain(server: str) -> None:
    assert connect(server).eth.chain_id == 1337


@pytest.mark.parametrize(
    "server", [b"<html>", b'{"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "no"}}'], indirect=True
)
def test_something_else_than_a_node_is_noticed(server: str) -> None:
    with pytest.raises(NodeUnavailableError, match="is not an Ethereum node"):
        connect(server)


@pytest.mark.parametrize("server", [b"<html>", b"", b"\xff", b"[]", b"null"], indirect=True)
def test_what_is_no_answer_of_a_node_is_noticed_at_any_time(server: str) -> None:
    with pytest.raises(NodeUnavailableError, match=f"the program at {server} is not an Ethereum node"):
        NodeProvider(server).make_request(RPCEndpoint("eth_blockNumber"), [])


@pytest.mark.parametrize(
    "server", [b'{"result": ' + b"[" * 200_000, (500, b'{"error": ' + b"[" * 200_000)], indirect=True
)
def test_an_answer_that_would_crash_the_parser_is_noticed(server: str) -> None:
    with pytest.raises(NodeUnavailableError, match=server):
        NodeProvider(server).make_request(RPCEndpoint("eth_blockNumber"), [])


WRONG = [None, "zzz", 5, [1], {"a": 1}, "0x" + "f" * 1001]


@pytest.mark.parametrize(
    "server",
    [b'{"jsonrpc": "2.0", "id": 1, "result": %b}' % json.dumps(each).encode() for each in WRONG],
    indirect=True,
)
@pytest.mark.parametrize(
    "ask",
    [
        lambda eth: eth.chain_id,
        lambda eth: eth.block_number,
        lambda eth: eth.gas_price,
        lambda eth: eth.get_balance("0x" + "0" * 40),
        lambda eth: eth.get_code("0x" + "0" * 40),
        lambda eth: eth.call({"to": "0x" + "0" * 40}),
        lambda eth: eth.send_raw_transaction(b"\1"),
        lambda eth: eth.get_logs({"fromBlock": 0}),
        lambda eth: eth.get_block(1),
        lambda eth: eth.get_transaction_receipt("0x" + "0" * 64),
    ],
)
def test_a_result_of_another_form_is_noticed(server: str, ask: Any) -> None:
    with pytest.raises((NodeUnavailableError, BlockNotFound, TransactionNotFound)) as caught:
        ask(Web3(NodeProvider(server)).eth)
    assert "its answer to eth_" in str(caught.value) or "not found" in str(caught.value)


LIMIT = b'{"jsonrpc": "2.0", "id": 1, "error": {"code": -32600, "message": "up to a 500 block range"}}'


@pytest.mark.parametrize(
    ("server", "said"),
    [
        ((200, LIMIT), "up to a 500 block range"),
        ((400, LIMIT), "up to a 500 block range"),
        ((422, LIMIT), "up to a 500 block range"),
        ((500, LIMIT), "up to a 500 block range"),
        ((400, b"query returned more than 10000 results"), "HTTP status 400: query returned more than 10000 results"),
        ((400, b'{"error": "too much"}'), "HTTP status 400"),
        ((413, b"<html>"), "HTTP status 413"),
    ],
    indirect=["server"],
)
def test_a_refusal_is_an_answer_whatever_its_http_status_and_is_not_asked_for_again(
    server: str, said: str, request: pytest.FixtureRequest
) -> None:
    with pytest.raises(Web3RPCError, match=said):
        Web3(NodeProvider(server)).eth.get_logs({"fromBlock": 0, "toBlock": 1000})
    assert len(request.node.asked) == 1


@pytest.mark.parametrize("server", [LIMIT[:-1] + b', "result": null}'], indirect=True)
def test_an_error_beside_an_empty_result_is_not_lost(server: str) -> None:
    answer = NodeProvider(server).make_request(RPCEndpoint("eth_getLogs"), [])
    assert "up to a 500 block range" in str(answer["error"])


@pytest.mark.parametrize("server", [(401, b""), (404, LIMIT[:20]), (429, LIMIT), (503, LIMIT)], indirect=True)
def test_a_status_that_is_no_refusal_of_what_was_asked_is_named(server: str) -> None:
    with pytest.raises(NodeUnavailableError, match=rf"^no node answers at {server} \(HTTP status [45]\d\d\)$"):
        NodeProvider(server).make_request(RPCEndpoint("eth_sendTransaction"), [])
