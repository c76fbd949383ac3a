"""Pure functions of py-evm's tries, whose results are kept: every block reads the upper nodes of the state again."""

import functools
from typing import Any

import trie.hexary
from trie.utils import nibbles, nodes


@functools.lru_cache(maxsize=1 << 15)
def _decoded(encoded: bytes) -> tuple[Any, ...] | None:
    """Return the parts of a node; None of one that holds other nodes, which tries change where they are."""
    parts = nodes.decode_node(encoded)
    whole = isinstance(parts, list) and all(isinstance(part, bytes) for part in parts)
    return tuple(parts) if whole else None


def _decode_node(encoded: Any) -> Any:
    parts = _decoded(encoded) if isinstance(encoded, bytes) and encoded else None
    return nodes.decode_node(encoded) if parts is None else list(parts)


def keep_results() -> None:
    """Let all tries of this process use these."""
    hexary: Any = trie.hexary
    of_nodes: Any = nodes
    hexary.decode_node = _decode_node
    hexary.bytes_to_nibbles = functools.lru_cache(maxsize=1 << 13)(nibbles.bytes_to_nibbles)
    of_nodes.decode_nibbles = functools.lru_cache(maxsize=1 << 13)(nibbles.decode_nibbles)
