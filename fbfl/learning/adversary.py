"""The attackers of a federation: which clients they are, and what they do to their samples and their updates."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fbfl.errors import VacuousAttackError
from fbfl.learning.attacks import Attack
from fbfl.learning.noise import Images
from fbfl.learning.samples import Range
from fbfl.learning.training import Samples
from fbfl.randomness import generator


@dataclass(frozen=True)
class Adversary:
    """One party that controls the `malicious` clients; what it draws follows from seed, attack, round and client."""

    attacks: tuple[Attack, ...]
    malicious: tuple[int, ...]
    """Client numbers, ascending."""
    seed: int
    num_classes: int | None = None
    """Number of classes of the data; 0 if labels are numbers; None while it is not known."""
    sample_range: Range | None = None
    """Range of the training data of all clients, before anything is poisoned; None while it is not known."""
    _idle: dict[int, str | None] = field(default_factory=dict, init=False, repr=False, compare=False)
    """By the place of an attack: the reason why it has had its turn but changed nothing so far; None once it has."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """A line for each attack that has had its turn and changed nothing so far."""
        idle = ((self.attacks[place], why) for place, why in sorted(self._idle.items()))
        return tuple(f"attack {attack.described} has no effect: {why}" for attack, why in idle if why)

    @property
    def poisons_updates(self) -> bool:
        """True if it has to see all updates of a round before its own are sent."""
        return bool(self.malicious) and any(attack.traits.kind == "update" for attack in self.attacks)

    @property
    def poisons_samples(self) -> bool:
        """True if it changes samples before its clients train on them."""
        return bool(self.malicious) and any(attack.traits.kind == "data" for attack in self.attacks)

    def poisoned_samples(self, client: int, samples: Samples) -> Samples:
        """Return a client's samples, poisoned once and for all if it attacks them."""
        if client not in self.malicious:
            return samples
        for number, attack in enumerate(self.attacks):
            if attack.traits.kind == "data" and not len(samples[1]):
                self._note(number, "the attackers have no samples")
            elif attack.traits.kind == "data":
                poisoned = attack.poison_data(
                    *samples,
                    generator(self.seed, f"attack {attack.name}", server=client),
                    num_byzantine=len(self.malicious),
                    attacker=self.malicious.index(client),
                    num_classes=self.num_classes,
                    sample_range=self.sample_range,
                )
                same = all(np.array_equal(*pair) for pair in zip(samples, poisoned, strict=True))
                self._note(number, "no sample of the attackers is changed" if same else None)
                samples = poisoned
        return samples

    def check(self, num_clients: int) -> None:
        """Raise `VacuousAttackError` if an attack of ours is impossible when all `num_clients` take part.

        One that changes classes where there are none raises `InvalidInputError`.
        """
        for attack in self.attacks:
            attack.check_labels(self.num_classes)
        made_up = generator(0, "made-up updates").standard_normal((num_clients, 8)).astype(np.float32)
        clients, attackers = range(num_clients), list(self.malicious)
        for attack in self.attacks:
            if attack.traits.kind == "update" and attack.is_ours and attackers:
                self._sent(attack, 1, clients, attackers, made_up, made_up)

    def poison_updates(self, round_number: int, clients: Sequence[int], rows: npt.NDArray[np.float32]) -> None:
        """Replace the attackers' rows of float32 [n, P] by what they send, one attack after the other.

        `clients` has the client number of each row. An attack that is impossible with this round's participants is
        left out: the attackers then send what they have.
        """
        attackers = [row for row, client in enumerate(clients) if client in self.malicious]
        if not attackers or not self.poisons_updates:
            return
        trained = rows.copy() if len(self.attacks) > 1 else rows
        for number, attack in enumerate(self.attacks):
            if attack.traits.kind == "update":
                try:
                    sent = self._sent(attack, round_number, clients, attackers, trained, rows)
                except VacuousAttackError as error:
                    self._note(number, str(error.__cause__ or error))  # without the name, which the line has
                    continue
                same = all(
                    np.array_equal(rows[row], vector)
                    for row, vector in zip(attackers, itertools.cycle(sent), strict=False)
                )
                self._note(number, "what the attackers send is what they have trained" if same else None)
                rows[attackers] = sent

    def _note(self, number: int, idle: str | None) -> None:
        """Remember why an attack has changed nothing, until it does."""
        if self._idle.get(number, "") is not None:
            self._idle[number] = idle

    def _sent(
        self,
        attack: Attack,
        round_number: int,
        clients: Sequence[int],
        attackers: Sequence[int],
        trained: npt.NDArray[np.float32],
        rows: npt.NDArray[np.float32],
    ) -> list[npt.NDArray[np.float32]]:
        """Return what the attackers send instead of their `rows`, from what the attack knows of `trained` updates."""
        known = trained
        if attack.traits.knowledge == "honest":
            known = np.delete(trained, attackers, axis=0)
        elif attack.traits.knowledge == "compromised":
            known = trained[attackers]
        return [
            attack.poison_update(
                known,
                rows[row],
                generator(self.seed, f"attack {attack.name}", round_number=round_number, server=clients[row]),
                num_clients=len(clients),
                num_byzantine=len(attackers),
                attacker=place,
                round_number=round_number,
            )
            for place, row in enumerate(attackers[:1] if attack.traits.colluding else attackers)
        ]

    def triggered(self, x: Images, y: npt.NDArray[np.integer]) -> tuple[Images, npt.NDArray[np.integer], int] | None:
        """Return test samples with the backdoor's trigger, their true labels and the target; None if there is none."""
        found = (
            attack.triggered(x, y, num_classes=self.num_classes, sample_range=self.sample_range)
            for attack in self.attacks
            if attack.traits.kind == "data"
        )
        return next((samples for samples in found if samples), None)
