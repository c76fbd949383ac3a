"""The rules of `PbftCommittee` as a small state machine of four members, searched breadth first.

The model knows two values, the right one and a wrong one. Honest members accept the right value alone; honest leaders
propose it, or what is locked. Byzantine members may do all that the contract lets them do. Time is a step that ends a
view; under fair timeouts it comes only when no honest member has anything left to do in the view.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import IntEnum

MEMBERS = 4
QUORUM = (2 * MEMBERS - 1) // 3 + 1


class At(IntEnum):
    """Stage of a round; the first three are `IConsensus.Stage`."""

    PROPOSE = 1
    PREPARE = 2
    COMMIT = 3
    FINAL = 4
    ABORTED = 5


@dataclass(frozen=True)
class State:
    """The contract's knowledge of a decision."""

    at: At = At.PROPOSE
    view: int = 0
    proposal: str = ""
    locked: str = ""
    accepts: frozenset[int] = frozenset()
    rejects: frozenset[int] = frozenset()
    barred: frozenset[int] = frozenset()

    @property
    def over(self) -> bool:
        return self.at in (At.FINAL, At.ABORTED)


@dataclass(frozen=True)
class Step:
    """One call: `propose` (value), `accept`, `reject` or `time out` (by nobody)."""

    call: str
    by: int = -1
    value: str = ""


@dataclass(frozen=True)
class Rules:
    """Parameters that differ between searches."""

    views: int = 2
    first_leader: int = 1
    byzantine: frozenset[int] = frozenset({1})
    fair: bool = True
    """Time runs out only when no honest member has anything left to do."""

    def leader(self, view: int) -> int:
        return (self.first_leader + view) % MEMBERS


def steps(state: State, rules: Rules) -> Iterator[Step]:
    """All that can happen next."""
    if state.over:
        return
    honest_busy = False
    for member in range(MEMBERS):
        honest = member not in rules.byzantine
        for step in _possible(state, rules, member):
            if honest and not _follows_protocol(state, step):
                continue
            honest_busy = honest_busy or honest
            yield step
    if not (rules.fair and honest_busy):
        yield Step("time out")


def after(state: State, step: Step, rules: Rules) -> State:
    """Return the state that the contract makes of a step."""
    match step.call:
        case "propose":
            return replace(state, at=At.PREPARE, proposal=step.value, accepts=frozenset({step.by}))
        case "accept":
            accepts = state.accepts | {step.by}
            if len(accepts) < QUORUM:
                return replace(state, accepts=accepts)
            if state.at is At.COMMIT:
                return replace(state, at=At.FINAL, accepts=accepts)
            return replace(state, at=At.COMMIT, locked=state.proposal, accepts=frozenset(), rejects=frozenset())
        case "reject":
            rejects = state.rejects | {step.by}
            return _next_view(state, rules) if len(rejects) == QUORUM else replace(state, rejects=rejects)
        case _:
            return _next_view(state, rules)


def search(rules: Rules) -> dict[State, tuple[State, Step] | None]:
    """Every state that can be reached, with the state and the step that it was first reached by."""
    origin: dict[State, tuple[State, Step] | None] = {State(): None}
    queue = deque(origin)
    while queue:
        state = queue.popleft()
        for step in steps(state, rules):
            found = after(state, step, rules)
            if found not in origin:
                origin[found] = (state, step)
                queue.append(found)
    return origin


def trace(origin: dict[State, tuple[State, Step] | None], state: State) -> list[Step]:
    """A shortest way to a state."""
    way: list[Step] = []
    while (came := origin[state]) is not None:
        state, step = came
        way.append(step)
    return way[::-1]


def _possible(state: State, rules: Rules, member: int) -> Iterator[Step]:
    """Return the steps that the contract lets a member take."""
    if state.at is At.PROPOSE:
        if rules.leader(state.view) == member and member not in state.barred:
            for value in [state.locked] if state.locked else ["right", "wrong"]:
                yield Step("propose", member, value)
    elif member not in state.accepts | state.rejects:
        yield Step("accept", member)
        yield Step("reject", member)


def _follows_protocol(state: State, step: Step) -> bool:
    match step.call:
        case "propose":
            return step.value == (state.locked or "right")
        case "accept":
            return state.proposal == "right"
        case _:
            return state.proposal == "wrong"


def _next_view(state: State, rules: Rules) -> State:
    leader = rules.leader(state.view)  # whoever proposed was the leader
    barred, view = state.barred | {leader}, state.view + 1
    at = At.ABORTED if view >= rules.views else At.PROPOSE
    return State(at=at, view=view, locked=state.locked, barred=barred)
