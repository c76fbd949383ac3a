"""Ethash seals as the yellow paper has them, checked by a library that shares no code with geth."""

from typing import Any

import ethash
import rlp
from eth_hash.auto import keccak
from web3.types import BlockData

from fbfl.chain.embedded.seals import boundary
from fbfl.nodes import geth


def header(block: BlockData) -> list[Any]:
    fields = sealed_fields(block)
    return [*fields[:13], bytes(block["mixHash"]), bytes(block["nonce"]), *fields[13:]]


def sealed_fields(block: BlockData) -> list[Any]:
    """The header without its seal, as the yellow paper orders it."""
    return [
        bytes(block["parentHash"]),
        bytes(block["sha3Uncles"]),
        bytes.fromhex(block["miner"][2:]),
        bytes(block["stateRoot"]),
        bytes(block["transactionsRoot"]),
        bytes(block["receiptsRoot"]),
        bytes(block["logsBloom"]),
        block["difficulty"],
        block["number"],
        block["gasLimit"],
        block["gasUsed"],
        block["timestamp"],
        bytes(block["extraData"]),
        block["baseFeePerGas"],
    ]


def has_valid_seal(block: BlockData, nonce: int | None = None) -> bool:
    """Check that the nonce proves the work, by a library that shares no code with geth."""
    verified: bool = ethash.verify(
        block["number"] // geth.EPOCH,
        keccak(rlp.encode(sealed_fields(block))),
        bytes(block["mixHash"]),
        int.from_bytes(block["nonce"], "big") if nonce is None else nonce,
        boundary(block["difficulty"]).to_bytes(32, "big"),
    )
    return verified
