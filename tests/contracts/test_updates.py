"""Updates: signed batches, reports of missing payloads, and hiding updates until all have committed."""

from collections.abc import Callable

import pytest
from eth_hash.auto import keccak

from fbfl.chain.digests import update_commitment
from fbfl.errors import ContractRevertError
from tests.contracts.abi import Account, Chain, Receipt, reverts
from tests.contracts.deployment import MIN_STAKE
from tests.contracts.federation import COMMIT_WINDOW, SUBMIT_WINDOW, Federation, Phase, Stage, update_of

FOREVER = 2**32 - 1


# ---------------------------------------------------------------- batches


def test_a_batch_records_what_single_calls_would(
    found: Callable[..., Federation], chain: Chain, servers: list[Account]
) -> None:
    federation: Federation = found(3)
    federation.open()
    before = chain.snapshot()
    for member in servers[:3]:
        federation.submit(member)
    single = federation.state.accumulator
    chain.revert(before)
    batch = [federation.signed_update(member) for member in servers[:3]]
    (recorded,) = federation.tasks.submitBatch(federation.task, 1, batch, by=servers[8]).named("UpdatesSubmitted")
    assert [(u.server, u.digest, u.size, u.samples) for u in recorded["updates"]] == [
        (member.address, update_of(member), 100, 10) for member in servers[:3]
    ]
    assert (federation.state.accumulator, federation.state.submitted) == (single, 0b111)


def test_a_batch_passes_over_what_is_recorded_already(found: Callable[..., Federation], servers: list[Account]) -> None:
    federation: Federation = found(2)
    federation.open()
    federation.submit(servers[1])
    batch = [federation.signed_update(servers[n]) for n in (1, 0, 0)]
    (recorded,) = federation.tasks.submitBatch(federation.task, 1, batch, by=servers[8]).named("UpdatesSubmitted")
    assert [update.server for update in recorded["updates"]] == [servers[0].address]
    assert federation.state.submitted == 0b11


def test_a_batch_holds_nobody_elses_updates(found: Callable[..., Federation], servers: list[Account]) -> None:
    federation: Federation = found(2)
    federation.open()
    batch = [federation.signed_update(servers[0]), federation.signed_update(servers[5])]
    with reverts("TasksNotMember", task=federation.task, account=servers[5].address):
        federation.tasks.submitBatch(federation.task, 1, batch, by=servers[0])
    digest, size, samples, r, vs = federation.signed_update(servers[0])
    # A changed update has another signer, if any: nobody who sits here.
    with pytest.raises(ContractRevertError, match="TasksNotMember"):
        federation.tasks.submitBatch(federation.task, 1, [(digest, size, samples + 1, r, vs)], by=servers[0])
    with reverts("TasksBadSampleCount", samples=1001, maxSamples=1000):
        batch = [federation.signed_update(servers[0], samples=1001)]
        federation.tasks.submitBatch(federation.task, 1, batch, by=servers[0])


# ---------------------------------------------------------------- missing payloads


def test_f_plus_one_reports_leave_an_update_out(found: Callable[..., Federation], servers: list[Account]) -> None:
    federation: Federation = found(4, byzantine_quorum=True)
    tasks, task = federation.tasks, federation.task
    federation.collect(servers[:3])
    receipt = federation.report(servers[2], by=servers[0])
    assert receipt.named("PayloadReported") == [
        {"task": task, "round": 1, "server": servers[2].address, "reporter": servers[0].address}
    ]
    assert federation.state.missing == 0
    with reverts("TasksAlreadyReported", task=task, round=1, server=servers[2].address):
        federation.report(servers[2], by=servers[0])
    receipt = federation.report(servers[2], by=servers[3])
    assert receipt.named("PayloadMissing") == [{"task": task, "round": 1, "server": servers[2].address}]
    assert not federation.report(servers[2], by=servers[1]).named("PayloadMissing")
    assert federation.state.missing == 0b100
    model = keccak(b"without the third")
    assert tasks.valueDigest(task, model, 600, federation.closing) == federation.value(model, missing=0b100)
    for other in (0, 0b110, 0b100 | 1 << 240):  # fewer, more, and no bitmap of seats
        expected = federation.value(model, missing=other)
        with reverts("TasksValueChanged", task=task, value=federation.value(model, missing=0b100), expected=expected):
            federation.propose(federation.leader(), model, value=expected)
    (proposed,) = federation.propose(federation.leader(), model).named("ModelProposed")
    assert (proposed["missing"], proposed["valueDigest"]) == (0b100, federation.value(model, missing=0b100))


