"""Answers of contracts, read by the names that their ABI gives, not by places in a tuple."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from eth_typing import ABIComponent, BlockNumber
from web3.contract.contract import ContractFunction


def answer(call: ContractFunction, block: BlockNumber | None = None) -> Any:
    """Call a function that changes nothing, at a block (default: the newest), and return its answer.

    A struct, or several values, have their names as attributes.
    """
    outputs: Sequence[ABIComponent] = call.abi["outputs"]
    values = call.call(block_identifier=block)
    return _named(outputs[0], values) if len(outputs) == 1 else _all_named(outputs, values)


def _all_named(components: Sequence[ABIComponent], values: Sequence[Any]) -> SimpleNamespace:
    return SimpleNamespace(
        **{each["name"]: _named(each, value) for each, value in zip(components, values, strict=True)}
    )


def _named(component: ABIComponent, value: Any) -> Any:
    return _all_named(component["components"], value) if component["type"] == "tuple" else value
