"""Local training of all servers of a federation in one process, at once, so that no core is idle."""

import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from fbfl.learning.adversary import Adversary
from fbfl.learning.trainer import Trainer
from fbfl.learning.training import Samples
from fbfl.mec.samples import SampleStore
from fbfl.tensors import Vector


class JointTraining:
    """Trains all servers' clients on the lanes; each update is as if its server had trained alone.

    `others` are the trainers of servers (by number) that do not use the common one. Malicious servers, which see all
    updates, make theirs here, too.
    """

    def __init__(
        self,
        trainer: Trainer,
        stores: Sequence[SampleStore],
        adversary: Adversary,
        others: Mapping[int, Trainer] = MappingProxyType({}),
    ) -> None:
        self._trainers = [others.get(server, trainer) for server in range(len(stores))]
        self._stores = stores
        self._adversary = adversary
        self._poisoned: dict[int, tuple[Samples, Samples]] = {}
        self.seconds = 0.0
        """Seconds spent in training so far."""
        for server in adversary.malicious:  # now rather than in the first round, which is timed
            held = stores[server].training_set(0)
            if len(held[1]):
                self._trained_on(server, held)

    def updates(self, weights: Vector, round_number: int, work: Mapping[int, int]) -> dict[int, Vector]:
        """Train from global weights [P]; return the update [P] of each server that has samples and work to do.

        `work` are the epochs or steps of each server that trains.
        """
        started = time.perf_counter()
        held = {number: store.training_set(round_number) for number, store in enumerate(self._stores)}
        servers = [number for number, (_, y) in held.items() if len(y) and number in work]
        trained: dict[int, Vector] = {}
        for trainer in {id(each): each for each in self._trainers}.values():
            own = [number for number in servers if self._trainers[number] is trainer]
            samples = [self._trained_on(number, held[number]) for number in own]
            updates = trainer.train(
                weights,
                samples,
                round_number=round_number,
                client_ids=own,
                local_epochs=[work[number] for number in own],
            )
            trained |= dict(zip(own, updates, strict=True))
        rows = [trained[number] for number in servers]
        if self._adversary.poisons_updates and rows:
            matrix = np.stack(rows)
            self._adversary.poison_updates(round_number, servers, matrix)
            rows = list(matrix)
        self.seconds += time.perf_counter() - started
        return dict(zip(servers, rows, strict=True))

    def _trained_on(self, server: int, held: Samples) -> Samples:
        """Return a server's training samples; poisoned anew only if it holds other samples than in the round before."""
        before, poisoned = self._poisoned.get(server, (None, held))
        if before is not held:
            poisoned = self._adversary.poisoned_samples(server, held)
            self._poisoned[server] = held, poisoned
        return poisoned
