"""The head of a chain, as far as readers need it to notice that the chain has moved."""

from typing import NamedTuple

from web3 import Web3


class Head(NamedTuple):
    """The newest block: its number, hash, and time (s)."""

    number: int
    hash: bytes
    timestamp: int


def head_of(w3: Web3) -> Head:
    """The head as a node answers."""
    block = w3.eth.get_block("latest")
    return Head(block["number"], bytes(block["hash"]), block["timestamp"])
