"""A chain of real blocks: eth-tester's py-evm backend, a signed transaction in each.

Going to py-evm without web3 in between is four times as fast, and gives the revert data of the very transaction that
failed. It is for what only real blocks have: headers, their hashes, who mined them, and exact gas.
"""

from typing import Any

from eth_hash.auto import keccak
from eth_tester.backends.pyevm.main import PyEVMBackend, generate_genesis_state_for_keys
from eth_utils.address import to_checksum_address

from tests.contracts.abi import (
    BLOCK_GAS,
    GAS,
    START,
    WEALTH,
    Account,
    Chain,
    Receipt,
    decode_event,
    make_accounts,
    revert_error,
)


def in_blocks(chain: Chain) -> "BlockChain":
    """Return the chain of a test that is marked `blocks`."""
    assert isinstance(chain, BlockChain)
    return chain


class BlockChain(PyEVMBackend):  # type: ignore[misc]  # eth-tester has no types
    """`Chain` with blocks."""

    def __init__(self, accounts: int) -> None:
        self.accounts = make_accounts(accounts)
        self.miner = bytes(20)
        self._answers: dict[tuple[bytes, int, str, bytes], bytes] = {}
        keys = tuple(account.key for account in self.accounts)
        super().__init__(
            genesis_parameters=self.generate_genesis_params({"gas_limit": BLOCK_GAS, "timestamp": START}),
            genesis_state=generate_genesis_state_for_keys(keys, overrides={"balance": WEALTH}),
        )
        self.account_keys = keys
        self.chain_id: int = self.chain.chain_id
        self._prepare()

    @property
    def head(self) -> Any:
        return self.chain.get_canonical_head()

    @property
    def now(self) -> int:
        return int(self.chain.header.timestamp)

    @property
    def last_time(self) -> int:
        return int(self.head.timestamp)

    @property
    def block_number(self) -> int:
        return int(self.head.block_number)

    def block_hash(self, number: int) -> bytes:
        return bytes(self.chain.get_canonical_block_header_by_number(number).hash)

    def travel(self, seconds: int) -> None:
        self.chain.header = self.chain.header.copy(timestamp=self.now + seconds)

    def mine(self, blocks: int = 1) -> None:
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
        """Set the miner from the next block on."""
        self.miner = account.raw
        self._prepare()

    def snapshot(self) -> Any:
        return self.head, self.miner, self.now

    def revert(self, snapshot: Any) -> None:
        header, self.miner, coming = snapshot
        self.chain.chaindb._set_as_canonical_chain_head(self.chain.chaindb.db, header, b"")
        self._prepare()
        self.travel(coming - self.now)

    def balance(self, address: str) -> int:
        return int(self.chain.get_vm().state.get_balance(bytes.fromhex(address[2:])))

    def transact(self, sender: Account, to: str, data: bytes, value: int = 0, gas: int = GAS) -> Receipt:
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
        events = [
            decode_event(log.address, [topic.to_bytes(32, "big") for topic in log.topics], log.data)
            for log in receipt.logs
        ]
        created = None if to else to_checksum_address(computation.msg.storage_address)
        return Receipt(int(spent), events, created)

    def read(self, to: str, data: bytes) -> bytes:
        # The answer holds while the head and the time stay.
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
            timestamp=parent.timestamp + 1, coinbase=self.miner, mix_hash=keccak(parent.hash), gas_limit=BLOCK_GAS
        )
