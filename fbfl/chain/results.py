"""Results of a node by JSON-RPC method: what is read of them, and the form that each part must have.

web3 fails on another form in as many ways as there are forms, some of them far from where it was read. It is given
only what is named here, so that it does not fail on what nobody asks for either.
"""

import re
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

Form = Callable[[Any], Any]
"""Returns what is read of a value in JSON; `UnfitError` if it has another form."""


class UnfitError(Exception):
    """A value has another form than asked for; the message names it, and where it is."""


class _NamedError(UnfitError):
    """It has the name of an entry."""


def result_of(method: str, result: Any) -> Any:
    """Return what is read of a result; `UnfitError` if it has not the form that its method asks for."""
    return _FORMS[method](result) if method in _FORMS else result


def _text(pattern: str) -> Form:
    fits = re.compile(pattern).fullmatch

    def form(value: Any) -> Any:
        if not (isinstance(value, str) and fits(value)):
            raise UnfitError(reprlib.repr(value))
        return value

    return form


def _number(bits: int) -> Form:
    return _text(f"0x[0-9a-fA-F]{{1,{bits // 4}}}")


def _bytes(least: int = 0, most: int | None = None) -> Form:
    # Possessive: none of it has to go back, for which much memory would be kept.
    return _text(f"0x(?:[0-9a-fA-F]{{2}}){{{least},{'' if most is None else most}}}+")


def _list(entry: Form) -> Form:
    def form(value: Any) -> Any:
        if not isinstance(value, list):
            raise UnfitError(reprlib.repr(value))
        return [entry(each) for each in value]

    return form


def _or_null(other: Form) -> Form:
    return lambda value: None if value is None else other(value)


def _entries(needed: Mapping[str, Form], others: Mapping[str, Form] | None = None) -> Form:
    def form(value: Any) -> Any:
        if not isinstance(value, dict):
            raise UnfitError(reprlib.repr(value))
        there = {name: each for name, each in (others or {}).items() if value.get(name) is not None}
        return {name: _entry(value, name, each) for name, each in {**needed, **there}.items()}

    return form


def _entry(value: dict[str, Any], name: str, form: Form) -> Any:
    try:
        return form(value.get(name))
    except _NamedError:
        raise
    except UnfitError as error:
        raise _NamedError(f"{error} as {name}" if name in value else f"without {name}") from error


_SMALL, _LARGE = _number(64), _number(256)
_DATA, _HASH, _ADDRESS = _bytes(), _bytes(32, 32), _bytes(20, 20)

_LOG = _entries(
    {
        "address": _ADDRESS,
        "topics": _list(_HASH),
        "data": _DATA,
        "blockNumber": _SMALL,
        "blockHash": _HASH,
        "transactionHash": _HASH,
        "logIndex": _SMALL,
    }
)

_BLOCK = _or_null(
    _entries(
        {"number": _SMALL, "hash": _HASH, "timestamp": _SMALL},
        # The parts of a header: chains differ in which they have.
        {
            **dict.fromkeys(("parentHash", "sha3Uncles", "stateRoot", "transactionsRoot", "receiptsRoot"), _HASH),
            **dict.fromkeys(("mixHash", "withdrawalsRoot", "parentBeaconBlockRoot", "requestsHash"), _HASH),
            **dict.fromkeys(("gasLimit", "gasUsed", "blobGasUsed", "excessBlobGas"), _SMALL),
            **dict.fromkeys(("difficulty", "baseFeePerGas"), _LARGE),
            "miner": _ADDRESS,
            "logsBloom": _bytes(0, 256),
            "extraData": _DATA,
            "nonce": _bytes(0, 8),
        },
    )
)

_TRANSACTION = _or_null(_entries({"hash": _HASH, "input": _DATA}, {"to": _ADDRESS}))

_RECEIPT = _or_null(
    _entries(
        {
            "transactionHash": _HASH,
            "blockNumber": _or_null(_SMALL),
            "blockHash": _or_null(_HASH),
            "status": _SMALL,
            "gasUsed": _SMALL,
            "logs": _list(_LOG),
        },
        {"contractAddress": _ADDRESS},
    )
)

_FORMS: Mapping[str, Form] = {
    **dict.fromkeys(("eth_blockNumber", "eth_chainId", "eth_getTransactionCount"), _SMALL),
    **dict.fromkeys(("eth_estimateGas", "eth_gasPrice", "eth_getBalance"), _LARGE),
    **dict.fromkeys(("eth_call", "eth_getCode"), _DATA),
    **dict.fromkeys(("eth_sendRawTransaction", "eth_sendTransaction"), _HASH),
    **dict.fromkeys(("eth_getBlockByHash", "eth_getBlockByNumber"), _BLOCK),
    "eth_accounts": _list(_ADDRESS),
    "eth_getLogs": _list(_LOG),
    "eth_getTransactionByHash": _TRANSACTION,
    "eth_getTransactionReceipt": _RECEIPT,
}
