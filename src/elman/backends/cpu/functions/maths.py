"""Vector functions, derived from one exponential and one logarithm, in float32 or float64 as the code's vectors are.

At most 2 units in the last place for exp, log, tanh and sigmoid over their whole range, both tails included;
tests/backends/test_cpu_maths.py measures them. Every function takes the code being written and vectors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from elman.backends.cpu.functions.precision import DOUBLE, LOG, LOG1P, SINGLE, Precision
from elman.backends.cpu.llvm.code import Code, constant, suffix


def precision(c: Code) -> Precision:
    """The format of the code's numbers."""
    return DOUBLE if c.item == 8 else SINGLE


def polynomial(c: Code, x: Any, coefficients: Sequence[float]) -> Any:
    """Horner, highest power first."""
    value = constant(x.type, coefficients[0])
    for coefficient in coefficients[1:]:
        value = c.fma(value, x, constant(x.type, coefficient))
    return value


def select(c: Code, condition: Any, a: Any, b: Any) -> Any:
    """a where the condition holds, else b."""
    return c.b.select(condition, a, b)


def absolute(c: Code, x: Any) -> Any:
    """|x|."""
    return c.call(f"llvm.fabs.{suffix(x.type)}", x.type, x)


def like_sign(c: Code, size: Any, sign: Any) -> Any:
    """``size`` with the sign of ``sign``."""
    return c.call(f"llvm.copysign.{suffix(size.type)}", size.type, size, sign)


def ints(c: Code) -> Any:
    """The type of a vector of whole numbers as wide as the code's numbers."""
    return ir.VectorType(ir.IntType(precision(c).bits), c.width)


def whole(c: Code, value: int) -> Any:
    """A whole number in every lane."""
    return constant(ints(c), value)


def _power_of_two(c: Code, n: Any) -> Any:
    """2^n for whole n that an exponent can hold, by its bits."""
    f = precision(c)
    bits = c.b.shl(c.b.add(n, whole(c, f.bias)), whole(c, f.mantissa))
    return c.b.bitcast(bits, c.vector)


def _held(c: Code, x: Any, low: float, high: float) -> Any:
    """x kept between two bounds; NaN passes."""
    x = select(c, c.b.fcmp_ordered("<", x, c.splat(low)), c.splat(low), x)
    return select(c, c.b.fcmp_ordered(">", x, c.splat(high)), c.splat(high), x)


def _reduced(c: Code, x: Any, exact: bool = False) -> tuple[Any, Any, Any]:
    """x = n ln 2 + r with |r| <= ln(2) / 2: n as a number, n in the low bits of an int, and e^r - 1.

    If that must be ``exact``, what the rounding of r lost is added to it.
    """
    f = precision(c)
    shifted = c.fma(x, c.splat(1 / math.log(2)), c.splat(f.magic))
    n = c.b.fsub(shifted, c.splat(f.magic))
    first = c.fma(n, c.splat(-f.ln2[0]), x)
    r = c.fma(n, c.splat(-f.ln2[1]), first)
    p = polynomial(c, r, f.exp)
    if exact:
        lost = c.fma(n, c.splat(-f.ln2[1]), c.b.fsub(first, r))
        p = c.b.fadd(r, c.fma(c.b.fmul(r, r), p, lost))
    else:
        p = c.fma(c.b.fmul(r, r), p, r)
    return n, c.b.bitcast(shifted, ints(c)), p


def _halves(c: Code, bits: Any) -> tuple[Any, Any]:
    """2^n as the product of two powers, since 2^n itself may lie outside of what the format holds."""
    n = c.b.sub(bits, whole(c, precision(c).magic_bits))
    half = c.b.ashr(n, whole(c, 1))
    return _power_of_two(c, half), _power_of_two(c, c.b.sub(n, half))


def exp(c: Code, x: Any) -> Any:
    """e^x; in float32 it goes to 0 below -87.3 and to infinity above 88.72."""
    _, bits, p = _reduced(c, _held(c, x, *precision(c).exp_range))
    a, b = _halves(c, bits)
    return c.b.fmul(c.b.fmul(c.b.fadd(p, c.splat(1.0)), a), b)


def expm1(c: Code, x: Any) -> Any:
    """e^x - 1, relatively exact around 0."""
    n, bits, p = _reduced(c, _held(c, x, *precision(c).exp_range), exact=True)
    a, b = _halves(c, bits)
    # (p + 1) a b - 1 = ((p a) b) + (a b - 1); at the upper end the one does not count and a b would overflow.
    ab = c.b.fmul(a, b)
    small = c.fma(c.b.fmul(p, a), b, c.b.fsub(ab, c.splat(1.0)))
    large = c.b.fmul(c.b.fmul(c.b.fadd(p, c.splat(1.0)), a), b)
    value = select(c, c.b.fcmp_ordered(">", n, c.splat(precision(c).bias - 27.0)), large, small)
    # Of a tiny x the reduction would lose the sign of a zero.
    return select(c, c.b.fcmp_ordered("==", x, c.splat(0.0)), x, value)


def _scaled_below(c: Code, x: Any) -> tuple[Any, Any]:
    """e^x = scale + scale p for x below 0: (scale, p).

    One step of scaling is enough. At the lowest n the exponent's bits are 0, and so is the scale.
    """
    f = precision(c)
    low = c.splat(f.exp_below)
    _, bits, p = _reduced(c, select(c, c.b.fcmp_ordered("<", x, low), low, x))
    # The low bits of the shifted n, moved to where the exponent stands; what is above them falls off.
    return c.b.bitcast(c.b.shl(c.b.add(bits, whole(c, f.bias)), whole(c, f.mantissa)), c.vector), p


