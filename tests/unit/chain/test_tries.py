"""Tries that many keys are changed in at once are those of py-evm, which changes one at a time."""

from collections.abc import Sequence
from typing import Any

import pytest
from eth.constants import BLANK_ROOT_HASH
from eth.db.trie import _make_trie_root_and_nodes
from hypothesis import given
from hypothesis import strategies as st
from trie.hexary import HexaryTrie

from fbfl.chain.embedded import tries
from fbfl.chain.encoding import encoded, number

# Keys of one length, many of which begin alike; short values make nodes that stand within others.
keys = st.binary(min_size=2, max_size=2) | st.tuples(*[st.sampled_from([0, 1, 16, 17])] * 2).map(bytes)
values = st.just(b"") | st.binary(min_size=1, max_size=3) | st.binary(min_size=30, max_size=70)
blocks = st.lists(st.dictionaries(keys, values, max_size=12), max_size=6)


@given(blocks=blocks, forget=st.booleans())
def test_a_trie_has_the_root_and_the_values_of_py_evms(*, blocks: Sequence[dict[bytes, bytes]], forget: bool) -> None:
    nodes: dict[bytes, bytes] = {}
    root = BLANK_ROOT_HASH
    oracle: Any = HexaryTrie({})
    seen: list[Any] = []
    for changes in blocks:
        root = tries.changed(nodes, root, changes)
        for key, value in changes.items():
            oracle.set(key, value)
        if forget:
            tries._decoded.clear()
        assert root == oracle.root_hash
        assert all(tries.value_of(nodes, root, key) == oracle.get(key) for each in blocks for key in each)
        seen.append((root, dict(oracle_items(oracle, blocks))))
    for root, items in seen:  # the trie before a change stays
        assert all(tries.value_of(nodes, root, key) == value for key, value in items.items())


def oracle_items(oracle: Any, blocks: Sequence[dict[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """What the oracle has under every key that occurs."""
    return [(key, oracle.get(key)) for changes in blocks for key in changes]


@pytest.mark.parametrize("size", [0, 1, 2, 17, 128, 129, 300])
def test_a_list_has_the_root_that_blocks_have_of_it(size: int) -> None:
    items = [bytes([place % 256]) * (40 + place) for place in range(size)]
    nodes: dict[bytes, bytes] = {}
    assert tries.list_root(nodes, items) == _make_trie_root_and_nodes(tuple(items))[0]
    read = HexaryTrie(nodes, tries.list_root(nodes, items))
    assert [read[encoded(number(place))] for place in range(size)] == items
