"""Records as a chain could have them, without a chain."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fbfl.chain.records import ProposalRecord, RoundRecord, ServerRecord, TaskRecords, UpdateRecord, VoteRecord
from fbfl.chain.task import Task
from fbfl.dashboard.sources import Known, NetworkSource, OpenRound
from fbfl.dashboard.where import Where
from fbfl.storage.store import Reference

SERVERS = tuple("0x" + f"{number:02x}" * 20 for number in range(1, 5))


def a_round(number: int = 1, **changed: Any) -> RoundRecord:
    """A round of four servers: the first leads, is voted down, and the second's proposal becomes final."""
    block = 10 * number
    made = RoundRecord(
        task=1,
        round=number,
        status="final",
        consensus="pbft",
        leader=SERVERS[1],
        views=2,
        parent_cid="parent",
        model_cid="model",
        model_digest="0x" + "ab" * 32,
        model_size=100,
        value_digest="0x" + "cd" * 32,
        reason=None,
        updates=tuple(
            UpdateRecord(
                server, seat, f"cid{seat}", "0x" + "ef" * 32, 100, 10 + seat, seat != 3, block + 1, f"0x{seat}"
            )
            for seat, server in enumerate(SERVERS)
        ),
        missing=(SERVERS[3],),
        proposals=(
            ProposalRecord(SERVERS[0], 0, "0x01", "cid", "0x" + "11" * 32, 100, block + 2, "0xa"),
            ProposalRecord(SERVERS[1], 1, "0x02", "model", "0x" + "ab" * 32, 100, block + 4, "0xb"),
        ),
        votes=(
            VoteRecord(SERVERS[0], 0, "prepare", True, block + 2, "0xa"),
            VoteRecord(SERVERS[1], 0, "prepare", False, block + 3, "0xc"),
            VoteRecord(SERVERS[2], 0, "prepare", False, block + 3, "0xc"),
            VoteRecord(SERVERS[1], 1, "prepare", True, block + 4, "0xb"),
            VoteRecord(SERVERS[2], 1, "prepare", True, block + 5, "0xd"),
            VoteRecord(SERVERS[2], 1, "commit", True, block + 6, "0xe"),
        ),
        barred=(SERVERS[0],),
        rewards=((SERVERS[1], 200), (SERVERS[1], 50), (SERVERS[2], 50)),
        slashes=((SERVERS[0], 7, "rejected"),),
        gas_used=1000 + number,
        transactions=9,
        calldata_bytes=500,
        first_block=block,
        last_block=block + 7,
    )
    return replace(made, **changed)


def records(*rounds: RoundRecord) -> TaskRecords:
    task = Task(1, SERVERS[0], "pbft", SERVERS[0], "fedavg", b"{}", {}, Reference(bytes(32), 1), 1)
    servers = tuple(ServerRecord(address, f"http://{place}", 10**18, "active") for place, address in enumerate(SERVERS))
    return TaskRecords(task, {}, servers, rounds, len(rounds))


class Made(NetworkSource):
    """A source of made-up records and lines."""

    where = Where(run=Path("run"))
    label = "run"
    settings: Mapping[str, Any] = {}
    goes_on = False

    def __init__(self, found: TaskRecords | None, lines: Sequence[Mapping[str, Any]] = ()) -> None:
        self._found = found
        self._lines = lines

    def check(self) -> None:
        pass

    def metrics(self) -> Sequence[Mapping[str, Any]]:
        return self._lines

    def known(self) -> Known:
        return Known(self._found)

    def open_round(self) -> OpenRound | None:
        return None
