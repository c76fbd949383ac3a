from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.abi import function_signature_to_4byte_selector as selector
from hypothesis import given
from hypothesis import strategies as st
from web3 import Web3
from web3.contract import Contract
from web3.exceptions import ContractLogicError, Web3RPCError

from fbfl.chain.reverts import ABI, decode_revert, decoded_reverts, revert_data
from fbfl.errors import ContractRevertError

NESTED: ABI = [
    {
        "type": "error",
        "name": "Refused",
        "inputs": [
            {"name": "by", "type": "address"},
            {"name": "digests", "type": "bytes32[]"},
            {
                "name": "range",
                "type": "tuple",
                "components": [{"name": "low", "type": "uint8"}, {"name": "high", "type": "uint8"}],
            },
            {"name": "", "type": "bool"},
        ],
    }
]


@pytest.mark.parametrize(
    ("function", "arguments", "error", "values"),
    [
        ("enter", [3], "TooSmall", {"value": 3, "minimum": 5}),
        ("close", [], "Closed", {}),
        ("explain", [], "Error", {"message": "because"}),
        ("divide", [0], "Panic", {"code": 0x12, "meaning": "division by zero"}),
        ("fallSilent", [], "Silent", {}),
    ],
)
def test_every_kind_of_refusal_is_named_with_its_values(
    ledger: Contract, function: str, arguments: list[int], error: str, values: dict[str, Any]
) -> None:
    with pytest.raises(ContractRevertError) as caught, decoded_reverts(ledger.abi):
        ledger.functions[function](*arguments).call()
    assert (caught.value.error, caught.value.values) == (error, values)


def test_the_text_is_one_line_with_name_and_values(ledger: Contract) -> None:
    with pytest.raises(ContractRevertError, match=r"^TooSmall\(value=3, minimum=5\)$"), decoded_reverts(ledger.abi):
        ledger.functions.enter(3).call()


def test_values_are_readable_whatever_their_type() -> None:
    signature = "Refused(address,bytes32[],(uint8,uint8),bool)"
    arguments = encode(
        ["address", "bytes32[]", "(uint8,uint8)", "bool"], ["0x" + "ab" * 20, [b"\1" * 32], (1, 2), True]
    )
    assert decode_revert(selector(signature) + arguments, NESTED).values == {
        "by": Web3.to_checksum_address("0x" + "ab" * 20),
        "digests": ["0x" + "01" * 32],
        "range": [1, 2],
        "3": True,
    }


def test_an_error_of_openzeppelin_inside_our_contracts_is_known(ledger: Contract) -> None:
    stranger = Web3.to_checksum_address("0x" + "cd" * 20)
    with pytest.raises(ContractRevertError) as caught, decoded_reverts(ledger.abi):
        ledger.functions.close().call({"from": stranger})
    assert caught.value.error == "OwnableUnauthorizedAccount"
    assert caught.value.values == {"account": stranger}


@given(data=st.binary(max_size=100))
def test_no_data_crashes_the_decoder(data: bytes) -> None:
    assert decode_revert(data, NESTED).error in ("Silent", "Unknown")
    assert decode_revert(selector("Refused(address,bytes32[],(uint8,uint8),bool)") + data, NESTED).error == "Unknown"


@pytest.mark.parametrize("text", [(2**255).to_bytes(32), (1).to_bytes(32) + b"\xff".ljust(32, b"\0")])
def test_a_refusal_whose_text_is_none_is_unknown(text: bytes) -> None:
    data = selector("Error(string)") + (32).to_bytes(32) + text
    assert decode_revert(data).error == "Unknown"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("0x1234", b"\x12\x34"),
        ("Reverted 0x1234", b"\x12\x34"),
        ({"hash": "0x00", "result": "0x1234", "reason": None}, b"\x12\x34"),
        ({"data": "0x1234"}, b"\x12\x34"),
        ("0x", b""),
        (None, None),
        ("no hex", None),
        ({}, None),
    ],
)
def test_the_data_is_found_where_each_node_puts_it(data: Any, expected: bytes | None) -> None:
    assert revert_data(ContractLogicError("execution reverted", data=data)) == expected


def test_the_data_is_found_where_web3_sees_no_revert() -> None:
    error = {"code": -32000, "message": "VM Exception while processing transaction: revert", "data": "0x1234"}
    response: Any = {"id": 1, "jsonrpc": "2.0", "error": error}
    assert revert_data(Web3RPCError("", rpc_response=response)) == b"\x12\x34"
    error["message"] = "no such method"
    assert revert_data(Web3RPCError("", rpc_response=response)) is None
    with pytest.raises(Web3RPCError), decoded_reverts():
        raise Web3RPCError("", rpc_response=response)


def test_a_node_that_says_nothing_is_quoted() -> None:
    with pytest.raises(ContractRevertError, match=r"Unknown\(message=some text\)"), decoded_reverts():
        raise ContractLogicError("some text", data=None)