def test_reports_have_their_time_and_their_people(found: Callable[..., Federation], servers: list[Account]) -> None:
    federation: Federation = found(4)
    tasks, task = federation.tasks, federation.task
    federation.open()
    federation.submit(servers[0])
    with reverts("TasksWrongPhase", task=task, phase=Phase.SUBMIT):
        federation.report(servers[0], by=servers[1])
    federation.expire_round()
    federation.poke()
    with reverts("TasksWrongRound", task=task, round=2, current=1):
        tasks.reportMissing(task, 2, servers[0].address, federation.state.accumulator, by=servers[1])
    with reverts("TasksNotMember", task=task, account=servers[9].address):
        federation.report(servers[0], by=servers[9])
    with reverts("TasksNotSubmitted", task=task, round=1, server=servers[1].address):
        federation.report(servers[1], by=servers[0])


def test_the_next_round_starts_with_nothing_missing(found: Callable[..., Federation], servers: list[Account]) -> None:
    federation: Federation = found(4)
    federation.collect()
    for reporter in servers[:2]:
        federation.report(servers[3], by=reporter)
    federation.decide(keccak(b"first"))
    federation.finish(keccak(b"second"))
    assert (federation.state.missing, federation.state.proposal.missing) == (0, 0)


def test_the_update_of_who_was_expelled_is_left_out_like_any_other(
    found: Callable[..., Federation], servers: list[Account]
) -> None:
    federation: Federation = found(4, withheld_penalty=2500)
    withholder = servers[3]
    for number in (1, 2):
        federation.collect()
        for reporter in servers[: 4 - number]:  # in the first round so many that it is slashed and expelled
            federation.report(withholder, by=reporter)
        assert not federation.registry.isActive(withholder.address)
        assert federation.state.missing == 0b1000
        federation.decide(keccak(b"%d" % number))
    assert federation.registry.server(withholder.address).stake == MIN_STAKE * 3 // 4


def test_reports_after_a_value_is_prepared_do_not_change_it(
    found: Callable[..., Federation], servers: list[Account]
) -> None:
    federation: Federation = found(4, consensus="pbft")
    federation.collect()
    model = keccak(b"of all")
    federation.propose(federation.leader(), model)
    prepared = federation.decision.proposal
    for member in federation.members:
        if federation.stage is Stage.PREPARE and member.address != federation.decision.proposer:
            federation.vote(member)
    for reporter in servers[:2]:
        federation.report(servers[3], by=reporter)
    federation.time_out()
    assert federation.state.missing == 0
    assert federation.tasks.valueDigest(federation.task, model, 600, federation.closing) == prepared
    expected = federation.value(model, missing=0b1000)
    with reverts("TasksValueChanged", task=federation.task, value=prepared, expected=expected):
        federation.propose(federation.leader(), model, value=expected)
    federation.decide(model)
    assert federation.tasks.outcomeOf(federation.task, 1) != bytes(32)


# ---------------------------------------------------------------- commit and reveal


@pytest.fixture
def hidden(found: Callable[..., Federation]) -> Federation:
    return found(3, commit_window=COMMIT_WINDOW, min_updates=2)


def commitment(federation: Federation, member: Account, round_number: int = 1, salt: bytes = bytes(32)) -> bytes:
    return update_commitment(federation.domain, round_number, member.address, update_of(member), 100, 10, salt)


