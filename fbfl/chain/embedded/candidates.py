"""The block that each of several miners would mine on the same head, of the same transactions, executed once for all.

Blocks that differ in their miner differ in who has the fees and the reward, and in nothing else, as long as no contract
looks. So the transactions are executed for a miner that nobody is, and its earnings moved. Where a contract looks at
the miner or at a balance, or the miner's account is not there yet, a block is executed for its miner alone.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from eth.abc import BlockAPI, SignedTransactionAPI
from eth_typing import Address
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError

from fbfl.chain.embedded.interpreter import TableState
from fbfl.chain.embedded.machine import with_header
from fbfl.chain.embedded.rules import LondonChain

NOBODY = Address(keccak(b"fbfl: the miner that nobody is")[-20:])


class Candidates:
    """The blocks of these transactions on the head of a chain; `params` are header fields."""

    def __init__(
        self, chain: LondonChain, transactions: Sequence[SignedTransactionAPI], params: dict[str, Any]
    ) -> None:
        self.chain = chain
        self._transactions = transactions
        self._params = params

    def block_of(self, miner: Address) -> BlockAPI:
        """Return a miner's block, executed but not sealed; its state is in the chain's database."""
        if self._common is None or not self.chain.get_vm(self.chain.header).state.get_balance(miner):
            return self.chain.build_block(self._transactions, **{**self._params, "coinbase": miner})
        header = self._common.header
        state = self.chain.get_vm(header).state
        earned = state.get_balance(NOBODY)
        state.delete_account(NOBODY)
        state.delta_balance(miner, earned)
        state.persist()
        fields: dict[str, Any] = {"coinbase": miner, "state_root": state.state_root}
        return with_header(self._common, header.copy(**fields))

    @cached_property
    def _common(self) -> BlockAPI | None:
        """The block if nobody mined it; None if it depends on who does."""
        try:
            execution = self.chain.execute(self._transactions, **{**self._params, "coinbase": NOBODY})
        except ValidationError:  # a sender can pay only with what it earns as the miner
            return None
        vm = execution.vm
        assert isinstance(vm.state, TableState)
        return None if vm.state.depends_on_miner else vm.mine_block(execution.block).block
