"""A chain without blocks: the contracts run on revm, some fifty times as fast as on py-evm.

Accounts do not sign here, and gas is less than on a real chain, because slots stay warm from call to call. What calls
do is the same: test_machines.py holds it to that.
"""

import re
from typing import Any

import pyrevm
from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address

from fbfl.errors import ContractRevertError
from tests.contracts.abi import (
    BLOCK_GAS,
    GAS,
    START,
    WEALTH,
    Account,
    Receipt,
    decode_event,
    make_accounts,
    revert_error,
)


class Revm:
    """`Chain` on revm."""

    def __init__(self, accounts: int) -> None:
        self.accounts = make_accounts(accounts)
        self.chain_id = 131277322940537
        config = pyrevm.CfgEnv(chain_id=self.chain_id)
        self._evm = pyrevm.EVM(env=pyrevm.Env(cfg=config), spec_id="LONDON")
        self.block_number, self.now = 0, START + 1
        self.last_time = START
        for account in self.accounts:
            self._evm.set_balance(account.address, WEALTH)
        self._enter()

    def block_hash(self, number: int) -> bytes:
        return keccak(str(number).encode())  # revm makes them up so where there are no blocks

    def travel(self, seconds: int) -> None:
        self.now += seconds
        self._enter()

    def mine(self, blocks: int = 1) -> None:
        self.block_number += blocks
        self.last_time = self.now + blocks - 1
        self.now += blocks
        self._enter()

    def snapshot(self) -> Any:
        return self._evm.snapshot(), self.block_number, self.now, self.last_time

    def revert(self, snapshot: Any) -> None:
        checkpoint, self.block_number, self.now, self.last_time = snapshot
        self._evm.revert(checkpoint)
        self._enter()

    def balance(self, address: str) -> int:
        return int(self._evm.get_balance(address))

    def transact(self, sender: Account, to: str, data: bytes, value: int = 0, gas: int = GAS) -> Receipt:
        try:
            if to:
                self._evm.message_call(sender.address, to, data, value, gas)
                created = None
            else:
                created = to_checksum_address(self._evm.deploy(sender.address, data, value, gas))
        except RuntimeError as failure:
            self.mine()
            raise _refusal(failure) from None
        result = self._evm.result
        assert result is not None
        self.mine()
        return Receipt(result.gas_used, [decode_event(log.address, *log.data) for log in result.logs], created)

    def read(self, to: str, data: bytes) -> bytes:
        checkpoint = self._evm.snapshot()
        try:
            return bytes(self._evm.message_call(self.accounts[0].address, to, data, 0, BLOCK_GAS))
        except RuntimeError as failure:
            raise _refusal(failure) from None
        finally:
            self._evm.revert(checkpoint)

    def _enter(self) -> None:
        block = pyrevm.BlockEnv(
            number=self.block_number + 1, timestamp=self.now, basefee=0, gas_limit=BLOCK_GAS, prevrandao=bytes(32)
        )
        self._evm.set_block_env(block)


def _refusal(failure: RuntimeError) -> ContractRevertError:
    output = re.search(r"Revert .*output: 0x([0-9a-f]*)", str(failure))
    if output is None:
        return ContractRevertError("", {"halted": str(failure)[:200]})
    return revert_error(bytes.fromhex(output[1]))
