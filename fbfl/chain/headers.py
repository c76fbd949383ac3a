"""Block headers as bytes, from what a node answers: for proofs of the coinbase, and to check seals."""

import rlp
from eth.abc import BlockHeaderAPI
from eth.rlp.headers import BlockHeader
from eth.vm.forks.london.headers import LondonBackwardsHeader
from eth_hash.auto import keccak
from eth_typing import BlockNumber
from eth_utils.exceptions import ValidationError
from web3 import Web3
from web3.types import BlockData

from fbfl.chain.embedded.seals import EthashSeal
from fbfl.errors import ChainError

FIELDS = (
    "parentHash",
    "sha3Uncles",
    "miner",
    "stateRoot",
    "transactionsRoot",
    "receiptsRoot",
    "logsBloom",
    "difficulty",
    "number",
    "gasLimit",
    "gasUsed",
    "timestamp",
    "extraData",
    "mixHash",
    "nonce",
    "baseFeePerGas",
    "withdrawalsRoot",
    "blobGasUsed",
    "excessBlobGas",
    "parentBeaconBlockRoot",
    "requestsHash",
)

_LOOKED_AT = 3  # newest blocks whose seals are checked


def header_rlp(block: BlockData) -> bytes:
    """Return the RLP of a block's header, which hashes to the block's hash.

    A block whose fields do not give its hash raises `ChainError`.
    """
    fields = {name: _bytes(block[name]) for name in FIELDS if name in block}  # type: ignore[literal-required]
    if "logsBloom" in fields:
        fields["logsBloom"] = fields["logsBloom"].rjust(256, b"\0")  # eth-tester strips the zeros
    # eth-tester pads the extra data to 32 bytes; a block of ours has none.
    for extra_data in (fields.get("extraData", b""), b""):
        encoded: bytes = rlp.encode(list({**fields, "extraData": extra_data}.values()))
        if keccak(encoded) == bytes(block["hash"]):
            return encoded
    raise ChainError(f"the header of block {block['number']} does not have the hash that the node says")


def proof_of_work(w3: Web3) -> bool:
    """Return True if the newest blocks carry valid ethash seals; False for a chain that has only its genesis.

    Each check takes about 10 ms, after 2-3 s for the first of an epoch of 30,000 blocks.
    """
    newest = w3.eth.block_number
    numbers = range(max(1, newest - _LOOKED_AT + 1), newest + 1)
    return bool(numbers) and all(_is_sealed(w3.eth.get_block(BlockNumber(number))) for number in numbers)


def _is_sealed(block: BlockData) -> bool:
    try:
        fields = rlp.decode(header_rlp(block))
    except ChainError:
        return False  # the headers are not Ethereum's
    if len(fields) > 16:
        return False  # after London there is no proof of work
    rules = LondonBackwardsHeader if len(fields) == 16 else BlockHeader
    header: BlockHeaderAPI = rules.deserialize(fields)
    try:
        EthashSeal().validate_seal(header)
    except ValidationError:
        return False
    return True


def _bytes(value: object) -> bytes:
    if isinstance(value, int):
        return value.to_bytes((value.bit_length() + 7) // 8, "big")
    return bytes.fromhex(value[2:]) if isinstance(value, str) else bytes(value)  # type: ignore[call-overload]
