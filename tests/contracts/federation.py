"""A task and its servers, driven through rounds on the contracts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

from coincurve import PrivateKey as Signer
from eth_abi.abi import encode
from eth_account.messages import encode_typed_data
from eth_hash.auto import keccak

from fbfl.chain.digests import Domain, value_digest
from fbfl.chain.pow import Puzzle, search
from fbfl.learning.sampling import number_drawn
from fbfl.randomness import drawn_seats
from tests.contracts.abi import NOBODY, Account, Contract, Receipt
from tests.contracts.deployment import MIN_STAKE, Deployment

EASY = 2**254
"""A puzzle target that every fourth nonce meets."""
TIMEOUT, TIMEOUT_CAP, MAX_VIEWS = 100, 400, 5
SUBMIT_WINDOW, COMMIT_WINDOW = 1000, 500
INITIAL_MODEL = keccak(b"initial model")
RULE_PARAMS = b'{"f":1}'

_RULES = "(uint32,uint32,uint16,uint8,uint16)"


class Phase(IntEnum):
    """`IFederatedTasks.Phase`."""

    IDLE = 0
    COMMIT = 1
    SUBMIT = 2
    DECIDE = 3
    FINAL = 4
    ABORTED = 5


class Stage(IntEnum):
    """`IConsensus.Stage`."""

    NONE = 0
    PROPOSE = 1
    PREPARE = 2
    COMMIT = 3
    DECIDED = 4


@dataclass(frozen=True)
class Settings:
    """Settings that differ between the tasks of the tests."""

    consensus: str = "pow"
    timeout: int = TIMEOUT
    timeout_cap: int = TIMEOUT_CAP
    max_views: int = MAX_VIEWS
    byzantine_quorum: bool = False
    """Always so under PBFT."""
    rejection_penalty: int = 0
    target: int = EASY
    solve_time: int = 0
    confirmations: int = 1
    spacing: int = 10
    delay: int = 1
    min_members: int = 0
    """Of 0: as many as `min_updates`."""
    max_members: int = 240
    min_updates: int = 1
    max_rounds: int = 0
    max_payload: int = 10_000
    max_samples: int = 1000
    commit_window: int = 0
    withheld_penalty: int = 0
    participation: int = 10_000
    seed: int = 0

    def encoded(self, deployment: Deployment) -> tuple[Any, ...]:
        """As `createTask` takes it."""
        byzantine = int(self.byzantine_quorum or self.consensus == "pbft")
        rules = (self.timeout, self.timeout_cap, self.max_views, byzantine, self.rejection_penalty)
        if self.consensus == "pow":
            params = encode([f"({_RULES},uint256,uint32)"], [(rules, self.target, self.solve_time)])
        elif self.consensus == "pbft":
            params = encode([_RULES], [rules])
        else:
            params = encode(
                [f"({_RULES},uint16,uint16,uint16)"], [(rules, self.confirmations, self.spacing, self.delay)]
            )
        consensus: Contract = getattr(deployment, self.consensus)
        members = self.min_members or self.min_updates
        return (
            *(consensus.address, b"krum".ljust(32, b"\0"), RULE_PARAMS, b"{}", INITIAL_MODEL, 500, self.max_payload),
            *(self.max_samples, members, self.max_members, self.min_updates, self.max_rounds, self.commit_window),
            *(SUBMIT_WINDOW, self.withheld_penalty, params),
        )


@dataclass(frozen=True)
class Ballot:
    """Subject of a vote."""

    task: int
    round: int
    view: int
    stage: int
    digest: bytes
    accept: bool = True


class Federation:
    """One task with its members, who do what a test says."""

    def __init__(self, deployment: Deployment, settings: Settings, members: Sequence[Account]) -> None:
        self.on = deployment
        self.chain, self.tasks, self.registry = deployment.chain, deployment.tasks, deployment.registry
        self.settings = settings
        self.consensus: Contract = getattr(deployment, settings.consensus)
        self.task: int = create(deployment, settings).named("TaskCreated")[0]["task"]
        self.members: list[Account] = []
        for member in members:
            self.enlist(member)

    # ------------------------------------------------------------ membership

    def enlist(self, member: Account) -> Receipt:
        """Register, unless that is done, with a stake for one more seat, and take it."""
        register(self.on, member)
        known = self.registry.server(member.address)
        lacking = MIN_STAKE * (known.seats + 1) - known.stake
        if lacking > 0:
            self.registry.addStake(by=member, value=lacking)
        receipt: Receipt = self.tasks.join(self.task, by=member)
        self.members.append(member)
        return receipt

    def seat(self, member: Account) -> int:
        return int(self.tasks.memberOf(self.task, member.address).seat)

    def account(self, address: str) -> Account:
        return next(account for account in self.chain.accounts if account.address == address)

    # ------------------------------------------------------------ where it stands

    @property
    def state(self) -> Any:
        return self.tasks.stateOf(self.task)

    @property
    def round(self) -> int:
        return int(self.state.round.number)

    @property
    def phase(self) -> Phase:
        return Phase(self.state.round.phase)

    @property
    def decision(self) -> Any:
        return self.consensus.status(self.task)

    @property
    def stage(self) -> Stage:
        return Stage(self.decision.stage)

    @property
    def closing(self) -> bytes:
        """Hash of the block that closed the submissions."""
        return self.chain.block_hash(self.state.round.closingBlock)

    @property
    def domain(self) -> Domain:
        return Domain(self.chain.chain_id, self.tasks.address, self.task)

    # ------------------------------------------------------------ a round

    def open(self) -> int:
        return int(self.tasks.openRound(self.task, by=self.on.owner).named("RoundOpened")[0]["round"])

    def submit(self, member: Account, digest: bytes = b"", samples: int = 10, round_number: int = 0) -> Receipt:
        content = digest or update_of(member)
        receipt: Receipt = self.tasks.submit(self.task, round_number or self.round, content, 100, samples, by=member)
        return receipt

    def report(self, accused: Account, by: Account, **options: Any) -> Receipt:
        """Report the update of a member."""
        about = (self.task, self.round, accused.address, self.state.accumulator)
        receipt: Receipt = self.tasks.reportMissing(*about, by=by, **options)
        return receipt

    def take_back(self, accused: Account, by: Account) -> Receipt:
        """Withdraw a report."""
        about = (self.task, self.round, accused.address, self.state.accumulator)
        receipt: Receipt = self.tasks.withdrawReport(*about, by=by)
        return receipt

    def poke(self) -> Receipt:
        receipt: Receipt = self.tasks.poke(self.task, by=self.chain.accounts[-1])
        return receipt

    def collect(self, submitters: Sequence[Account] | None = None) -> int:
        """A round up to the decision, with updates of these members, else of all."""
        number = self.open()
        for member in self.members if submitters is None else submitters:
            self.submit(member, round_number=number)
        if submitters is not None and len(submitters) < len(self.members):
            self.expire_round()
        self.poke()
        return number

    def expire_round(self) -> None:
        """Let the deadline of the round's phase pass."""
        self._pass(self.state.round.deadline)

    def expire_view(self) -> None:
        """Let the deadline of the decision's view pass."""
        self._pass(self.decision.deadline)

    def time_out(self) -> Receipt:
        """Let the view's deadline pass and end it."""
        self.expire_view()
        return self.poke()

    def proof(self, proposer: Account) -> bytes:
        """Return what entitles a member to propose, as far as anything does."""
        if self.settings.consensus == "pow":
            return self.nonce(proposer).to_bytes(32, "big")
        return b""

    def nonce(self, solver: Account) -> int:
        state = self.state
        puzzle = Puzzle(
            chain_id=self.chain.chain_id,
            contract=self.consensus.address,
            task=self.task,
            round=state.round.number,
            view=state.decision.view_,
            seed=self.consensus.seedOf(self.task)[1],
            solver=solver.address,
            target=self.consensus.targetOf(self.task),
        )
        found = search(puzzle, 0, 10_000)
        assert found is not None
        return found

    def propose(
        self,
        proposer: Account,
        model: bytes,
        size: int = 600,
        proof: bytes | None = None,
        value: bytes | None = None,
        closing: bytes | None = None,
    ) -> Receipt:
        """Propose a model as one with the digest `value`, and the closing block; by default those of the moment."""
        evidence = self.proof(proposer) if proof is None else proof
        block = self.closing if closing is None else closing
        expected = self.tasks.valueDigest(self.task, model, size, block) if value is None else value
        what = model, size, block, expected, evidence
        receipt: Receipt = self.tasks.propose(self.task, self.round, *what, by=proposer)
        return receipt

    def leader(self) -> Account:
        """Return a member that may propose; one that is not barred where the proof decides."""
        named = self.decision.leader
        if named != NOBODY:
            return self.account(named)
        return next(m for m in self.members if not self.consensus.isBarred(self.task, m.address))

    def vote(self, member: Account, accept: bool = True, **other: Any) -> Receipt:
        """Vote on the proposal of the moment; `other` says what differs from it."""
        ballot = replace(self.ballot(accept), **other)
        arguments = (ballot.task, ballot.round, ballot.view, ballot.stage, ballot.digest, ballot.accept)
        receipt: Receipt = self.consensus.attest(*arguments, by=member)
        return receipt

    def ballot(self, accept: bool = True) -> Ballot:
        now = self.decision
        return Ballot(self.task, now.round, now.view_, now.stage, now.proposal, accept)

    def decide(self, model: bytes, voters: Sequence[Account] | None = None) -> None:
        """Propose and vote until the round is over; everybody else abstains."""
        leader = self.leader()
        self.propose(leader, model)
        while self.phase is Phase.DECIDE:
            stage, view = self.stage, self.decision.view_
            for member in self.members if voters is None else voters:
                if (self.stage, self.decision.view_) == (stage, view) and self.phase is Phase.DECIDE:
                    if stage is Stage.PREPARE and member == leader:
                        continue  # its proposal was its vote
                    self.vote(member)

    def finish(self, model: bytes) -> int:
        """A whole round."""
        number = self.collect()
        self.decide(model)
        return number

    # ------------------------------------------------------------ digests and signatures

    def value(self, model: bytes, size: int = 600, missing: int = 0) -> bytes:
        """The digest that a proposal of this model must have, computed outside the chain."""
        state = self.state
        return value_digest(
            self.domain,
            state.round.number,
            parent=state.model,
            closing=self.closing,
            accumulator=state.accumulator,
            missing=missing,
            rule="krum",
            rule_params=RULE_PARAMS,
            model=model,
            model_size=size,
        )

    def signed_update(
        self, member: Account, digest: bytes = b"", samples: int = 10, round_number: int = 0, parent: bytes = b""
    ) -> tuple[Any, ...]:
        content = (digest or update_of(member), 100, samples)
        values = (self.task, round_number or self.round, parent or self.state.model, *content)
        message = dict(zip(("task", "round", "parent", "digest", "size", "samples"), values, strict=True))
        return (*content, *sign(member, self.tasks, self.chain.chain_id, "Update", _UPDATE, message))

    def signed_vote(self, member: Account, ballot: Ballot, chain_id: int = 0) -> tuple[bytes, bytes]:
        values = (ballot.task, ballot.round, ballot.view, ballot.stage, ballot.digest, ballot.accept)
        message = dict(zip(("task", "round", "view", "stage", "valueDigest", "accept"), values, strict=True))
        return sign(member, self.consensus, chain_id or self.chain.chain_id, "Vote", _VOTE, message)

    def _pass(self, deadline: int) -> None:
        if self.chain.now <= deadline:
            self.chain.travel(deadline + 1 - self.chain.now)


