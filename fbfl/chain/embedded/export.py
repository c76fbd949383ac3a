"""A chain as files: genesis.json and chain.rlp (concatenated RLP blocks, as `geth export` writes), head.json on top.

`ChainWriter` appends to them while a run goes on. head.json says how much of chain.rlp is whole, and is replaced
last, so a run that is interrupted at any moment leaves a chain up to its last `flush`. `import_chain` executes every
block again; together with the hashes of a `ChainHead` kept elsewhere, no byte can change unnoticed.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import rlp
from eth.abc import BlockAPI
from eth.constants import BLANK_ROOT_HASH
from eth.typing import AccountDetails
from eth_typing import Address, BlockNumber
from rlp.codec import consume_length_prefix

from fbfl.chain.embedded.chain import EmbeddedChain, Genesis, open_chain
from fbfl.chain.embedded.pin import BLOCKS_FILE, GENESIS_FILE, HEAD_FILE, ChainHead, contents, read_head
from fbfl.chain.embedded.rules import CHAIN_ID, LondonChain
from fbfl.chain.embedded.seals import SEALS
from fbfl.errors import ChainImportError, StorageError, failures_as
from fbfl.system import strictjson
from fbfl.system.atomic import write_atomically

FORKS = (
    "homestead",
    "eip150",
    "eip155",
    "eip158",
    "byzantium",
    "constantinople",
    "petersburg",
    "istanbul",
    "muirGlacier",
    "berlin",
    "london",
)
NUMBERS = {"timestamp": "timestamp", "gasLimit": "gas_limit", "difficulty": "difficulty"}
STRINGS = {"nonce": "nonce", "extraData": "extra_data", "mixHash": "mix_hash", "coinbase": "coinbase"}


class ChainWriter:
    """Keeps the files of one chain in `folder`, which may hold those of an earlier chain: they are replaced.

    With `go_on` they are those of this chain, as `import_chain` has read them, perhaps with blocks that have left it
    since: new ones are appended. A disk that fails raises `StorageError`.
    """

    def __init__(self, folder: Path, chain: EmbeddedChain, *, go_on: bool = False) -> None:
        self.folder = folder
        self._embedded = chain
        self._blocks: list[tuple[bytes, int]] = []  # hash, and where the block ends in the file
        self._digest = hashlib.sha256()
        genesis = render_genesis(chain.genesis)
        self._genesis_sha256 = hashlib.sha256(genesis).hexdigest()
        with failures_as(StorageError, f"cannot write the chain to {folder}"):
            if go_on:
                self._read_written()
                return
            folder.mkdir(parents=True, exist_ok=True)
            (folder / HEAD_FILE).unlink(missing_ok=True)
            write_atomically(folder / GENESIS_FILE, genesis)
            write_atomically(folder / BLOCKS_FILE, b"")

    def _read_written(self) -> None:
        """Take the blocks of the file that are on the chain as written; record their end before the rest is cut off."""
        chain = self._embedded.chain
        count = chain.get_canonical_head().block_number + 1
        for number, raw in enumerate(islice(_split_blocks((self.folder / BLOCKS_FILE).read_bytes()), count)):
            self._digest.update(raw)
            header = chain.get_canonical_block_header_by_number(BlockNumber(number))
            self._blocks.append((header.hash, self._size() + len(raw)))
        self._record_head()

    def flush(self) -> ChainHead:
        """Append the blocks since the last flush; blocks that left the chain meanwhile leave the file."""
        with self._embedded.lock:
            chain = self._embedded.chain
            head = chain.get_canonical_head()
            kept = self._kept_blocks(chain)
            new = [chain.get_canonical_block_by_number(BlockNumber(n)) for n in range(kept, head.block_number + 1)]
        with failures_as(StorageError, f"cannot write the chain to {self.folder}"):
            self._append(kept, new)
            return self._record_head()

    def _record_head(self) -> ChainHead:
        """Write head.json for the blocks that are in the file."""
        record = ChainHead(
            number=len(self._blocks) - 1,
            hash="0x" + self._blocks[-1][0].hex(),
            size=self._size(),
            chain_sha256=self._digest.hexdigest(),
            genesis_sha256=self._genesis_sha256,
        )
        write_atomically(self.folder / HEAD_FILE, json.dumps(record.to_json(), indent=1).encode())
        return record

    def _kept_blocks(self, chain: LondonChain) -> int:
        """Return the number of written blocks that are still on the chain."""
        kept = len(self._blocks)
        while kept and not _is_canonical(chain, kept - 1, self._blocks[kept - 1][0]):
            kept -= 1
        return kept

    def _append(self, kept: int, new: list[BlockAPI]) -> None:
        with (self.folder / BLOCKS_FILE).open("r+b") as file:
            if kept < len(self._blocks):
                del self._blocks[kept:]
                self._digest = hashlib.sha256(file.read(self._size()))
            file.truncate(self._size())
            file.seek(self._size())
            for block in new:
                raw = rlp.encode(block)
                file.write(raw)
                self._digest.update(raw)
                self._blocks.append((block.hash, self._size() + len(raw)))
            file.flush()
            os.fsync(file.fileno())

    def _size(self) -> int:
        return self._blocks[-1][1] if self._blocks else 0


def import_chain(folder: Path, expected: ChainHead | None = None) -> EmbeddedChain:
    """Open the chain in `folder`, with every block of it executed again.

    `expected` is what `ChainWriter.flush` returned, kept apart from the files (else head.json is believed). Whatever
    is wrong raises `ChainImportError`, which names the block.
    """
    if expected is None:
        expected = read_head(folder)
    genesis_bytes = contents(folder / GENESIS_FILE)
    try:
        embedded = open_chain(parse_genesis(genesis_bytes))
    except Exception as error:
        raise ChainImportError(f"{folder / GENESIS_FILE}: {_reason(error)}") from error
    data = contents(folder / BLOCKS_FILE)[: expected.size]
    number = -1
    for number, raw in enumerate(_split_blocks(data)):
        try:
            _import_block(embedded.chain, number, raw)
        except Exception as error:  # py-evm refuses blocks with many types of exception
            raise ChainImportError(f"block {number} does not execute again: {_reason(error)}") from error
    if number < 0:
        raise ChainImportError(f"{folder / BLOCKS_FILE} holds no block")
    _check_head(embedded, expected, number, data, genesis_bytes)
    return embedded


def render_genesis(genesis: Genesis) -> bytes:
    """Return the bytes of genesis.json, in geth's form."""
    config: dict[str, Any] = {"chainId": CHAIN_ID, **{f"{fork}Block": 0 for fork in FORKS}, "seal": genesis.seal}
    content: dict[str, Any] = {"config": config}
    content |= {name: hex(genesis.header[field]) for name, field in NUMBERS.items()}
    content |= {name: "0x" + genesis.header[field].hex() for name, field in STRINGS.items()}
    content["alloc"] = {
        "0x" + address.hex(): {
            "balance": hex(account["balance"]),
            "nonce": hex(account["nonce"]),
            "code": "0x" + account["code"].hex(),
            "storage": {hex(slot): hex(value) for slot, value in account["storage"].items()},
        }
        for address, account in genesis.alloc.items()
    }
    return (json.dumps(content, indent=1) + "\n").encode()


