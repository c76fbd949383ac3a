"""One account's transactions with the contracts: every write is one method, sent and confirmed."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from eth_abi import encode  # type: ignore[attr-defined]  # exported at run time
from eth_hash.auto import keccak
from web3.contract import Contract
from web3.types import TxReceipt

from fbfl.chain.digests import short_text
from fbfl.chain.ledger import Ledger
from fbfl.chain.rounds import Ballot, Stage, TaskState
from fbfl.chain.signatures import SignedUpdate, SignedVote
from fbfl.chain.task import COMMITTEE_RULES, POW_PARAMETERS
from fbfl.chain.transactions import Sender, Sent
from fbfl.errors import InvalidInputError
from fbfl.storage.store import Reference
from fbfl.values.parts import WHOLE

# Gas limits with room to spare; the snapshot in tests/contracts/gas.json has what the calls really use.
_SMALL = 200_000
_MEDIUM = 400_000
_LARGE = 800_000
_PER_SIGNATURE = 15_000

_DELAY = 1  # blocks from the one that closes the submissions to the first electing block


@dataclass(frozen=True)
class CommitteeRules:
    """`CommitteeConsensus.CommitteeRules`: the length of views and the quorum."""

    timeout: int = 600
    """Seconds of the first view; each view lasts twice as long as the one before."""
    timeout_cap: int = 4800
    """Most seconds of a view."""
    max_views: int = 8
    """Views after which the round aborts."""
    byzantine_quorum: bool = False
    """Quorum (2n-1)/3+1; otherwise more than half."""
    rejection_penalty: int = 0
    """Part of its stake, in 1/10,000, that a leader loses if a quorum votes its proposal down."""

    def _tuple(self) -> tuple[int, int, int, int, int]:
        quorum_rule = int(self.byzantine_quorum)
        return (self.timeout, self.timeout_cap, self.max_views, quorum_rule, self.rejection_penalty)


def pow_parameters(rules: CommitteeRules, target: int, solve_time: int) -> bytes:
    """Encode `PowPuzzle.PowParameters`; `solve_time` in seconds, 0 keeps the target."""
    return encode([POW_PARAMETERS], [(rules._tuple(), target, solve_time)])


def pbft_parameters(rules: CommitteeRules) -> bytes:
    """Encode `PbftCommittee`'s parameters."""
    return encode([COMMITTEE_RULES], [rules._tuple()])


def ethash_parameters(rules: CommitteeRules, confirmations: int, spacing: int) -> bytes:
    """Encode `EthashElection.EthashParameters`; all in blocks."""
    return encode([f"({COMMITTEE_RULES},uint16,uint16,uint16)"], [(rules._tuple(), confirmations, spacing, _DELAY)])


@dataclass(frozen=True)
class TaskSettings:
    """`IFederatedTasks.TaskSettings`: what the owner of a task decides."""

    consensus: str
    """Name of the consensus: `pow`, `pbft`, `ethash`, or one that `fbfl deploy --consensus` gave."""
    consensus_params: bytes
    rule: str
    rule_params: bytes
    definition: bytes
    model: Reference
    max_payload: int
    max_samples: int
    min_members: int
    """Members that must sit before the owner can open the first round."""
    max_members: int
    """Most seats."""
    min_updates: int
    max_rounds: int
    submit_window: int = 3600
    commit_window: int = 0
    withheld_penalty: int = 0
    participation: int = WHOLE
    """Part of the members, in 1/10,000, that is drawn for a round to submit."""
    seed: int = 0
    """Seed of these draws."""


