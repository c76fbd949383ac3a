"""The round ledger, read as typed Python: tasks, their states, and what was recorded.

One `Ledger` reads through one node. What it caches is a pure function of the head block, so servers that share a node
(as in the simulation) share the answers.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import cached_property
from heapq import merge
from typing import Any, TypeVar, cast

from eth_abi import decode  # type: ignore[attr-defined]  # exported at run time
from eth_typing import BlockNumber, ChecksumAddress
from hexbytes import HexBytes
from web3 import Web3
from web3.contract import Contract
from web3.types import TxReceipt

from fbfl.chain import digests
from fbfl.chain.answers import answer
from fbfl.chain.artifacts import load_artifact
from fbfl.chain.calls import UNDECODED, Functions
from fbfl.chain.digests import Domain, from_short_text
from fbfl.chain.head import Head, head_of
from fbfl.chain.headers import proof_of_work
from fbfl.chain.logs import Event, LogScanner
from fbfl.chain.rounds import Phase, Stage, TaskState, Update, state_of
from fbfl.chain.seats import SeatSet
from fbfl.chain.task import FORMAT, POW_PARAMETERS, Payment, RewardTerms, Task, TaskTerms
from fbfl.errors import ChainError, InvalidInputError, NodeUnavailableError
from fbfl.randomness import drawn_seats
from fbfl.storage.store import Reference
from fbfl.system.strictjson import read_object
from fbfl.values.parts import WHOLE

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

CONSENSUS_CONTRACTS = {"pow": "PowPuzzle", "pbft": "PbftCommittee", "ethash": "EthashElection"}
"""The contract behind each name of a consensus."""


class Ledger:
    """One deployment, read through one node.

    `head` tells the node's newest block, which every read asks for (default: by JSON-RPC). With `task`, events of other
    tasks are not read: anybody can make a task, and as many events in it as there is gas.
    """

    def __init__(
        self,
        w3: Web3,
        addresses: Mapping[str, str],
        start_block: int = 0,
        *,
        head: Callable[[], Head] | None = None,
        task: int | None = None,
    ) -> None:
        self.w3 = w3
        self._head = head or (lambda: head_of(w3))
        self.addresses = dict(addresses)
        self.tasks = _contract(w3, "FederatedTasks", addresses)
        self.registry = _contract(w3, "MECRegistry", addresses)
        self.rewards = _contract(w3, "RewardPool", addresses)
        self.consensus = {n: _contract(w3, c, addresses) for n, c in CONSENSUS_CONTRACTS.items() if c in addresses}
        others = sorted(set(addresses) - {"FederatedTasks", "MECRegistry", "RewardPool", *CONSENSUS_CONTRACTS.values()})
        self.consensus |= {name: _contract(w3, name, addresses, "CommitteeConsensus") for name in others}
        contracts = (self.tasks, self.registry, self.rewards, *self.consensus.values())
        about: dict[ChecksumAddress, int] = {}
        if task is not None and 0 <= task < 2**256:
            about = {each.address: task for each in contracts if each is not self.registry}
        self._scanner = LogScanner(w3, {each.address: each.abi for each in contracts}, start=start_block, about=about)
        self._events_of_name: dict[str, list[Event]] = {}
        self._events_of_round: dict[tuple[int, int], list[Event]] = {}
        self._answers: dict[tuple[Hashable, ...], Any] = {}
        """Answers from the events read so far, by question: servers that share the ledger ask the same."""
        self._tasks: dict[int, Task] = {}
        self._forgotten: dict[int, int] = {}
        self._scanned: Head | None = None
        self._states: dict[int, tuple[Head, TaskState]] = {}
        self._start = start_block
        self._complete: set[tuple[int, int, bytes, int]] = set()
        self._confirmed: dict[int, TaskState] = {}

    @cached_property
    def chain_id(self) -> int:
        """The chain's id."""
        return self.w3.eth.chain_id

    @cached_property
    def has_proof_of_work(self) -> bool:
        """True if the chain's newest blocks carry valid ethash seals; without them, an ethash election is a mock."""
        return proof_of_work(self.w3)

    def domain(self, task: int) -> Domain:
        """Return the scope of this task's digests."""
        return Domain(self.chain_id, self.tasks.address, task)

    def task(self, task: int) -> Task:
        """Return a task; an unknown number, or a definition that is not an object, raises `InvalidInputError`."""
        self._refresh()
        if task not in self._tasks:
            self._tasks[task] = self._created(task)
        return self._tasks[task]

    def _created(self, task: int) -> Task:
        names = {contract.address: name for name, contract in self.consensus.items()}
        for event in self.events("TaskCreated"):
            args = event.args
            if args["task"] == task:
                consensus = names.get(args["consensus"], "unknown")
                return Task(
                    id=task,
                    owner=args["owner"],
                    consensus=consensus,
                    consensus_address=args["consensus"],
                    rule=from_short_text(args["rule"]),
                    rule_params=args["ruleParams"],
                    definition=read_object(args["definition"], f"the definition of task {task}"),
                    model=Reference(args["model"], args["modelSize"]),
                    block=event.block,
                    withheld_penalty=self._published(task, "TaskTerms", "withheldPenalty"),
                    rejection_penalty=self._published(task, "RulesSet", "rejectionPenalty"),
                    participation=self._published(task, "TaskSampled", "participation") or WHOLE,
                    seed=self._published(task, "TaskSampled", "seed"),
                    byzantine_quorum=consensus == "pbft" or self._published(task, "RulesSet", "quorumRule") == 1,
                    format=FORMAT if any(self.events("TaskTerms", task=task)) else 1,
                )
        raise InvalidInputError(f"task {task} does not exist on the ledger {self.tasks.address}")

    def _published(self, task: int, event_name: str, argument: str) -> int:
        """Return a number published when the task was created; 0 if it was not."""
        return next((int(event.args[argument]) for event in self.events(event_name, task=task)), 0)

    def state(self, task: int) -> TaskState:
        """Return the state of a task at the head of the chain."""
        head = self._head()
        cached = self._states.get(task)
        if cached is None or cached[0] != head:
            cached = head, state_of(answer(self.tasks.functions.stateOf(task), BlockNumber(head.number)), head)
            self._states[task] = cached
        return cached[1]

    def confirm(self, task: int) -> TaskState:
        """Return the state of a task, once the node's logs of its round hold all that its contracts know of.

        A node's logs may lag behind its contracts' state without saying so. Logs that fall short are read again, first
        those of the round and then all; if that does not help, `NodeUnavailableError` is raised.
        """
        state = self.state(task)
        if self._confirmed.get(task) is state:
            return state
        opened = next(self.round_events(task, state.round, "RoundOpened"), None)
        for again_from in (self._start if opened is None else opened.block, self._start):
            if self._is_complete(task, state):
                break
            self._scanner.doubt(again_from)
            self._scanned = None
            state = self.state(task)
        else:
            if not self._is_complete(task, state):
                raise NodeUnavailableError(
                    f"task {task}: the node's logs of round {state.round} fall short of what its contracts say"
                )
        self._confirmed[task] = state
        return state

    def _is_complete(self, task: int, state: TaskState) -> bool:
        """Return True if the logs have members, draw, updates and votes of the current round."""
        number, decision = state.round, state.decision
        voting = decision.round == number and decision.stage in (Stage.PREPARE, Stage.COMMIT)
        if voting and len(self.voters(task, state, decision.stage)) < decision.accepts + decision.rejects:
            return False
        known = task, number, state.accumulator, state.closing_block
        if not number or known in self._complete:
            return True
        opened = any(self.round_events(task, number, "RoundOpened"))
        if not opened or SeatSet.of(self.seats(task, number).values()) != state.committee:
            return False
        if self.drawn(task, number) != self._expected_draw(task, state):
            return False
        recorded = self.recorded(task, number)
        if state.phase in (Phase.COMMIT, Phase.SUBMIT):
            return len(recorded) >= len(state.submitted)
        if self.accumulator(task, number) != state.accumulator:
            return False
        closed = [event.block for event in self.round_events(task, number, "SubmissionsClosed")]
        if state.phase in (Phase.DECIDE, Phase.FINAL) and closed != [state.closing_block]:
            return False
        self._complete.add(known)
        return True

    def _expected_draw(self, task: int, state: TaskState) -> SeatSet | None:
        """Return who may submit in the current round, by the task's terms; None if the contracts await another number.

        Whoever believed another draw would pay for updates that the contracts refuse, or miss its rounds.
        """
        about, expected = self.task(task), state.committee
        if about.draws:
            expected = SeatSet.of(drawn_seats(expected, state.awaited, about.seed, state.round))
        return expected if len(expected) == state.awaited else None

    def events(self, *names: str, task: int | None = None) -> Iterator[Event]:
        """Yield the deployment's events in the order of the chain, optionally of some names and of one task."""
        self._refresh()
        named = [self._events_of_name.get(name, []) for name in names or self._events_of_name]
        for event in merge(*named, key=lambda event: (event.block, event.index)):
            if task is None or event.args.get("task") == task:
                yield event

    def events_in(self, receipt: TxReceipt) -> list[Event]:
        """Return the deployment's events of one transaction, as its receipt has them."""
        return self._scanner.decoded(receipt["logs"])

    def round_events(self, task: int, round_number: int, *names: str) -> Iterator[Event]:
        """Yield the events of one round in the order of the chain, optionally of some names."""
        if 0 <= round_number < self._forgotten.get(task, 0):
            raise ChainError(f"task {task}: round {round_number} was forgotten here")
        if not names:
            self._refresh()
            return iter(self._events_of_round.get((task, round_number), ()))
        return iter(
            self._answer(("events", task, round_number, *names), lambda: self._named(task, round_number, names))
        )

    def _named(self, task: int, round_number: int, names: Sequence[str]) -> list[Event]:
        return [event for event in self._events_of_round.get((task, round_number), ()) if event.name in names]

    def recorded(self, task: int, round_number: int) -> Sequence[Update]:
        """Return the updates of a round in the order of recording, which the running hash follows."""
        return self._answer(("recorded", task, round_number), lambda: self._find_recorded(task, round_number))

    def _find_recorded(self, task: int, round_number: int) -> list[Update]:
        seats = self.seats(task, round_number)
        updates = []
        for event in self.round_events(task, round_number, "UpdateSubmitted", "UpdatesSubmitted"):
            for entry in event.args["updates"] if event.name == "UpdatesSubmitted" else [event.args]:
                updates.append(
                    Update(
                        server=entry["server"],
                        seat=seats[entry["server"]],
                        payload=Reference(entry["digest"], entry["size"]),
                        samples=entry["samples"],
                        block=event.block,
                        transaction="0x" + event.transaction.hex(),
                    )
                )
        return updates

    def accumulator(self, task: int, round_number: int) -> bytes:
        """Return the running hash over the updates of a round, as the logs have them."""
        return self._answer(("accumulator", task, round_number), lambda: self._accumulated(task, round_number))

    def _accumulated(self, task: int, round_number: int) -> bytes:
        first = digests.initial_accumulator(self.domain(task), round_number)
        recorded = self.recorded(task, round_number)
        return digests.accumulate(first, ((u.server, u.payload.digest, u.payload.size, u.samples) for u in recorded))

    def closing_hash(self, task: int, round_number: int) -> bytes | None:
        """Return the hash of the block that closed the submissions of a round; None before they are closed."""
        return next((e.block_hash for e in self.round_events(task, round_number, "SubmissionsClosed")), None)

    def voters(self, task: int, state: TaskState, stage: Stage) -> SeatSet:
        """Return the seats whose votes in this stage of the current view are recorded."""
        asked = "voters", task, state.round, state.decision.view, stage, state.decision.proposer
        return self._answer(asked, lambda: self._find_voters(task, state, stage))

    def _find_voters(self, task: int, state: TaskState, stage: Stage) -> SeatSet:
        decision = state.decision
        seats = self.seats(task, state.round)
        # A proposal is its proposer's vote.
        voted = SeatSet.of([seats[decision.proposer]] if stage is Stage.PREPARE else [])
        for event in self.round_events(task, state.round, "Voted", "VotesRecorded", "RejectionsRecorded"):
            if event.args["view_"] == decision.view and event.args["stage"] == stage:
                several = event.name != "Voted"
                voted |= SeatSet(event.args["voters"]) if several else SeatSet.of([seats[event.args["voter"]]])
        return voted

    def updates(self, task: int, round_number: int) -> Sequence[Update]:
        """Return the updates of a round in the order of seats, in which every server aggregates them."""
        asked = "updates", task, round_number
        return self._answer(asked, lambda: sorted(self.recorded(task, round_number), key=lambda update: update.seat))

    def seats(self, task: int, round_number: int) -> Mapping[str, int]:
        """Return the seat of every server that sat in the committee of a round."""
        return self._answer(("seats", task, round_number), lambda: self._find_seats(task, round_number))

    def drawn(self, task: int, round_number: int) -> SeatSet:
        """Return the seats that may submit in a round: those that were drawn, or all where none were."""
        return self._answer(("drawn", task, round_number), lambda: self._find_drawn(task, round_number))

    def submitters(self, task: int, round_number: int) -> Mapping[str, int]:
        """Return the seat of every server that may submit in a round."""
        return self._answer(("submitters", task, round_number), lambda: self._find_submitters(task, round_number))

    def _find_submitters(self, task: int, round_number: int) -> dict[str, int]:
        drawn = self.drawn(task, round_number)
        return {server: seat for server, seat in self.seats(task, round_number).items() if seat in drawn}

    def _find_drawn(self, task: int, round_number: int) -> SeatSet:
        event = next(self.round_events(task, round_number, "ParticipantsDrawn"), None)
        return SeatSet.of(self.seats(task, round_number).values()) if event is None else SeatSet(event.args["drawn"])

    def _answer(self, asked: tuple[Hashable, ...], find: Callable[[], T]) -> T:
        """Return what `find` finds in the events, which is looked for once after each block that has any."""
        self._refresh()
        if asked in self._answers:
            known: T = self._answers[asked]
            return known
        head = self._scanned
        answer = find()
        if self._scanned is head:  # else the chain has moved meanwhile
            self._answers[asked] = answer
        return answer

    def forget_before(self, task: int, round_number: int) -> None:
        """Drop what is known of a task's rounds before this one, for long-running readers of new rounds only."""

        def is_old(of_task: int | None, number: int) -> bool:
            return of_task == task and number < round_number

        self._forgotten[task] = max(round_number, self._forgotten.get(task, 0))
        self._events_of_name = _without(
            lambda event: is_old(event.args.get("task"), event.args.get("round", round_number)), self._events_of_name
        )
        self._events_of_round = {key: events for key, events in self._events_of_round.items() if not is_old(*key)}
        self._answers.clear()
        self._complete = {known for known in self._complete if not is_old(*known[:2])}

    def servers(self) -> list[str]:
        """Return all servers that have ever registered, in the order of their registry numbers."""
        numbered = {event.args["index"]: event.args["server"] for event in self.events("ServerJoined")}
        return [numbered[number] for number in sorted(numbered)]

    def is_active(self, server: str) -> bool:
        """Return True if the registry lets a server take seats, propose and vote."""
        return bool(answer(self.registry.functions.isActive(server)))

    def has_seat(self, task: int, server: str, round_number: int) -> bool:
        """Return True if a server sits, or will sit, in the committee of a round."""
        member = answer(self.tasks.functions.memberOf(task, server))
        return bool(member.since <= round_number < member.until)

    def outcome(self, task: int, round_number: int) -> bytes:
        """Return the word that the ledger keeps of a final round, `digests.outcome`; zeros before it is final."""
        return bytes(answer(self.tasks.functions.outcomeOf(task, round_number)))

    def terms(self, task: int) -> TaskTerms | None:
        """Return the terms of a task's rounds, as its owner set them; None if older contracts did not publish them."""
        about, rules = self.task(task), next(self.events("RulesSet", task=task), None)
        demands = next(self.events("TaskTerms", task=task), None)
        if rules is None or demands is None:
            return None
        target, solve_time = self._puzzle_of(task) if about.consensus == "pow" else (None, None)
        return TaskTerms(
            view_timeout=rules.args["timeout"],
            max_views=rules.args["maxViews"],
            byzantine_quorum=about.byzantine_quorum,
            min_updates=demands.args["minUpdates"],
            max_samples=demands.args["maxSamples"],
            rejection_penalty=about.rejection_penalty,
            withheld_penalty=about.withheld_penalty,
            target=target,
            solve_time=solve_time,
        )

    def _puzzle_of(self, task: int) -> tuple[int | None, int | None]:
        """Return the target of a task's first puzzle, and the seconds of a solution, from the creating transaction.

        Both are None if a user's contract created the task, or if its data is not in the one form that decoders take.
        """
        (created,) = self.events("TaskCreated", task=task)
        sent = self.w3.eth.get_transaction(HexBytes(created.transaction))
        if sent.get("to") != self.tasks.address:
            return None, None
        try:
            _, arguments = self.tasks.decode_function_input(sent["input"])
            ((_, target, solve_time),) = decode([POW_PARAMETERS], arguments["settings"]["consensusParams"])
        except UNDECODED:
            return None, None
        return target, solve_time

    def puzzle_target(self, task: int) -> int:
        """Return the bound below which hashes solve the task's current puzzle; it changes with events only."""
        contract = self.consensus["pow"]
        return self._answer(("target", task), lambda: int(answer(contract.functions.targetOf(task))))

    def reward_terms(self, task: int) -> RewardTerms:
        """Return the terms by which a final round of a task pays; they change with events only."""

        def find() -> RewardTerms:
            terms = answer(self.rewards.functions.termsOf(task))
            return RewardTerms(terms.perRound, terms.leaderShare, terms.bySamples)

        return self._answer(("terms", task), find)

    def payment(self, task: int, round_number: int) -> Payment:
        """Return the state of the reward of a final round."""
        per_round = self.reward_terms(task).per_round
        if not per_round:
            return Payment.NOT_PROMISED
        if answer(self.rewards.functions.isSettled(task, round_number)):
            return Payment.SETTLED
        funded = answer(self.rewards.functions.balanceOf(task)) >= per_round
        return Payment.DUE if funded else Payment.NOT_FUNDED

    def earned(self, server: str) -> int:
        """Return the wei that a server has earned and not withdrawn yet."""
        return int(answer(self.rewards.functions.creditOf(server)))

    def _find_seats(self, task: int, round_number: int) -> dict[str, int]:
        seats: dict[str, int] = {}
        for event in self.events("MemberJoined", "MemberLeft", task=task):
            if event.name == "MemberJoined" and event.args["since"] <= round_number:
                seats[event.args["server"]] = event.args["seat"]
            elif event.name == "MemberLeft" and event.args["until"] <= round_number:
                seats.pop(event.args["server"], None)
        return seats

    def _refresh(self) -> None:
        head = self._head()
        if head == self._scanned:
            return
        scan = self._scanner.scan()
        if scan.rewound_to is not None:
            self._forget(scan.rewound_to)
        if scan.events:
            self._answers.clear()
        for event in scan.events:
            self._events_of_name.setdefault(event.name, []).append(event)
            if "task" in event.args and "round" in event.args:
                self._events_of_round.setdefault((event.args["task"], event.args["round"]), []).append(event)
        self._scanned = head

    def _forget(self, last_block: int) -> None:
        """Drop what came from blocks that are no longer on the chain."""
        self._complete.clear()
        self._confirmed.clear()
        self._answers.clear()
        self._tasks.clear()
        self._events_of_name = _without(lambda event: event.block > last_block, self._events_of_name)
        self._events_of_round = _without(lambda event: event.block > last_block, self._events_of_round)


def _without(is_gone: Callable[[Event], bool], known: Mapping[K, Sequence[Event]]) -> dict[K, list[Event]]:
    return {key: [event for event in events if not is_gone(event)] for key, events in known.items()}


def _contract(w3: Web3, name: str, addresses: Mapping[str, str], artifact: str = "") -> Contract:
    if name not in addresses:
        raise InvalidInputError(f"the deployment has no {name}; it has {', '.join(sorted(addresses))}")
    contract = w3.eth.contract(Web3.to_checksum_address(addresses[name]), abi=load_artifact(artifact or name).abi)
    contract.functions = cast(Any, Functions(contract.functions))
    return contract
