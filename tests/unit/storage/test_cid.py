import base64
import hashlib

import aleph_cid
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fbfl.errors import InvalidInputError, PayloadRefusedError
from fbfl.storage.cid import (
    CHUNK_SIZE,
    LINKS_PER_NODE,
    child_sizes,
    children_in,
    cid_from_digest,
    cid_of,
    digest_of,
    height_of,
    node,
)

# Printed by `ipfs add --cid-version=1 --raw-leaves` for zero bytes (and the first two by every IPFS tutorial).
GOLDEN = {
    b"": "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
    b"hello world": "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e",
    bytes(CHUNK_SIZE): "bafkreiekhhjkxu4ztk3tyng3er3ijhg56mb44oe3gwbgquhzu4afrg2ksa",
    bytes(CHUNK_SIZE + 1): "bafybeigllfqgfpqydppr6cmv56g7ax4wyhruzswvcefv6j5kj77nzttfki",
    bytes(3 * CHUNK_SIZE): "bafybeid46owk5sqnqfthygjki6atev4vaydr46nkmrseb2awrepry3k5hu",
}


def oracle(data: bytes) -> str:
    hasher = aleph_cid.CidHasher.for_ipfs_v1_raw_leaves()
    hasher.update(data)
    return hasher.finalize()


@pytest.mark.parametrize("data", GOLDEN, ids=[f"{len(data)} bytes" for data in GOLDEN])
def test_known_files_have_their_known_cids(data: bytes) -> None:
    assert cid_of(data) == GOLDEN[data]


@settings(max_examples=30)
@given(chunks=st.integers(0, 4), offset=st.integers(-2, 2), fill=st.binary(min_size=1, max_size=8))
def test_equals_an_independent_implementation_around_chunk_boundaries(chunks: int, offset: int, fill: bytes) -> None:
    size = max(0, chunks * CHUNK_SIZE + offset)
    data = (fill * (size // len(fill) + 1))[:size]
    assert cid_of(data) == oracle(data)


@pytest.mark.parametrize("size", [LINKS_PER_NODE * CHUNK_SIZE, LINKS_PER_NODE * CHUNK_SIZE + 1])
def test_equals_an_independent_implementation_where_the_tree_grows_a_level(size: int) -> None:
    data = bytes(size)
    assert cid_of(data) == oracle(data)


def test_the_digest_of_one_chunk_is_its_sha256() -> None:
    assert digest_of(b"abc") == hashlib.sha256(b"abc").digest()


@given(digest=st.binary(min_size=32, max_size=32), size=st.integers(0, 2**62))
def test_a_cid_ends_with_the_digest(digest: bytes, size: int) -> None:
    text = cid_from_digest(digest, size)[1:].upper()
    assert base64.b32decode(text + "=" * (-len(text) % 8))[-32:] == digest


@pytest.mark.parametrize(("digest", "size"), [(b"short", 1), (bytes(32), -1)])
def test_a_reference_that_cannot_be_is_refused(digest: bytes, size: int) -> None:
    with pytest.raises(InvalidInputError, match="32 bytes"):
        cid_from_digest(digest, size)


@settings(max_examples=50)
@given(
    size=st.integers(CHUNK_SIZE + 1, 3 * CHUNK_SIZE * LINKS_PER_NODE**2),
    place=st.integers(0),
    change=st.sampled_from(["flip", "cut", "add", "size"]),
)
def test_a_block_is_the_node_of_a_file_of_a_size_or_refused(size: int, place: int, change: str) -> None:
    height = height_of(size)
    digests = [hashlib.sha256(str(child).encode()).digest() for child in range(len(child_sizes(size, height)))]
    block = node(size, height, digests)
    assert children_in(block, size, height) == digests
    place %= len(block)
    changed = {
        "flip": block[:place] + bytes([block[place] ^ 1]) + block[place + 1 :],
        "cut": block[:place],
        "add": block + b"\x00",
        "size": block,
    }[change]
    other = size - 1 if change == "size" else size
    try:
        found = children_in(changed, other, height)
    except PayloadRefusedError:
        return
    assert change == "flip", "only other digests make another node"
    assert sum(one != another for one, another in zip(found, digests, strict=True)) == 1


@pytest.mark.parametrize("block", [b"", b"\x0a\x02\x08\x01", b"\xff" * 100, bytes(10_000)])
def test_what_is_no_node_of_a_file_is_refused(block: bytes) -> None:
    for size in (CHUNK_SIZE + 1, CHUNK_SIZE * LINKS_PER_NODE + 1):
        with pytest.raises(PayloadRefusedError, match=f"not the node that a file of {size} bytes has there"):
            children_in(block, size, height_of(size))
