"""Further vector functions, written with the exponential and the logarithm of ``maths``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from elman.backends.cpu.functions import precision
from elman.backends.cpu.functions.maths import (
    absolute,
    exp,
    ints,
    like_sign,
    log,
    log_parts,
    polynomial,
    select,
)
from elman.backends.cpu.llvm.code import F64, I32, Code, constant, suffix


def erf(c: Code, x: Any) -> Any:
    """The error function: a polynomial near 0, 1 - exp of one beyond (after Juffa)."""
    if c.item == 8:
        return _erf_double(c, x)
    t, s = absolute(c, x), c.b.fmul(x, x)
    far = c.fma(c.splat(-1.72853470e-5), t, c.splat(3.83197126e-4))
    more = c.fma(c.splat(-3.88396438e-3), t, c.splat(2.42546219e-2))
    far = c.fma(far, s, more)
    for coefficient in (-1.06777877e-1, -6.34846687e-1, -1.28717512e-1):
        far = c.fma(far, t, c.splat(coefficient))
    far = c.fma(far, t, c.b.fneg(t))
    # From 4 on erf is 1 in float32, and the polynomial is of no use there.
    far = select(c, c.b.fcmp_ordered(">", t, c.splat(4.0)), c.splat(-104.0), far)
    far = like_sign(c, c.b.fsub(c.splat(1.0), exp(c, far)), x)
    near = polynomial(
        c, s, [-5.96761703e-4, 4.99119423e-3, -2.67681349e-2, 1.12819925e-1, -3.76125336e-1, 1.28379166e-1]
    )
    near = c.fma(near, x, x)
    return select(c, c.b.fcmp_ordered(">", t, c.splat(0.927734375)), far, near)


def _erf_double(c: Code, x: Any) -> Any:
    """The error function: a polynomial up to 1.3, beyond 1 - e^(-x^2) times one of (x - m) / (x + m)."""
    # From 6 on erf is 1.
    size = absolute(c, x)
    size = select(c, c.b.fcmp_ordered(">", size, c.splat(6.0)), c.splat(6.0), size)
    s = c.b.fmul(size, size)
    near = c.fma(polynomial(c, s, precision.ERF_NEAR), size, size)
    middle, scale = precision.ERFC_MIDDLE, precision.ERFC_SCALE
    above = c.fma(size, c.splat(scale), c.splat(-middle * scale))
    v = c.b.fdiv(above, c.b.fadd(size, c.splat(middle)))
    far = c.b.fsub(c.splat(1.0), c.b.fmul(exp(c, c.b.fneg(s)), _chebyshev(c, v, precision.ERFCX)))
    return like_sign(c, select(c, c.b.fcmp_ordered(">", size, c.splat(1.3)), far, near), x)


def _chebyshev(c: Code, x: Any, coefficients: Sequence[float]) -> Any:
    """A sum of Chebyshev's polynomials, lowest first, by Clenshaw's recurrence."""
    twice, one, two = c.b.fadd(x, x), c.splat(0.0), c.splat(0.0)
    for coefficient in coefficients[:0:-1]:
        one, two = c.b.fsub(c.fma(twice, one, c.splat(coefficient)), two), one
    return c.b.fsub(c.fma(x, one, c.splat(coefficients[0])), two)


_TAN_EIGHTH = math.tan(math.pi / 8)
_PI_4_LOW = 3.061616997868383e-17  # what pi / 4 has beyond a double


def atan(c: Code, x: Any) -> Any:
    """arctan x; beyond tan(pi / 8) from pi / 4 on, beyond its inverse from pi / 2 on."""
    size, one = absolute(c, x), c.splat(1.0)
    middle = c.b.fcmp_ordered(">", size, c.splat(_TAN_EIGHTH))
    beyond = c.b.fcmp_ordered(">", size, c.splat(1 / _TAN_EIGHTH))
    above = select(c, beyond, c.splat(-1.0), select(c, middle, c.b.fsub(size, one), size))
    below = select(c, beyond, size, select(c, middle, c.b.fadd(size, one), one))
    t = c.b.fdiv(above, below)
    s = c.b.fmul(t, t)
    rest = c.b.fmul(c.b.fmul(s, t), polynomial(c, s, precision.ATAN if c.item == 8 else _ATAN))
    quarter = select(c, beyond, c.splat(2.0), select(c, middle, one, c.splat(0.0)))
    low = c.fma(quarter, c.splat(_PI_4_LOW), rest) if c.item == 8 else rest
    return like_sign(c, c.fma(quarter, c.splat(math.pi / 4), c.b.fadd(t, low)), x)


_ATAN = [8.05374449538e-2, -1.38776856032e-1, 1.99777106478e-1, -3.33329491539e-1]  # Moshier's

_HALF_PI = (1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21)  # in parts of 33 bits
_SIN_DOUBLE = [
    1.58969099521155010221e-10, -2.50507602534068634195e-08, 2.75573137070700676789e-06,
    -1.98412698298579493134e-04, 8.33333333332248946124e-03, -1.66666666666666324348e-01,
]  # fmt: skip
_COS_DOUBLE = [
    -1.13596475577881948265e-11, 2.08757232129817482790e-09, -2.75573143513906633035e-07,
    2.48015872894767294178e-05, -1.38888888888741095749e-03, 4.16666666666666019037e-02,
]  # fmt: skip
_SIN = [-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1]
_COS = [2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2]


def _circular(c: Code, x: Any, quarter: int) -> Any:
    """sin(x + quarter pi / 2). The angle is reduced in double precision, good up to about 1e8, in float64 to 1e6."""
    double = ir.VectorType(F64, c.width)
    wide = x if c.item == 8 else c.b.fpext(x, double)
    n = c.call(f"llvm.rint.{suffix(double)}", double, c.b.fmul(wide, constant(double, 2 / math.pi)))
    for part in _HALF_PI:
        wide = c.fma(n, constant(wide.type, -part), wide)
    r = wide if c.item == 8 else c.b.fptrunc(wide, c.vector)
    turn = c.b.add(_quarters(c, n), constant(ir.VectorType(I32, c.width), quarter))
    s = c.b.fmul(r, r)
    sine = c.fma(c.b.fmul(s, r), polynomial(c, s, _SIN_DOUBLE if c.item == 8 else _SIN), r)
    tail = polynomial(c, s, _COS_DOUBLE if c.item == 8 else _COS)
    cosine = c.fma(c.b.fmul(s, s), tail, c.fma(s, c.splat(-0.5), c.splat(1.0)))
    value = select(c, _has_bit(c, turn, 1), cosine, sine)
    return select(c, _has_bit(c, turn, 2), c.b.fneg(value), value)


def _has_bit(c: Code, turn: Any, bit: int) -> Any:
    def every(value: int) -> Any:
        return constant(turn.type, value)

    return c.b.icmp_signed("!=", c.b.and_(turn, every(bit)), every(0))


def _quarters(c: Code, n: Any) -> Any:
    """A whole number held as double, modulo 4, as int32."""
    quarters = c.call(f"llvm.floor.{suffix(n.type)}", n.type, c.b.fmul(n, constant(n.type, 0.25)))
    remainder = c.b.fsub(n, c.b.fmul(quarters, constant(n.type, 4.0)))
    # NaN has no whole number; the result is NaN whatever stands here.
    clean = c.b.select(c.b.fcmp_ordered("ord", remainder, remainder), remainder, constant(n.type, 0.0))
    return c.b.fptosi(clean, ir.VectorType(I32, c.width))


def sin(c: Code, x: Any) -> Any:
    """sin x."""
    # The sign of a zero is x's own.
    return select(c, c.b.fcmp_ordered("==", x, c.splat(0.0)), x, _circular(c, x, 0))


def cos(c: Code, x: Any) -> Any:
    """cos x."""
    return _circular(c, x, 1)


def sqrt(c: Code, x: Any) -> Any:
    """The square root."""
    return c.call(f"llvm.sqrt.{suffix(x.type)}", x.type, x)


def power(c: Code, x: Any, exponent: float) -> Any:
    """x to a constant power: by products where it is small and whole, else in double precision.

    So a result in float64 errs by as many units as its logarithm is large.
    """
    if exponent == int(exponent) and abs(exponent) <= 16:
        product = _whole_power(c, x, int(abs(exponent)))
        return c.b.fdiv(c.splat(1.0), product) if exponent < 0 else product
    if exponent == 0.5:
        return sqrt(c, x)
    if c.item == 8:
        value = exp(c, c.b.fmul(log(c, absolute(c, x)), c.splat(exponent)))
    else:
        value = c.b.fptrunc(_exp_double(c, c.b.fmul(_log_double(c, absolute(c, x)), _doubles(c, exponent))), c.vector)
    zero, infinity = (0.0, math.inf) if exponent > 0 else (math.inf, 0.0)
    value = select(c, c.b.fcmp_ordered("==", absolute(c, x), c.splat(0.0)), c.splat(zero), value)
    value = select(c, c.b.fcmp_ordered("==", absolute(c, x), c.splat(math.inf)), c.splat(infinity), value)
    below = c.b.fcmp_ordered("<", x, c.splat(0.0))
    if exponent == int(exponent):
        negative = c.b.fneg(value) if int(exponent) % 2 else value
        return select(c, below, negative, value)
    finite = c.b.fcmp_ordered("!=", absolute(c, x), c.splat(math.inf))
    return select(c, c.b.and_(below, finite), c.splat(math.nan), value)


def _whole_power(c: Code, x: Any, exponent: int) -> Any:
    result, square = None, x
    while exponent:
        if exponent & 1:
            result = square if result is None else c.b.fmul(result, square)
        exponent >>= 1
        square = c.b.fmul(square, square) if exponent else square
    return c.splat(1.0) if result is None else result


def _doubles(c: Code, value: float) -> Any:
    return constant(ir.VectorType(F64, c.width), float(value))


def _log_double(c: Code, x: Any) -> Any:
    """ln x in double precision, to about 1e-10."""
    n, f = log_parts(c, x)
    double = ir.VectorType(F64, c.width)
    wide = c.b.fpext(f, double)
    s = c.b.fdiv(wide, c.b.fadd(wide, _doubles(c, 2.0)))
    square = c.b.fmul(s, s)
    series = polynomial(c, square, [2 / (2 * k + 1) for k in range(7, -1, -1)])
    value = c.b.fadd(c.b.fmul(c.b.fpext(n, double), _doubles(c, math.log(2))), c.b.fmul(s, series))
    is_nan = c.b.fcmp_unordered("uno", x, x)
    return c.b.select(is_nan, _doubles(c, math.nan), value)


def _exp_double(c: Code, x: Any) -> Any:
    """e^x in double precision, to about 1e-10, held between what float32 can tell apart."""
    x = c.b.select(c.b.fcmp_ordered("<", x, _doubles(c, -110.0)), _doubles(c, -110.0), x)
    x = c.b.select(c.b.fcmp_ordered(">", x, _doubles(c, 100.0)), _doubles(c, 100.0), x)
    big = _doubles(c, 6755399441055744.0)
    n = c.b.fsub(c.b.fadd(c.b.fmul(x, _doubles(c, 1 / math.log(2))), big), big)
    r = c.b.fsub(x, c.b.fmul(n, _doubles(c, math.log(2))))
    p = polynomial(c, r, [1 / math.factorial(k) for k in range(10, -1, -1)])
    clean = c.b.select(c.b.fcmp_ordered("ord", n, n), n, _doubles(c, 0.0))
    longs = ir.VectorType(ir.IntType(64), c.width)
    power_of_two = c.b.sext(c.b.fptosi(clean, ints(c)), longs)
    bits = c.b.shl(c.b.add(power_of_two, constant(longs, 1023)), constant(longs, 52))
    return c.b.fmul(p, c.b.bitcast(bits, x.type))
