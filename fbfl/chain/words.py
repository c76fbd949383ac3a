"""The contract ABI of values that are a word of 32 bytes each, which is most of what a round encodes and decodes.

eth-abi makes codecs of the types anew for each call, and looks through each value several times.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

Reader = Callable[[Iterator[bytes]], Any]
"""Takes as many words as a value has, and returns it as eth-abi does; `UnfitError` if they hold none."""


class UnfitError(Exception):
    """Bytes are not what the types say: eth-abi finds the words for it."""


def packed(kinds: str, *values: int | bytes | str) -> bytes:
    """Return values as words; their types are separated by commas. A value that does not fit raises an error."""
    return b"".join([word(size, value) for size, value in zip(_sizes(kinds), values, strict=True)])


def word(size: int, value: int | bytes | str) -> bytes:
    """Return a number, bytes or an address (as hexadecimal digits) of this size as a word."""
    if isinstance(value, str):
        value = bytes.fromhex(value[2:])
    if not isinstance(value, bytes):
        return int(value).to_bytes(size, "big").rjust(32, b"\0")
    if len(value) != size:
        raise ValueError(f"{len(value)} bytes; allowed: {size}")
    return value.rjust(32, b"\0")


@functools.cache
def reader_of(kind: str) -> Reader | None:
    """Return what reads a type, for example `(uint32,address)`; None if a part of it is not one word."""
    if not (kind.startswith("(") and kind.endswith(")")):
        return _number_below(8 * _size(kind)) if kind.startswith("uint") and kind[4:].isdigit() else _READERS.get(kind)
    parts = [reader_of(part) for part in _parts(kind[1:-1])]
    readers = [part for part in parts if part is not None]
    return (lambda words: tuple([read(words) for read in readers])) if len(readers) == len(parts) else None


def read(reader: Reader, data: bytes) -> Any:
    """Return the value at the beginning of these bytes; `UnfitError` if there is none."""
    data = bytes(data)  # also of kinds of bytes that would stay what they are
    try:
        return reader(data[start : start + 32] for start in range(0, len(data) - 31, 32))
    except StopIteration as error:
        raise UnfitError from error


def values(types: str, data: bytes, otherwise: Callable[[], Sequence[Any]]) -> Sequence[Any]:
    """Return the values of types such as `(uint32,address)`; `otherwise` finds them unless all are words."""
    reader = reader_of(types)
    if reader is not None:
        with contextlib.suppress(UnfitError):
            found: Sequence[Any] = read(reader, data)
            return found
    return otherwise()


@functools.cache
def _sizes(kinds: str) -> list[int]:
    return [_size(kind) for kind in kinds.split(",")]


def _size(kind: str) -> int:
    return {"address": 20, "bytes32": 32, "bool": 1}.get(kind) or int(kind.removeprefix("uint")) // 8


def _parts(kinds: str) -> Iterator[str]:
    """Yield the types that commas separate, outside of further parentheses."""
    depth = start = 0
    for place, character in enumerate(kinds):
        depth += (character == "(") - (character == ")")
        if character == "," and not depth:
            yield kinds[start:place]
            start = place + 1
    if kinds:
        yield kinds[start:]


def _number_below(bits: int) -> Reader:
    def number(words: Iterator[bytes]) -> int:
        value = int.from_bytes(next(words), "big")
        if value >> bits:
            raise UnfitError
        return value

    return number


def _flag(words: Iterator[bytes]) -> bool:
    return bool(_number_below(1)(words))


def _address(words: Iterator[bytes]) -> str:
    value = next(words)
    if any(value[:12]):
        raise UnfitError
    return "0x" + value[12:].hex()


_READERS: dict[str, Reader] = {"bool": _flag, "address": _address, "bytes32": next}