_UPDATE = "uint256 task,uint32 round,bytes32 parent,bytes32 digest,uint32 size,uint32 samples"
_VOTE = "uint256 task,uint32 round,uint16 view,uint8 stage,bytes32 valueDigest,bool accept"


def create(deployment: Deployment, settings: Settings) -> Receipt:
    """Create a task."""
    encoded, tasks = settings.encoded(deployment), deployment.tasks
    receipt: Receipt
    if settings.participation == 10_000:
        receipt = tasks.createTask(encoded, by=deployment.owner)
    else:
        receipt = tasks.createSampledTask(encoded, settings.participation, settings.seed, by=deployment.owner)
    return receipt


def sign(
    account: Account, contract: Contract, chain_id: int, name: str, fields: str, message: dict[str, Any]
) -> tuple[bytes, bytes]:
    """An EIP-712 signature as r and vs (EIP-2098)."""
    domain = {"name": "fbfl", "version": "1", "chainId": chain_id, "verifyingContract": contract.address}
    types = {name: [dict(zip(("type", "name"), part.split(), strict=True)) for part in fields.split(",")]}
    typed = encode_typed_data(domain, types, message)
    digest = keccak(b"\x19" + typed.version + typed.header + typed.body)
    signature = Signer(account.key.to_bytes()).sign_recoverable(digest, hasher=None)
    r, s, odd = signature[:32], signature[32:64], signature[64]
    return r, bytes([s[0] | odd << 7]) + s[1:]


def drawn_in(federation: Federation, number: int) -> list[Account]:
    """The members that are drawn for a round, from what the task has published."""
    settings, seats = federation.settings, {federation.seat(member): member for member in federation.members}
    count = number_drawn(len(seats), settings.participation, settings.min_updates)
    return [seats[seat] for seat in drawn_seats(seats, count, settings.seed, number)]


def update_of(member: Account) -> bytes:
    """The digest of a member's update."""
    return keccak(b"update" + member.raw)


def register(deployment: Deployment, member: Account, stake: int = MIN_STAKE) -> None:
    """Make an account active in the registry, unless it is."""
    if not deployment.registry.isActive(member.address):
        deployment.registry.join(f"http://{member.address}", by=member, value=stake)
