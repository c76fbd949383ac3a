"""Results that follow from published bytes, computed once for all servers of a process.

On n machines n servers each decode n updates and aggregate them. In one process each still reads and verifies its own
bytes; what they lead to is looked up by their SHA-256, so that a server that has read other bytes gets another result.
Nothing is looked up by what somebody claims: not by a digest on the chain, nor by the name of a file.
"""

import hashlib
from collections.abc import Hashable, Sequence

from fbfl.chain.rounds import Update
from fbfl.errors import AggregationError, PayloadRefusedError
from fbfl.mec.global_model import GlobalModel, next_model, weights_of
from fbfl.mec.plan import TaskPlan
from fbfl.storage.codecs import decode_update
from fbfl.storage.store import Reference
from fbfl.tensors import Vector


class KnownResults:
    """Results in one task, whose rule and model are those of `plan`; they are kept for one round."""

    def __init__(self, plan: TaskPlan) -> None:
        self._plan = plan
        self._round = 0
        self._held: dict[Reference, list[bytes]] = {}
        self._digests: dict[int, bytes] = {}
        """SHA-256 of the bytes that are held, by their `id`."""
        self._checked: dict[bytes, str | None] = {}
        self._models: dict[Hashable, GlobalModel | str] = {}
        self._weights: dict[bytes, Vector] = {}

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
        self._turn_to(round_number)
        digest = self._digest(payload)
        if digest not in self._checked:
            try:
                decode_update(self._plan.payload, self._plan.spec, payload)
                self._checked[digest] = None
            except PayloadRefusedError as error:
                self._checked[digest] = str(error)
        refusal = self._checked[digest]
        if refusal is not None:
            raise PayloadRefusedError(refusal)

    def weights(self, round_number: int, payload: bytes) -> Vector:
        """Return the global model [P] in these bytes, an array of one's own; `PayloadRefusedError` if there is none."""
        self._turn_to(round_number)
        digest = self._digest(payload)
        if digest not in self._weights:
            self._weights[digest] = weights_of(self._plan, payload)
        return self._weights[digest].copy()

    def next_model(
        self, round_number: int, parent: bytes, updates: Sequence[tuple[Update, bytes]], seed: int | None
    ) -> GlobalModel:
        """Return what `fbfl.mec.global_model.next_model` returns, or raise what it raises.

        The state that a rule carries is part of the parent's bytes.
        """
        self._turn_to(round_number)
        counted = tuple(
            (update.server, update.seat, update.samples, self._digest(payload)) for update, payload in updates
        )
        key = self._digest(parent), counted, seed
        if key not in self._models:
            try:
                self._models[key] = next_model(self._plan, round_number, parent, updates, seed)
            except AggregationError as error:
                self._models[key] = str(error)
        result = self._models[key]
        if isinstance(result, str):
            raise AggregationError(result)
        return result

    def _turn_to(self, round_number: int) -> None:
        if round_number != self._round:
            self._round = round_number
            for known in (self._held, self._digests, self._checked, self._models, self._weights):
                known.clear()

    def _digest(self, data: bytes) -> bytes:
        return self._digests.get(id(data)) or hashlib.sha256(data).digest()
