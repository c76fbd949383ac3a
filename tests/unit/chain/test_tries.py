"""Tries whose nodes are decoded once hold what they held before."""

from collections.abc import Sequence
from typing import Any

import trie.hexary
from hypothesis import given
from hypothesis import strategies as st
from trie.utils import nodes

from fbfl.chain.embedded import tries

# Short keys and values make nodes that stand within others, long ones such that stand by their hash.
keys = st.binary(min_size=1, max_size=3)
values = st.one_of(st.binary(max_size=3), st.binary(min_size=33, max_size=40))


def played(steps: Sequence[tuple[bytes, bytes]]) -> list[Any]:
    """Write values, no bytes being a removal, and read all after each; return what was seen."""
    seen: list[Any] = []
    written: Any = trie.hexary.HexaryTrie({})
    for key, value in steps:
        if value:
            written[key] = value
        else:
            del written[key]
        seen.append((written.root_hash, [written.get(key) for key, _ in steps]))
    return seen


@given(st.lists(st.tuples(keys, values), max_size=12))
def test_a_trie_is_the_same_with_nodes_that_are_decoded_once(steps: Sequence[tuple[bytes, bytes]]) -> None:
    hexary: Any = trie.hexary
    assert hexary.decode_node is tries._decode_node
    found = played(steps)
    try:
        hexary.decode_node = nodes.decode_node
        assert played(steps) == found == played(steps)
    finally:
        hexary.decode_node = tries._decode_node
