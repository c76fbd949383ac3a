"""A chain that the contract tests drive without a web3 layer: eth-tester's py-evm backend, a block per transaction.

Every transaction is signed and mined for real. Going to py-evm directly is four times as fast as web3, and gives the
revert data of the very transaction that failed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from types import SimpleNamespace
from typing import Any

import pytest
from eth_abi import decode, encode
from eth_hash.auto import keccak
from eth_keys.datatypes import PrivateKey
from eth_tester.backends.pyevm.main import PyEVMBackend, generate_genesis_state_for_keys
from eth_utils import abi_to_signature, collapse_if_tuple, to_checksum_address

from fbfl.chain.artifacts import Artifact
from fbfl.errors import ContractRevertError
from tests.contracts.compiled import all_artifacts

GAS = 8_000_000
NOBODY = "0x" + "0" * 40
WEALTH = 10**24


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
    """What a successful transaction did."""

    gas: int
    events: list[Event]
    created: str | None

    def named(self, name: str) -> list[dict[str, Any]]:
        """The arguments of the events of this name."""
        return [event.args for event in self.events if event.name == name]


class Chain(PyEVMBackend):
    """Time passes by a second a block, and by `travel`; never by itself."""

    def __init__(self, accounts: int) -> None:
        keys = tuple(PrivateKey(keccak(b"test account %d" % number)) for number in range(accounts))
        self.accounts = [Account(key) for key in keys]
        self.miner = bytes(20)
        self._answers: dict[tuple[bytes, int, str, bytes], bytes] = {}
        super().__init__(
            genesis_parameters=self.generate_genesis_params({"gas_limit": 60_000_000, "timestamp": 1_700_000_000}),
            genesis_state=generate_genesis_state_for_keys(keys, overrides={"balance": WEALTH}),
        )
        self.account_keys = keys
        self._prepare()

    @property
    def head(self) -> Any:
        return self.chain.get_canonical_head()

    @property
    def now(self) -> int:
        """The time that the next transaction sees."""
        return int(self.chain.header.timestamp)

    def travel(self, seconds: int) -> None:
        """Let time pass before the next block."""
        self.chain.header = self.chain.header.copy(timestamp=self.now + seconds)

    def mine(self, blocks: int = 1) -> None:
        """Add blocks without transactions."""
        self.mine_blocks(blocks)

    def mine_blocks(self, num_blocks: int = 1, coinbase: bytes | None = None) -> tuple[bytes, ...]:
        hashes = []
        for _ in range(num_blocks):
            header = self.chain.header
            self.chain.header = header = header.copy(coinbase=coinbase or header.coinbase)
            hashes.append(self.chain.mine_block(coinbase=header.coinbase, mix_hash=header.mix_hash).hash)
            self._prepare()
        return tuple(hashes)

    def set_miner(self, account: Account) -> None:
        """Who mines from the next block on."""
        self.miner = account.raw
        self._prepare()

    def snapshot(self) -> Any:
        return self.head, self.miner

    def revert(self, snapshot: Any) -> None:
        """Make an earlier block the head again, as a reorganisation does."""
        header, self.miner = snapshot
        self.chain.chaindb._set_as_canonical_chain_head(self.chain.chaindb.db, header, b"")
        self._prepare()

    def balance(self, address: str) -> int:
        return int(self.chain.get_vm().state.get_balance(bytes.fromhex(address[2:])))

    def deploy(self, artifact: Artifact, *arguments: Any, by: Account | None = None) -> "Contract":
        constructor = next((entry for entry in artifact.abi if entry["type"] == "constructor"), {"inputs": []})
        data = artifact.bytecode + encode_arguments(constructor["inputs"], arguments)
        created = self.transact(by or self.accounts[0], "", data, gas=15_000_000).created
        assert created is not None
        return Contract(self, artifact, created)

    def transact(self, sender: Account, to: str, data: bytes, value: int = 0, gas: int = GAS) -> Receipt:
        """Sign, execute and mine one transaction. A refusal raises `ContractRevertError`, mined all the same."""
        unsigned = self.chain.get_transaction_builder().new_unsigned_dynamic_fee_transaction(
            chain_id=self.chain.chain_id,
            nonce=self.chain.get_vm().state.get_nonce(sender.raw),
            max_priority_fee_per_gas=0,
            max_fee_per_gas=10**10,
            gas=gas,
            to=bytes.fromhex(to[2:]),
            value=value,
            data=data,
            access_list=(),
        )
        _, receipt, computation = self.chain.apply_transaction(unsigned.as_signed_transaction(sender.key))
        spent = self.chain.header.gas_used
        self.mine_blocks()
        if computation.is_error:
            raise revert_error(computation.output)
        created = None if to else to_checksum_address(computation.msg.storage_address)
        return Receipt(int(spent), [decode_event(log) for log in receipt.logs], created)

    def read(self, to: str, data: bytes) -> bytes:
        """Call without a transaction, as the next block would. The answer is kept while the head and the time stay."""
        key = (self.head.hash, self.now, to, data)
        if key not in self._answers:
            self._answers[key] = self._execute(to, data)
        return self._answers[key]

    def _execute(self, to: str, data: bytes) -> bytes:
        vm, target = self.chain.get_vm(), bytes.fromhex(to[2:])
        code = vm.state.get_code(target)
        answer = vm.execute_bytecode(bytes(20), 0, 30_000_000, target, bytes(20), 0, data, code)
        if answer.is_error:
            raise revert_error(answer.output)
        return bytes(answer.output)

    def _prepare(self) -> None:
        # The pending header says who mines and when before transactions run, so that contracts see what the block says.
        parent = self.head
        header = self.chain.create_header_from_parent(parent)
        self.chain.header = header.copy(
            timestamp=parent.timestamp + 1, coinbase=self.miner, mix_hash=keccak(parent.hash), gas_limit=60_000_000
        )


class Contract:
    """A deployed contract: views are called, everything else is sent with `by=account` (and `value`, `gas`)."""

    def __init__(self, chain: Chain, artifact: Artifact, address: str) -> None:
        self.chain, self.artifact, self.address = chain, artifact, address
        self._functions = {entry["name"]: entry for entry in artifact.abi if entry["type"] == "function"}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._functions:
            raise AttributeError(f"{self.artifact.name} has no function {name}")
        function = self._functions[name]
        if function["stateMutability"] in ("view", "pure"):
            return lambda *arguments: self._read(function, arguments)

        def send(*arguments: Any, by: Account, **options: int) -> Receipt:
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
    return ContractRevertError(known["name"], dict(zip((part["name"] for part in known["inputs"]), values, strict=True)))


def decode_event(log: Any) -> Event:
    abi = _events()[log.topics[0].to_bytes(32, "big")]
    indexed = [part for part in abi["inputs"] if part["indexed"]]
    plain = [part for part in abi["inputs"] if not part["indexed"]]
    topics = b"".join(topic.to_bytes(32, "big") for topic in log.topics[1:])
    found = dict(zip((part["name"] for part in indexed), decode_values(indexed, topics), strict=True))
    found |= dict(zip((part["name"] for part in plain), decode_values(plain, log.data), strict=True))
    return Event(abi["name"], to_checksum_address(log.address), found)


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
def _errors() -> dict[bytes, dict[str, Any]]:
    panic = {"name": "Panic", "type": "error", "inputs": [{"name": "code", "type": "uint256"}]}
    return {keccak(abi_to_signature(entry).encode())[:4]: entry for entry in [*_entries("error"), panic]}


@cache
def _events() -> dict[bytes, dict[str, Any]]:
    return {keccak(abi_to_signature(entry).encode()): entry for entry in _entries("event")}


def _entries(kind: str) -> list[dict[str, Any]]:
    return [entry for artifact in all_artifacts() for entry in artifact.abi if entry["type"] == kind]
