"""Letting payloads go: a server keeps what the newest rounds need to be recomputed, and the current global model."""

import logging

from fbfl.chain.ledger import Ledger
from fbfl.chain.rounds import TaskState
from fbfl.chain.task import Task
from fbfl.storage.store import Reference, Store

log = logging.getLogger(__name__)


class Retention:
    """One server's payloads of one task: those of the last `rounds` rounds that are over stay pinned (None: all).

    It keeps no state that a restart would lose: letting go of a payload twice changes nothing.
    """

    def __init__(self, ledger: Ledger, store: Store, task: Task, rounds: int | None) -> None:
        self._ledger = ledger
        self._store = store
        self._task = task
        self._rounds = rounds
        self._released = 0
        self._due: set[Reference] = set()

    @property
    def oldest(self) -> int | None:
        """First round whose records it still has to read; None if it reads none."""
        return None if self._rounds is None else self._released

    def release(self, state: TaskState) -> bool:
        """Let go of the payloads of one round that is past its time; return True if there was one."""
        if self._rounds is None:
            return False
        over = state.round if state.phase.is_over else state.round - 1
        if self._released >= over - self._rounds:
            return False
        number = self._released + 1
        due = self._due | self._updates(number) | self._proposals(number - 1)
        kept = {state.model}
        for retained in range(over - self._rounds + 1, state.round + 1):
            kept |= self._parent(retained) | self._updates(retained) | self._proposals(retained)
        for reference in due - kept:
            self._store.unpin(reference)
        log.info("round %d: its payloads may go", number)
        self._due = due & kept
        self._released = number
        return True

    def _updates(self, number: int) -> set[Reference]:
        return {update.payload for update in self._ledger.recorded(self._task.id, number)}

    def _proposals(self, number: int) -> set[Reference]:
        """Return the models that were proposed in a round; round 0 stands for the task's initial model."""
        if not number:
            return {self._task.model}
        events = self._ledger.round_events(self._task.id, number, "ModelProposed")
        return {Reference(event.args["model"], event.args["modelSize"]) for event in events}

    def _parent(self, number: int) -> set[Reference]:
        events = self._ledger.round_events(self._task.id, number, "RoundOpened")
        return {Reference(event.args["parent"], event.args["parentSize"]) for event in events}
