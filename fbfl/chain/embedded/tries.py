"""Merkle-Patricia tries as functions on a database of nodes: look up a key, change many keys at once.

py-evm's own trie changes one key at a time, and encodes and hashes the way up to the root for each. A block changes
many keys of few tries, whose upper nodes are the same: here each is encoded once. Of the keys of a trie none may be the
beginning of another, which holds for hashes and for RLP.

A node is a tuple: empty, of a path and a value or what is below, or of sixteen places and a value that stays empty.
Paths are hexadecimal digits. In a place stands a node of less than 32 bytes itself, or the hash of a longer one.
"""

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from itertools import groupby
from typing import Any

import rlp
from eth.constants import BLANK_ROOT_HASH
from eth_hash.auto import keccak
from eth_typing import Hash32

from fbfl.chain.encoding import encoded, number

Nodes = MutableMapping[bytes, bytes]
"""RLP of nodes by their hash."""

Node = tuple[Any, ...]
Change = tuple[str, bytes]
"""A path and the value that it gets; empty for none."""

KEPT = 1 << 15
"""Number of nodes that are kept decoded: every block reads the upper ones of the state again."""

_NOTHING: Node = ()
_EMPTY_BRANCH: Node = (b"",) * 17

_decoded: dict[bytes, Node] = {}  # a hash stands for one node only, in whatever database


def value_of(nodes: Mapping[bytes, bytes], root: Hash32, key: bytes) -> bytes:
    """Return the value of a key, no bytes if it has none."""
    node, path = _loaded(nodes, _NOTHING if root == BLANK_ROOT_HASH else root), key.hex()
    while node:
        if len(node) == 17:
            node, path = _loaded(nodes, node[int(path[0], 16)]), path[1:]
            continue
        beginning, is_leaf = _path(node)
        if not path.startswith(beginning):
            return b""
        if is_leaf:
            return bytes(node[1])
        node, path = _loaded(nodes, node[1]), path[len(beginning) :]
    return b""


def changed(nodes: Nodes, root: Hash32, values: Mapping[bytes, bytes]) -> Hash32:
    """Give keys these values, no bytes to remove one; return the new root. The old trie stays."""
    node = _loaded(nodes, _NOTHING if root == BLANK_ROOT_HASH else root)
    node = _with(nodes, node, sorted((key.hex(), value) for key, value in values.items())) if values else node
    return _stored_by_hash(nodes, node, encoded(node)) if node else BLANK_ROOT_HASH


def list_root(nodes: Nodes, items: Sequence[bytes]) -> Hash32:
    """Return the root of the trie of a list: of the transactions or receipts of a block."""
    return changed(nodes, BLANK_ROOT_HASH, {encoded(number(place)): item for place, item in enumerate(items)})


def _with(nodes: Nodes, node: Node, changes: Sequence[Change]) -> Node:
    """Return a node with sorted changes below it."""
    if not node:
        return _built(nodes, [change for change in changes if change[1]])
    if len(node) == 17:
        places = list(node)
        for digit, below in _by_digit(changes):
            places[digit] = _stored(nodes, _with(nodes, _loaded(nodes, places[digit]), below))
        return _tidy(nodes, places)
    path, is_leaf = _path(node)
    if is_leaf:
        return _built(nodes, sorted(item for item in {path: node[1], **dict(changes)}.items() if item[1]))
    shared = min(_shared(path, changes[0][0]), _shared(path, changes[-1][0]))
    below = [(other[shared:], value) for other, value in changes]
    if shared == len(path):
        return _under(nodes, path, _with(nodes, _loaded(nodes, node[1]), below))
    places = list(_EMPTY_BRANCH)
    places[int(path[shared], 16)] = _stored(nodes, _under(nodes, path[shared + 1 :], _loaded(nodes, node[1])))
    return _under(nodes, path[:shared], _with(nodes, tuple(places), below))


def _built(nodes: Nodes, items: Sequence[Change]) -> Node:
    """Return a node of these values, sorted by their paths."""
    if len(items) < 2:
        return (_packed(items[0][0], True), items[0][1]) if items else _NOTHING
    shared = _shared(items[0][0], items[-1][0])
    below = _with(nodes, _EMPTY_BRANCH, [(path[shared:], value) for path, value in items])
    return _under(nodes, items[0][0][:shared], below)


def _shared(first: str, second: str) -> int:
    """Return the number of digits with which both paths begin."""
    differing = (place for place, (one, other) in enumerate(zip(first, second, strict=False)) if one != other)
    return next(differing, min(len(first), len(second)))


def _by_digit(changes: Sequence[Change]) -> Iterator[tuple[int, list[Change]]]:
    for digit, group in groupby(changes, key=lambda change: change[0][0]):
        yield int(digit, 16), [(path[1:], value) for path, value in group]


def _tidy(nodes: Nodes, places: Sequence[Any]) -> Node:
    """Return a branch, or what it is where not two places are left."""
    taken = [digit for digit, place in enumerate(places) if place]
    if len(taken) > 1:
        return tuple(places)
    return _under(nodes, f"{taken[0]:x}", _loaded(nodes, places[taken[0]])) if taken else _NOTHING


def _under(nodes: Nodes, path: str, below: Node) -> Node:
    """Return the node that leads to another by a path."""
    if not path or not below:
        return below
    if len(below) == 17:
        return _packed(path, False), _stored(nodes, below)
    rest, is_leaf = _path(below)
    return _packed(path + rest, is_leaf), below[1]


def _packed(path: str, is_leaf: bool) -> bytes:
    odd = len(path) % 2
    return bytes.fromhex(("3" if is_leaf else "1") + path if odd else ("20" if is_leaf else "00") + path)


def _path(node: Node) -> tuple[str, bool]:
    """Return the path of a node that has one, and True if it ends with a value."""
    digits = node[0].hex()
    return digits[1 if digits[0] in "13" else 2 :], digits[0] in "23"


def _loaded(nodes: Mapping[bytes, bytes], place: Any) -> Node:
    """Return the node that stands in a place."""
    if isinstance(place, tuple):
        return place
    if not place:
        return _NOTHING
    node = _decoded.get(place)
    return _kept(place, _tuples(rlp.decode(nodes[place]))) if node is None else node


def _stored(nodes: Nodes, node: Node) -> Any:
    """Return what stands for a node in a place, after writing it where that is its hash."""
    if not node:
        return b""
    code = encoded(node)
    return node if len(code) < 32 else _stored_by_hash(nodes, node, code)


def _stored_by_hash(nodes: Nodes, node: Node, code: bytes) -> Hash32:
    digest = Hash32(keccak(code))
    nodes[digest] = code
    _kept(digest, node)
    return digest


def _kept(digest: bytes, node: Node) -> Node:
    if len(_decoded) >= KEPT:
        _decoded.clear()
    _decoded[digest] = node
    return node


def _tuples(item: Any) -> Any:
    return tuple(map(_tuples, item)) if isinstance(item, list) else bytes(item)