class Participant:
    """One account: a MEC server, or the owner of a task.

    Every method waits for the receipt; those of rounds, and those that register and join, do not inside
    `without_waiting`. A refusal raises `ContractRevertError`, a failing node `NodeUnavailableError`.
    """

    _unawaited: list[Sent] | None = None
    _asks_first = False

    def __init__(self, ledger: Ledger, sender: Sender) -> None:
        self.ledger = ledger
        self._sender = sender
        self.address: str = sender.address
        """The account."""

    @contextmanager
    def without_waiting(self) -> Iterator[list[Sent]]:
        """Send what is done inside without waiting; the list holds it afterwards, for `wait`."""
        sent: list[Sent] = []
        before, self._unawaited = self._unawaited, sent
        try:
            yield sent
        finally:
            self._unawaited = before

    @contextmanager
    def asking_first(self) -> Iterator[None]:
        """Ask the node before each transaction inside; what the contracts would refuse is not sent, and not paid."""
        before, self._asks_first = self._asks_first, True
        try:
            yield
        finally:
            self._asks_first = before

    def wait(self, sent: Sent) -> None:
        """Wait until a transaction is mined; raises what the method would have raised that sent it."""
        self._sender.wait(sent)

    # ------------------------------------------------------------ registry and tasks

    def admit(self, server: str) -> None:
        """Put a server on the allow-list."""
        self._act(self.ledger.registry.functions.admit(server, True), _SMALL)

    def register(self, url: str, stake: int = 0) -> None:
        """Join the registry with a stake in wei."""
        self._act(self.ledger.registry.functions.join(url), _SMALL, stake)

    def add_stake(self, amount: int) -> TxReceipt:
        """Add wei to the stake: each seat locks the registry's minimum."""
        return self._send(self.ledger.registry.functions.addStake(), _SMALL, amount)

    def retire(self) -> TxReceipt:
        """Leave the registry; the stake can be withdrawn after the unbonding time, once no seat is held."""
        return self._send(self.ledger.registry.functions.retire(), _SMALL)

    def evict(self, task: int, server: str) -> TxReceipt:
        """Take the seat, and the vote, of a server that is not active in the registry any more."""
        return self._send(self.ledger.tasks.functions.evict(task, server), _SMALL)

    def create_task(self, settings: TaskSettings) -> int:
        """Create a task; returns its number. A consensus that is not deployed raises `InvalidInputError`."""
        deployed = self.ledger.consensus
        if settings.consensus not in deployed:
            raise InvalidInputError(
                f"consensus is {settings.consensus}; deployed on this network: {', '.join(deployed)} "
                "(fbfl deploy --mock-ethash adds ethash where there is no proof of work, and --consensus what others "
                "have deployed)"
            )
        values = (
            deployed[settings.consensus].address,
            short_text(settings.rule),
            settings.rule_params,
            settings.definition,
            settings.model.digest,
            settings.model.size,
            settings.max_payload,
            settings.max_samples,
            settings.min_members,
            settings.max_members,
            settings.min_updates,
            settings.max_rounds,
            settings.commit_window,
            settings.submit_window,
            settings.withheld_penalty,
            settings.consensus_params,
        )
        functions = self.ledger.tasks.functions
        if settings.participation < WHOLE:
            call = functions.createSampledTask(values, settings.participation, settings.seed)
        else:
            call = functions.createTask(values)
        receipt = self._send(call, 2_000_000)
        return int(self._emitted(receipt, "TaskCreated")["task"])

    def end_task(self, task: int) -> TxReceipt:
        """End a task, so that no further round of it opens; one that is under way is the last."""
        return self._send(self.ledger.tasks.functions.endTask(task), _SMALL)

    def join(self, task: int) -> None:
        """Take a seat from the next round on."""
        self._act(self.ledger.tasks.functions.join(task), _MEDIUM)

    def resign(self, task: int) -> TxReceipt:
        """Give the seat up from the next round on."""
        return self._send(self.ledger.tasks.functions.resign(task), _MEDIUM)

    # ------------------------------------------------------------ rounds

    def open_round(self, task: int) -> None:
        """Open the next round."""
        self._act(self.ledger.tasks.functions.openRound(task), _MEDIUM)

    def submit(self, task: int, round_number: int, update: Reference, samples: int) -> None:
        """Record an update."""
        call = self.ledger.tasks.functions.submit(task, round_number, update.digest, update.size, samples)
        self._act(call, _SMALL)

    def commit(self, task: int, round_number: int, commitment: bytes) -> None:
        """Commit to an update."""
        self._act(self.ledger.tasks.functions.commit(task, round_number, commitment), _SMALL)

    def reveal(self, task: int, round_number: int, update: Reference, samples: int, salt: bytes) -> None:
        """Record an update that was committed to."""
        call = self.ledger.tasks.functions.reveal(task, round_number, update.digest, update.size, samples, salt)
        self._act(call, _SMALL)

    def report_missing(self, task: int, round_number: int, server: str, accumulator: bytes) -> None:
        """Report that a server's recorded update cannot be fetched, once.

        Refused with `TasksOtherUpdates` if it is mined on a branch of the chain on which the running hash over the
        round's updates is not `accumulator`.
        """
        self._act(self.ledger.tasks.functions.reportMissing(task, round_number, server, accumulator), _MEDIUM)

    def withdraw_report(self, task: int, round_number: int, server: str, accumulator: bytes) -> None:
        """Take a report back for good: the update could be fetched after all.

        Refused while a proposal is being voted on, and as `report_missing` on another branch.
        """
        self._act(self.ledger.tasks.functions.withdrawReport(task, round_number, server, accumulator), _MEDIUM)

    def poke(self, task: int) -> None:
        """Move a round on that is complete or past its deadline."""
        self._act(self.ledger.tasks.functions.poke(task), _MEDIUM)

    def propose(
        self, task: int, round_number: int, model: Reference, closing: bytes, value: bytes, proof: bytes
    ) -> None:
        """Propose a new global model; `value` is the digest that the committee would vote on.

        Where `model` has a size of 0, its digest is the reason, short ASCII text, to give the round up. Refused with
        `TasksOtherBranch` if it is mined on a branch of the chain on which another block than `closing` (its hash)
        closed the submissions, and with `TasksValueChanged` if other updates count by then.
        """
        propose = self.ledger.tasks.functions.propose
        self._act(propose(task, round_number, model.digest, model.size, closing, value, proof), _LARGE)

    def vote(self, ballot: Ballot) -> None:
        """Vote on a proposal."""
        call = self._consensus(ballot.task).functions.attest(*ballot.as_tuple())
        self._act(call, _MEDIUM)

    def submit_batch(self, task: int, round_number: int, updates: Sequence[SignedUpdate]) -> None:
        """Record updates that their servers signed; refused with `TasksNothingNew` if all are recorded already."""
        call = self.ledger.tasks.functions.submitBatch(task, round_number, [update.as_tuple() for update in updates])
        self._act(call, _SMALL + _PER_SIGNATURE * len(updates))

    def vote_signed(self, task: int, state: TaskState, stage: Stage, votes: Sequence[SignedVote]) -> None:
        """Record votes for the current proposal that members signed; refused with `ConsensusNothingNew` if all are
        recorded already.
        """
        self._record_signed(self._consensus(task).functions.attestSigned, task, state, stage, votes)

    def reject_signed(self, task: int, state: TaskState, stage: Stage, votes: Sequence[SignedVote]) -> None:
        """Record votes against the current proposal that members signed: a quorum ends the view. Refused as
        `vote_signed`.
        """
        self._record_signed(self._consensus(task).functions.rejectSigned, task, state, stage, votes)

    def _record_signed(
        self, record: Any, task: int, state: TaskState, stage: Stage, votes: Sequence[SignedVote]
    ) -> None:
        decision = state.decision
        signatures = [vote.signature for vote in votes]
        call = record(task, state.round, decision.view, int(stage), decision.proposal, signatures)
        self._act(call, _MEDIUM + _PER_SIGNATURE * len(votes))

    def report_equivocation(self, task: int, first: SignedVote, second: SignedVote) -> None:
        """Show two votes of one member that exclude each other; refused with `ConsensusNothingNew` if two of the same
        stage were shown before.
        """
        report = self._consensus(task).functions.reportEquivocation
        call = report(first.as_tuple(), first.signature, second.as_tuple(), second.signature)
        self._act(call, _MEDIUM)

    # ------------------------------------------------------------ rewards

    def set_reward_terms(self, task: int, per_round: int, leader_share: int, by_samples: bool) -> TxReceipt:
        """Say once what a final round pays: wei, the leader's part in 1/10,000, and how the rest is divided."""
        terms = (per_round, leader_share, by_samples)
        return self._send(self.ledger.rewards.functions.setTerms(task, terms), _SMALL)

    def fund_rewards(self, task: int, amount: int) -> TxReceipt:
        """Add wei to a task's rewards."""
        return self._send(self.ledger.rewards.functions.fund(task), _SMALL, amount)

    def reclaim_rewards(self, task: int) -> int:
        """Take back the wei that no round of an ended task can earn any more; returns their number."""
        receipt = self._send(self.ledger.rewards.functions.reclaim(task), _SMALL)
        return int(self._emitted(receipt, "LeftoverReclaimed")["amount"])

    def settle(self, task: int, round_number: int) -> None:
        """Divide the reward of a final round among its leader and the included updates."""
        (final,) = self.ledger.round_events(task, round_number, "RoundFinalized")
        (opened,) = self.ledger.round_events(task, round_number, "RoundOpened")
        (closed,) = self.ledger.round_events(task, round_number, "SubmissionsClosed")
        about = self.ledger.task(task)
        outcome = (
            final.args["leader"],
            opened.args["parent"],
            closed.block_hash,
            final.args["missing"],
            short_text(about.rule),
            keccak(about.rule_params),
            final.args["model"],
            final.args["modelSize"],
        )
        updates = [
            (update.server, update.payload.digest, update.payload.size, update.samples)
            for update in self.ledger.recorded(task, round_number)
        ]
        call = self.ledger.rewards.functions.settle(task, round_number, outcome, updates)
        self._act(call, _SMALL + 60_000 * (len(updates) + 1))

    def withdraw_rewards(self) -> TxReceipt:
        """Take what this account has earned."""
        return self._send(self.ledger.rewards.functions.withdraw(), _SMALL)

    def _emitted(self, receipt: TxReceipt, name: str) -> Mapping[str, Any]:
        """Return the values of the one event of this name, by the receipt: its block may have left the chain since."""
        (event,) = (event for event in self.ledger.events_in(receipt) if event.name == name)
        return event.args

    def _consensus(self, task: int) -> Contract:
        return self.ledger.consensus[self.ledger.task(task).consensus]

    def _act(self, call: Any, gas: int, value: int = 0) -> None:
        self._ask(call, gas, value)
        sent = self._sender.send(call, gas=gas, value=value)
        if self._unawaited is None:
            self._sender.wait(sent)
        else:
            self._unawaited.append(sent)

    def _send(self, call: Any, gas: int, value: int = 0) -> TxReceipt:
        self._ask(call, gas, value)
        return self._sender.transact(call, gas=gas, value=value)

    def _ask(self, call: Any, gas: int, value: int) -> None:
        if self._asks_first:
            self._sender.ask(call, gas=gas, value=value)
