"""Answers of contracts, read by the names that their ABI gives, not by places in a tuple."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from eth_abi.exceptions import DecodingError
from eth_typing import ABIComponent, BlockNumber, HexStr
from web3.contract.contract import ContractFunction

from fbfl.chain.calls import data_of, values_of


def answer(call: ContractFunction, block: BlockNumber | None = None) -> Any:
    """Call a function that changes nothing, at a block (default: the newest), and return its answer.

    A struct, or several values, have their names as attributes.
    """
    outputs: Sequence[ABIComponent] = call.abi["outputs"]
    said = call.w3.eth.call({"to": call.address, "data": HexStr("0x" + data_of(call).hex())}, block)
    try:
        values = values_of(tuple(outputs), said)
    except DecodingError:
        values = call.call(block_identifier=block)  # for the words in which web3 refuses it
        return _named(outputs[0], values) if len(outputs) == 1 else _all_named(outputs, values)
    return _named(outputs[0], values[0]) if len(outputs) == 1 else _all_named(outputs, values)


def _all_named(components: Sequence[ABIComponent], values: Sequence[Any]) -> SimpleNamespace:
    return SimpleNamespace(
        **{each["name"]: _named(each, value) for each, value in zip(components, values, strict=True)}
    )


def _named(component: ABIComponent, value: Any) -> Any:
    return _all_named(component["components"], value) if component["type"] == "tuple" else value
