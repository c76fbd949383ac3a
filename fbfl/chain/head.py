"""The newest block of a chain: readers compare it to notice that the chain has moved."""

from typing import NamedTuple

from eth_typing import BlockNumber
from web3 import Web3
from web3.exceptions import BlockNotFound


class Head(NamedTuple):
    """The newest block: its number, hash, and time (s)."""

    number: int
    hash: bytes
    timestamp: int


def head_of(w3: Web3) -> Head:
    """Ask a node for its head."""
    block = w3.eth.get_block("latest")
    return Head(block["number"], bytes(block["hash"]), block["timestamp"])


def hash_of(w3: Web3, number: int) -> bytes | None:
    """Ask a node for the hash of a block; None if there is no such block."""
    try:
        return bytes(w3.eth.get_block(BlockNumber(number))["hash"])
    except BlockNotFound:
        return None
