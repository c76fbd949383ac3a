"""The virtual machine of embedded chains reads transactions as py-evm does, and executes blocks to the same head."""

from typing import Any

import pytest
import rlp
from eth.db.atomic import AtomicDB
from eth.rlp.logs import Log
from eth.rlp.receipts import Receipt
from eth.vm.forks.london import LondonVM
from eth.vm.forks.london.receipts import LondonTypedReceipt
from eth.vm.forks.london.transactions import LondonTransactionBuilder
from eth_account import Account
from eth_typing import BlockNumber
from eth_utils.exceptions import ValidationError
from rlp.exceptions import RLPException

from fbfl.chain import signing
from fbfl.chain.devnet import Devnet
from fbfl.chain.embedded.chain import start_chain
from fbfl.chain.embedded.machine import _packed, decoded
from fbfl.chain.embedded.rules import LondonChain
from fbfl.chain.embedded.seals import SEALS
from fbfl.errors import ContractRevertError

ACCOUNT = Account.from_key(b"\7" * 32)


def signed(data: str = "0x1234") -> bytes:
    """A signed transaction."""
    to = "0x" + "Aa" * 20
    limits = {"nonce": 3, "gas": 90_000, "maxFeePerGas": 10**10, "maxPriorityFeePerGas": 10**9, "chainId": 7}
    transaction: Any = {**limits, "to": to, "value": 5, "data": data}
    return signing.signed(ACCOUNT, transaction)[0]


def with_signature(raw: bytes, *signature: int) -> bytes:
    """The same transaction with another parity, r and s."""
    return raw[:1] + bytes(rlp.encode([*rlp.decode(raw[1:])[:-3], *signature]))


@pytest.mark.parametrize("data", ["0x", "0x05", "0x" + "ab" * 100])
def test_the_sender_is_who_signed(data: str) -> None:
    raw = signed(data)
    parity, r, s = (int.from_bytes(part, "big") for part in rlp.decode(raw[1:])[-3:])
    assert decoded(raw).sender == bytes.fromhex(ACCOUNT.address[2:])
    for other in (raw, with_signature(raw, 1 - parity, r, s), with_signature(raw, parity, r, s // 2)):
        expected = LondonTransactionBuilder.decode(other)
        found = decoded(other)
        assert (found.sender, found.hash, found.encode()) == (expected.sender, expected.hash, expected.encode())


def test_bytes_that_nobody_would_write_are_refused() -> None:
    raw = signed()
    fields = rlp.decode(raw[1:])
    body = raw[3 + (raw[1] - 0xF7) - 1 :]  # behind the length of the list
    for other in (
        raw[:1] + rlp.encode([fields[0], b"\0" + fields[1], *fields[2:]]),  # a zero before the nonce
        raw + b"\0",
        raw[:1] + b"\xf9" + len(body).to_bytes(2, "big") + body,  # a length of more bytes than it needs
        raw[:1] + rlp.encode([*fields, b""]),
    ):
        with pytest.raises(RLPException):
            LondonTransactionBuilder.decode(other)
        with pytest.raises(RLPException):
            decoded(other)


@pytest.mark.parametrize("signature", [(0, 0, 1), (1, 1, 0), (0, 2**256 - 1, 1), (1, 2**256, 1)])
def test_what_nobody_signed_is_refused(signature: tuple[int, int, int]) -> None:
    with pytest.raises(ValidationError, match="the signature of a transaction is none"):
        decoded(with_signature(signed(), *signature))


@pytest.mark.parametrize("kind", [None, 1, 2])
@pytest.mark.parametrize("logs", [[], [(b"\1" * 20, [0, 2**256 - 1], b"data"), (b"\2" * 20, [], b"")]])
def test_receipts_are_packed_alike(kind: int | None, logs: list[Any]) -> None:
    plain = Receipt(b"\1", 21_000, [Log(*log) for log in logs])
    receipt = plain if kind is None else LondonTypedReceipt(kind, plain)
    assert _packed(receipt) == receipt.encode()


class StockVM(LondonVM):
    """London as py-evm has it, on a chain without seals."""

    consensus_class = SEALS["none"]


class StockChain(LondonChain):
    vm_configuration = ((BlockNumber(0), StockVM),)
    consensus = SEALS["none"]


def test_stock_py_evm_executes_the_same_blocks_to_the_same_head() -> None:
    node = start_chain(accounts=5)
    devnet = Devnet.deployed([node])
    owner, *servers = devnet.participants(devnet.accounts(4))
    devnet.register(owner, servers, 10**18)
    with pytest.raises(ContractRevertError):
        servers[0].register("mec://again", 10**18)
    stock: Any = StockChain.from_genesis(AtomicDB(), dict(node.genesis.header), dict(node.genesis.alloc))
    for number in range(1, node.chain.header.block_number):
        stock.import_block(node.chain.get_canonical_block_by_number(BlockNumber(number)))
    assert stock.get_canonical_head().hash == node.head().hash
