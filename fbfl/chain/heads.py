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
    """The head as a node answers."""
    block = w3.eth.get_block("latest")
    return Head(block["number"], bytes(block["hash"]), block["timestamp"])


def hash_of(w3: Web3, number: int) -> bytes | None:
    """The hash of a block as a node answers; None if there is no such block."""
    try:
        return bytes(w3.eth.get_block(BlockNumber(number))["hash"])
    except BlockNotFound:
        return None
