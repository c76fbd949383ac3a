"""Contracts' refusals in words: one decoder for the custom errors of all contracts on all networks."""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

from eth_abi.abi import decode
from eth_typing import ABIError
from eth_utils.abi import abi_to_signature, collapse_if_tuple, function_signature_to_4byte_selector
from web3 import Web3
from web3.exceptions import ContractLogicError, Web3RPCError

from fbfl.chain.artifacts import artifact_names, load_artifact
from fbfl.chain.calls import UNDECODED
from fbfl.errors import ContractRevertError

ABI = Sequence[Mapping[str, Any]]

BUILT_IN: ABI = [
    {"type": "error", "name": "Error", "inputs": [{"name": "message", "type": "string"}]},
    {"type": "error", "name": "Panic", "inputs": [{"name": "code", "type": "uint256"}]},
]
PANICS = {
    0x01: "assertion failed",
    0x11: "arithmetic overflow",
    0x12: "division by zero",
    0x21: "value outside of an enum",
    0x31: "pop from an empty array",
    0x32: "index out of bounds",
    0x41: "out of memory",
}

NOTHING_NEW = frozenset({"TasksNothingNew", "ConsensusNothingNew"})
"""Refusals of what is recorded already: somebody else was first."""


def decode_revert(data: bytes, abi: ABI = ()) -> ContractRevertError:
    """Return the error in revert data, looked up in `abi`, then in all compiled contracts, then in Solidity's own.

    Data that no error explains gives `Unknown` with the data in hex, no data gives `Silent`.
    """
    if not data:
        return ContractRevertError("Silent", {})
    error = _by_selector(abi).get(data[:4]) or _known_errors().get(data[:4])
    if error is None:
        return ContractRevertError("Unknown", {"data": _readable(data)})
    inputs = error.get("inputs", [])
    try:
        decoded = decode([collapse_if_tuple(cast(Any, parameter)) for parameter in inputs], data[4:])
    except UNDECODED:
        return ContractRevertError("Unknown", {"data": _readable(data)})
    values = {
        parameter.get("name") or str(position): _readable(value, parameter["type"])
        for position, (parameter, value) in enumerate(zip(inputs, decoded, strict=True))
    }
    if error["name"] == "Panic":
        values["meaning"] = PANICS.get(decoded[0], "unknown")
    return ContractRevertError(error["name"], values)


@contextmanager
def decoded_reverts(abi: ABI = ()) -> Iterator[None]:
    """Turn reverts of calls and transactions inside, as the node reports them, into `ContractRevertError`."""
    try:
        yield
    except (ContractLogicError, Web3RPCError) as error:
        data = revert_data(error)
        if data is None:
            if isinstance(error, Web3RPCError):
                raise
            raise ContractRevertError("Unknown", {"message": error.message or str(error)}) from error
        raise decode_revert(data, abi) from error


def revert_data(error: ContractLogicError | Web3RPCError) -> bytes | None:
    """Return the bytes that a contract reverted with, wherever this node put them; None if it did not say.

    geth and Anvil send hex, OpenEthereum's family "Reverted 0x...", Ganache hex or an object with a `result`, in an
    error that web3 does not always take for a revert.
    """
    if isinstance(error, Web3RPCError):
        answer: Any = (error.rpc_response or {}).get("error") or {}
        data = answer.get("data") if "revert" in str(answer.get("message")) else None
    else:
        data = error.data
    if isinstance(data, dict):
        data = data.get("result") or data.get("data")
    if not isinstance(data, str):
        return None
    try:
        return bytes.fromhex(data.removeprefix("Reverted ").removeprefix("0x"))
    except ValueError:
        return None


@functools.cache
def _known_errors() -> dict[bytes, Mapping[str, Any]]:
    entries = [entry for name in artifact_names() for entry in load_artifact(name).abi]
    return _by_selector([*entries, *BUILT_IN])


def _by_selector(abi: Iterable[Mapping[str, Any]]) -> dict[bytes, Mapping[str, Any]]:
    errors = [entry for entry in abi if entry["type"] == "error"]
    return {function_signature_to_4byte_selector(abi_to_signature(cast(ABIError, entry))): entry for entry in errors}


def _readable(value: Any, kind: str = "bytes") -> Any:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, tuple | list):
        return [_readable(item, kind.removesuffix("[]")) for item in value]
    return Web3.to_checksum_address(value) if kind == "address" else value
