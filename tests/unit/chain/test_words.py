"""Words are encoded and decoded as eth-abi does, and refused where it refuses."""

from typing import Any

import pytest
from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from hypothesis import given
from hypothesis import strategies as st

from fbfl.chain.words import UnfitError, packed, read, reader_of

addresses = st.binary(min_size=20, max_size=20).map(lambda value: "0x" + value.hex())
leaves: Any = st.one_of(
    st.integers(1, 32).flatmap(lambda size: st.tuples(st.just(f"uint{8 * size}"), st.integers(0, 2 ** (8 * size) - 1))),
    st.tuples(st.just("bool"), st.booleans()),
    st.tuples(st.just("address"), addresses),
    st.tuples(st.just("bytes32"), st.binary(min_size=32, max_size=32)),
)


def together(parts: list[tuple[str, Any]]) -> tuple[str, Any]:
    """A struct of some values."""
    return f"({','.join(kind for kind, _ in parts)})", tuple(value for _, value in parts)


structs = st.lists(st.recursive(leaves, lambda below: st.lists(below, min_size=1, max_size=3).map(together))).map(
    together
)


@given(st.lists(leaves, min_size=1))
def test_words_are_packed_as_by_eth_abi(parts: list[tuple[str, Any]]) -> None:
    kinds, values = [kind for kind, _ in parts], [value for _, value in parts]
    assert packed(",".join(kinds), *values) == encode(kinds, values)


@given(structs, st.binary(max_size=40))
def test_words_are_read_as_by_eth_abi(struct: tuple[str, Any], more: bytes) -> None:
    kind, value = struct
    reader = reader_of(kind)
    assert reader is not None
    data = encode([kind], [value]) if value else b""
    assert read(reader, data + more) == value


@given(structs.filter(lambda struct: bool(struct[1])), st.data())
def test_what_eth_abi_refuses_is_not_read(struct: tuple[str, Any], data: st.DataObject) -> None:
    kind, value = struct
    right = encode([kind], [value])
    place = data.draw(st.integers(0, len(right) - 1))
    wrong = data.draw(st.sampled_from([right[:-1], right[:place] + b"\xff" + right[place + 1 :]]))
    reader = reader_of(kind)
    assert reader is not None
    try:
        expected = decode([kind], wrong)[0]
    except DecodingError:
        with pytest.raises(UnfitError):
            read(reader, wrong)
    else:
        assert read(reader, wrong) == expected


@pytest.mark.parametrize(
    "kind",
    ["string", "bytes", "uint256[]", "uint8[2]", "int8", "bytes4", "(uint8)[]", "(bool,bytes)", "((uint8)[],bool)"],
)
def test_what_is_not_made_of_words_has_no_reader(kind: str) -> None:
    assert reader_of(kind) is None


@pytest.mark.parametrize(
    ("kind", "value"),
    [("uint8", 256), ("uint8", -1), ("bool", 256), ("bytes32", b"short"), ("address", "0x00"), ("uint8,uint8", 1)],
)
def test_a_value_that_does_not_fit_is_not_packed(kind: str, value: Any) -> None:
    with pytest.raises((OverflowError, ValueError)):
        packed(kind, value)
