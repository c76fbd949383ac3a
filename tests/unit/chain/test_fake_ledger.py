"""The fake ledger of the tests does what the contracts do: the same script, step by step, on both."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount

from fbfl.chain import digests
from fbfl.chain.deployment.deploy import deploy
from fbfl.chain.embedded.chain import EmbeddedChain, start_chain
from fbfl.chain.ledger import Ledger
from fbfl.chain.logs import Event
from fbfl.chain.participant import (
    CommitteeRules,
    Participant,
    pbft_parameters,
    pow_parameters,
)
from fbfl.chain.remote import accounts_of
from fbfl.chain.rounds import Ballot, Stage, TaskState, Update
from fbfl.chain.signatures import SignedVote, sign_update, sign_vote
from fbfl.chain.transactions import Sender
from fbfl.errors import ContractRevertError
from fbfl.storage.store import Reference
from tests.support.ledger import FakeLedger, FakeParticipant, Terms
from tests.support.tasks import task_settings

MODEL, NEXT = Reference.to(b"first"), Reference.to(b"second")
UPDATES = [Reference.to(bytes([number]) * (number + 1)) for number in range(4)]
SALT = b"\x07" * 32
EVERY_NONCE = 2**256 - 1
NOT_FAKED = {"TaskCreated", "TaskTerms", "TaskSampled", "RulesSet", "PuzzleSolved", "ServerSlashed"}


@dataclass(frozen=True)
class Place:
    """One of the two ledgers: its members (the last has no seat), their keys, and how time passes."""

    ledger: Ledger
    members: list[Participant]
    accounts: list[LocalAccount]
    travel: Callable[[int], Any]

    @property
    def state(self) -> TaskState:
        return self.ledger.state(1)

    @property
    def closing(self) -> bytes:
        return self.ledger.closing_hash(1, self.state.round) or bytes(32)

    def value(self, model: Reference) -> bytes:
        state, task = self.state, self.ledger.task(1)
        return digests.value_digest(
            self.ledger.domain(1),
            state.round,
            parent=state.model.digest,
            closing=self.closing,
            accumulator=state.accumulator,
            missing=state.missing.word,
            rule=task.rule,
            rule_params=task.rule_params,
            model=model.digest,
            model_size=model.size,
        )

    def vote(self, member: int, stage: Stage = Stage.PREPARE, accept: bool = True, **changes: Any) -> Any:
        state = self.state
        decision = replace(state.decision, **{"proposal": self.state.decision.proposal, **changes})
        return self.members[member].vote(Ballot.on(1, replace(state, decision=decision), stage, accept))

    def vote_signed(self, *members: int, stage: Stage = Stage.PREPARE) -> Any:
        return self.members[0].vote_signed(1, self.state, stage, self._signed(stage, True, members))

    def reject_signed(self, *members: int, stage: Stage = Stage.PREPARE) -> Any:
        return self.members[0].reject_signed(1, self.state, stage, self._signed(stage, False, members))

    def _signed(self, stage: Stage, accept: bool, members: Sequence[int]) -> list[SignedVote]:
        domain = replace(self.ledger.domain(1), ledger=self.ledger.task(1).consensus_address)
        ballot = Ballot.on(1, self.state, stage, accept)
        return [sign_vote(self.accounts[member], domain, ballot) for member in members]

    def equivocate(self, *values: tuple[bytes, bool]) -> Any:
        domain = replace(self.ledger.domain(1), ledger=self.ledger.task(1).consensus_address)
        votes = [sign_vote(self.accounts[3], domain, Ballot(1, 1, 0, Stage.PREPARE, *value)) for value in values]
        return self.members[0].report_equivocation(1, *votes)

    def submit_batch(self, *members: int, size: int = 0) -> Any:
        at = self.ledger.domain(1), self.state.round, self.state.model.digest
        updates = [
            sign_update(self.accounts[m], *at, UPDATES[m % 4]._replace(size=size or m + 1), m + 1) for m in members
        ]
        return self.members[0].submit_batch(1, self.state.round, updates)

    def propose(
        self, member: int, model: Reference = NEXT, value: bytes | None = None, closing: bytes | None = None
    ) -> Any:
        expected = self.value(model) if value is None else value
        named = self.closing if closing is None else closing
        return self.members[member].propose(1, self.state.round, model, named, expected, bytes(32))

    def propose_abort(self, member: int) -> Any:
        return self.propose(member, Reference(digests.short_text("why"), 0))


Step = Callable[[Place], Any]


def join(*members: int) -> list[Step]:
    return [partial(_join, member) for member in members]


def _join(member: int, at: Place) -> None:
    at.members[member].join(1)


def open_round(at: Place) -> Any:
    return at.members[0].open_round(1)


def poke(at: Place) -> Any:
    return at.members[0].poke(1)


def pass_deadline(at: Place) -> Any:
    state = at.state
    deciding = state.decision.round == state.round
    at.travel((state.decision.deadline if deciding else state.deadline) + 1 - state.now)


def submit(member: int, round_number: int = 1, size: int = 0, samples: int = 5) -> Step:
    update = UPDATES[member % 4]
    return lambda at: at.members[member].submit(1, round_number, update._replace(size=size or update.size), samples)


def report(member: int, accused: int, accumulator: bytes | None = None) -> Step:
    return lambda at: at.members[member].report_missing(1, at.state.round, *_accused(at, accused, accumulator))


def withdraw(member: int, accused: int) -> Step:
    return lambda at: at.members[member].withdraw_report(1, at.state.round, *_accused(at, accused))


def _accused(at: Place, accused: int, accumulator: bytes | None = None) -> tuple[str, bytes]:
    return at.members[accused].address, at.state.accumulator if accumulator is None else accumulator


def does(name: str, *arguments: Any, **options: Any) -> Step:
    return lambda at: getattr(at, name)(*arguments, **options)


def commit_of(member: int, at: Place) -> Any:
    return commit(at, member)


SUBMITTED: list[Step] = [*join(0, 1, 2, 3), open_round, *map(submit, range(4)), poke]
C = Stage.COMMIT

SCRIPTS: Mapping[str, tuple[Terms, list[Step]]] = {
    "updates": (
        Terms(min_updates=2),
        [
            *(*join(0, 1, 2), poke, open_round, open_round, *join(3)),
            *(submit(3), submit(0, 2), submit(0, size=20_000), submit(0, samples=1_001), submit(0, samples=0)),
            *(submit(0), submit(0), poke, does("submit_batch", 0, 2, 1), does("submit_batch", 2, 4)),
            *(lambda at: at.members[1].resign(1), submit(1), poke, submit(1), open_round, poke),
        ],
    ),
    "too few updates": (
        Terms(min_updates=2),
        [*join(0, 1), open_round, submit(1), pass_deadline, submit(0), poke, open_round, submit(0, 2)],
    ),
    "batches": (
        Terms(),
        [
            *(*join(0, 1, 2), open_round, does("submit_batch", 1, 4), does("submit_batch", 1, size=20_000)),
            *(does("submit_batch", 2, 1), does("submit_batch"), does("submit_batch", 1)),
            *(pass_deadline, does("submit_batch", 0)),
        ],
    ),
    "commitments": (
        Terms(min_updates=1, commit_window=500),
        [
            *(*join(0, 1, 2), open_round, lambda at: commit(at, 0), lambda at: commit(at, 0), submit(0)),
            *(lambda at: commit(at, 3), lambda at: commit(at, 1), lambda at: reveal(at, 0), poke, pass_deadline),
            *(lambda at: commit(at, 2), poke, submit(2), lambda at: reveal(at, 2), lambda at: reveal(at, 0, 9)),
            *(does("submit_batch", 0), lambda at: reveal(at, 0), lambda at: reveal(at, 0), poke),
            *(lambda at: reveal(at, 1), poke),
        ],
    ),
    "a final round": (
        Terms(),
        [
            *(*SUBMITTED, poke, does("propose", 0), does("propose", 1, value=bytes(32)), does("propose", 4)),
            *(does("propose", 1, closing=bytes(32)), does("propose", 1, value=bytes(32))),
            *(does("propose", 1, NEXT._replace(size=20_000)), does("vote", 0), does("propose", 1), does("propose", 1)),
            *(does("vote", 1), does("vote", 4), does("vote", 0, view=1), does("vote", 0, Stage.PROPOSE)),
            *(does("vote", 0, C), does("vote", 0, proposal=bytes(32)), does("vote", 0), does("vote", 0)),
            *(does("vote", 3, accept=False), does("vote_signed", 0, 4), does("vote_signed", 0, 2)),
            *(does("vote_signed", 0, 2), does("vote", 0), does("vote_signed", 0, 1, stage=C), does("vote", 2, C)),
            *(does("vote", 3, C, accept=False), does("vote", 3, C), does("propose", 1), report(0, 1), open_round),
        ],
    ),
    "views": (
        Terms(max_views=3),
        [
            *(*SUBMITTED, report(0, 3), report(0, 3), report(0, 0), report(4, 3), report(3, 4), report(2, 3)),
            *(withdraw(2, 3), withdraw(2, 3), report(2, 3), report(1, 3), report(1, 0, bytes(32))),
            *(does("propose", 1), withdraw(2, 3), report(1, 2)),
            *(does("vote", 0, accept=False), does("vote", 2, accept=False), does("vote", 3, accept=False)),
            *(does("propose", 2, MODEL), does("vote", 0), does("vote_signed", 1, 3), report(0, 1), report(2, 1)),
            *(does("vote", 0, C), pass_deadline, does("vote", 1, C), does("propose", 3), does("propose", 3, MODEL)),
            *(does("vote", 2), does("vote", 3), does("vote", 1), does("vote", 1, C, accept=False)),
            *(does("vote", 0, C, accept=False), does("vote", 2, C, accept=False), open_round),
        ],
    ),
    "rejected by signatures": (
        Terms(max_views=3),
        [
            *(*SUBMITTED, does("propose", 1), does("reject_signed", 0, 4), does("reject_signed", 0, 2)),
            *(does("vote", 0), does("reject_signed", 0, 1), does("reject_signed", 3, 2)),
            *(does("propose", 2), does("vote_signed", 0, 3), does("reject_signed", 0, 1, 3, stage=C)),
            *(does("vote_signed", 0, 1, 3, stage=C), does("reject_signed", 2, stage=C)),
        ],
    ),
    "silent leaders": (
        Terms(max_views=2),
        [*SUBMITTED, pass_deadline, does("propose", 1), poke, does("propose", 1), pass_deadline, poke],
    ),
    "nothing left to propose": (
        Terms(min_updates=4),
        [
            *(*SUBMITTED, report(0, 1), report(2, 1), poke, does("propose", 1), withdraw(2, 1), report(3, 1)),
            *(report(0, 2), report(1, 2), report(3, 2), withdraw(0, 1), report(2, 0), report(3, 0), report(1, 0)),
        ],
    ),
    "nothing left to propose until the deadline": (
        Terms(min_updates=4),
        [*SUBMITTED, report(0, 1), report(2, 1), pass_deadline, poke, does("propose", 1)],
    ),
    "nothing left to propose after the deadline": (
        Terms(min_updates=4),
        [*SUBMITTED, pass_deadline, report(0, 1), report(2, 1), report(0, 2), report(1, 2), report(3, 1), report(3, 2)],
    ),
    "nothing left to propose after a vote": (
        Terms(min_updates=4),
        [
            *(*SUBMITTED, does("propose", 1), report(0, 1), report(2, 1), report(3, 1), poke),
            *(does("vote", 0, accept=False), does("vote", 2, accept=False), does("vote", 3, accept=False), poke),
        ],
    ),
    "given up by the committee": (
        Terms(),
        [*SUBMITTED, does("propose_abort", 1), does("vote_signed", 0, 2), does("vote_signed", 0, 1, 2, stage=C)],
    ),
    "equivocation": (
        Terms(),
        [
            *(*join(0, 1, 2, 3), does("equivocate", (MODEL.digest, True), (MODEL.digest, True))),
            *(does("equivocate", (MODEL.digest, True), (NEXT.digest, False)),),
            *[does("equivocate", (MODEL.digest, True), (MODEL.digest, False))] * 2,
        ],
    ),
    "drawn": (
        Terms(min_updates=2),
        [
            *(*join(0, 1, 2, 3), open_round, *map(submit, range(4)), does("submit_batch", 0, 1, 2, 3), poke),
            *(does("propose", 1), does("vote_signed", 0, 2), does("vote_signed", 0, 1, 2, stage=C), open_round),
            *(does("submit_batch", 0, 1), does("submit_batch", 1, 2), does("submit_batch", 2, 3), pass_deadline, poke),
            *(lambda at: at.members[0].resign(1), lambda at: at.members[1].resign(1), open_round, submit(2, 3), poke),
        ],
    ),
    "drawn commitments": (
        Terms(commit_window=500),
        [*join(0, 1, 2, 3), open_round, *(partial(commit_of, n) for n in range(4)), poke, submit(0)],
    ),
    "alone": (Terms(), [*join(2), open_round, submit(2), poke, does("propose", 2), does("vote", 2, C)]),
    "pow": (
        Terms(max_views=2),
        [
            *(*SUBMITTED, does("propose", 3), does("vote", 2, accept=False), does("vote", 1, accept=False)),
            *(does("vote", 0, accept=False), does("propose", 3), report(1, 0), report(2, 0), does("propose", 2)),
            *(does("vote_signed", 1, 3), does("vote", 0), does("vote", 0)),
        ],
    ),
    "pow without a proposal": (Terms(max_views=2), [*SUBMITTED, pass_deadline, poke, pass_deadline, poke]),
}


def commit(at: Place, member: int) -> Any:
    update, address = UPDATES[member], at.members[member].address
    domain = at.ledger.domain(1)
    commitment = digests.update_commitment(domain, 1, address, update.digest, update.size, 5, SALT)
    return at.members[member].commit(1, 1, commitment)


def reveal(at: Place, member: int, samples: int = 5) -> Any:
    return at.members[member].reveal(1, 1, UPDATES[member], samples, SALT)


@pytest.fixture(scope="module")
def chain() -> EmbeddedChain:
    return start_chain(6)


@pytest.fixture(scope="module")
def addresses(chain: EmbeddedChain) -> Mapping[str, str]:
    owner, *servers = accounts_of([chain], 6)
    addresses = deploy(chain.w3, Sender(chain.w3, owner))
    ledger = Ledger(chain.w3, addresses, head=chain.head)
    for account in servers:
        Participant(ledger, Sender(chain.w3, owner)).admit(account.address)
        Participant(ledger, Sender(chain.w3, account)).register("mec://")
    return addresses


def real(
    chain: EmbeddedChain, addresses: Mapping[str, str], consensus: str, terms: Terms, draws: bool = False
) -> Place:
    owner, *accounts = accounts_of([chain], 6)
    ledger = Ledger(chain.w3, addresses, head=chain.head)
    rules = CommitteeRules(terms.timeout, terms.timeout_cap, terms.max_views, consensus == "pbft")
    parameters = pow_parameters(rules, EVERY_NONCE, 0) if consensus == "pow" else pbft_parameters(rules)
    Participant(ledger, Sender(chain.w3, owner)).create_task(
        task_settings(
            consensus=consensus,
            consensus_params=parameters,
            rule="median",
            model=MODEL,
            max_payload=terms.max_payload,
            max_samples=terms.max_samples,
            min_members=terms.min_updates,
            max_members=240,
            min_updates=terms.min_updates,
            max_rounds=0,
            submit_window=terms.submit_window,
            commit_window=terms.commit_window,
            **({"participation": 5000, "seed": 3} if draws else {}),
        )
    )
    members = [Participant(ledger, Sender(chain.w3, account)) for account in accounts]
    for member in members:
        member.open_round = Participant(ledger, Sender(chain.w3, owner)).open_round  # type: ignore[method-assign]
    return Place(ledger, members, accounts, chain.travel)


def fake(of: Place, terms: Terms) -> Place:
    ledger = FakeLedger(of.ledger.task(1), terms, chain_id=of.ledger.chain_id, address=of.ledger.tasks.address)
    members: list[Participant] = [FakeParticipant(ledger, account.address) for account in of.accounts]
    return Place(ledger, members, of.accounts, lambda seconds: None)


def outcome(step: Callable[[], Any]) -> str:
    try:
        step()
    except ContractRevertError as error:
        return error.error
    return "done"


def recorded(ledger: Ledger, round_number: int) -> list[Update]:
    return [replace(update, block=0, transaction="") for update in ledger.recorded(1, round_number)]


def comparable(events: list[Event]) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for event in events:
        args = dict(event.args)
        if "updates" in args and isinstance(args["updates"], list):
            args["updates"] = [dict(entry) for entry in args["updates"]]
        found.append((event.name, args))
    return found


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_fake_ledger_does_what_the_contracts_do(
    chain: EmbeddedChain, addresses: Mapping[str, str], name: str
) -> None:
    terms, script = SCRIPTS[name]
    before = chain.snapshot()
    try:
        consensus, draws = "pow" if name.startswith("pow") else "pbft", name.startswith("drawn")
        one = real(chain, addresses, consensus, terms, draws)
        other = fake(one, terms)
        assert isinstance(other.ledger, FakeLedger)
        contracts = other.ledger.contracts
        for number, step in enumerate(script):
            contracts.now = one.state.now
            expected = outcome(partial(step, one))
            contracts.now, contracts.block = one.state.now, one.state.block
            contracts.given_hash = bytes(chain.w3.eth.get_block("latest")["hash"])
            found = outcome(partial(step, other))
            assert found == expected, f"step {number}"
            contracts.now, contracts.block = one.state.now, one.state.block
            same_block: dict[str, Any] = {
                "closing_block": one.state.closing_block
            }  # which a refused call of the fake has raised
            assert replace(other.state, **same_block) == one.state, f"step {number}"
        events = [e for e in one.ledger.events(task=1) if e.name not in NOT_FAKED]
        assert comparable(list(other.ledger.events(task=1))) == comparable(events)
        for round_number in range(1, one.state.round + 1):
            assert recorded(other.ledger, round_number) == recorded(one.ledger, round_number)
            for ask in (Ledger.seats, Ledger.drawn, Ledger.accumulator):
                assert ask(other.ledger, 1, round_number) == ask(one.ledger, 1, round_number)
    finally:
        chain.revert(before)
