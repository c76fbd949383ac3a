"""Normal draws whose bits no processor and no library of mathematics can change.

NumPy's own take `exp` and `log` from the C library, whose last bits differ between machines. Here all is elementwise
float64 arithmetic (``+ - * /`` and the square root, which IEEE 754 rounds correctly) on the raw words of PCG64.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_TERMS = 12
"""Terms of the series of the logarithm: the first one left out is below 2^-63."""
_LN_2 = 0.6931471805599453
_BLOCK = 8_192


def standard_normal(count: int, sequence: np.random.SeedSequence) -> Floats:
    """Return `count` independent draws of N(0, 1), float64 [count].

    Marsaglia and Bray 1964, "A Convenient Method for Generating Normal Variables" (polar method): of u, v uniform in
    (-1, 1) with s = u^2 + v^2 < 1, both ``u sqrt(-2 ln s / s)`` and ``v sqrt(-2 ln s / s)``.
    """
    source = np.random.PCG64(sequence)
    drawn: list[Floats] = []
    missing = count
    while missing > 0:
        words = np.asarray(source.random_raw(2 * _BLOCK), dtype=np.uint64)
        # Odd multiples of 2^-53: never 0, so neither is s.
        u, v = ((words >> np.uint64(11)) * 2.0**-52 - (1 - 2.0**-53)).reshape(2, _BLOCK)
        s = u * u + v * v
        inside = s < 1
        u, v, s = u[inside], v[inside], s[inside]
        factor = np.sqrt(-2 * logarithm(s) / s)
        drawn.append(np.stack([u * factor, v * factor], axis=1).ravel())
        missing -= drawn[-1].size
    return np.concatenate(drawn)[:count] if drawn else np.zeros(0)


def logarithm(x: npt.ArrayLike) -> Floats:
    """Return ln x of positive normal float64 numbers, to some units in the last place.

    ``x = 2^e m`` with m within sqrt(1/2) to sqrt(2), and ``ln m = 2 artanh z`` with z = (m - 1) / (m + 1).
    """
    fraction, exponent = np.frexp(np.asarray(x, dtype=np.float64))
    small = fraction < 0.7071067811865476
    fraction, exponent = np.where(small, 2 * fraction, fraction), exponent - small
    z = (fraction - 1) / (fraction + 1)
    square = z * z
    series = np.full_like(z, 1 / (2 * _TERMS - 1))
    for term in range(2 * _TERMS - 3, 0, -2):
        series = series * square + 1 / term
    result: Floats = exponent * _LN_2 + 2 * z * series
    return result
