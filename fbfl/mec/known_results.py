"""Results that follow from published bytes, computed once for all servers of a process.

On n machines n servers each decode n updates and aggregate them. In one process each still reads and verifies its own
bytes; what they lead to is looked up by their SHA-256, so that a server that has read other bytes gets another result.
Nothing is looked up by what somebody claims: not by a digest on the chain, nor by the name of a file.
"""

import hashlib
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

from fbfl.chain.rounds import Update
from fbfl.errors import AggregationError, FbflError, PayloadRefusedError
from fbfl.mec.global_model import GlobalModel, next_model, weights_of
from fbfl.mec.plan import TaskPlan
from fbfl.storage.codecs import decode_update
from fbfl.storage.store import Reference
from fbfl.tensors import Vector

Result = TypeVar("Result")


class KnownResults:
    """Results in one task, whose rule and model are those of `plan`; they are kept for one round."""

    def __init__(self, plan: TaskPlan) -> None:
        self._plan = plan
        self._round = 0
        self._held: dict[Reference, list[bytes]] = {}
        self._digests: dict[int, bytes] = {}
        """SHA-256 of the bytes that are held, by their `id`."""
        self._results: dict[Hashable, Any] = {}
        """What was found, or the error that says why there is nothing."""

    def held_once(self, round_number: int, reference: Reference, payload: bytes) -> bytes:
        """Return the same bytes, in memory once however many servers have read them; `reference` says where to look."""
        self._turn_to(round_number)
        known = self._held.setdefault(reference, [])
        for same in known:
            if same is payload or same == payload:
                return same
        known.append(payload)
        self._digests[id(payload)] = hashlib.sha256(payload).digest()
        return payload

    def check_update(self, round_number: int, payload: bytes) -> None:
        """Raise `PayloadRefusedError` for bytes that are not an update of the task."""

        def check() -> None:
            decode_update(self._plan.payload, self._plan.spec, payload)

        self._once(round_number, ("update", self._digest(payload)), check)

    def weights(self, round_number: int, payload: bytes) -> Vector:
        """Return the global model [P] in these bytes, an array of one's own; `PayloadRefusedError` if there is none."""
        found = self._once(round_number, ("weights", self._digest(payload)), lambda: weights_of(self._plan, payload))
        return found.copy()

    def next_model(
        self, round_number: int, parent: bytes, updates: Sequence[tuple[Update, bytes]], seed: int | None
    ) -> GlobalModel:
        """Return what `fbfl.mec.global_model.next_model` returns, or raise what it raises.

        The state that a rule carries is part of the parent's bytes.
        """
        counted = tuple(
            (update.server, update.seat, update.samples, self._digest(payload)) for update, payload in updates
        )
        key = "model", self._digest(parent), counted, seed
        return self._once(round_number, key, lambda: next_model(self._plan, round_number, parent, updates, seed))

    def _once(self, round_number: int, key: Hashable, compute: Callable[[], Result]) -> Result:
        """Return what was computed before, or raise the error that was raised, for the same key in this round."""
        self._turn_to(round_number)
        if key not in self._results:
            try:
                self._results[key] = compute()
            except (AggregationError, PayloadRefusedError) as error:
                self._results[key] = error
        found: Result = self._results[key]
        if isinstance(found, FbflError):
            raise found.with_traceback(None)
        return found

    def _turn_to(self, round_number: int) -> None:
        if round_number != self._round:
            self._round = round_number
            for known in (self._held, self._digests, self._results):
                known.clear()

    def _digest(self, data: bytes) -> bytes:
        return self._digests.get(id(data)) or hashlib.sha256(data).digest()
