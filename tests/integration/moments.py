"""The moment at which a server sends a certain transaction, held for as long as a test needs."""

import json
import threading
from collections.abc import Callable
from typing import Any

import rlp
from starlette.requests import Request
from starlette.responses import Response
from web3 import Web3

from fbfl.chain.ledger import Ledger
from fbfl.chain.networks import NodeProvider
from fbfl.chain.rounds import Stage
from fbfl.nodes.chains import ask
from tests.integration.proxy import Answer

Calls = tuple[str, dict[str, Any]]


class Moment:
    """For `Proxy.spoiling`: holds what calls `function` (in `stage`, if it is a vote), until it is released.

    With `arrives`, the node gets the first such transaction, and only its answer is held; without, it is lost.
    """

    def __init__(self, ledger: Ledger, function: str, stage: Stage | None = None, *, arrives: bool) -> None:
        self._ledger = ledger
        self._wanted = (function, stage)
        self._arrives = arrives
        self._reached = threading.Event()
        self._over = threading.Event()

    def __call__(self, request: Request, body: bytes) -> Answer | None:
        """Choose the answer to a request."""
        return self._hold if not self._over.is_set() and self._called(body) == self._wanted else None

    def wait(self, seconds: float = 240) -> None:
        """Until the transaction is held."""
        assert self._reached.wait(seconds), f"nobody sent {self._wanted[0]} within {seconds:g} s"

    def release(self) -> None:
        """Let its sender, if it still lives, try again."""
        self._over.set()

    def _hold(self, ask: Callable[[], Response]) -> Response:
        if self._arrives and not self._reached.is_set():
            ask()
        self._reached.set()
        self._over.wait(600)
        return Response(status_code=503)

    def _called(self, body: bytes) -> tuple[str, Stage | None] | None:
        request = json.loads(body)
        if request["method"] != "eth_sendRawTransaction":
            return None
        fields = rlp.decode(bytes.fromhex(request["params"][0][2:])[1:])  # of a transaction of type 2
        call = called(self._ledger, fields[5], fields[7])
        return call and (call[0], Stage(call[1]["stage"]) if "stage" in call[1] else None)


def called(ledger: Ledger, to: bytes | str, data: bytes) -> Calls | None:
    """Return the function that a transaction calls, if it is to a contract of the ledger, and the arguments by name."""
    for contract in (ledger.tasks, ledger.registry, ledger.rewards, *ledger.consensus.values()):
        if contract.address == Web3.to_checksum_address(to):
            function, arguments = contract.decode_function_input(data)
            return function.fn_name, arguments
    return None


def sent(ledger: Ledger, server: str, function: str, first_block: int) -> int:
    """Count this account's transactions that called this function from a block on, refused ones included."""
    number, provider = 0, ledger.w3.provider
    assert isinstance(provider, NodeProvider)
    for block in range(first_block, ledger.w3.eth.block_number + 1):
        for transaction in ask(str(provider.endpoint_uri), "eth_getBlockByNumber", hex(block), True)["transactions"]:
            if Web3.to_checksum_address(transaction["from"]) == server and transaction["to"]:
                call = called(ledger, transaction["to"], bytes.fromhex(transaction["input"][2:]))
                number += call is not None and call[0] == function
    return number
