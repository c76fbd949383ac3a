"""The rules once more, from their formulas: slow, in exact fractions or plain float64, sharing no code with fbfl."""

import math
import statistics
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.cluster import HDBSCAN


def fractions(updates: npt.NDArray[Any]) -> list[list[Fraction]]:
    return [[Fraction(float(value)) for value in row] for row in updates]


def squared_distance(u: list[Fraction], v: list[Fraction]) -> Fraction:
    return sum(((a - b) ** 2 for a, b in zip(u, v, strict=True)), Fraction(0))


def float32(column_values: list[Fraction]) -> npt.NDArray[Any]:
    return np.array([float(value) for value in column_values]).astype(np.float32)


def mean(rows: list[list[Fraction]], weights: list[int] | None = None) -> list[Fraction]:
    weights = weights or [1] * len(rows)
    return [
        sum(w * v for w, v in zip(weights, column, strict=True)) / sum(weights) for column in zip(*rows, strict=True)
    ]


def krum_scores(rows: list[list[Fraction]], f: int) -> list[Fraction]:
    n = len(rows)
    scores = []
    for i in range(n):
        others = sorted(squared_distance(rows[i], rows[j]) for j in range(n) if j != i)
        scores.append(sum(others[: max(1, n - f - 2)], Fraction(0)))
    return scores


def krum(rows: list[list[Fraction]], f: int) -> int:
    scores = krum_scores(rows, f)
    return scores.index(min(scores))


def multi_krum(rows: list[list[Fraction]], f: int, m: int) -> list[int]:
    scores = krum_scores(rows, f)
    return sorted(sorted(range(len(rows)), key=lambda i: (scores[i], i))[:m])


def bulyan(rows: list[list[Fraction]], f: int) -> tuple[list[int], list[Fraction]]:
    left = list(range(len(rows)))
    picked = []
    for _ in range(len(rows) - 2 * f):
        best = left[krum([rows[i] for i in left], f)]
        picked.append(best)
        left.remove(best)
    picked.sort()
    result = []
    for column in zip(*(rows[i] for i in picked), strict=True):
        middle = statistics.median(column)
        near = sorted(range(len(column)), key=lambda i: (abs(column[i] - middle), i))[: len(picked) - 2 * f]
        result.append(sum(column[i] for i in near) / len(near))
    return picked, result


def trimmed_mean(rows: list[list[Fraction]], trim: int) -> list[Fraction]:
    kept = [sorted(column)[trim : len(rows) - trim] for column in zip(*rows, strict=True)]
    return [sum(values) / len(values) for values in kept]


def median(rows: list[list[Fraction]]) -> list[Fraction]:
    return [statistics.median(column) for column in zip(*rows, strict=True)]


def geometric_median(updates: npt.NDArray[Any], weights: npt.NDArray[Any], steps: int = 20_000) -> npt.NDArray[Any]:
    """Plain Weiszfeld iteration on the points, from the mean."""
    points = updates.astype(np.float64)
    centre = np.average(points, axis=0, weights=weights)
    for _ in range(steps):
        pulls = weights / np.maximum(np.linalg.norm(points - centre, axis=1), 1e-9)
        centre = pulls @ points / pulls.sum()
    return centre


def centered_clipping(
    updates: npt.NDArray[Any], radius: float | None, iterations: int, centre: npt.NDArray[Any]
) -> npt.NDArray[Any]:
    points = updates.astype(np.float64)
    for _ in range(iterations):
        steps = points - centre
        lengths = np.linalg.norm(steps, axis=1)
        bound = np.median(lengths) if radius is None else radius
        centre = centre + np.mean(
            [s * min(1, bound / d) if d else s for s, d in zip(steps, lengths, strict=True)], axis=0
        )
    return centre


def norm_clipping(updates: npt.NDArray[Any], bound: float, weights: npt.NDArray[Any]) -> npt.NDArray[Any]:
    rows = updates.astype(np.float64)
    short = [row * min(1.0, bound / max(float(np.linalg.norm(row)), 1e-300)) for row in rows]
    return np.average(short, axis=0, weights=weights)


def fltrust(updates: npt.NDArray[Any], root: npt.NDArray[Any]) -> npt.NDArray[Any]:
    rows, root = updates.astype(np.float64), root.astype(np.float64)
    trust = [max(0.0, row @ root / np.linalg.norm(row) / np.linalg.norm(root)) for row in rows]
    scaled = [row * np.linalg.norm(root) / np.linalg.norm(row) for row in rows]
    weighted: npt.NDArray[Any] = sum(t * row for t, row in zip(trust, scaled, strict=True)) / sum(trust)
    return weighted


def foolsgold_weights(history: npt.NDArray[Any]) -> list[float | np.float64]:
    n = len(history)
    rows = history.astype(np.float64)
    cs = [[rows[i] @ rows[j] / np.linalg.norm(rows[i]) / np.linalg.norm(rows[j]) for j in range(n)] for i in range(n)]
    v = [max(cs[i][j] for j in range(n) if j != i) for i in range(n)]
    for i in range(n):
        for j in range(n):
            if i != j and v[j] > v[i]:
                cs[i][j] *= v[i] / v[j]
    alpha = [min(1.0, max(0.0, 1 - max(cs[i][j] for j in range(n) if j != i))) for i in range(n)]
    alpha = [a / max(alpha) for a in alpha]
    return [a if a in (0.0, 1.0) else min(1.0, max(0.0, math.log(a / (1 - a)) + 0.5)) for a in alpha]


def flame(updates: npt.NDArray[Any]) -> tuple[tuple[int, ...], npt.NDArray[Any]]:
    """Return the updates that scikit-learn's HDBSCAN lets in, and their clipped mean without noise."""
    rows = updates.astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1)
    distances = np.maximum(1 - rows @ rows.T / np.outer(lengths, lengths), 0)
    kept = majority(distances)
    clipped = rows * np.minimum(1, np.median(lengths) / lengths)[:, np.newaxis]
    return kept, clipped[list(kept)].mean(axis=0)


def bfgs_step(steps: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return H v for v the last step, by the recursion of Broyden, Fletcher, Goldfarb and Shanno on whole matrices."""
    steps = steps.astype(np.float64)
    s, y = steps[:-1], np.diff(steps, axis=0)
    hessian = np.eye(steps.shape[1]) * (y[-1] @ s[-1]) / (s[-1] @ s[-1])
    for a, b in zip(s, y, strict=True):
        turned = hessian @ a
        hessian = hessian - np.outer(turned, turned) / (a @ turned) + np.outer(b, b) / (b @ a)
    product: npt.NDArray[Any] = hessian @ steps[-1]
    return product


def majority(distances: npt.NDArray[Any]) -> tuple[int, ...]:
    """Return the cluster that scikit-learn's HDBSCAN finds, which counts a point as a neighbour of its own."""
    settings = {"min_cluster_size": len(distances) // 2 + 1, "min_samples": 2, "allow_single_cluster": True}
    labels = HDBSCAN(metric="precomputed", copy=True, **settings).fit_predict(distances)
    return tuple(np.flatnonzero(labels == 0).tolist())


def dnc(updates: npt.NDArray[Any], drop: int) -> tuple[int, ...]:
    """Return the updates that one iteration keeps, on all coordinates."""
    rows = updates.astype(np.float64)
    centred = rows - rows.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    scores = (centred @ directions[0]) ** 2
    return tuple(sorted(np.argsort(scores, kind="stable")[: len(rows) - drop].tolist()))
