"""Solving `PowPuzzle`: the nonce that entitles a server to propose."""

from dataclasses import dataclass
from typing import cast

import ethash
from eth_abi import encode  # type: ignore[attr-defined]  # exported at run time


@dataclass(frozen=True)
class Puzzle:
    """One server's puzzle in one view: find a nonce whose hash, as a number, is below the target."""

    chain_id: int
    contract: str
    task: int
    round: int
    view: int
    accumulator: bytes
    solver: str
    target: int

    @property
    def prefix(self) -> bytes:
        """The hashed words before the nonce."""
        types = ["uint256", "address", "uint256", "uint32", "uint16", "bytes32", "address"]
        return encode(
            types, (self.chain_id, self.contract, self.task, self.round, self.view, self.accumulator, self.solver)
        )


def search(puzzle: Puzzle, start: int, count: int) -> int | None:
    """The first solution among the `count` nonces from `start` on, or None."""
    prefix = puzzle.prefix
    limit = puzzle.target.to_bytes(32, "big")
    for nonce in range(start, start + count):
        if cast(bytes, ethash.keccak_256(prefix + nonce.to_bytes(32, "big"))) < limit:
            return nonce
    return None
