"""Whole federations of agents, whose result is that of the simulation."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fbfl.chain.ledger import Ledger
from fbfl.chain.queries import round_record, round_records
from fbfl.chain.records import RoundRecord
from fbfl.chain.rounds import Stage
from fbfl.cli.settings import option_of
from fbfl.storage.store import Store
from tests.integration.agents import SERVERS, Agents
from tests.integration.devices import DEVICES, Devices
from tests.integration.moments import Moment
from tests.integration.proxy import Proxy
from tests.support.federations import federation

SETTINGS = ("--dataset", "digits", "--servers", SERVERS)


@contextmanager
def running(agents: Agents) -> Iterator[Agents]:
    """Inside, agents may run."""
    try:
        yield agents
    finally:
        agents.end()


class RoundByRound:
    """A federation that plays a round at a time, while something around it fails.

    Agent i reaches its node through `proxies[i]`, where it has one.
    """

    def __init__(self, agents: Agents, task: int, proxies: Mapping[int, Proxy]) -> None:
        self.agents = agents
        self.ledger = agents.ledger()
        self.task = task
        self.proxies = proxies

    @property
    def next_round(self) -> int:
        return self.ledger.state(self.task).round + 1

    @contextmanager
    def round(self, missing: Sequence[int] = ()) -> Iterator[int]:
        """Inside, the next round begins; after it, it is final, with every update once, but for those of `missing`."""
        number = self.next_round
        with self.agents.driven(number):
            yield number
        self.assert_final(number, missing)

    def assert_final(self, number: int, missing: Sequence[int] = ()) -> RoundRecord:
        """The round is final and has every update once; those of the agents in `missing` are left out."""
        record = round_record(self.ledger, self.task, number)
        assert record.status == "final"
        assert [update.server for update in record.updates] == self.agents.addresses
        assert [place for place, update in enumerate(record.updates) if not update.included] == list(missing)
        return record

    @contextmanager
    def held(self, number: int, function: str, stage: Stage | None = None, *, arrives: bool = False) -> Iterator[None]:
        """Inside, what agent `number` calls with its next transaction of this kind is held back."""
        moment = Moment(self.ledger, function, stage, arrives=arrives)
        with self.proxies[number].spoiling(moment):
            moment.wait()
            try:
                yield
            finally:
                moment.release()

    @contextmanager
    def killed(
        self, *numbers: int, function: str, stage: Stage | None = None, arrives: bool, again: bool = True
    ) -> Iterator[None]:
        """After it, agents `numbers` were killed when they sent such a transaction, and began again unless not wished.

        None of them is killed before all have sent it: where a round cannot go on without one of several, all will.
        """
        moments = {number: Moment(self.ledger, function, stage, arrives=arrives) for number in numbers}
        with contextlib.ExitStack() as stack:
            for number, moment in moments.items():
                stack.enter_context(self.proxies[number].spoiling(moment))
            yield
            for moment in moments.values():
                moment.wait()
            for number, moment in moments.items():
                self.agents.kill(number)
                moment.release()
        if again:
            for number in numbers:
                self.agents.begin_agent(number)

    def assert_as_simulated(self, folder: Path) -> None:
        """The global model of every round is that of the simulation, and an audit finds nothing."""
        records = list(round_records(self.ledger, self.task))
        simulated = federation(folder, rounds=len(records), consensus="pbft")
        expected = [result.record.model_digest for result in simulated.rounds()]
        assert [record.model_digest for record in records] == expected
        assert_audited(self.agents)


def play(
    agents: Agents,
    store: Store,
    rounds: int,
    *settings: object,
    training: Mapping[str, Any] = MappingProxyType({}),
    then: Callable[[], None] = lambda: None,
) -> tuple[Ledger, int, list[RoundRecord]]:
    """All rounds by agents and their devices, and then `then`; the final model is that of the simulation.

    `settings` are words of `fbfl task create`; `training` are settings on which the model depends.
    """
    for name, value in training.items():
        settings = (*settings, option_of(name), value)
    task = agents.create_task(*SETTINGS, *settings, "--rounds", rounds)
    agents.enrol(task)
    devices = Devices(agents)  # before the agents, which have to know their tokens
    for number in range(SERVERS):
        agents.begin_agent(number, "--patience", 60)
    for number in range(DEVICES):
        devices.start(number, "--once")
    devices.finish()
    agents.drive(rounds, seconds=210 * rounds)  # four miners and four agents may share two cores
    then()
    ledger = agents.ledger()
    records = list(round_records(ledger, task))
    assert [record.status for record in records] == ["final"] * rounds
    submitted = [[update.server for update in record.updates] for record in records]
    assert submitted == [agents.addresses if record.drawn is None else [*record.drawn] for record in records]

    simulated = federation(agents.folder / "simulated", rounds=rounds, consensus="pbft", draw="chain", **training)
    for _ in simulated.rounds():
        pass
    assert store.get(ledger.state(task).model) == simulated.store.get(simulated.ledger.state(simulated.task.id).model)
    return ledger, task, records


def assert_audited(agents: Agents, *options: object) -> str:
    """An audit by command finds nothing; returns what it says."""
    audit = agents.do("audit", *options)
    assert audit.returncode == 0, audit.stdout + audit.stderr
    return audit.stdout
