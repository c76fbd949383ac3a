"""Contracts as the tests speak to them: calls, events, errors and structs by name, on either chain of the tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from types import SimpleNamespace
from typing import Any, Protocol

import pytest
from eth_abi.abi import decode, encode
from eth_hash.auto import keccak
from eth_keys.datatypes import PrivateKey
from eth_utils.abi import abi_to_signature, collapse_if_tuple
from eth_utils.address import to_checksum_address

from fbfl.chain.artifacts import Artifact
from fbfl.errors import ContractRevertError
from tests.contracts.compiled import all_artifacts

GAS = 8_000_000
BLOCK_GAS = 60_000_000
NOBODY = "0x" + "0" * 40
WEALTH = 10**24
START = 1_700_000_000


@dataclass(frozen=True)
class Account:
    """Somebody with a key."""

    key: PrivateKey

    @cached_property
    def address(self) -> str:
        return self.key.public_key.to_checksum_address()

    @cached_property
    def raw(self) -> bytes:
        return self.key.public_key.to_canonical_address()


@dataclass(frozen=True)
class Event:
    """A log entry, decoded."""

    name: str
    contract: str
    args: dict[str, Any]


@dataclass(frozen=True)
class Receipt:
    """Effects of a successful transaction."""

    gas: int
    events: list[Event]
    created: str | None

    def named(self, name: str) -> list[dict[str, Any]]:
        """The arguments of the events of this name."""
        return [event.args for event in self.events if event.name == name]


class Chain(Protocol):
    """A chain, as the tests need it. Time passes by a second a block, and by `travel`; never by itself."""

    accounts: list[Account]
    chain_id: int

    @property
    def now(self) -> int:
        """The time that the next transaction sees."""

    @property
    def last_time(self) -> int:
        """The time that the last transaction saw."""

    @property
    def block_number(self) -> int:
        """The number of the last block."""

    def block_hash(self, number: int) -> bytes:
        """Return the hash of an earlier block as contracts see it."""

    def travel(self, seconds: int) -> None:
        """Let time pass before the next block."""

    def mine(self, blocks: int = 1) -> None:
        """Add blocks without transactions."""

    def snapshot(self) -> Any:
        """Return a state to return to; later snapshots do not outlive a return to an earlier one."""

    def revert(self, snapshot: Any) -> None:
        """Return to a snapshot, as a reorganisation does."""

    def balance(self, address: str) -> int:
        """Wei of an account."""

    def transact(self, sender: Account, to: str, data: bytes, value: int = 0, gas: int = GAS) -> Receipt:
        """Execute and mine one transaction. A refusal raises `ContractRevertError`."""

    def read(self, to: str, data: bytes) -> bytes:
        """Call without a transaction, as the next block would."""


def make_accounts(count: int) -> list[Account]:
    return [Account(PrivateKey(keccak(b"test account %d" % number))) for number in range(count)]


def deploy_contract(chain: Chain, artifact: Artifact, *arguments: Any) -> "Contract":
    constructor: Any = next((entry for entry in artifact.abi if entry["type"] == "constructor"), {"inputs": []})
    data = artifact.bytecode + encode_arguments(constructor["inputs"], arguments)
    created = chain.transact(chain.accounts[0], "", data, gas=15_000_000).created
    assert created is not None
    return Contract(chain, artifact, created)


class Contract:
    """A deployed contract: views are called, everything else is sent with `by=account` (and `value`, `gas`)."""

    def __init__(self, chain: Chain, artifact: Artifact, address: str) -> None:
        self.chain, self.artifact, self.address = chain, artifact, address
        self._functions: dict[str, Any] = {
            entry["name"]: entry for entry in artifact.abi if entry["type"] == "function"
        }

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._functions:
            raise AttributeError(f"{self.artifact.name} has no function {name}")
        function = self._functions[name]
        if function["stateMutability"] in ("view", "pure"):
            return lambda *arguments: self._read(function, arguments)

        def send(*arguments: Any, by: Account, **options: Any) -> Receipt:
            return self.chain.transact(by, self.address, self.encode(name, *arguments), **options)

        return send

    def encode(self, name: str, *arguments: Any) -> bytes:
        function = self._functions[name]
        return keccak(abi_to_signature(function).encode())[:4] + encode_arguments(function["inputs"], arguments)

    def _read(self, function: dict[str, Any], arguments: tuple[Any, ...]) -> Any:
        output = self.chain.read(self.address, self.encode(function["name"], *arguments))
        values = decode_values(function["outputs"], output)
        return values[0] if len(values) == 1 else values


@contextmanager
def reverts(error: str, **values: Any) -> Iterator[None]:
    """The call inside must be refused with this custom error and these values, all of them."""
    with pytest.raises(ContractRevertError) as caught:
        yield
    assert (caught.value.error, caught.value.values) == (error, values)


def revert_error(output: bytes) -> ContractRevertError:
    """The error in a call's return data; `name` is empty where a contract gave none (a panic: `Panic`)."""
    known = _errors().get(output[:4])
    if known is None:
        return ContractRevertError("", {"data": output})
    values = decode_values(known["inputs"], output[4:])
    return ContractRevertError(
        known["name"], dict(zip((part["name"] for part in known["inputs"]), values, strict=True))
    )


def decode_event(address: bytes | str, log_topics: list[bytes], data: bytes) -> Event:
    abi = _events()[log_topics[0]]
    indexed = [part for part in abi["inputs"] if part["indexed"]]
    plain = [part for part in abi["inputs"] if not part["indexed"]]
    found = dict(zip((part["name"] for part in indexed), decode_values(indexed, b"".join(log_topics[1:])), strict=True))
    found |= dict(zip((part["name"] for part in plain), decode_values(plain, data), strict=True))
    return Event(abi["name"], to_checksum_address(address), found)


def encode_arguments(inputs: list[dict[str, Any]], arguments: tuple[Any, ...]) -> bytes:
    return encode([collapse_if_tuple(part) for part in inputs], arguments)


def decode_values(parts: list[dict[str, Any]], data: bytes) -> list[Any]:
    values = decode([collapse_if_tuple(part) for part in parts], data)
    return [_named(part, value) for part, value in zip(parts, values, strict=True)]


def _named(part: dict[str, Any], value: Any) -> Any:
    """Structs by their field names, addresses in checksum form."""
    kind = part["type"]
    if kind.endswith("[]"):
        return [_named({**part, "type": kind[:-2]}, element) for element in value]
    if kind == "tuple":
        fields = zip(part["components"], value, strict=True)
        return SimpleNamespace(**{field["name"]: _named(field, element) for field, element in fields})
    return to_checksum_address(value) if kind == "address" else value


@cache
def _errors() -> dict[bytes, Any]:
    panic: Any = {"name": "Panic", "type": "error", "inputs": [{"name": "code", "type": "uint256"}]}
    return {keccak(abi_to_signature(entry).encode())[:4]: entry for entry in [*_entries("error"), panic]}


@cache
def _events() -> dict[bytes, Any]:
    return {keccak(abi_to_signature(entry).encode()): entry for entry in _entries("event")}


def _entries(kind: str) -> list[Any]:
    return [entry for artifact in all_artifacts() for entry in artifact.abi if entry["type"] == kind]
