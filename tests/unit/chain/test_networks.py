import contextlib
import json
import re
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

import pytest
import requests
from eth_abi import encode  # type: ignore[attr-defined]  # exported at run time
from web3 import Web3
from web3.exceptions import BlockNotFound, ContractLogicError, TransactionNotFound, Web3Exception, Web3RPCError
from web3.types import RPCEndpoint

from fbfl.chain import networks
from fbfl.chain.embedded.rules import CHAIN_ID
from fbfl.chain.networks import NodeProvider, connect, network_url, public_name
from fbfl.chain.queries import Standing
from fbfl.chain.rounds import Phase, Stage
from fbfl.errors import ChainError, InvalidInputError, NodeUnavailableError


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
        lambda eth: eth.get_transaction("0x" + "0" * 64),
        lambda eth: eth.get_transaction_receipt("0x" + "0" * 64),
        lambda eth: eth.accounts,
    ],
)
def test_a_result_of_another_form_is_noticed(server: str, ask: Any) -> None:
    with pytest.raises((NodeUnavailableError, BlockNotFound, TransactionNotFound)) as caught:
        ask(Web3(NodeProvider(server)).eth)
    assert "its answer to eth_" in str(caught.value) or "not found" in str(caught.value)


HASH, ADDRESS = "0x" + "ab" * 32, Web3.to_checksum_address("0x" + "cd" * 20)
LOG = {
    "address": ADDRESS,
    "topics": [HASH],
    "data": "0x1234",
    "blockNumber": "0x1",
    "blockHash": HASH,
    "transactionHash": HASH,
    "logIndex": "0x0",
}
BLOCK = {"number": "0x1", "hash": HASH, "timestamp": "0x2", "miner": ADDRESS, "nonce": "0x0000000000000042"}
RECEIPT = {
    "transactionHash": HASH,
    "blockNumber": "0x1",
    "blockHash": HASH,
    "status": "0x1",
    "gasUsed": "0x5208",
    "logs": [LOG],
    "contractAddress": None,
}
OBJECTS: list[tuple[Any, Any]] = [
    ([LOG], lambda eth: eth.get_logs({"fromBlock": 0})),
    (BLOCK, lambda eth: eth.get_block(1)),
    (RECEIPT, lambda eth: eth.get_transaction_receipt(HASH)),
    ({"hash": HASH, "input": "0x12", "to": ADDRESS}, lambda eth: eth.get_transaction(HASH)),
    ([ADDRESS], lambda eth: eth.accounts),
]
"""Results of an honest node that are more than one text, and what asks for them."""


def places(value: Any) -> Iterator[tuple[Any, ...]]:
    """Yield where the parts of a value in JSON are, itself first."""
    yield ()
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield from ((key, *place) for place in places(entry))


def changed(value: Any, place: tuple[Any, ...], other: Any) -> Any:
    """Return a value in JSON with something else in one place; None there takes it away."""
    if not place:
        return other
    copy = value.copy()
    copy[place[0]] = changed(value[place[0]], place[1:], other)
    if copy[place[0]] is None and isinstance(copy, dict):
        del copy[place[0]]
    return copy


def said(monkeypatch: pytest.MonkeyPatch, ask: Any, **answer: Any) -> Any:
    """Return what web3 makes of an answer; it asks for the chain before it calls anything."""

    def raw(_: object, method: str, __: object) -> bytes:
        return json.dumps(
            {"jsonrpc": "2.0", "id": 1, **({"result": "0x1"} if method == "eth_chainId" else answer)}
        ).encode()

    monkeypatch.setattr(NodeProvider, "_make_request", raw)
    return ask(Web3(NodeProvider("http://node")).eth)


OURS = (NodeUnavailableError, Web3Exception)
"""What commands tell in a line, and agents try again after."""


@pytest.mark.parametrize(("result", "ask"), OBJECTS)
def test_any_part_of_a_result_may_have_another_form(monkeypatch: pytest.MonkeyPatch, result: Any, ask: Any) -> None:
    said(monkeypatch, ask, result=result)
    for place in places(result):
        for other in (*WRONG, -1, 1.5, True, "", "0x", [], {}, "0x" + "f" * 64, "0x" + "f" * 17):
            with contextlib.suppress(*OURS):
                said(monkeypatch, ask, result=changed(result, place, other))


