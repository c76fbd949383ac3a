"""Attacks by name, called the same way everywhere."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fbfl.errors import InvalidInputError, VacuousAttackError
from fbfl.learning import plugins
from fbfl.learning.attacks.data import Labels, Samples
from fbfl.learning.attacks.registry import ATTACKS, Traits, is_ours, traits_of
from fbfl.learning.noise import Images
from fbfl.learning.samples import Range, checked
from fbfl.tensors import Vector, vector_of

CONTEXT = {
    "num_clients": "n, the number of updates of the round",
    "num_byzantine": "f, the number of attackers among them",
    "attacker": "the attacker's place among the attackers, 0 to f-1",
    "num_classes": "the number of classes; 0 where labels are numbers",
    "sample_range": "the least and the largest value of the training data; 0 and 1 for pictures",
    "round_number": "the round, counted from 1",
}


@dataclass(frozen=True)
class Attack:
    """An attack with its settings. The kind of its traits tells whether to call `poison_data` or `poison_update`."""

    plugin: plugins.Plugin
    traits: Traits

    @property
    def name(self) -> str:
        """The name it was resolved from."""
        return self.plugin.name

    @property
    def described(self) -> str:
        """The name with the settings, for messages."""
        settings = ", ".join(f"{key}={value!r}" for key, value in self.plugin.settings.items())
        return f"{self.name} ({settings})" if settings else self.name

    @property
    def is_ours(self) -> bool:
        """True if it is an attack of ours, and not a user's own."""
        return is_ours(self.plugin.function)

    def poison_data(
        self,
        x: Images,
        y: Labels,
        rng: np.random.Generator,
        *,
        num_byzantine: int = 1,
        attacker: int = 0,
        num_classes: int | None = None,
        sample_range: Range | None = None,
    ) -> Samples:
        """Return the attacker's training data instead of its true ones.

        Data that cannot be trained on, and labels beyond `num_classes` (None: any; 0: numbers), raise
        `InvalidInputError`.
        """
        if self.traits.kind != "data":
            raise InvalidInputError(f"attack {self.name}: poisons updates, not data")
        self.check_labels(num_classes)
        known = _known(num_classes, sample_range)
        with self._naming():
            returned = self.plugin(x, y, rng, num_byzantine=num_byzantine, attacker=attacker, **known)
        numbers = 0 if num_classes == 0 else None
        poisoned: Samples = checked(returned, f"attack {self.name}: what it returns", num_classes=numbers)
        if poisoned[0].dtype != x.dtype or poisoned[0].shape[1:] != x.shape[1:]:
            raise InvalidInputError(
                f"attack {self.name}: returns samples {poisoned[0].dtype}{list(poisoned[0].shape)}; "
                f"needed: such as it is given, {x.dtype}{list(x.shape)}"
            )
        if num_classes and poisoned[1].max(initial=0) >= num_classes:
            raise InvalidInputError(
                f"attack {self.described}: makes the label {poisoned[1].max()}, which no sample has; "
                f"allowed: 0 to {num_classes - 1}"
            )
        return poisoned

    def check_labels(self, num_classes: int | None) -> None:
        """Raise `InvalidInputError` if the attack changes classes, and labels are numbers (`num_classes` 0)."""
        if num_classes == 0 and self.traits.classes:
            others = [name for name, function in ATTACKS.items() if not traits_of(function).classes]
            raise InvalidInputError(
                f"attack {self.name}: changes classes, but labels are numbers; allowed: {', '.join(others)}"
            )

    def poison_update(
        self,
        known: npt.NDArray[np.float32],
        own: Vector,
        rng: np.random.Generator,
        *,
        num_clients: int,
        num_byzantine: int,
        attacker: int = 0,
        round_number: int = 0,
    ) -> Vector:
        """Return what the attacker sends instead of its own update; `known` are the updates of `knowledge`."""
        if self.traits.kind != "update":
            raise InvalidInputError(f"attack {self.name}: poisons data, not updates")
        with self._naming(), np.errstate(all="ignore"):  # an update that is not finite is left out
            update = self.plugin(
                known,
                own,
                rng,
                num_clients=num_clients,
                num_byzantine=num_byzantine,
                attacker=attacker,
                round_number=round_number,
            )
            vector = vector_of(f"attack {self.name}", "an update", update, own.size)
            return vector.astype(np.float32, copy=False)

    def triggered(
        self, x: Images, y: Labels, *, num_classes: int | None = None, sample_range: Range | None = None
    ) -> tuple[Images, Labels, int] | None:
        """Return test samples with the trigger, their true labels and the target; None without a backdoor.

        A user's function has a backdoor if it carries such a function of (x, y), its settings, `num_classes` and
        `sample_range` as `triggered`.
        """
        make = self.traits.triggered or getattr(self.plugin.function, "triggered", None)
        if make is None or num_classes == 0:
            return None
        accepted = inspect.signature(make).parameters
        given = {**_known(num_classes, sample_range), **self.plugin.settings}
        settings = {key: value for key, value in given.items() if key in accepted}
        where = f"attack {self.name}: what its triggered returns"
        with self._naming(), plugins.users_code(f"attack {self.name}: its triggered", self.plugin.function):
            returned = make(x.copy(), y.copy(), **settings)
        if not isinstance(returned, tuple | list) or len(returned) != 3:
            raise InvalidInputError(f"{where} is a {type(returned).__name__}; needed: samples, labels and target")
        *pair, target = returned
        samples, labels = checked(pair, where)
        if samples.shape[1:] != x.shape[1:] or not isinstance(target, int | np.integer):
            raise InvalidInputError(
                f"{where} is samples {list(samples.shape)} and the target {target!r}; "
                f"needed: samples such as it is given, {list(x.shape)}, and a label"
            )
        if (labels == target).all():
            raise InvalidInputError(
                f"attack {self.described}: all test samples are of the target class {target}; needed: others, too"
            )
        return samples, labels, int(target)

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """Begin messages about the attack's input with its name."""
        try:
            yield
        except InvalidInputError as error:
            label = f"attack {self.name}"
            if str(error).startswith(label):
                raise
            kind = VacuousAttackError if isinstance(error, VacuousAttackError) else InvalidInputError
            raise kind(f"{label}: {error}") from error


def _known(num_classes: int | None, sample_range: Range | None) -> dict[str, Any]:
    """Return what is known of the data, as context."""
    context = {"num_classes": num_classes, "sample_range": sample_range}
    return {key: value for key, value in context.items() if value is not None}


def resolve(name: str | Callable[..., Any], **settings: Any) -> Attack:
    """Return the attack of a name of `ATTACKS`, of ``package.module:function``, or of a function, with its settings.

    An unknown or missing setting raises `InvalidInputError` that names it and those allowed.
    """
    plugin = plugins.resolve("attack", name, ATTACKS, settings, data=3, context=CONTEXT)
    return Attack(plugin, traits_of(plugin.function))
