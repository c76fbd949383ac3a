"""Running nodes for a simulation: the same few operations as an embedded chain's, in real time."""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from eth_account import Account
from eth_account.signers.local import LocalAccount
from web3 import Web3

from fbfl.chain.accounts import FUNDED, LOCAL_CHAINS, development_account
from fbfl.chain.embedded.chain import EmbeddedChain
from fbfl.chain.head import Head, head_of
from fbfl.errors import InvalidInputError, NodeUnavailableError

_POLL = 0.2  # seconds
_MOMENT = 1.0  # second


@dataclass(frozen=True)
class RemoteNode:
    """A node of a real network, which mines by itself; `timeout` is the most seconds between two blocks."""

    w3: Web3
    timeout: float = 120.0

    def head(self) -> Head:
        """Return the newest block."""
        return head_of(self.w3)

    def mine(self) -> None:
        """Wait for the next block."""
        before = self.w3.eth.block_number
        deadline = time.monotonic() + self.timeout
        while self.w3.eth.block_number <= before:
            if time.monotonic() > deadline:
                raise NodeUnavailableError(f"no block came within {self.timeout:g} s")
            time.sleep(_POLL)

    def travel(self, seconds: int) -> None:
        """Wait a moment only: time passes by itself, and others may act meanwhile."""
        time.sleep(min(seconds, _MOMENT))

    def one_block(self) -> AbstractContextManager[None]:
        """Do nothing: the network decides what goes into a block."""
        return nullcontext()


Node = EmbeddedChain | RemoteNode
"""What a federation's servers do with a network: the same few operations in this process and elsewhere."""


def accounts_of(nodes: Sequence[Node], count: int) -> list[LocalAccount]:
    """Return the first `count` funded accounts: those of the embedded chain, or of every local development network.

    A network that is no local one, or more accounts than it funds, raises `InvalidInputError`.
    """
    first = nodes[0]
    if isinstance(first, EmbeddedChain):
        return [Account.from_key(key.to_bytes()) for key in list(first.keys.values())[:count]]
    if (chain_id := first.w3.eth.chain_id) not in LOCAL_CHAINS:
        raise InvalidInputError(
            f"chain {chain_id} is not a local network, and the servers would use accounts whose keys everybody knows; "
            "allowed: a network that fbfl chain up starts, or an fbfl mec with its own key for each server"
        )
    if count > FUNDED:
        raise InvalidInputError(f"servers is {count - 1}; allowed on a local network: up to {FUNDED - 1}")
    return [development_account(index) for index in range(count)]
