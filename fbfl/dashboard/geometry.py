"""How the updates of a round lie to each other and to the aggregate. For people to look at, not for votes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fbfl.tensors import Vector

_BLOCK = 65_536
"""Columns at a time, so that no second copy of all updates is needed."""


@dataclass(frozen=True)
class Geometry:
    """Lengths, angles and distances of n updates; None where an angle is not defined."""

    norms: tuple[float, ...]
    """Euclidean length of each update."""
    cosines: tuple[float | None, ...]
    """Cosine between each update and the aggregate: None of a zero vector, or without an aggregate."""
    distances: tuple[tuple[float, ...], ...]
    """Euclidean distance of each update from each, [n, n]."""
    aggregate_norm: float | None


def geometry(updates: npt.NDArray[np.float32], aggregate: Vector | None = None) -> Geometry:
    """Return the geometry of updates [n, P] and of the aggregate [P] that was made of them, if there was one."""
    n, width = updates.shape
    gram, along, length = np.zeros((n, n)), np.zeros(n), 0.0
    squares = np.zeros(n)
    for start in range(0, width, _BLOCK):
        block = updates[:, start : start + _BLOCK].astype(np.float64)
        squares += (block**2).sum(axis=1)
        if aggregate is not None:
            part = aggregate[start : start + _BLOCK].astype(np.float64)
            along += block @ part
            length += float(part @ part)
        block -= block.sum(axis=0) / max(1, n)  # distances of near updates lose no digits to a large common part
        gram += block @ block.T
    lengths = np.diag(gram)
    apart = np.sqrt(np.maximum(lengths[:, None] + lengths[None, :] - 2 * gram, 0.0))
    np.fill_diagonal(apart, 0.0)
    norms = np.sqrt(squares)
    total = float(np.sqrt(length))
    return Geometry(
        tuple(norms.tolist()),
        tuple(
            float(np.clip(each / (norm * total), -1.0, 1.0)) if norm > 0 and total > 0 else None
            for each, norm in zip(along, norms, strict=True)
        ),
        tuple(map(tuple, apart.tolist())),
        None if aggregate is None else total,
    )
