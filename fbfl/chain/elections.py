"""Elections of leaders: for each consensus, the proof that lets a server propose, or None if it is not its turn."""

from collections.abc import Callable
from functools import partial

from eth_abi import encode  # type: ignore[attr-defined]  # exported at run time

from fbfl.chain.answers import answer
from fbfl.chain.headers import header_rlp
from fbfl.chain.ledger import Ledger
from fbfl.chain.pow import Puzzle, Slices
from fbfl.chain.rounds import Phase, Stage, TaskState
from fbfl.chain.task import Task

Election = Callable[[TaskState], bytes | None]
"""One server's part in the election of leaders of one task: the proof that it may propose in the current view; None
while it may not."""


class PuzzleElection:
    """`PowPuzzle`: the first to solve the puzzle, of which each call tries so many nonces."""

    def __init__(self, ledger: Ledger, task: Task, server: str, nonces_per_call: int = 256) -> None:
        self._ledger = ledger
        self._task = task
        self._server = server
        self._puzzle: Puzzle | None = None
        self.slices = Slices(nonces_per_call)
        self.attempt: Callable[[Puzzle], int | None] = self.slices.attempt
        """Goes on with a puzzle for a while, and returns its solution, if there is one by now."""

    def __call__(self, state: TaskState) -> bytes | None:
        """Return the ABI-encoded nonce, once it is found."""
        nonce = self.attempt(self._current(state))
        return None if nonce is None else encode(["uint256"], [nonce])

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


def _in_turn(server: str, state: TaskState) -> bytes | None:
    """`PbftCommittee`: the members take turns; the address of the one whose turn it is proves enough."""
    return b"" if state.decision.leader == server else None


def _mined(ledger: Ledger, task: Task, server: str, state: TaskState) -> bytes | None:
    """`EthashElection`: the electing block's header, once confirmed, if its miner is this server or no member."""
    electing, from_block = electing_blocks(ledger, task.id, state.decision.view)
    next_block = ledger.w3.eth.block_number + 1
    if next_block < from_block:
        return None
    if next_block > electing + PROOF_WINDOW:
        return b""
    block = ledger.w3.eth.get_block(electing)
    miner = block["miner"]
    elected = miner in ledger.seats(task.id, state.round) and not is_barred(ledger, task.id, state.round, miner)
    return None if elected and miner != server else header_rlp(block)


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
        return partial(_mined, ledger, task, server)
    return partial(_in_turn, server)