def parse_genesis(data: bytes) -> Genesis:
    """Read the output of `render_genesis`; anything else raises an exception."""
    content = strictjson.loads(data)
    header: dict[str, Any] = {field: int(content[name], 16) for name, field in NUMBERS.items()}
    header |= {field: _from_hex(content[name]) for name, field in STRINGS.items()}
    header |= {"receipt_root": BLANK_ROOT_HASH, "transaction_root": BLANK_ROOT_HASH}
    alloc: dict[Address, AccountDetails] = {
        Address(_from_hex(address)): {
            "balance": int(account["balance"], 16),
            "nonce": int(account["nonce"], 16),
            "code": _from_hex(account["code"]),
            "storage": {int(slot, 16): int(value, 16) for slot, value in account["storage"].items()},
        }
        for address, account in content["alloc"].items()
    }
    genesis = Genesis(header, alloc, content["config"]["seal"])
    if genesis.seal not in SEALS or render_genesis(genesis) != data:
        raise ChainImportError("not a genesis that fbfl wrote")
    return genesis


def _split_blocks(data: bytes) -> Iterator[bytes]:
    start = number = 0
    while start < len(data):
        try:
            _, kind, length, content = consume_length_prefix(data, start)
        except Exception as error:
            raise ChainImportError(f"block {number} (byte {start}): {_reason(error)}") from error
        end = content + length
        if kind is not list or end > len(data):
            raise ChainImportError(f"block {number} (byte {start}) is not whole")
        yield data[start:end]
        start, number = end, number + 1


def _import_block(chain: LondonChain, number: int, raw: bytes) -> None:
    block = rlp.decode(raw, sedes=chain.get_vm_class_for_block_number(BlockNumber(number)).get_block_class())
    if rlp.encode(block) != raw:
        raise ChainImportError("its RLP is not canonical")
    if number:
        chain.import_block(block)
    if chain.get_canonical_head().hash != block.hash:
        raise ChainImportError("it does not follow the one before" if number else "it is not the genesis")


def _check_head(embedded: EmbeddedChain, expected: ChainHead, number: int, data: bytes, genesis: bytes) -> None:
    found = ChainHead(
        number=number,
        hash="0x" + embedded.snapshot().hex(),
        size=len(data),
        chain_sha256=hashlib.sha256(data).hexdigest(),
        genesis_sha256=hashlib.sha256(genesis).hexdigest(),
    )
    for name, value in expected.to_json().items():
        if value != found.to_json()[name]:
            raise ChainImportError(
                f"block {number} is not the recorded head: its {name} is {found.to_json()[name]}, recorded is {value}"
            )


def _is_canonical(chain: LondonChain, number: int, block_hash: bytes) -> bool:
    if number > chain.get_canonical_head().block_number:
        return False
    return chain.get_canonical_block_header_by_number(BlockNumber(number)).hash == block_hash


def _from_hex(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())[:300]
    return text if isinstance(error, ChainImportError) else f"{type(error).__name__}: {text}"