@pytest.mark.parametrize(
    ("result", "ask", "why"),
    [
        (changed(BLOCK, ("number",), "zzz"), OBJECTS[1][1], "its answer to eth_getBlockByNumber is 'zzz' as number"),
        (changed(BLOCK, ("hash",), None), OBJECTS[1][1], "its answer to eth_getBlockByNumber is without hash"),
        (changed([LOG], (0, "topics"), {}), OBJECTS[0][1], "its answer to eth_getLogs is {} as topics"),
        (
            changed(RECEIPT, ("logs", 0, "data"), "0x1"),
            OBJECTS[2][1],
            "its answer to eth_getTransactionReceipt is '0x1' as data",
        ),
    ],
)
def test_what_has_another_form_is_named(monkeypatch: pytest.MonkeyPatch, result: Any, ask: Any, why: str) -> None:
    with pytest.raises(NodeUnavailableError, match=re.escape(f"http://node is not an Ethereum node ({why}")):
        said(monkeypatch, ask, result=result)


def test_web3_does_not_read_what_nobody_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    block = said(monkeypatch, OBJECTS[1][1], result={**BLOCK, "totalDifficulty": "zzz", "uncles": 5, "mixHash": None})
    assert set(block) == set(BLOCK)


@pytest.mark.parametrize("data", ["0x08c379a0", "0x4e487b71ff", "0x556f1830" + "00" * 70, "Reverted 0xzz", "", 5, [1]])
@pytest.mark.parametrize("message", ["execution reverted", "transaction not found", "", 5, None])
@pytest.mark.parametrize("code", [3, -32601, "x"])
def test_an_error_of_any_form_is_told(monkeypatch: pytest.MonkeyPatch, data: Any, message: Any, code: Any) -> None:
    error = {"code": code, "message": message, "data": data}
    for ask in (lambda eth: eth.call({"to": ADDRESS}), lambda eth: eth.block_number, lambda eth: eth.get_block(1)):
        with pytest.raises(OURS):
            said(monkeypatch, ask, error=error)


@pytest.mark.parametrize("data", ["0x", ""])
def test_a_refusal_without_data_is_no_revert(monkeypatch: pytest.MonkeyPatch, data: str) -> None:
    error = {"code": -32000, "message": "insufficient funds for transfer", "data": data}
    with pytest.raises(Web3RPCError, match="insufficient funds"):
        said(monkeypatch, lambda eth: eth.call({"to": ADDRESS}), error=error)


def test_no_contract_leads_to_a_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(*_: Any, **__: Any) -> Any:
        raise AssertionError("a request to anybody")

    monkeypatch.setattr(requests.Session, "request", ask)
    url, nothing = b"http://gateway/{sender}/{data}", b""
    fields = encode(
        ["address", "string[]", "bytes", "bytes4", "bytes"], [ADDRESS, [url.decode()], nothing, bytes(4), nothing]
    )
    error = {"code": 3, "message": "execution reverted", "data": "0x556f1830" + fields.hex()}
    with pytest.raises(ContractLogicError):
        said(monkeypatch, lambda eth: eth.call({"to": ADDRESS}), error=error)


@pytest.mark.parametrize("server", [b'{"jsonrpc": "2.0", "id": 1}', b"{}", b'{"error": 5}'], indirect=True)
def test_an_answer_with_neither_a_result_nor_an_error_is_noticed(server: str) -> None:
    with pytest.raises(NodeUnavailableError, match="its answer to eth_getBlockByNumber "):
        Web3(NodeProvider(server)).eth.get_block("latest")


@pytest.mark.parametrize("server", [b'{"jsonrpc": "2.0", "id": 1, "result": "0x' + b"12" * 600 + b'"}'], indirect=True)
def test_an_answer_has_a_bound(server: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    code = Web3(NodeProvider(server)).eth.get_code(ADDRESS)
    assert len(code) == 600
    monkeypatch.setattr(networks, "MOST_BYTES", 1000)
    with pytest.raises(Web3RPCError, match="fbfl takes answers of at most 1,000 bytes"):
        Web3(NodeProvider(server)).eth.get_code(ADDRESS)
    assert len(request.node.asked) == 2, "it is not asked for again"


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


@pytest.mark.parametrize("kind", [Phase, Stage, Standing])
def test_a_number_that_no_contract_answers_with_is_told(kind: Any) -> None:
    with pytest.raises(ChainError, match=f"^the node says that a contract answers with {kind.__name__.lower()} 77$"):
        kind(77)
