"""The round ledger: tasks, seats and rounds up to the decision."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest
from eth_hash.auto import keccak

from fbfl.chain.digests import Domain, accumulate, initial_accumulator
from tests.contracts.abi import NOBODY, Account, Receipt, deploy_contract, reverts
from tests.contracts.compiled import compiled_for_tests
from tests.contracts.deployment import SLASHER, Deployment
from tests.contracts.federation import (
    INITIAL_MODEL,
    MAX_VIEWS,
    RULE_PARAMS,
    SUBMIT_WINDOW,
    TIMEOUT,
    TIMEOUT_CAP,
    Federation,
    Phase,
    Settings,
    Stage,
    register,
    update_of,
)

FOREVER = 2**32 - 1


# ---------------------------------------------------------------- tasks


def test_a_task_begins_idle_with_its_model(deployment: Deployment, found: Callable[..., Federation]) -> None:
    federation: Federation = found(0, min_updates=2, max_rounds=7)
    tasks = deployment.tasks
    state = federation.state
    assert state.round == SimpleNamespace(
        number=0,
        phase=Phase.IDLE,
        commitReveal=False,
        awaited=0,
        minUpdates=2,
        deadline=0,
        closingBlock=0,
        maxPayload=10_000,
        maxSamples=1000,
    )
    assert (state.model, state.modelSize) == (INITIAL_MODEL, 500)
    assert (state.committee, state.committed, state.submitted, state.missing) == (0, 0, 0, 0)
    assert tasks.ownerOf(federation.task) == deployment.owner.address
    assert tasks.consensusOf(federation.task) == deployment.pow.address
    assert tasks.registry() == deployment.registry.address
    assert tasks.taskCount() == federation.task == 1


def test_creating_a_task_publishes_what_is_not_stored(deployment: Deployment) -> None:
    receipt = deployment.tasks.createTask(Settings().encoded(deployment), by=deployment.owner)
    assert receipt.named("TaskCreated") == [
        {
            "task": 1,
            "owner": deployment.owner.address,
            "consensus": deployment.pow.address,
            "rule": b"krum".ljust(32, b"\0"),
            "ruleParams": RULE_PARAMS,
            "definition": b"{}",
            "model": INITIAL_MODEL,
            "modelSize": 500,
        }
    ]


def test_a_task_publishes_what_it_may_cost_a_member(deployment: Deployment) -> None:
    settings = Settings(
        min_members=3,
        max_members=5,
        min_updates=2,
        max_rounds=7,
        rejection_penalty=2500,
        withheld_penalty=1000,
    )
    receipt = deployment.tasks.createTask(settings.encoded(deployment), by=deployment.owner)
    assert receipt.named("TaskTerms") == [
        {
            "task": 1,
            "minMembers": 3,
            "maxMembers": 5,
            "minUpdates": 2,
            "maxRounds": 7,
            "maxPayload": 10_000,
            "maxSamples": 1000,
            "withheldPenalty": 1000,
        }
    ]
    assert receipt.named("RulesSet") == [
        {
            "task": 1,
            "timeout": TIMEOUT,
            "timeoutCap": TIMEOUT_CAP,
            "maxViews": MAX_VIEWS,
            "quorumRule": 0,
            "rejectionPenalty": 2500,
        }
    ]


@pytest.mark.parametrize(
    ("position", "value", "what"),
    [
        (0, NOBODY, "consensus"),
        (5, 10_001, "maxPayload"),
        (6, 0, "maxPayload"),
        (7, 0, "maxSamples"),
        (8, 0, "minMembers"),
        (8, 241, "minMembers"),
        (9, 0, "minMembers"),
        (9, 241, "maxMembers"),
        (10, 0, "minUpdates"),
        (10, 2, "minMembers"),
        (11, 65_536, "maxRounds"),
        (13, 0, "submitWindow"),
        (14, 2501, "withheldPenalty"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    deployment: Deployment, position: int, value: int | str, what: str
) -> None:
    values = list(Settings().encoded(deployment))
    values[position] = value
    with reverts("TasksBadSettings", what=what.encode().ljust(32, b"\0")):
        deployment.tasks.createTask(tuple(values), by=deployment.owner)


def test_settings_at_their_limits_will_do(deployment: Deployment) -> None:
    settings = replace(
        Settings(), max_rounds=65_535, min_members=240, min_updates=240, withheld_penalty=2500, rejection_penalty=2500
    )
    (terms,) = deployment.tasks.createTask(settings.encoded(deployment), by=deployment.owner).named("TaskTerms")
    assert (terms["maxRounds"], terms["minMembers"], terms["minUpdates"]) == (65_535, 240, 240)
    everything = replace(Settings(), max_payload=500, max_samples=1, timeout=1, timeout_cap=1, max_views=1)
    deployment.tasks.createTask(everything.encoded(deployment), by=deployment.owner)


def test_an_unknown_task_is_named(deployment: Deployment, owner: Account) -> None:
    tasks = deployment.tasks
    for function in ("join", "resign", "openRound", "endTask"):
        with reverts("TasksUnknownTask", task=9):
            getattr(tasks, function)(9, by=owner)
    with reverts("TasksUnknownTask", task=9):
        tasks.progressOf(9)
    with reverts("TasksUnknownTask", task=9):
        tasks.evict(9, owner.address, by=owner)
    with reverts("TasksUnknownTask", task=9):
        tasks.stateOf(9)
    with reverts("TasksUnknownTask", task=9):
        tasks.valueDigest(9, INITIAL_MODEL, 500, bytes(32))


# ---------------------------------------------------------------- seats


def test_members_take_seats_from_the_next_round_on(
    deployment: Deployment, found: Callable[..., Federation], servers: list[Account]
) -> None:
    federation: Federation = found(1)
    federation.open()
    receipt = federation.enlist(servers[1])
    assert receipt.named("MemberJoined") == [
        {"task": federation.task, "server": servers[1].address, "seat": 1, "since": 2}
    ]
    assert federation.tasks.memberOf(federation.task, servers[1].address) == SimpleNamespace(
        seat=1, since=2, until=FOREVER
    )
    assert federation.tasks.seatHolder(federation.task, 1) == servers[1].address
    with reverts("TasksNotMember", task=federation.task, account=servers[1].address):
        federation.submit(servers[1])


def test_only_active_servers_join_and_only_once(found: Callable[..., Federation], servers: list[Account]) -> None:
    federation: Federation = found(1)
    with reverts("TasksAlreadyMember", task=federation.task, account=servers[0].address):
        federation.tasks.join(federation.task, by=servers[0])
    with reverts("TasksNotActive", server=servers[1].address):
        federation.tasks.join(federation.task, by=servers[1])


def test_who_resigns_sits_until_the_round_is_over(found: Callable[..., Federation], servers: list[Account]) -> None:
    federation: Federation = found(2)
    federation.open()
    (left,) = federation.tasks.resign(federation.task, by=servers[0]).named("MemberLeft")
    assert left == {"task": federation.task, "server": servers[0].address, "seat": 0, "until": 2}
    with reverts("TasksNotMember", task=federation.task, account=servers[0].address):
        federation.tasks.resign(federation.task, by=servers[0])
    with reverts("TasksAlreadyMember", task=federation.task, account=servers[0].address):
        federation.tasks.join(federation.task, by=servers[0])
    # Neither may a newcomer sit on the chair that is still warm.
    assert federation.enlist(servers[2]).named("MemberJoined")[0]["seat"] == 2
    federation.submit(servers[0])
    federation.submit(servers[1])
    federation.poke()
    assert federation.decision.committeeSize == 2


def test_a_seat_is_reused_once_its_round_is_over(found: Callable[..., Federation], servers: list[Account]) -> None:
    federation: Federation = found(3)
    federation.open()
    federation.tasks.resign(federation.task, by=servers[0])
    federation.expire_round()
    assert federation.poke().named("RoundAborted")
    assert federation.enlist(servers[5]).named("MemberJoined")[0]["seat"] == 0
    assert federation.enlist(servers[0]).named("MemberJoined")[0] == {
        "task": federation.task,
        "server": servers[0].address,
        "seat": 3,
        "since": 2,
    }
    federation.open()
    assert federation.state.committee == 0b1111
    for member in (servers[5], servers[0], servers[1], servers[2]):
        federation.submit(member)
    assert federation.state.submitted == 0b1111


def test_servers_that_are_no_longer_active_are_evicted_by_anyone(
    found: Callable[..., Federation], servers: list[Account]
) -> None:
    federation: Federation = found(2)
    with reverts("TasksStillActive", task=federation.task, server=servers[0].address):
        federation.tasks.evict(federation.task, servers[0].address, by=servers[9])
    federation.registry.retire(by=servers[0])
    (left,) = federation.tasks.evict(federation.task, servers[0].address, by=servers[9]).named("MemberLeft")
    assert (left["server"], left["until"]) == (servers[0].address, 1)
    with reverts("TasksNotMember", task=federation.task, account=servers[0].address):
        federation.tasks.evict(federation.task, servers[0].address, by=servers[9])
    federation.open()
    assert federation.state.committee == 0b10


# ---------------------------------------------------------------- rounds


def test_opening_a_round_takes_the_seats_of_the_moment(found: Callable[..., Federation], owner: Account) -> None:
    federation: Federation = found(2)
    deadline = federation.chain.now + SUBMIT_WINDOW
    (opened,) = federation.tasks.openRound(federation.task, by=owner).named("RoundOpened")
    assert opened == {
        "task": federation.task,
        "round": 1,
        "parent": INITIAL_MODEL,
        "parentSize": 500,
        "committee": 0b11,
        "deadline": deadline,
    }
    assert federation.state.accumulator == initial_accumulator(federation.domain, 1)
    with reverts("TasksWrongPhase", task=federation.task, phase=Phase.SUBMIT):
        federation.open()


def test_strangers_open_no_round(found: Callable[..., Federation], servers: list[Account]) -> None:
    federation: Federation = found(1)
    federation.finish(keccak(b"first"))
    with reverts("TasksNotMember", task=federation.task, account=servers[7].address):
        federation.tasks.openRound(federation.task, by=servers[7])
    assert federation.tasks.openRound(federation.task, by=servers[0]).named("RoundOpened")


def test_too_few_members_open_no_round(found: Callable[..., Federation]) -> None:
    federation: Federation = found(2, min_members=3)
    with reverts("TasksTooFewMembers", task=federation.task, members=2, needed=3):
        federation.open()
    later: Federation = found(3, min_updates=2, min_members=3)
    later.finish(keccak(b"first"))
    for gone, needed in zip(later.members, (None, 2, 2), strict=True):
        later.tasks.resign(later.task, by=gone)
        later.members = later.members[1:]
        if needed is None:
            later.collect()  # two are enough from the second round on
            later.decide(keccak(b"second"))
            continue
        with reverts("TasksTooFewMembers", task=later.task, members=len(later.members), needed=needed):
            later.open()


def test_a_task_ends_after_its_last_round(found: Callable[..., Federation]) -> None:
    federation: Federation = found(1, max_rounds=2)
    federation.finish(keccak(b"first"))
    federation.finish(keccak(b"second"))
    with reverts("TasksEnded", task=federation.task, maxRounds=2):
        federation.open()


def test_the_owner_ends_a_task_with_the_round_that_is_under_way(
    found: Callable[..., Federation], owner: Account, servers: list[Account]
) -> None:
    federation: Federation = found(2)
    tasks, task = federation.tasks, federation.task
    with reverts("TasksNotOwner", task=task, account=servers[0].address):
        tasks.endTask(task, by=servers[0])
    federation.finish(keccak(b"first"))
    federation.open()
    assert tasks.endTask(task, by=owner).named("TaskEnded") == [{"task": task, "lastRound": 2}]
    with reverts("TasksEnded", task=task, maxRounds=2):
        tasks.endTask(task, by=owner)
    assert tuple(tasks.progressOf(task)) == (1, False)
    federation.expire_round()
    federation.poke()
    assert tuple(tasks.progressOf(task)) == (1, True)
    with reverts("TasksEnded", task=task, maxRounds=2):
        federation.open()
    with reverts("TasksEnded", task=task, maxRounds=2):
        tasks.endTask(task, by=owner)
    tasks.resign(task, by=servers[0])  # a seat, and the stake that it locks, are free again


def test_a_task_may_end_before_its_first_round(found: Callable[..., Federation], owner: Account) -> None:
    federation: Federation = found(1)
    federation.tasks.endTask(federation.task, by=owner)
    with reverts("TasksEnded", task=federation.task, maxRounds=0):
        federation.open()


def test_an_update_is_recorded_and_chained(found: Callable[..., Federation], servers: list[Account]) -> None:
    federation: Federation = found(3)
    federation.open()
    receipt = federation.submit(servers[2], samples=77)
    assert receipt.named("UpdateSubmitted") == [
        {
            "task": federation.task,
            "round": 1,
            "server": servers[2].address,
            "digest": update_of(servers[2]),
            "size": 100,
            "samples": 77,
        }
    ]
    federation.submit(servers[0], samples=5)
    state = federation.state
    assert state.submitted == 0b101
    assert state.accumulator == accumulate(
        initial_accumulator(federation.domain, 1),
        [
            (servers[2].address, update_of(servers[2]), 100, 77),
            (servers[0].address, update_of(servers[0]), 100, 5),
        ],
    )


def test_updates_out_of_turn_are_refused(found: Callable[..., Federation], servers: list[Account]) -> None:
    federation: Federation = found(2)
    task, one, two = federation.task, servers[0], servers[1]
    with reverts("TasksWrongRound", task=task, round=1, current=0):
        federation.submit(one, round_number=1)
    federation.open()
    for other in (0, 2):
        with reverts("TasksWrongRound", task=task, round=other, current=1):
            federation.tasks.submit(task, other, update_of(one), 100, 10, by=one)
    with reverts("TasksNotMember", task=task, account=servers[9].address):
        federation.submit(servers[9])
    federation.submit(one)
    with reverts("TasksAlreadySubmitted", task=task, round=1, server=one.address):
        federation.submit(one)
    deadline = federation.state.round.deadline
    federation.expire_round()
    with reverts("TasksDeadlinePassed", task=task, deadline=deadline):
        federation.submit(two)
    federation.poke()
    with reverts("TasksWrongPhase", task=task, phase=Phase.DECIDE):
        federation.submit(two)


@pytest.mark.parametrize(("size", "samples"), [(0, 10), (10_001, 10), (100, 0), (100, 1001)])
def test_sizes_and_sample_counts_have_limits(
    found: Callable[..., Federation], servers: list[Account], size: int, samples: int
) -> None:
    federation: Federation = found(1)
    federation.open()
    refusal = (
        reverts("TasksBadSampleCount", samples=samples, maxSamples=1000)
        if size == 100
        else reverts("TasksPayloadTooLarge", size=size, maxPayload=10_000)
    )
    with refusal:
        federation.tasks.submit(federation.task, 1, update_of(servers[0]), size, samples, by=servers[0])
    federation.tasks.submit(federation.task, 1, update_of(servers[0]), 10_000, 1000, by=servers[0])


def test_the_round_closes_when_all_have_submitted_or_the_deadline_passes(
    found: Callable[..., Federation], servers: list[Account]
) -> None:
    federation: Federation = found(2)
    federation.open()
    deadline = federation.state.round.deadline
    federation.submit(servers[0])
    with reverts("TasksNotDue", task=federation.task, deadline=deadline):
        federation.poke()
    federation.submit(servers[1])
    receipt = federation.poke()
    accumulator = federation.state.accumulator
    assert receipt.named("SubmissionsClosed") == [
        {"task": federation.task, "round": 1, "updates": 2, "accumulator": accumulator}
    ]
    assert federation.state.round.closingBlock == federation.chain.block_number
    assert (federation.phase, federation.stage) == (Phase.DECIDE, Stage.PROPOSE)


def test_the_last_second_of_a_phase_is_part_of_it(found: Callable[..., Federation], servers: list[Account]) -> None:
    federation: Federation = found(2)
    federation.open()
    deadline = federation.state.round.deadline
    federation.chain.travel(deadline - federation.chain.now)
    before = federation.chain.snapshot()
    with reverts("TasksNotDue", task=federation.task, deadline=deadline):
        federation.poke()
    federation.chain.revert(before)
    federation.submit(servers[0])
    assert federation.chain.last_time == deadline
    federation.poke()
    assert (federation.phase, federation.state.submitted) == (Phase.DECIDE, 0b01)


def test_too_few_updates_abort_the_round_and_keep_the_model(
    found: Callable[..., Federation], servers: list[Account]
) -> None:
    federation: Federation = found(3, min_updates=2)
    federation.open()
    federation.submit(servers[0])
    federation.expire_round()
    (aborted,) = federation.poke().named("RoundAborted")
    assert aborted == {"task": federation.task, "round": 1, "reason": b"too few updates".ljust(32, b"\0")}
    assert federation.state.model == INITIAL_MODEL
    with reverts("TasksWrongPhase", task=federation.task, phase=Phase.ABORTED):
        federation.poke()
    assert federation.open() == 2
    assert (federation.state.submitted, federation.state.committee) == (0, 0b111)


# ---------------------------------------------------------------- proposals and outcomes


def test_the_digest_of_a_proposal_commits_to_all_it_stands_on(found: Callable[..., Federation]) -> None:
    federation: Federation = found(2)
    federation.collect()
    model = keccak(b"new")
    leader = federation.leader()
    (proposed,) = federation.propose(leader, model, 700).named("ModelProposed")
    assert proposed == {
        "task": federation.task,
        "round": 1,
        "proposer": leader.address,
        "valueDigest": federation.value(model, 700),
        "model": model,
        "modelSize": 700,
        "missing": 0,
    }
    assert federation.state.proposal == SimpleNamespace(proposer=leader.address, modelSize=700, model=model, missing=0)


def test_a_final_round_replaces_the_model_and_keeps_its_outcome(found: Callable[..., Federation]) -> None:
    federation: Federation = found(1)
    federation.collect()
    model = keccak(b"new")
    (only,) = federation.members
    digest = federation.value(model)
    (final,) = federation.propose(only, model).named("RoundFinalized")
    assert final == {
        "task": federation.task,
        "round": 1,
        "leader": only.address,
        "valueDigest": digest,
        "model": model,
        "modelSize": 600,
        "missing": 0,
    }
    assert (federation.phase, federation.state.model, federation.state.modelSize) == (Phase.FINAL, model, 600)
    outcome = keccak(digest + bytes(12) + only.raw)
    assert federation.tasks.outcomeOf(federation.task, 1) == outcome
    assert federation.tasks.outcomeOf(federation.task, 2) == bytes(32)


def test_proposals_out_of_turn_are_refused(found: Callable[..., Federation], servers: list[Account]) -> None:
    federation: Federation = found(2)
    tasks, task, model = federation.tasks, federation.task, keccak(b"new")
    federation.open()
    with reverts("TasksWrongPhase", task=task, phase=Phase.SUBMIT):
        tasks.propose(task, 1, model, 600, bytes(32), bytes(32), b"", by=servers[0])
    federation.submit(servers[0])
    federation.submit(servers[1])
    federation.poke()
    with reverts("TasksWrongRound", task=task, round=2, current=1):
        tasks.propose(task, 2, model, 600, bytes(32), bytes(32), b"", by=servers[0])
    with reverts("TasksNotMember", task=task, account=servers[9].address):
        tasks.propose(task, 1, model, 600, bytes(32), bytes(32), b"", by=servers[9])
    with reverts("TasksPayloadTooLarge", size=10_001, maxPayload=10_000):
        tasks.propose(task, 1, model, 10_001, federation.closing, bytes(32), b"", by=servers[0])


def test_only_the_consensus_ends_a_decision(
    found: Callable[..., Federation], servers: list[Account], deployment: Deployment
) -> None:
    federation: Federation = found(1)
    federation.collect()
    for stranger in (servers[0], deployment.owner):
        with reverts("TasksOnlyConsensus", caller=stranger.address):
            federation.tasks.finalizeRound(federation.task, 1, INITIAL_MODEL, by=stranger)
        with reverts("TasksOnlyConsensus", caller=stranger.address):
            federation.tasks.abortRound(federation.task, 1, INITIAL_MODEL, by=stranger)


def test_a_consensus_ends_only_the_round_that_it_decides(deployment: Deployment, servers: list[Account]) -> None:
    tasks, owner = deployment.tasks, deployment.owner
    consensus = deploy_contract(deployment.chain, compiled_for_tests("PuppetConsensus"))
    deployment.registry.grantRole(SLASHER, consensus.address, by=owner)
    settings = (consensus.address, *Settings().encoded(deployment)[1:])
    task = tasks.createTask(settings, by=owner).named("TaskCreated")[0]["task"]
    register(deployment, servers[0])
    tasks.join(task, by=servers[0])
    tasks.openRound(task, by=owner)
    ends = ("finalizeRound", "abortRound")

    def end(call: str, number: int) -> Receipt:
        data = tasks.encode(call, task, number, b"reason".ljust(32, b"\0"))
        receipt: Receipt = consensus.act(tasks.address, data, by=owner)
        return receipt

    for call in ends:
        with reverts("TasksWrongPhase", task=task, phase=Phase.SUBMIT):
            end(call, 1)
    tasks.submit(task, 1, update_of(servers[0]), 100, 10, by=servers[0])
    tasks.poke(task, by=owner)
    for call, other in itertools.product(ends, (0, 2)):
        with reverts("TasksWrongRound", task=task, round=other, current=1):
            end(call, other)
    (aborted,) = end("abortRound", 1).named("RoundAborted")
    assert aborted == {"task": task, "round": 1, "reason": b"reason".ljust(32, b"\0")}
    for call in ends:
        with reverts("TasksWrongPhase", task=task, phase=Phase.ABORTED):
            end(call, 1)


def test_tasks_do_not_touch_each_other(deployment: Deployment, servers: list[Account]) -> None:
    pow_task = Federation(deployment, Settings(), servers[:3])
    pbft_task = Federation(deployment, replace(Settings(), consensus="pbft"), servers[1:5])
    pow_task.collect()
    pbft_task.open()
    pbft_task.submit(servers[1], digest=keccak(b"another"))
    assert (pow_task.phase, pbft_task.phase) == (Phase.DECIDE, Phase.SUBMIT)
    before = pbft_task.state
    pow_task.decide(keccak(b"new"))
    assert pow_task.phase is Phase.FINAL
    assert pbft_task.state == before
    assert Domain(pow_task.domain.chain_id, pow_task.domain.ledger, 2) == pbft_task.domain
