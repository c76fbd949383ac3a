"""Solving `PowPuzzle`: the nonce that entitles a server to propose."""

from dataclasses import dataclass

from eth_hash.auto import keccak

from fbfl.chain.words import packed


@dataclass(frozen=True)
class Puzzle:
    """One server's puzzle in one view: find a nonce whose hash, as a number, is below the target."""

    chain_id: int
    contract: str
    task: int
    round: int
    view: int
    seed: bytes
    """Hash of the block that closed the submissions."""
    solver: str
    target: int

    @property
    def prefix(self) -> bytes:
        """The hashed words before the nonce."""
        about = self.chain_id, self.contract, self.task, self.round, self.view, self.seed, self.solver
        return packed("uint256,address,uint256,uint32,uint16,bytes32,address", *about)


def search(puzzle: Puzzle, start: int, count: int) -> int | None:
    """Return the first solution among the `count` nonces from `start` on, or None. What all share is hashed once."""
    begun = keccak.new(puzzle.prefix)
    limit = puzzle.target.to_bytes(32, "big")
    for nonce in range(start, start + count):
        hashing = begun.copy()
        hashing.update(nonce.to_bytes(32, "big"))
        if hashing.digest() < limit:
            return nonce
    return None


class Slices:
    """Searches a bounded number of nonces at each call: in one process, servers that take turns have equal chances."""

    def __init__(self, nonces_per_call: int = 256) -> None:
        self._nonces_per_call = nonces_per_call
        self._puzzle: Puzzle | None = None
        self._next_nonce = 0
        self.hashes = 0
        """Hashes tried so far, in all puzzles."""

    def attempt(self, puzzle: Puzzle) -> int | None:
        """Try the next nonces; a solution is returned again and again."""
        if puzzle != self._puzzle:
            self._puzzle, self._next_nonce = puzzle, 0
        nonce = search(puzzle, self._next_nonce, self._nonces_per_call)
        tried = self._nonces_per_call if nonce is None else nonce + 1 - self._next_nonce
        self.hashes += tried
        self._next_nonce = self._next_nonce + tried if nonce is None else nonce
        return nonce
