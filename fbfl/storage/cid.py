"""CIDs of files, as `ipfs add --cid-version=1 --raw-leaves` gives them.

One import profile only: chunks of 256 KiB, each a raw leaf; above one chunk a balanced tree of dag-pb nodes with up
to 174 links; sha2-256; base32. Under it the root's 32-byte digest and the size say everything that the CID says.
"""

import base64
import binascii
import hashlib

from fbfl.errors import InvalidInputError

CHUNK_SIZE = 262_144
LINKS_PER_NODE = 174

RAW = 0x55
DAG_PB = 0x70
SHA2_256 = b"\x12\x20"  # the multihash prefix: function, digest length


def cid_of(data: bytes) -> str:
    """The CID that `ipfs add --cid-version=1 --raw-leaves` prints for a file of these bytes."""
    return cid_from_digest(digest_of(data), len(data))


def digest_of(data: bytes) -> bytes:
    """The 32-byte sha2-256 digest of the root block of the file."""
    view = memoryview(data)
    level = []  # of (CID bytes, bytes of the file below, bytes of the blocks below)
    for start in range(0, max(len(data), 1), CHUNK_SIZE):
        chunk = view[start : start + CHUNK_SIZE]
        level.append((_cid_bytes(RAW, hashlib.sha256(chunk).digest()), len(chunk), len(chunk)))
    while len(level) > 1:
        groups = [level[start : start + LINKS_PER_NODE] for start in range(0, len(level), LINKS_PER_NODE)]
        level = [_node(group) for group in groups]
    return level[0][0][-32:]


def cid_from_digest(digest: bytes, size: int) -> str:
    """The CID of the file of `size` bytes with this root digest (32 bytes)."""
    if len(digest) != 32 or size < 0:
        raise InvalidInputError(f"a digest has 32 bytes and a size is not negative, got {len(digest)} and {size}")
    return "b" + base64.b32encode(_cid_bytes(_codec(size), digest)).decode().lower().rstrip("=")


def digest_from_cid(cid: str) -> bytes:
    """The root digest (32 bytes) inside a CID of the profile; any other CID raises `InvalidInputError`."""
    try:
        content = base64.b32decode(cid[1:].upper() + "=" * (-len(cid[1:]) % 8))
    except (binascii.Error, ValueError):
        content = b""
    digest = content[-32:]
    if cid not in {cid_from_digest(digest, size) for size in (0, CHUNK_SIZE + 1) if len(digest) == 32}:
        raise InvalidInputError(f"{cid!r} is not a CIDv1 of a raw or dag-pb block, sha2-256, base32 in lower case")
    return digest


def _codec(size: int) -> int:
    return RAW if size <= CHUNK_SIZE else DAG_PB


def _cid_bytes(codec: int, digest: bytes) -> bytes:
    return bytes([1, codec]) + SHA2_256 + digest


def _node(children: list[tuple[bytes, int, int]]) -> tuple[bytes, int, int]:
    """A dag-pb node over these children: its own CID, file size and block size.

    Protocol buffers by hand: PBNode {2: links, 1: data}, PBLink {1: CID, 2: name, 3: size of the blocks below},
    data = UnixFS {1: type 2 (file), 3: file size, 4: the children's file sizes}.
    """
    file_size = sum(size for _, size, _ in children)
    links = b"".join(
        _bytes_field(2, _bytes_field(1, cid) + _bytes_field(2, b"") + _number_field(3, blocks))
        for cid, _, blocks in children
    )
    data = _number_field(1, 2) + _number_field(3, file_size)
    data += b"".join(_number_field(4, size) for _, size, _ in children)
    block = links + _bytes_field(1, data)
    digest = hashlib.sha256(block).digest()
    return _cid_bytes(DAG_PB, digest), file_size, len(block) + sum(blocks for _, _, blocks in children)


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
