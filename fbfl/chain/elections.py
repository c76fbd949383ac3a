"""Elections of leaders: for each consensus, the proof that lets a server propose, or None if it is not its turn."""

from typing import Protocol

from eth_abi import encode  # type: ignore[attr-defined]  # exported at run time

from fbfl.chain.answers import answer
from fbfl.chain.headers import header_rlp
from fbfl.chain.ledger import Ledger
from fbfl.chain.pow import Puzzle, Slices
from fbfl.chain.rounds import Phase, Stage, TaskState
from fbfl.chain.task import Task


class Election(Protocol):
    """One server's part in the election of leaders of one task."""

    def proof(self, state: TaskState) -> bytes | None:
        """Return the proof that the server may propose in the current view; None while it may not."""

    def stand_down(self) -> None:
        """Stop whatever still runs here: somebody has proposed."""


class Solver(Protocol):
    """Searches for the solution of one puzzle at a time; see `fbfl.chain.pow`."""

    hashes: int
    """Tried so far, in all puzzles."""

    def attempt(self, puzzle: Puzzle) -> int | None:
        """Go on with this puzzle for a while; its solution, if there is one by now."""

    def stop(self) -> None:
        """Give the current puzzle up."""


class PuzzleElection:
    """`PowPuzzle`: the first to solve the puzzle."""

    def __init__(self, ledger: Ledger, task: Task, server: str, solver: Solver | None = None) -> None:
        self._ledger = ledger
        self._task = task
        self._server = server
        self._solver = solver or Slices()
        self._puzzle: Puzzle | None = None

    def proof(self, state: TaskState) -> bytes | None:
        """Return the ABI-encoded nonce, once it is found."""
        nonce = self._solver.attempt(self._current(state))
        return None if nonce is None else encode(["uint256"], [nonce])

    def stand_down(self) -> None:
        """End the search."""
        self._solver.stop()

    def _current(self, state: TaskState) -> Puzzle:
        at, seed = self._puzzle, seed_of_puzzle(self._ledger, self._task.id, state.round)
        if at is None or (at.round, at.view, at.seed) != (state.round, state.decision.view, seed):
            contract = self._ledger.consensus["pow"]
            self._puzzle = at = Puzzle(
                chain_id=self._ledger.chain_id,
                contract=contract.address,
                task=self._task.id,
                round=state.round,
                view=state.decision.view,
                seed=seed,
                solver=self._server,
                target=self._ledger.puzzle_target(self._task.id),
            )
        return at


def seed_of_puzzle(ledger: Ledger, task: int, round_number: int) -> bytes:
    """Return the seed of a round's puzzles: hash of the block that closed the submissions, or renewed the seed."""
    *_, last = ledger.round_events(task, round_number, "SubmissionsClosed", "PuzzleRenewed")
    return last.block_hash


SEED_BLOCKS = 100
"""Blocks after which a puzzle that nobody solved yet needs a `poke`: `blockhash` reaches back 256."""


def seed_waits(ledger: Ledger, task: int, state: TaskState) -> bool:
    """Return True if a `poke` has to store the seed of a round's puzzle before it is out of reach."""
    if state.phase is not Phase.DECIDE or state.decision.stage is not Stage.PROPOSE:
        return False
    if ledger.task(task).consensus != "pow" or state.block <= state.closing_block + SEED_BLOCKS:
        return False
    seed = answer(ledger.consensus["pow"].functions.seedOf(task))
    return not seed.stored and state.block > seed.seedBlock + SEED_BLOCKS


class RotatingElection:
    """`PbftCommittee`: the members take turns."""

    def __init__(self, server: str) -> None:
        self._server = server

    def proof(self, state: TaskState) -> bytes | None:
        """Return an empty proof in the server's turn: its address is enough."""
        return b"" if state.decision.leader == self._server else None

    def stand_down(self) -> None:
        """Do nothing: nothing runs between two calls."""


class MinedElection:
    """`EthashElection`: the member whose node mined the electing block, shown by its header."""

    def __init__(self, ledger: Ledger, task: Task, server: str) -> None:
        self._ledger = ledger
        self._task = task
        self._server = server

    def proof(self, state: TaskState) -> bytes | None:
        """Return the electing block's header, once confirmed, if it elects this server or nobody."""
        electing, from_block = electing_blocks(self._ledger, self._task.id, state.decision.view)
        next_block = self._ledger.w3.eth.block_number + 1
        if next_block < from_block:
            return None
        if next_block > electing + PROOF_WINDOW:
            return b""
        block = self._ledger.w3.eth.get_block(electing)
        miner = block["miner"]
        barred = is_barred(self._ledger, self._task.id, state.round, miner)
        elected = miner in self._ledger.seats(self._task.id, state.round) and not barred
        return None if elected and miner != self._server else header_rlp(block)

    def stand_down(self) -> None:
        """Do nothing: nothing runs between two calls."""


def is_barred(ledger: Ledger, task: int, round_number: int, server: str) -> bool:
    """Return True if a server may propose no more in a round: a proposal of it was rejected, or its turn passed."""
    events = ledger.round_events(task, round_number, "ProposerBarred")
    return any(event.args["proposer"] == server for event in events)


def electing_blocks(ledger: Ledger, task: int, view: int) -> tuple[int, int]:
    """Return the block whose miner may propose in a view of an ethash election, and the first block in which it may."""
    election = answer(ledger.consensus["ethash"].functions.electionOf(task, view))
    return election.electingBlock, election.fromBlock


PROOF_WINDOW = 200
"""`EthashElection.PROOF_WINDOW`: blocks after which a proof is no longer waited for."""


def election_of(ledger: Ledger, task: Task, server: str) -> Election:
    """Return the election of a task as one server takes part in it."""
    if task.consensus == "pow":
        return PuzzleElection(ledger, task, server)
    if task.consensus == "ethash":
        return MinedElection(ledger, task, server)
    return RotatingElection(server)
