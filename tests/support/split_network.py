"""An ethash network that falls apart and comes together again."""

from collections.abc import Sequence
from typing import Any

from eth.abc import BlockAPI

from fbfl.chain.embedded.ethash import EthashNetwork, NodeChain, synchronize


class SplitNetwork(EthashNetwork):
    """Only nodes of the same group hear each other; all do until it is split."""

    def __init__(self, **options: int) -> None:
        super().__init__(**options)
        self._groups: Sequence[Sequence[int]] = [range(len(self.nodes))]
        self._hearing: Sequence[int] = self._groups[0]

    @property
    def chains(self) -> list[NodeChain]:
        """Those that hear of the block that is mined; all at other times."""
        chains = super().chains
        return [chains[number] for number in self._hearing]

    def mine(self, origin: NodeChain, **params: Any) -> BlockAPI:
        """Mine a block that the group of the node `origin` hears of."""
        with self._lock:
            number = [node.chain for node in self.nodes].index(origin)
            everybody = self._hearing
            self._hearing = next(group for group in self._groups if number in group)
            try:
                return super().mine(origin, **params)
            finally:
                self._hearing = everybody

    def split(self, *groups: Sequence[int]) -> None:
        """Let only the nodes of the same group (by number) hear each other from now on."""
        self._groups = groups

    def heal(self) -> None:
        """Connect all nodes again: each hears the others' blocks and follows the branch with most work."""
        with self._lock:
            self._groups = [range(len(self.nodes))]
            for chain in self.chains:
                for other in self.chains:
                    synchronize(chain, other)
