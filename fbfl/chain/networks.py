"""Ethereum networks by name or URL."""

import json
import reprlib
from typing import Any, cast
from urllib.parse import urlsplit

import requests
from web3 import HTTPProvider, Web3
from web3.types import RPCEndpoint, RPCResponse

from fbfl.chain.embedded.chain import start_chain
from fbfl.chain.results import UnfitError, result_of
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

    A refusal counts as the node's answer, whatever the HTTP status that it comes with; an answer of more than
    `MOST_BYTES` counts as one. Contracts that answer with the URL of a gateway are not followed there.
    """

    def __init__(self, url: str, *, timeout: float = 10.0) -> None:
        super().__init__(url, request_kwargs={"timeout": timeout, "hooks": {"response": _notice_refusal}})
        self.global_ccip_read_enabled = False

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Send a request and wait for the answer."""
        try:
            answer = super().make_request(method, params)
        except _RefusedError as refusal:
            answer = refusal.answer
        except requests.RequestException as error:
            where, status = public_name(str(self.endpoint_uri)), getattr(error.response, "status_code", None)
            reason = type(error).__name__ if status is None else f"HTTP status {status}"
            raise NodeUnavailableError(f"no node answers at {where} ({reason})") from error
        except ValueError as error:
            raise _no_node(self.endpoint_uri, f"its answer is not JSON: {type(error).__name__}") from error
        if not isinstance(answer, dict):
            raise _no_node(self.endpoint_uri, f"its answer is a {type(answer).__name__}")
        if answer.get("error"):
            return _answer(error=self._error(method, params, answer["error"]))
        if "result" not in answer:
            raise _no_node(self.endpoint_uri, f"its answer to {method} has no result")
        try:
            return _answer(result=result_of(method, answer["result"]))
        except UnfitError as error:
            raise _no_node(self.endpoint_uri, f"its answer to {method} is {error}") from error

    def _error(self, method: str, params: Any, said: Any) -> dict[str, Any]:
        """Return what a node says of a refusal in the one form that web3 does not look into any further."""
        about = said if isinstance(said, dict) else {}
        message, code, data = about.get("message"), about.get("code"), about.get("data")
        looked_up = message == "transaction not found" and not params  # by the first of the parameters
        if not isinstance(message, str) or not isinstance(code, int) or looked_up:
            raise _no_node(self.endpoint_uri, f"its answer to {method} is the error {reprlib.repr(said)}")
        if isinstance(data, str) and data not in ("", "0x"):
            data = {"data": data}  # a text web3 would decode, and may follow to a gateway
        more = {"data": data} if isinstance(data, str | dict) else {}
        return {"code": code, "message": message[:_MOST_WORDS], **more}

    @staticmethod
    def decode_rpc_response(raw_response: bytes) -> RPCResponse:
        """Return the answer in JSON; `ValueError` if it is none, or so deep that the parser would crash."""
        return cast(RPCResponse, json.loads(strictjson.checked(raw_response)))


class _RefusedError(Exception):
    """A node refused a request; web3, which repeats requests whose status is an error's, does not repeat this one."""

    def __init__(self, answer: RPCResponse) -> None:
        super().__init__(answer)
        self.answer = answer


def _notice_refusal(response: requests.Response, **_: Any) -> None:
    _read(response)
    if response.ok or response.status_code in _PASSING:
        return
    try:
        said = strictjson.loads(response.content)["error"]
        error = {**said, "code": int(said.get("code", response.status_code)), "message": str(said["message"])}
    except (ValueError, KeyError, TypeError, AttributeError):
        if response.status_code not in _REFUSING:
            return
        error = {"code": response.status_code, "message": f"HTTP status {response.status_code}: {response.text[:200]}"}
    raise _RefusedError(_answer(error=error))


def _read(response: requests.Response) -> None:
    body = bytearray()
    for part in response.iter_content(_PART):
        body += part
        if len(body) > MOST_BYTES:
            response.close()
            message = f"fbfl takes answers of at most {MOST_BYTES:,} bytes, and this one is longer"
            raise _RefusedError(_answer(error={"code": _TOO_LONG, "message": message}))
    response._content = bytes(body)


def _answer(**content: Any) -> RPCResponse:
    return cast(RPCResponse, {"jsonrpc": "2.0", "id": 0, **content})


MOST_BYTES = 1 << 26
"""Most bytes of an answer: logs that take more are asked for in smaller parts."""

_PART = 1 << 16  # bytes
_TOO_LONG = -32005  # "limit exceeded", EIP-1474
_MOST_WORDS = 1000  # characters of what a node says of a refusal

_PASSING = (408, 429, 502, 503, 504)
"""HTTP statuses of requests that may succeed the next time."""

_REFUSING = (400, 413)
"""HTTP statuses of requests that ask for too much, also without a JSON-RPC error inside."""


def _no_node(url: object, reason: str) -> NodeUnavailableError:
    return NodeUnavailableError(f"the program at {public_name(str(url))} is not an Ethereum node ({reason})")
