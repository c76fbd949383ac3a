"""Calls, answers and signed transactions are the bytes that web3 and eth-account make of them."""

from typing import Any

import pytest
from eth_abi.abi import encode
from eth_abi.exceptions import DecodingError
from eth_account import Account
from eth_utils.abi import collapse_if_tuple
from hypothesis import given
from hypothesis import strategies as st
from web3 import EthereumTesterProvider, Web3
from web3._utils.abi import map_abi_data
from web3._utils.normalizers import BASE_RETURN_NORMALIZERS
from web3.exceptions import ABIFunctionNotFound, MismatchedABI, Web3TypeError

from fbfl.chain.accounts import development_account
from fbfl.chain.artifacts import artifact_names, load_artifact
from fbfl.chain.calls import Functions, data_of, values_of
from fbfl.chain.signing import signed

ADDRESS = Web3.to_checksum_address("0x" + "5a" * 20)
FUNCTIONS = [
    (name, each) for name in artifact_names() for each in load_artifact(name).abi if each["type"] == "function"
]


def value_of(component: Any) -> Any:
    """Return some value of a type of the ABI."""
    kind: str = component["type"]
    if kind.endswith("]"):
        inner, _, length = kind[:-1].rpartition("[")
        return [value_of({**component, "type": inner})] * int(length or 2)
    if kind == "tuple":
        return tuple(value_of(each) for each in component["components"])
    if kind.startswith("bytes"):
        return bytes(range(int(kind[5:] or 45)))
    values = {"address": ADDRESS, "bool": True, "string": "größer"}
    return values.get(kind, 200 if kind.startswith(("uint", "int")) else None)


@pytest.fixture(scope="module")
def w3() -> Web3:
    return Web3(EthereumTesterProvider())


def test_calls_and_answers_of_every_contract_are_as_web3_makes_them(w3: Web3) -> None:
    assert len(FUNCTIONS) > 50
    for name, function in FUNCTIONS:
        contract = w3.eth.contract(address=ADDRESS, abi=load_artifact(name).abi)
        call = contract.functions[function["name"]](*map(value_of, function["inputs"]))
        assert "0x" + data_of(call).hex() == call._encode_transaction_data(), (name, function["name"])
        outputs = tuple(function["outputs"])
        kinds = [collapse_if_tuple(each) for each in outputs]
        expected = [value_of(each) for each in outputs]
        answer = encode(kinds, expected)
        assert list(values_of(outputs, answer)) == map_abi_data(BASE_RETURN_NORMALIZERS, kinds, expected)
        if outputs:
            with pytest.raises(DecodingError):
                values_of(outputs, b"")


def test_arguments_that_do_not_fit_are_refused_in_web3s_words(w3: Web3) -> None:
    contract = w3.eth.contract(address=ADDRESS, abi=load_artifact("FederatedTasks").abi)
    call = contract.functions.join(7)
    call.arguments = ("seven",)
    with pytest.raises(Exception) as expected:  # noqa: PT011 - whichever it is
        call._encode_transaction_data()
    with pytest.raises(type(expected.value)):
        data_of(call)


@given(
    st.fixed_dictionaries(
        {
            name: st.integers(0, 2**64 - 1)
            for name in ("chainId", "nonce", "maxPriorityFeePerGas", "maxFeePerGas", "gas", "value")
        }
    ),
    st.binary(max_size=200),
    st.integers(0, 20),
)
def test_transactions_are_signed_as_eth_account_signs_them(numbers: dict[str, int], data: bytes, key: int) -> None:
    account = development_account(key)
    transaction: Any = {**numbers, "from": account.address, "to": ADDRESS, "data": "0x" + data.hex()}
    expected = Account.sign_transaction({k: v for k, v in transaction.items() if k != "from"}, account.key)
    assert signed(account, transaction) == (bytes(expected.raw_transaction), bytes(expected.hash))


def test_a_function_is_looked_up_once_and_called_as_by_web3() -> None:
    contract = Web3().eth.contract(ADDRESS, abi=load_artifact("FederatedTasks").abi)
    functions = Functions(contract.functions)
    for arguments in ((1, 2, b"\1" * 32, 3, 4), (5, 6, b"\2" * 32, 7, 8)):
        expected, call = contract.functions.submit(*arguments), functions.submit(*arguments)
        assert data_of(call) == data_of(expected)
        assert (call.address, call.abi, call.arguments) == (expected.address, expected.abi, expected.arguments)
    with pytest.raises(MismatchedABI):
        functions.submit(1)
    with pytest.raises(ABIFunctionNotFound):
        functions.nothing()
    with pytest.raises(Web3TypeError):
        data_of(functions.submit(1, 2, b"\1" * 33, 3, 4))
