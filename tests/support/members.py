"""Four members of a task, each with its exchange, on a fake ledger and one board."""

from collections.abc import Mapping
from dataclasses import replace

from fbfl.chain.digests import value_digest
from fbfl.chain.rounds import Ballot, Stage, TaskState
from fbfl.chain.signatures import SignedVote, sign_vote
from fbfl.chain.task import Task
from fbfl.mec.exchange import Exchange, MemoryBoard, PatienceInSeconds, PatienceInSteps, vote_domain
from fbfl.mec.signed_votes import SignedVotes
from fbfl.storage.store import Reference
from tests.support.ledger import FakeLedger, FakeParticipant
from tests.support.servers import account, small_task

TASK = small_task()
UPDATES = [Reference.to(bytes([number])) for number in range(4)]
MODEL = Reference.to(b"model")


class NotedBoard(MemoryBoard):
    """Remembers who was to collect what, and what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.collectors: list[str] = []
        self.observed: list[tuple[TaskState, Mapping[str, int], Mapping[str, int]]] = []

    def observe(self, state: TaskState, seats: Mapping[str, int], submitters: Mapping[str, int]) -> None:
        self.observed.append((state, seats, submitters))

    def post_update(self, server: str, update: object, collector: str) -> None:
        self.collectors.append(collector)
        super().post_update(server, update, collector)  # type: ignore[arg-type]

    def post_vote(self, server: str, vote: SignedVote, collector: str) -> None:
        self.collectors.append(collector)
        super().post_vote(server, vote, collector)


class Members:
    """Four members of one task, each with its exchange, on one board."""

    def __init__(self, patience: int = 2, task: Task = TASK) -> None:
        self.ledger = FakeLedger(task)
        self.board = NotedBoard()
        self.participants = [FakeParticipant(self.ledger, account(number).address) for number in range(4)]
        for participant in self.participants:
            participant.join(1)
        self.ledger.contracts.open_round()
        self.exchanges = [self.exchange(number, PatienceInSteps(patience)) for number in range(4)]
        self.forget()

    def exchange(
        self, number: int, patience: PatienceInSteps | PatienceInSeconds, signed: SignedVotes | None = None
    ) -> Exchange:
        participant = self.participants[number]
        return Exchange(self.board, participant, TASK, account(number), patience, signed=signed)

    @property
    def state(self) -> TaskState:
        return self.ledger.state(1)

    def address(self, number: int) -> str:
        return account(number).address

    def forget(self) -> None:
        for participant in self.participants:
            participant.sent.clear()

    @property
    def sent(self) -> list[list[str]]:
        return [participant.sent for participant in self.participants]

    def post_updates(self, *numbers: int) -> None:
        for number in numbers:
            self.exchanges[number].post_update(self.state, UPDATES[number], number + 1)

    def propose(self, model: Reference = MODEL) -> None:
        """Close the submissions; the leader, member 1, proposes."""
        for number in range(4):
            if number not in self.state.submitted:
                self.participants[number].submit(1, self.state.round, UPDATES[number], 1)
        self.ledger.contracts.poke()
        self.propose_again(model)
        self.forget()

    def propose_again(self, model: Reference) -> None:
        state = self.state
        value = value_digest(
            self.ledger.domain(1),
            state.round,
            parent=state.model.digest,
            closing=self.ledger.closing_hash(1, state.round),
            accumulator=state.accumulator,
            missing=state.missing.word,
            rule=TASK.rule,
            rule_params=TASK.rule_params,
            model=model.digest,
            model_size=model.size,
        )
        leader = next(p for p in self.participants if p.address == state.decision.leader)
        leader.propose(1, state.round, model, self.ledger.contracts.closing_hash, value, b"")

    def send(self, number: int, stage: Stage, accept: bool) -> None:
        """Let a member vote."""
        self.exchanges[number].send(self.state, Ballot.on(1, self.state, stage, accept))

    def vote_of(self, number: int, accept: bool = True, value: bytes | None = None, signer: int | None = None) -> None:
        """Leave a vote on the board by hand."""
        ballot = Ballot.on(1, self.state, Stage.PREPARE, accept)
        ballot = ballot if value is None else replace(ballot, value_digest=value)
        vote = sign_vote(account(number if signer is None else signer), vote_domain(self.ledger, TASK), ballot)
        self.board.post_vote(self.address(number), vote, self.address(1))
