"""Mixing of updates before a rule sees them, which makes honest ones more alike: nearest neighbours and buckets.

Robust rules take honest clients that differ, as with non-IID data, for attackers. Both ways average some updates with
others first; any rule then works on what comes out, as one that is canonical: the same bytes everywhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fbfl.errors import AggregationError, InvalidInputError, require
from fbfl.learning.aggregation.averages import mean_of_rows, sum_in_order, weighted_sum
from fbfl.learning.aggregation.inputs import (
    Matrix,
    Updates,
    Weights,
    as_finite_matrix,
    as_integer,
    as_weights,
)
from fbfl.learning.exact_gram import exact_gram
from fbfl.randomness import seed_sequence
from fbfl.values import checks

NAMES = ("nnm", "bucketing")
"""Names of the setting `mixing` of every rule."""

_OWN = {"nnm": "mixing_byzantine", "bucketing": "bucket_size"}
SETTINGS = ("mixing", *_OWN.values())
"""Names of the settings that every rule takes."""

_BUCKET_SIZE = 2


def nearest_neighbour_mixing(updates: Updates, num_byzantine: int) -> Matrix:
    """Return float32 [n, P]: for each update the mean of the n-f nearest to it, itself among them.

    Allouah et al. 2023, "Fixing by Mixing: A Recipe for Optimal Byzantine ML under Heterogeneity", algorithm 2. Needs
    n >= 2f+1. Squared distances are exact, ties go to the lowest row, means are added in the order of rows and rounded
    once to float32. Cost: n^2 P.
    """
    matrix = as_finite_matrix(updates)
    n, f = len(matrix), as_integer("mixing_byzantine", num_byzantine, minimum=0)
    if n < 2 * f + 1:
        raise AggregationError(f"nnm needs n >= 2f+1 updates; n={n}, f={f} needs {2 * f + 1}")
    order = np.argsort(exact_gram(matrix).squared_distances(), axis=1, kind="stable")[:, : n - f]
    mixed = np.empty_like(matrix)
    known: dict[tuple[int, ...], int] = {}  # many updates have the same neighbours
    for row, neighbours in enumerate(order):
        rows = tuple(sorted(map(int, neighbours)))
        same = known.setdefault(rows, row)
        mixed[row] = mixed[same] if same < row else mean_of_rows(matrix, rows)
    return mixed


def buckets(n: int, bucket_size: int, seed: int, round_number: int = 0) -> list[tuple[int, ...]]:
    """Deal n rows at random into buckets of `bucket_size`, the last perhaps smaller; rows ascend within one.

    Karimireddy, He and Jaggi 2022, "Byzantine-Robust Learning on Heterogeneous Datasets via Bucketing", algorithm 1.
    """
    size = as_integer("bucket_size", bucket_size, minimum=1)
    order = np.random.Generator(np.random.PCG64(seed_sequence(seed, "buckets", round_number=round_number))).permutation(
        n
    )
    return [tuple(sorted(map(int, order[start : start + size]))) for start in range(0, n, size)]


Members = tuple[tuple[int, ...], ...] | None
"""The rows that are in each row after mixing; None if each stands for the update that it was."""


@dataclass(frozen=True)
class Mixing:
    """A way of mixing with its setting: f of `nnm`, or the size of buckets."""

    name: str
    size: int

    @property
    def draws(self) -> bool:
        """True if it draws at random, from the `seed` of its caller."""
        return self.name == "bucketing"

    def __call__(
        self, updates: Updates, weights: Weights, seed: int, round_number: int
    ) -> tuple[Matrix, Weights, Members]:
        """Mix the updates of a round; buckets weigh their updates, if weights are given, and weigh their sum."""
        matrix = as_finite_matrix(updates)
        if self.name == "nnm":
            return nearest_neighbour_mixing(matrix, self.size), weights, None
        groups = buckets(len(matrix), self.size, seed, round_number)
        factors = as_weights(weights, len(matrix))
        sums = [sum_in_order(factors[list(group)]) for group in groups]
        rows = []
        for group, total in zip(groups, sums, strict=True):
            shares = factors[list(group)] if total else np.ones(len(group))
            rows.append(weighted_sum(matrix[list(group)], shares.tolist()) / (total or len(group)))
        return np.stack(rows).astype(np.float32), None if weights is None else sums, tuple(groups)


def taken_from(label: str, settings: Mapping[str, Any]) -> tuple[Mixing | None, dict[str, Any]]:
    """Return the mixing that the settings of a rule ask for, and its own settings.

    `mixing` names it. `nnm` takes `mixing_byzantine`, by default the rule's own `num_byzantine` or `trim`; `bucketing`
    takes `bucket_size`, by default 2. Anything else raises `InvalidInputError`, which begins with `label`.
    """
    rest = {key: value for key, value in settings.items() if key not in SETTINGS}
    named = {key: value for key, value in settings.items() if key not in rest}
    if not named:
        return None, rest
    if "mixing" not in named:
        raise InvalidInputError(f"{label}: {', '.join(named)} needs mixing; allowed: {', '.join(NAMES)}")
    name = named.pop("mixing")
    require(name in NAMES, f"{label}: mixing", name, ", ".join(NAMES))
    own = _OWN[name]
    for key in named:
        if key != own:
            raise InvalidInputError(f"{label}: mixing {name} does not take {key!r}; allowed: {own}")
    given = named.get(own, rest.get("num_byzantine", rest.get("trim")) if name == "nnm" else _BUCKET_SIZE)
    if given is None:
        raise InvalidInputError(f"{label}: mixing nnm needs {own}, the number of attackers")
    checks.check(f"{label}: ", own, given, int)
    least = 0 if name == "nnm" else 1
    require(given >= least, f"{label}: {own}", given, f"{least} or more")
    return Mixing(name, int(given)), rest
