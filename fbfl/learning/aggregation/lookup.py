"""Aggregation rules by name, called the same way by a federation and by a server on a chain."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fbfl.errors import AggregationError, InvalidInputError
from fbfl.learning import plugins
from fbfl.learning.aggregation.inputs import Matrix, Updates, Weights, as_finite_matrix
from fbfl.learning.aggregation.mixing import SETTINGS, Mixing, taken_from
from fbfl.learning.aggregation.rule_function import CONTEXT, RULES, Aggregate, RuleFunction, State, answer
from fbfl.learning.samples import integers_of
from fbfl.tensors import state_arrays, vector_of


@dataclass(frozen=True)
class AggregationRule:
    """A rule with its settings, ready to be called once a round."""

    plugin: plugins.Plugin
    mixing: Mixing | None = None
    """Mixing of the updates before the rule sees them."""

    @property
    def name(self) -> str:
        """The name it was resolved from."""
        return self.plugin.name

    @property
    def canonical(self) -> bool:
        """True if all machines get the same bytes, as with all rules of ours.

        A user's function counts as canonical if it has ``canonical = True``, on its author's responsibility.
        """
        return bool(getattr(self.plugin.function, "canonical", False))

    @property
    def stateful(self) -> bool:
        """True if it carries state from round to round."""
        return "state" in self.plugin.wants

    @property
    def kept_vectors(self) -> int:
        """Vectors [P] that its state may hold beside one per client: one, and of its history one per round."""
        function = self.plugin.function
        if not isinstance(function, RuleFunction) or function.history is None:
            return 1
        default = inspect.signature(function).parameters[function.history].default
        return 1 + int(self.plugin.settings.get(function.history, default))

    @property
    def draws(self) -> bool:
        """True if it draws at random, from the `seed` of its caller."""
        return "seed" in self.plugin.wants or (self.mixing is not None and self.mixing.draws)

    @property
    def counts_samples(self) -> bool:
        """True if sample counts weigh the updates; in rules of ours with a setting `weighted`, if that is set."""
        function = self.plugin.function
        if isinstance(function, RuleFunction) and "weighted" in inspect.signature(function).parameters:
            return bool(self.plugin.settings.get("weighted"))
        return "weights" in self.plugin.wants

    @property
    def needs_root_update(self) -> bool:
        """True if it needs the update of a trusted party every round."""
        return "root_update" in self.plugin.wants

    def __call__(
        self,
        updates: Updates,
        weights: Weights = None,
        *,
        state: State | None = None,
        clients: Sequence[int] | None = None,
        seed: int = 0,
        round_number: int = 0,
        root_update: npt.ArrayLike | None = None,
    ) -> Aggregate:
        """Aggregate one round. Arguments that the rule does not use are ignored; see `rulefunction.CONTEXT`."""
        if self.needs_root_update and root_update is None:
            raise AggregationError(f"{self.name} needs a root_update: the update of a trusted party")
        weights = weights if self.counts_samples else None
        members = None
        if self.mixing is not None:
            updates, weights, members = self.mixing(updates, weights, seed, round_number)
        context: dict[str, Any] = {
            "weights": weights,
            "state": state or {},
            "clients": clients,
            "seed": seed,
            "round_number": round_number,
            "root_update": root_update,
        }
        function = self.plugin.function
        if isinstance(function, RuleFunction):
            result: Aggregate = replace(self.plugin, function=function.aggregate)(updates, **context)
        else:
            matrix = as_finite_matrix(updates)
            result = _checked(self.name, self.plugin(matrix, **context), matrix)
        if members is not None and result.selected is not None:
            result = replace(result, selected=tuple(sorted(row for each in result.selected for row in members[each])))
        return replace(result, state=state_arrays(f"aggregator {self.name}", result.state))


def resolve(name: str | Callable[..., Any], **settings: Any) -> AggregationRule:
    """Return the rule of a name of `RULES`, of ``package.module:function``, or of a function, with its settings.

    A user's function takes the updates, float32 [n, P], and returns a vector [P] or an `Aggregate`. Every rule takes
    the settings of `mixing.taken_from`, too. An unknown or missing setting raises `InvalidInputError` that names it and
    those allowed.
    """
    label = f"aggregator {plugins.label_of(name)}"
    mixing, own = taken_from(label, settings)
    plugin = plugins.resolve("aggregator", name, RULES, own, data=1, context=CONTEXT, also=SETTINGS)
    if mixing is not None and mixing.draws and "clients" in plugin.wants:
        raise InvalidInputError(f"{label}: remembers clients, and mixing is {mixing.name!r}; allowed: nnm")
    return AggregationRule(plugin, mixing)


def _checked(name: str, result: Any, matrix: Matrix) -> Aggregate:
    """Return a user's answer as an `Aggregate` of ours."""
    given = result if isinstance(result, Aggregate) else Aggregate(result)
    count, width = matrix.shape
    vector = vector_of(f"aggregator {name}", "an array", given.vector, width, AggregationError).astype(np.float64)
    if given.selected is None:
        return Aggregate(answer(vector).vector, given.state)
    selected = [int(row) for row in integers_of(given.selected, f"aggregator {name}: selected")]
    if len({*selected}) != len(selected) or not {*selected} <= {*range(count)}:
        raise AggregationError(f"aggregator {name} selected the rows {selected}; allowed: some of 0 to {count - 1}")
    return Aggregate(answer(vector).vector, given.state, tuple(sorted(selected)))
