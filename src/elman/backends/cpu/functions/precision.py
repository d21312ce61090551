"""What the vector functions need to know of a number format: its bits, and polynomials that are as exact as it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def fitted(function: Callable[[Array], Array], low: float, high: float, degree: int) -> list[float]:
    """A nearly minimax polynomial: interpolation at Chebyshev's points, highest power first."""
    fit = np.polynomial.Chebyshev.interpolate(function, degree, [low, high])
    return [float(v) for v in fit.convert(kind=np.polynomial.Polynomial).coef[::-1]]


def _series(coefficients: Sequence[float]) -> Callable[[Array], Array]:
    """A power series as a function: exact near 0, where the closed form would cancel."""
    return lambda s: np.asarray(np.polyval(coefficients[::-1], s), np.float64)


# e^r = 1 + r + r^2 q(r), for |r| <= ln(2) / 2.
_EXP = _series([1 / math.factorial(k + 2) for k in range(16)])
# arctan x = x + x^3 q(x^2).
_ATAN = _series([(-1) ** k / (2 * k + 1) for k in range(1, 25)])


def _log1p(t: Array) -> Array:
    """(ln(1 + t) - t) / t^2 for t from 0 to 1. With s = t / (2 + t), ln(1 + t) is 2 artanh s: nothing cancels."""
    s = t / (2 + t)
    rest = _series([1 / (2 * k + 3) for k in range(20)])(s * s)
    return (1 - s) ** 2 / 2 * (s * rest - 1 / (1 - s))


# erfc's polynomial is in v = (x - m) / (x + m) s, which goes from -1 to 1 while x goes from 1.25 to 6.
ERFC_MIDDLE = math.sqrt(1.25 * 6)
ERFC_SCALE = (6 + ERFC_MIDDLE) / (6 - ERFC_MIDDLE)


def _erfcx(v: Array) -> Array:
    """e^(x^2) (1 - erf x)."""
    x = ERFC_MIDDLE * (ERFC_SCALE + v) / (ERFC_SCALE - v)
    return np.array([math.erfc(each) * math.exp(each * each) for each in x])


@dataclass(frozen=True)
class Precision:
    """A format of IEEE 754 with ``mantissa`` bits, and its polynomials, highest power first.

    ``magic`` is 1.5 2^mantissa: added to a smaller number it rounds to a whole one, which its low bits then hold.
    ``ln2`` is ln 2 in two parts, the first so short that a whole number of these is exact.
    """

    name: str
    bits: int
    mantissa: int
    bias: int
    magic: float
    magic_bits: int
    half_root_bits: int  # of sqrt(1/2)
    tiny: float  # the smallest that is no denormal
    ln2: tuple[float, float]
    exp_range: tuple[float, float]  # beyond, e^x is 0 or infinite
    exp_below: float  # e^x of less than this counts as 0 where one scaling must do
    exp: Sequence[float]


_HALF_LN2 = 0.347

SINGLE = Precision(
    name="f32", bits=32, mantissa=23, bias=127, magic=12582912.0, magic_bits=0x4B400000, half_root_bits=0x3F3504F3,
    tiny=1.17549435e-38, ln2=(0.693145751953125, math.log(2) - 0.693145751953125), exp_range=(-104.0, 89.0),
    exp_below=-88.0, exp=fitted(_EXP, -_HALF_LN2, _HALF_LN2, 4),
)  # fmt: skip
DOUBLE = Precision(
    name="f64", bits=64, mantissa=52, bias=1023, magic=6755399441055744.0, magic_bits=0x4338000000000000,
    half_root_bits=0x3FE6A09E667F3BCD, tiny=2.2250738585072014e-308,
    ln2=(6.93147180369123816490e-01, 1.90821492927058770002e-10), exp_range=(-746.0, 710.0), exp_below=-709.0,
    exp=[1 / math.factorial(k) for k in range(14, 1, -1)],
)  # fmt: skip

# ln((1 + s) / (1 - s)) = 2 s + s^3 q(s^2).
LOG = fitted(_series([2 / (2 * k + 3) for k in range(16)]), 0, (math.sqrt(2) - 1) ** 4 * 1.01, 7)
# ln(1 + t) = t + t^2 q(t) for t from 0 to 1, as exact as float32 is.
LOG1P = fitted(_log1p, 0, 1, 10)
ATAN = fitted(_ATAN, 0, math.tan(math.pi / 8) ** 2, 12)
# erf x = x + x q(x^2): the series, which a fit would not beat in its last digits.
_ERF = [(-1) ** k / (math.factorial(k) * (2 * k + 1)) for k in range(1, 29)]
ERF_NEAR = [*(2 / math.sqrt(math.pi) * v for v in _ERF[::-1]), 2 / math.sqrt(math.pi) - 1]
# In Chebyshev's polynomials, lowest first: its powers would cancel.
ERFCX = [float(v) for v in np.polynomial.Chebyshev.interpolate(_erfcx, 20).coef]
