"""Contract calls as bytes, and answers as values, by codecs that are made once; web3 makes them anew for each call."""

import copy
import functools
from collections.abc import Mapping
from typing import Any, cast

from eth_abi.decoding import ContextFramesBytesIO
from eth_abi.exceptions import DecodingError, EncodingError
from eth_abi.registry import registry
from eth_typing import ABIComponent
from eth_utils.abi import collapse_if_tuple, function_signature_to_4byte_selector
from web3.contract.contract import ContractFunction

from fbfl.chain import words
from fbfl.chain.keys import checksummed

UNDECODED = (DecodingError, OverflowError, UnicodeDecodeError)
"""Errors of eth-abi for bytes that are not what the types say; the last two for a length of 2**63 or more, and for a
text that is not UTF-8."""


class Functions:
    """The functions of a contract, each looked up in its ABI once: web3 tries all of them for each call."""

    def __init__(self, functions: Any) -> None:
        self._functions = functions
        self._found: dict[tuple[str, int], ContractFunction] = {}

    def __getattr__(self, name: str) -> Any:
        return functools.partial(self._call, name)

    def _call(self, name: str, *arguments: Any) -> ContractFunction:
        key = name, len(arguments)
        if key not in self._found:
            self._found[key] = self._functions[name](*arguments)
        call = copy.copy(self._found[key])
        call.args = call.arguments = arguments
        return call


def data_of(call: ContractFunction) -> bytes:
    """Return the data of a call; arguments that do not fit raise what web3 raises for them."""
    signature = str(call.abi_element_identifier)
    _, parenthesis, types = signature.partition("(")
    if parenthesis:
        try:
            return _selector(signature) + (
                _encoder(parenthesis + types)(tuple(call.arguments)) if call.arguments else b""
            )
        except (EncodingError, TypeError):
            pass  # a struct as a mapping, for example
    return bytes.fromhex(cast(str, call._encode_transaction_data()).removeprefix("0x"))


def values_of(outputs: tuple[ABIComponent, ...], answer: bytes) -> tuple[Any, ...]:
    """Return the values of an answer, addresses with their checksum; one that does not fit raises `DecodingError`."""
    kinds = tuple(collapse_if_tuple(cast(dict[str, Any], each)) for each in outputs)
    types = f"({','.join(kinds)})"
    found = words.values(types, answer, lambda: _decoder(types)(ContextFramesBytesIO(answer)))  # type: ignore[no-untyped-call]
    return tuple(_readable(each, value) for each, value in zip(outputs, found, strict=True))


def _readable(component: Mapping[str, Any], value: Any) -> Any:
    kind = component["type"]
    if kind.endswith("]"):
        inner = {**component, "type": kind[: kind.rindex("[")]}
        return [_readable(inner, each) for each in value]
    if kind == "tuple":
        return tuple(_readable(each, part) for each, part in zip(component["components"], value, strict=True))
    return checksummed(value) if kind == "address" else value


@functools.lru_cache(maxsize=256)
def _selector(signature: str) -> bytes:
    return function_signature_to_4byte_selector(signature)


@functools.lru_cache(maxsize=256)
def _encoder(types: str) -> Any:
    return registry.get_encoder(types)


@functools.lru_cache(maxsize=256)
def _decoder(types: str) -> Any:
    return registry.get_decoder(types)
