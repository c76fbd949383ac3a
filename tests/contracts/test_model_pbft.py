"""PBFT's rules, searched to the end in a model; and the model, held to the contract by replaying its traces there."""

import random
from collections.abc import Callable

import pytest
from eth_hash.auto import keccak

from tests.contracts.abi import Chain
from tests.contracts.federation import Federation, Phase, Stage
from tests.contracts.model_pbft import MEMBERS, At, Rules, State, Step, after, search, steps, trace

MODELS = {"right": keccak(b"right"), "wrong": keccak(b"wrong")}
RECKLESS = Rules(views=3, byzantine=frozenset({1, 2}), fair=False)

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("byzantine", range(MEMBERS))
@pytest.mark.parametrize("views", [2, 3])
def test_under_fair_timeouts_every_way_ends_with_the_right_value(byzantine: int, views: int) -> None:
    rules = Rules(views=views, byzantine=frozenset({byzantine}))
    reached = search(rules)
    ends = {(state.at, state.proposal) for state in reached if state.over}
    assert ends == {(At.FINAL, "right")}
    assert all(list(steps(state, rules)) for state in reached if not state.over)  # no deadlock
    # No way goes in circles: every step adds a vote, or begins a stage or a view.
    assert all(rank(after(state, step, rules)) > rank(state) for state in reached for step in steps(state, rules))


def rank(state: State) -> tuple[int, int, int]:
    votes = len(state.accepts) + len(state.rejects)
    return (state.view, state.at if state.at is not At.ABORTED else 0, votes)


@pytest.mark.parametrize("rules", [Rules(views=3, fair=False), RECKLESS], ids=["one villain", "two villains"])
def test_whenever_time_runs_out_no_wrong_value_and_no_second_one_is_final(rules: Rules) -> None:
    reached = search(rules)
    finals = {state.proposal for state in reached if state.at is At.FINAL}
    assert finals == {"right"}
    for state in reached:  # what is locked stays, so that no other value can follow it
        for step in steps(state, rules):
            assert not state.locked or after(state, step, rules).locked == state.locked


def test_a_rule_left_out_is_found() -> None:
    """The search is worth something: with three liars of four it does find a wrong value that is final."""
    reached = search(Rules(byzantine=frozenset({0, 1, 2}), fair=False))
    assert (At.FINAL, "wrong") in {(state.at, state.proposal) for state in reached}


def test_traces_of_the_model_give_the_same_states_on_the_contract(
    chain: Chain, found: Callable[..., Federation]
) -> None:
    federation = found(MEMBERS, consensus="pbft", max_views=RECKLESS.views)
    federation.collect()
    digests = {"": bytes(32)} | {value: federation.value(model) for value, model in MODELS.items()}
    reached = search(RECKLESS)
    ways = {state: trace(reached, state) for state in reached}
    short = [state for state, way in ways.items() if len(way) <= 5]
    rest = sorted((state for state in ways if len(ways[state]) > 5), key=repr)
    sample = random.Random(0).sample(rest, min(400, len(rest)))
    for state in [*short, *sample]:
        before = chain.snapshot()
        replay(federation, ways[state], digests)
        assert seen(federation) == expected(state, digests), ways[state]
        chain.revert(before)


def replay(federation: Federation, way: list[Step], digests: dict[str, bytes]) -> None:
    state = State()
    for step in way:
        assert seen(federation) == expected(state, digests)
        member = federation.members[step.by]
        match step.call:
            case "propose":
                federation.propose(member, MODELS[step.value])
            case "accept" | "reject":
                federation.vote(member, accept=step.call == "accept")
            case _:
                federation.time_out()
        state = after(state, step, RECKLESS)


def seen(federation: Federation) -> tuple[object, ...]:
    """The contract's state, as far as the model has it."""
    now, task = federation.decision, federation.task
    at = {Phase.FINAL: At.FINAL, Phase.ABORTED: At.ABORTED}.get(federation.phase) or At(now.stage)
    barred = frozenset(
        seat for seat, member in enumerate(federation.members) if federation.consensus.isBarred(task, member.address)
    )
    votes = (now.accepts, now.rejects) if now.stage in (Stage.PREPARE, Stage.COMMIT) or at is At.FINAL else (0, 0)
    proposal = now.proposal if at not in (At.PROPOSE, At.ABORTED) else bytes(32)
    return at, now.view_, proposal, now.prepared, *votes, barred


def expected(state: State, digests: dict[str, bytes]) -> tuple[object, ...]:
    """The model's state, in the contract's words."""
    proposal, locked = digests[state.proposal], digests[state.locked]
    return state.at, state.view, proposal, locked, len(state.accepts), len(state.rejects), state.barred
