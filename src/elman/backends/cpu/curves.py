"""Further vector functions, written with the exponential and the logarithm of :mod:`elman.backends.cpu.maths`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir

from elman.backends.cpu.emit import F64, Code
from elman.backends.cpu.maths import (
    absolute,
    constants,
    exp,
    fitted,
    ints,
    like_sign,
    log_parts,
    polynomial,
    select,
    whole,
)  # fmt: skip


def erf(c: Code, x: Any) -> Any:
    """The error function: a polynomial near 0, 1 - exp of one beyond (after Juffa)."""
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


_ATAN = fitted(lambda s: (np.arctan(np.sqrt(s)) / np.sqrt(s) - 1) / s, 1e-9, 1.0, 10)


def atan(c: Code, x: Any) -> Any:
    """arctan x; beyond 1 as pi / 2 - arctan(1 / x)."""
    size = absolute(c, x)
    beyond = c.b.fcmp_ordered(">", size, c.splat(1.0))
    t = select(c, beyond, c.b.fdiv(c.splat(1.0), size), size)
    s = c.b.fmul(t, t)
    y = c.fma(c.b.fmul(s, t), polynomial(c, s, _ATAN), t)
    y = select(c, beyond, c.b.fsub(c.splat(math.pi / 2), y), y)
    return like_sign(c, y, x)


_SIN = [-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1]
_COS = [2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2]


def _circular(c: Code, x: Any, quarter: int) -> Any:
    """sin(x + quarter pi / 2). The angle is reduced in double precision, good up to about 1e8."""
    double = ir.VectorType(F64, c.width)
    wide = c.b.fpext(x, double)
    constant = constants(wide)
    big = constant(6755399441055744.0)
    n = c.b.fsub(c.b.fadd(c.b.fmul(wide, constant(2 / math.pi)), big), big)
    rest = c.b.fsub(wide, c.b.fmul(n, constant(1.5707963267341256)))
    rest = c.b.fsub(rest, c.b.fmul(n, constant(6.077100506506192e-11)))
    r = c.b.fptrunc(rest, c.vector)
    turn = c.b.add(_low_bits(c, n), whole(c, quarter))
    s = c.b.fmul(r, r)
    sine = c.fma(c.b.fmul(s, r), polynomial(c, s, _SIN), r)
    cosine = c.fma(c.b.fmul(s, s), polynomial(c, s, _COS), c.fma(s, c.splat(-0.5), c.splat(1.0)))
    odd = c.b.icmp_signed("!=", c.b.and_(turn, whole(c, 1)), whole(c, 0))
    value = select(c, odd, cosine, sine)
    flip = c.b.icmp_signed("!=", c.b.and_(turn, whole(c, 2)), whole(c, 0))
    return select(c, flip, c.b.fneg(value), value)


def _low_bits(c: Code, n: Any) -> Any:
    """A whole number held as double, modulo 4, as int32."""
    constant = constants(n)
    quarters = c.call(f"llvm.floor.v{c.width}f64", n.type, c.b.fmul(n, constant(0.25)))
    remainder = c.b.fsub(n, c.b.fmul(quarters, constant(4.0)))
    # NaN has no whole number; the result is NaN whatever stands here.
    clean = c.b.select(c.b.fcmp_ordered("ord", remainder, remainder), remainder, constant(0.0))
    return c.b.fptosi(clean, ints(c))


def sin(c: Code, x: Any) -> Any:
    """sin x."""
    # The sign of a zero is x's own.
    return select(c, c.b.fcmp_ordered("==", x, c.splat(0.0)), x, _circular(c, x, 0))


def cos(c: Code, x: Any) -> Any:
    """cos x."""
    return _circular(c, x, 1)


def sqrt(c: Code, x: Any) -> Any:
    """The square root."""
    return c.call(f"llvm.sqrt.v{c.width}f32", x.type, x)


def power(c: Code, x: Any, exponent: float) -> Any:
    """x to a constant power: by products where it is small and whole, else in double precision."""
    if exponent == int(exponent) and abs(exponent) <= 16:
        product = _whole_power(c, x, int(abs(exponent)))
        return c.b.fdiv(c.splat(1.0), product) if exponent < 0 else product
    if exponent == 0.5:
        return sqrt(c, x)
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
    return ir.Constant(ir.VectorType(F64, c.width), [float(value)] * c.width)


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
    bits = c.b.shl(c.b.add(power_of_two, ir.Constant(longs, [1023] * c.width)), ir.Constant(longs, [52] * c.width))
    return c.b.fmul(p, c.b.bitcast(bits, x.type))
