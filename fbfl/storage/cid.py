"""CIDs of files, as `ipfs add --cid-version=1 --raw-leaves` gives them.

One import profile only: chunks of 256 KiB, each a raw leaf; above one chunk a balanced tree of dag-pb nodes with up
to 174 links; sha2-256; base32. With it the root's 32-byte digest and the size determine the CID.
"""

import base64
import functools
import hashlib
import itertools
from collections.abc import Sequence

from fbfl.errors import InvalidInputError, PayloadRefusedError

CHUNK_SIZE = 262_144
LINKS_PER_NODE = 174

RAW = 0x55
DAG_PB = 0x70
SHA2_256 = b"\x12\x20"  # the multihash prefix: function, digest length


def cid_of(data: bytes) -> str:
    """Return the CID that `ipfs add --cid-version=1 --raw-leaves` prints for a file of these bytes."""
    return cid_from_digest(digest_of(data), len(data))


def digest_of(data: bytes) -> bytes:
    """Return the 32-byte sha2-256 digest of the root block of the file."""
    return _root(memoryview(data), height_of(len(data)))


def _root(data: memoryview, height: int) -> bytes:
    if not height:
        return hashlib.sha256(data).digest()
    starts = [*itertools.accumulate(child_sizes(len(data), height), initial=0)]
    children = [_root(data[start:end], height - 1) for start, end in itertools.pairwise(starts)]
    return hashlib.sha256(node(len(data), height, children)).digest()


def height_of(size: int) -> int:
    """Return the number of levels above the leaves in the tree of a file of `size` bytes."""
    height, most = 0, CHUNK_SIZE
    while size > most:
        height, most = height + 1, most * LINKS_PER_NODE
    return height


def child_sizes(size: int, height: int) -> list[int]:
    """Return the bytes of the file below each child of a node at this height (from 1) with `size` bytes below it."""
    most = CHUNK_SIZE * LINKS_PER_NODE ** (height - 1)
    return [min(most, size - start) for start in range(0, size, most)]


def node(size: int, height: int, children: Sequence[bytes]) -> bytes:
    """Return the dag-pb block over children with these digests, at this height, with `size` bytes of the file below it.

    Protocol buffers by hand: PBNode {2: links, 1: data}, PBLink {1: CID, 2: name, 3: size of the blocks below},
    data = UnixFS {1: type 2 (file), 3: file size, 4: the children's file sizes}.
    """
    codec = RAW if height == 1 else DAG_PB
    sizes = child_sizes(size, height)
    links = b"".join(
        _bytes_field(
            2,
            _bytes_field(1, _cid_bytes(codec, digest))
            + _bytes_field(2, b"")
            + _number_field(3, _size_of_blocks(below, height - 1)),
        )
        for digest, below in zip(children, sizes, strict=True)
    )
    data = _number_field(1, 2) + _number_field(3, size)
    data += b"".join(_number_field(4, below) for below in sizes)
    return links + _bytes_field(1, data)


def children_in(block: bytes, size: int, height: int) -> list[bytes]:
    """Return the digests of the children in a block, which must be a `node` with `size` bytes below it at this height.

    Anything else (a directory, a shard, another tree, no dag-pb at all) raises `PayloadRefusedError`.
    """
    digests, place = [], 0
    for below in child_sizes(size, height):
        # Up to the digest a link has four lengths and tags of one byte, and the CID's prefix; after it, name and size.
        start = place + 4 + len(_cid_bytes(RAW, b""))
        digests.append(block[start : start + 32])
        place = start + 32 + len(_bytes_field(2, b"") + _number_field(3, _size_of_blocks(below, height - 1)))
    if any(len(digest) != 32 for digest in digests) or node(size, height, digests) != block:
        raise PayloadRefusedError(f"a block is not the node that a file of {size} bytes has there")
    return digests


@functools.lru_cache(maxsize=1024)
def _size_of_blocks(size: int, height: int) -> int:
    """Return the bytes of all blocks of a tree, which follow from the size of the file below it."""
    if not height:
        return size
    sizes = child_sizes(size, height)
    return len(node(size, height, [bytes(32)] * len(sizes))) + sum(
        _size_of_blocks(below, height - 1) for below in sizes
    )


@functools.lru_cache(maxsize=1024)
def cid_from_digest(digest: bytes, size: int) -> str:
    """Return the CID of the file of `size` bytes with this root digest (32 bytes)."""
    if len(digest) != 32 or size < 0:
        raise InvalidInputError(f"a digest has 32 bytes and a size is not negative, got {len(digest)} and {size}")
    return _text(RAW if size <= CHUNK_SIZE else DAG_PB, digest)


def cid_of_node(digest: bytes) -> str:
    """Return the CID of the dag-pb block with this digest (32 bytes)."""
    return _text(DAG_PB, digest)


def _text(codec: int, digest: bytes) -> str:
    return "b" + base64.b32encode(_cid_bytes(codec, digest)).decode().lower().rstrip("=")


def _cid_bytes(codec: int, digest: bytes) -> bytes:
    return bytes([1, codec]) + SHA2_256 + digest


def _number_field(field: int, number: int) -> bytes:
    return _varint(field << 3) + _varint(number)


def _bytes_field(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)