def _exp_below(c: Code, x: Any) -> Any:
    """e^x for x below 0."""
    scale, p = _scaled_below(c, x)
    return c.fma(scale, p, scale)


def tanh(c: Code, x: Any) -> Any:
    """(1 - e) / (1 + e) with e = e^(-2 |x|), and x's sign.

    e is s + s p with a power of two s, so that 1 - s and 1 + s are exact and each of the two rounds once. Near 0, where
    s is 1, 1 - e is -p, relatively exact.
    """
    scale, p = _scaled_below(c, c.b.fmul(absolute(c, x), c.splat(-2.0)))
    less = c.fma(scale, p, c.b.fsub(scale, c.splat(1.0)))
    more = c.fma(scale, p, c.b.fadd(scale, c.splat(1.0)))
    return like_sign(c, c.b.fdiv(less, more), x)


def sigmoid(c: Code, x: Any) -> Any:
    """With e = e^-|x| and t = e / (1 + e): 1 - t above 0, e - e t below, so relatively exact on both tails."""
    e = _exp_below(c, c.b.fneg(absolute(c, x)))
    t = c.b.fdiv(e, c.b.fadd(e, c.splat(1.0)))
    most = select(c, c.b.fcmp_ordered(">", x, c.splat(0.0)), c.splat(1.0), e)
    return c.fma(c.b.fneg(most), t, most)


# ln(1 + f) = f - f^2 / 2 + f^3 q(f) for sqrt(1/2) - 1 <= f <= sqrt(2) - 1 (Moshier's coefficients).
_LOG = [
    7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
    -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
]  # fmt: skip


def log_parts(c: Code, x: Any) -> tuple[Any, Any]:
    """x = 2^n (1 + f) with f between sqrt(1/2) - 1 and sqrt(2) - 1: (n, f), for positive normal x."""
    form = precision(c)
    bits, middle = c.b.bitcast(x, ints(c)), whole(c, form.half_root_bits)
    # Counting from sqrt(1/2) centres the mantissa on 1.
    shifted = c.b.sub(bits, middle)
    n = c.b.ashr(shifted, whole(c, form.mantissa))
    mantissa = c.b.add(c.b.and_(shifted, whole(c, 2**form.mantissa - 1)), middle)
    f = c.b.fsub(c.b.bitcast(mantissa, c.vector), c.splat(1.0))
    return c.b.sitofp(n, c.vector), f


def _log_of(c: Code, x: Any, correction: Any = None) -> Any:
    n, f = log_parts(c, x)
    square, (high, low) = c.b.fmul(f, f), precision(c).ln2
    y = c.fma(n, c.splat(low), _log_rest(c, f, square))
    if correction is not None:
        y = c.b.fadd(y, correction)
    y = c.fma(square, c.splat(-0.5), y)
    return c.fma(n, c.splat(high), c.b.fadd(f, y))


def _log_rest(c: Code, f: Any, square: Any) -> Any:
    """ln(1 + f) - f + f^2 / 2."""
    if precision(c) is SINGLE:
        return c.b.fmul(c.b.fmul(square, f), polynomial(c, f, _LOG))
    # With s = f / (2 + f) this is s (f^2 / 2 + s^2 q(s^2)).
    s = c.b.fdiv(f, c.b.fadd(f, c.splat(2.0)))
    z = c.b.fmul(s, s)
    return c.b.fmul(s, c.fma(z, polynomial(c, z, LOG), c.b.fmul(square, c.splat(0.5))))


def _log_edges(c: Code, x: Any, value: Any) -> Any:
    """The logarithm's ends: -inf of 0 (and of a denormal, which counts as 0), NaN below, inf of inf."""
    infinity, nan = c.splat(math.inf), c.splat(math.nan)
    value = select(c, c.b.fcmp_ordered("<", x, c.splat(precision(c).tiny)), c.splat(-math.inf), value)
    value = select(c, c.b.fcmp_ordered("<", x, c.splat(0.0)), nan, value)
    return select(c, c.b.fcmp_unordered("==", x, infinity), x, value)


def log(c: Code, x: Any) -> Any:
    """ln x."""
    return _log_edges(c, x, _log_of(c, x))


def log1p(c: Code, x: Any) -> Any:
    """ln(1 + x), relatively exact around 0: what the rounding of 1 + x lost is given back."""
    u = c.b.fadd(x, c.splat(1.0))
    # Seen from the larger of the two, so that what 1 + x lost is exact.
    lost = select(
        c,
        c.b.fcmp_ordered(">", x, c.splat(1.0)),
        c.b.fsub(c.splat(1.0), c.b.fsub(u, x)),
        c.b.fsub(x, c.b.fsub(u, c.splat(1.0))),
    )
    value = _log_edges(c, u, _log_of(c, u, c.b.fdiv(lost, u)))
    value = select(c, c.b.fcmp_ordered("==", u, c.splat(1.0)), x, value)
    return select(c, c.b.fcmp_ordered("==", u, c.splat(math.inf)), u, value)


def softplus(c: Code, x: Any) -> Any:
    """ln(1 + e^x) = max(x, 0) + log1p(e^-|x|)."""
    below = c.b.fneg(absolute(c, x))
    if precision(c) is SINGLE:
        e = _exp_below(c, below)
        tail = c.fma(c.b.fmul(e, e), polynomial(c, e, LOG1P), e)
    else:
        tail = log1p(c, exp(c, below))
    return c.b.fadd(select(c, c.b.fcmp_ordered("<", x, c.splat(0.0)), c.splat(0.0), x), tail)
