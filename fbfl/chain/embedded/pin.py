"""The pin of an exported chain: its last block and the hashes of its files, kept apart from them. Imports no chain."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from fbfl.errors import ChainImportError, failures_as
from fbfl.system import strictjson

GENESIS_FILE = "genesis.json"
BLOCKS_FILE = "chain.rlp"
HEAD_FILE = "head.json"


@dataclass(frozen=True)
class ChainHead:
    """Pin of an export: the head's number and hash, the bytes of chain.rlp up to it, both files' SHA-256 (hex)."""

    number: int
    hash: str
    size: int
    chain_sha256: str
    genesis_sha256: str

    def to_json(self) -> dict[str, Any]:
        """Return its form in head.json and summary.json."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "ChainHead":
        """Read the form of `to_json`; another shape raises `ChainImportError`."""
        expected = {field.name: field.type for field in fields(cls)}
        if not isinstance(content, dict) or {name: type(value) for name, value in content.items()} != expected:
            raise ChainImportError(f"a chain head has the keys {', '.join(expected)}")
        return cls(**content)


def read_head(folder: Path) -> ChainHead:
    """Read the head in head.json; a missing or damaged file raises `ChainImportError`."""
    try:
        return ChainHead.from_json(strictjson.loads(contents(folder / HEAD_FILE)))
    except ValueError as error:
        raise ChainImportError(f"{folder / HEAD_FILE} is damaged: {error}") from error


def contents(path: Path) -> bytes:
    """Return the bytes of a file of a chain; one that cannot be read raises `ChainImportError`."""
    with failures_as(ChainImportError, f"cannot read {path}"):
        return path.read_bytes()
