"""Inner products and distances of float32 updates whose bits no processor, thread count or BLAS library can change.

Every row is split into two integer slices with a power-of-two scale of its own,

    u_i = 2^(e_i - 36) * (2^18 h_i + l_i),    |h_i| <= 2^18,  |l_i| <= 2^17,    error below 2^(e_i - 37),

(error-free transformation of a matrix product: Ozaki, Ogita, Oishi and Rump 2012, "Error-free transformations of
matrix multiplication by using fast routines of matrix multiplication and its applications"). A float64 matrix product
of slices over a block of columns has only integer partial sums below 2^53: it is exact, so its value does not depend
on order, and it still runs at the speed of BLAS. Block results are added as 64-bit integers, then as Python integers.

The result is therefore the exact Gram matrix of the rows rounded to 36 bits of their own largest entry (float32 has
24), and every number taken from it is rounded once. A scale per row matters: with one scale for all, a single huge
malicious update would wipe out the resolution of the honest ones.

Cost: 4 n^2 P multiplications in BLAS, n^2 operations on Python integers, O(n 2048 + n^2) memory.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BITS = 18
MAX_BLOCK = 2**16
"""Columns per matrix product at most: partial sums stay within 2^(36 + 16)."""
FLUSH = 2**26
"""Columns after which 64-bit sums, at most 2^(36 + 26), move into Python integers."""

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.object_]


@dataclass(frozen=True)
class Gram:
    """The inner products of n rows: ``integers[i, j] * 2**exponent``, exact Python integers."""

    integers: Integers
    exponent: int

    def products(self) -> Floats:
        """Return the inner products, each correctly rounded to float64."""
        return _rounded(self.integers, self.exponent)

    def squared_norms(self) -> Floats:
        """Return the squared norms, each correctly rounded."""
        return _rounded(np.diagonal(self.integers), self.exponent)

    def squared_distances(self) -> Floats:
        """Return the squared distances between rows, each correctly rounded; the diagonal is 0."""
        n = len(self.integers)
        i, j = np.triu_indices(n, 1)
        norms = np.diagonal(self.integers)
        distances = np.zeros((n, n))
        distances[i, j] = _rounded(norms[i] + norms[j] - 2 * self.integers[i, j], self.exponent)
        distances[j, i] = distances[i, j]
        return distances

    def distances_to(self, coefficients: Sequence[float]) -> Floats:
        """Return ``|x_i - sum_j c_j x_j|`` for every row i, for finite coefficients c.

        The combination is never formed and nothing is rounded before the square root, so that neither huge rows nor
        nearly equal ones cost any accuracy: an iteration of a rule takes n^2 integer products instead of n P.
        """
        ratios = [float(c).as_integer_ratio() for c in coefficients]
        bits = max(denominator for _, denominator in ratios).bit_length() - 1
        c = _objects([numerator << bits - (denominator.bit_length() - 1) for numerator, denominator in ratios])
        cross = self.integers @ c
        squares = (np.diagonal(self.integers) << 2 * bits) - (cross << bits + 1) + c @ cross
        return np.sqrt(_rounded(squares, self.exponent - 2 * bits))

    def centred(self) -> "Gram":
        """Return the Gram matrix of n (x_i - mean of all x): exact, because of the factor n."""
        n = len(self.integers)
        sums = self.integers.sum(axis=1)
        products = n * n * self.integers - n * (sums[:, np.newaxis] + sums[np.newaxis, :]) + sums.sum()
        return Gram(products, self.exponent)


def exact_gram(matrix: npt.NDArray[np.float32]) -> Gram:
    """Return the Gram matrix of finite float32 rows [n, P]."""
    exponents = _exponents(matrix)
    return Gram(*_assemble(_block_sums(matrix, exponents, None), exponents, exponents))


def products_with(matrix: npt.NDArray[np.float32], row: int) -> Floats:
    """Return the inner products of every row with one of them, each correctly rounded. Cost: n P."""
    exponents = _exponents(matrix)
    integers, exponent = _assemble(_block_sums(matrix, exponents, row), exponents, exponents[row : row + 1])
    return _rounded(integers[:, 0], exponent)


def squared_norms(matrix: npt.NDArray[np.float32]) -> Floats:
    """Return the squared norm of every row, correctly rounded. Cost: n P."""
    n = len(matrix)
    exponents = _exponents(matrix)
    sums = np.zeros((3, n), dtype=object)
    for both in _slices(matrix, exponents):
        high, low = both[:n], both[n:]
        # Not by BLAS, whose threads cost more than so few products.
        sums += np.array([np.einsum("ip,ip->i", a, b) for a, b in ((high, high), (high, low), (low, low))]).astype(
            np.int64
        )
    integers = (sums[0] << 2 * BITS) + (sums[1] << BITS + 1) + sums[2]
    return np.array([_rounded(integers[i : i + 1], 2 * (e - 2 * BITS))[0] for i, e in enumerate(exponents)])


def _exponents(matrix: npt.NDArray[np.float32]) -> list[int]:
    """Return e_i with max_p |u_ip| < 2^e_i. A row of zeros takes the smallest of the others."""
    tops = [max(abs(float(row.max())), abs(float(row.min()))) for row in matrix]
    exponents = [math.frexp(top)[1] if top else None for top in tops]
    smallest = min((e for e in exponents if e is not None), default=0)
    return [smallest if e is None else e for e in exponents]


def _slices(matrix: npt.NDArray[np.float32], exponents: list[int]) -> Iterator[Floats]:
    """Yield the slices of a block of columns at a time: n rows h, then n rows l."""
    n, width = matrix.shape
    size = _block_size(n)
    scale = np.ldexp(1.0, BITS - np.array(exponents))[:, np.newaxis]
    buffer = np.empty((2 * n, min(size, width)))
    for start in range(0, width, size):
        block = matrix[:, start : start + size]
        both = buffer if block.shape[1] == buffer.shape[1] else np.empty((2 * n, block.shape[1]))
        high, low = both[:n], both[n:]
        np.multiply(block, scale, out=low)
        np.rint(low, out=high)
        low -= high
        low *= 2.0**BITS
        np.rint(low, out=low)
        yield both


def _block_size(n: int) -> int:
    """Return a power of two that keeps the slices of n rows in cache and the products large enough for BLAS."""
    return max(2_048, min(MAX_BLOCK, 1 << max(0, 18 - n.bit_length())))


def _block_sums(matrix: npt.NDArray[np.float32], exponents: list[int], row: int | None) -> Integers:
    """Return the exact inner products of the slices, [2n, 2n], or [2n, 2] with the slices of one row."""
    n = len(matrix)
    size = _block_size(n)
    right = slice(None) if row is None else [row, n + row]
    exact: Integers | None = None
    sums: npt.NDArray[np.int64] | None = None
    for count, both in enumerate(_slices(matrix, exponents), start=1):
        products = (both @ both[right].T).astype(np.int64)
        sums = products if sums is None else np.add(sums, products, out=sums)
        if count * size % FLUSH == 0 or count * size >= matrix.shape[1]:
            exact = sums.astype(object) if exact is None else exact + sums.astype(object)
            sums = None
    assert exact is not None, "a matrix has at least one column"
    return exact


def _assemble(sums: Integers, left: list[int], right: list[int]) -> tuple[Integers, int]:
    """Join the products of slices into products of rows with one common exponent."""
    n, m = len(left), len(right)
    middle = sums[:n, m:] + sums[n:, :m]
    integers = (sums[:n, :m] << 2 * BITS) + (middle << BITS) + sums[n:, m:]
    shift_left = _objects([e - min(left) for e in left])
    shift_right = _objects([e - min(right) for e in right])
    return (integers << shift_left[:, np.newaxis]) << shift_right, min(left) + min(right) - 4 * BITS


def _objects(values: list[int]) -> Integers:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _rounded(integers: Integers, exponent: int) -> Floats:
    """Return integers * 2**exponent, each rounded once (Python divides integers of any size correctly rounded)."""
    if exponent < 0:
        unit = 1 << -exponent
        values = [integer / unit for integer in integers.ravel().tolist()]
    else:
        values = [float(integer << exponent) for integer in integers.ravel().tolist()]
    return np.array(values).reshape(integers.shape)
