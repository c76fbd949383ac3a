"""Ethereum networks by name or URL."""

import json
import re
import reprlib
from typing import Any, cast
from urllib.parse import urlsplit

import requests
from web3 import HTTPProvider, Web3
from web3.types import RPCEndpoint, RPCResponse

from fbfl.chain.embedded.chain import start_chain
from fbfl.errors import InvalidInputError, NodeUnavailableError
from fbfl.system import strictjson

EMBEDDED = "eth-tester"
DEFAULT_URLS = {
    "anvil": "http://127.0.0.1:8545",
    "ganache": "http://127.0.0.1:8545",
    "geth": "http://127.0.0.1:8545",
}


def connect(network: str, *, timeout: float = 10.0) -> Web3:
    """Connect web3 to `eth-tester` (a new chain in this process), `anvil`, `ganache`, `geth`, or a JSON-RPC URL.

    `timeout` in seconds bounds each request; web3 repeats one that only reads up to four times. Any other name raises
    `InvalidInputError`, a node that does not answer `NodeUnavailableError`, now and in every later call.
    """
    if network == EMBEDDED:
        return start_chain().w3
    url = network_url(network)
    w3 = Web3(NodeProvider(url, timeout=timeout))
    try:
        chain_id = w3.eth.chain_id
    except NodeUnavailableError:
        raise
    except Exception as error:
        raise _no_node(url, type(error).__name__) from error
    if chain_id < 1:
        raise _no_node(url, f"chain id {chain_id}")
    return w3


def network_url(network: str) -> str:
    """Return the JSON-RPC URL of a network that is not in this process."""
    if network in DEFAULT_URLS:
        return DEFAULT_URLS[network]
    origin = _origin(network)
    if origin is None or not origin.startswith(("http://", "https://")):
        name = public_name(network)
        allowed = ", ".join([EMBEDDED, *DEFAULT_URLS])
        raise InvalidInputError(f"network is {name!r}; allowed: {allowed} and http(s) URLs of a JSON-RPC node")
    return network


def public_name(url: str) -> str:
    """Return what messages may show of a node's URL: scheme, host and port. The rest may hold a provider's key.

    For a URL without a valid host and port that is the scheme; other texts stay, except for what is before an `@`.
    """
    origin = _origin(url)
    if origin is not None:
        return origin
    scheme, separator, _ = url.partition("://")
    return f"{scheme}://..." if separator else url.rpartition("@")[2]


def _origin(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host:
        return None
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}" + (f":{port}" if port is not None else "")


class NodeProvider(HTTPProvider):
    """JSON-RPC over HTTP whose failures are ours; `timeout` in seconds bounds each request.

    A refusal counts as the node's answer, whatever the HTTP status that it comes with.
    """

    def __init__(self, url: str, *, timeout: float = 10.0) -> None:
        super().__init__(url, request_kwargs={"timeout": timeout, "hooks": {"response": _notice_refusal}})

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Send a request and wait for the answer."""
        try:
            answer = super().make_request(method, params)
        except _RefusedError as refusal:
            return refusal.answer
        except requests.RequestException as error:
            where, status = public_name(str(self.endpoint_uri)), getattr(error.response, "status_code", None)
            reason = type(error).__name__ if status is None else f"HTTP status {status}"
            raise NodeUnavailableError(f"no node answers at {where} ({reason})") from error
        except ValueError as error:
            raise _no_node(self.endpoint_uri, f"its answer is not JSON: {type(error).__name__}") from error
        if not isinstance(answer, dict):
            raise _no_node(self.endpoint_uri, f"its answer is a {type(answer).__name__}")
        if "result" in answer and not answer.get("error") and not _has_form(method, answer["result"]):
            raise _no_node(self.endpoint_uri, f"its answer to {method} is {reprlib.repr(answer['result'])}")
        return answer

    @staticmethod
    def decode_rpc_response(raw_response: bytes) -> RPCResponse:
        """Return the answer in JSON; `ValueError` if it is none, or so deep that the parser would crash."""
        return cast(RPCResponse, json.loads(strictjson.checked(raw_response)))


def _has_form(method: str, result: Any) -> bool:
    """Return False for a result that web3 would fail on, one way or another, while it reads it."""
    if method in _KEYS:
        entries = result if method == "eth_getLogs" else [] if result is None else [result]
        return isinstance(entries, list) and all(isinstance(e, dict) and _KEYS[method] <= e.keys() for e in entries)
    return method not in _FORMS or (isinstance(result, str) and bool(_FORMS[method].fullmatch(result)))


_BLOCK = {"number", "hash", "timestamp"}
_KEYS = {
    "eth_getBlockByHash": _BLOCK,
    "eth_getBlockByNumber": _BLOCK,
    "eth_getLogs": {"address", "blockHash", "blockNumber", "data", "logIndex", "topics", "transactionHash"},
    "eth_getTransactionReceipt": {"blockHash", "blockNumber", "gasUsed", "logs"},
}
"""Entries that are read of the objects in results, by method."""

_FORMS = {
    **dict.fromkeys(("eth_blockNumber", "eth_chainId", "eth_getTransactionCount"), re.compile("0x[0-9a-fA-F]{1,16}")),
    **dict.fromkeys(("eth_estimateGas", "eth_gasPrice", "eth_getBalance"), re.compile("0x[0-9a-fA-F]{1,64}")),
    **dict.fromkeys(("eth_call", "eth_getCode"), re.compile("0x(?:[0-9a-fA-F]{2})*+")),
    "eth_sendRawTransaction": re.compile("0x[0-9a-fA-F]{64}"),
}
"""Forms of results that are texts, by method. None of them has to go back, for which much memory would be kept."""


class _RefusedError(Exception):
    """A node refused a request; web3, which repeats requests whose status is an error's, does not repeat this one."""

    def __init__(self, answer: RPCResponse) -> None:
        super().__init__(answer)
        self.answer = answer


def _notice_refusal(response: requests.Response, **_: Any) -> None:
    if response.ok or response.status_code in _PASSING:
        return
    try:
        said = strictjson.loads(response.content)["error"]
        error = {**said, "code": int(said.get("code", response.status_code)), "message": str(said["message"])}
    except (ValueError, KeyError, TypeError, AttributeError):
        if response.status_code not in _REFUSING:
            return
        error = {"code": response.status_code, "message": f"HTTP status {response.status_code}: {response.text[:200]}"}
    answer = {"jsonrpc": "2.0", "id": 0, "error": error}
    raise _RefusedError(cast(RPCResponse, answer))


_PASSING = (408, 429, 502, 503, 504)
"""HTTP statuses of requests that may succeed the next time."""

_REFUSING = (400, 413)
"""HTTP statuses of requests that ask for too much, also without a JSON-RPC error inside."""


def _no_node(url: object, reason: str) -> NodeUnavailableError:
    return NodeUnavailableError(f"the program at {public_name(str(url))} is not an Ethereum node ({reason})")