def reveal(federation: Federation, member: Account, round_number: int = 1, salt: bytes = bytes(32)) -> Receipt:
    content = (update_of(member), 100, 10, salt)
    receipt: Receipt = federation.tasks.reveal(federation.task, round_number, *content, by=member)
    return receipt


def commit(federation: Federation, member: Account, round_number: int = 1, about_round: int = 0) -> Receipt:
    content = commitment(federation, member, about_round or round_number)
    receipt: Receipt = federation.tasks.commit(federation.task, round_number, content, by=member)
    return receipt


def test_commitments_come_before_updates(hidden: Federation, servers: list[Account]) -> None:
    hidden.open()
    assert (hidden.phase, hidden.state.round.deadline) == (Phase.COMMIT, hidden.chain.last_time + COMMIT_WINDOW)
    (committed,) = commit(hidden, servers[0]).named("UpdateCommitted")
    assert committed == {
        "task": hidden.task,
        "round": 1,
        "server": servers[0].address,
        "commitment": commitment(hidden, servers[0]),
    }
    with reverts("TasksAlreadySubmitted", task=hidden.task, round=1, server=servers[0].address):
        commit(hidden, servers[0])
    with reverts("TasksWrongPhase", task=hidden.task, phase=Phase.COMMIT):
        reveal(hidden, servers[0])
    with reverts("TasksNotDue", task=hidden.task, deadline=hidden.state.round.deadline):
        hidden.poke()
    commit(hidden, servers[1])
    hidden.expire_round()
    hidden.poke()
    assert (hidden.phase, hidden.state.committed) == (Phase.SUBMIT, 0b11)
    assert hidden.state.round.deadline == hidden.chain.last_time + SUBMIT_WINDOW
    reveal(hidden, servers[0])
    with reverts("TasksWrongCommitment", task=hidden.task, round=1, server=servers[2].address):
        reveal(hidden, servers[2])
    # A commitment binds all that is revealed.
    right = {"digest": update_of(servers[1]), "size": 100, "samples": 10, "salt": bytes(32)}
    for other in ({"digest": keccak(b"another")}, {"size": 101}, {"samples": 1000}, {"salt": keccak(b"another salt")}):
        with reverts("TasksWrongCommitment", task=hidden.task, round=1, server=servers[1].address):
            hidden.tasks.reveal(hidden.task, 1, *(right | other).values(), by=servers[1])
    reveal(hidden, servers[1])
    hidden.poke()  # all that had committed have revealed
    assert hidden.phase is Phase.DECIDE


def test_where_updates_are_hidden_first_no_open_submission_counts(hidden: Federation, servers: list[Account]) -> None:
    hidden.open()
    for member in servers[:3]:
        commit(hidden, member)
    hidden.poke()
    with reverts("TasksWrongCommitment", task=hidden.task, round=1, server=servers[0].address):
        hidden.submit(servers[0])
    with reverts("TasksWrongCommitment", task=hidden.task, round=1, server=servers[0].address):
        batch = [hidden.signed_update(servers[0])]
        hidden.tasks.submitBatch(hidden.task, 1, batch, by=servers[0])


def test_too_few_commitments_abort_the_round(hidden: Federation, servers: list[Account]) -> None:
    hidden.open()
    commit(hidden, servers[0])
    hidden.expire_round()
    assert hidden.poke().named("RoundAborted")


def test_a_commitment_from_an_earlier_round_is_not_revealed(hidden: Federation, servers: list[Account]) -> None:
    hidden.open()
    commit(hidden, servers[0], about_round=2)
    hidden.expire_round()
    hidden.poke()
    hidden.open()
    commit(hidden, servers[1], round_number=2)
    commit(hidden, servers[2], round_number=2)
    hidden.expire_round()
    hidden.poke()
    with reverts("TasksWrongCommitment", task=hidden.task, round=2, server=servers[0].address):
        reveal(hidden, servers[0], round_number=2)
