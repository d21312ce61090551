"""The functions of equations as Triton computes them, by the names that a program is written with.

Where Triton has a function of that name it is taken as it is. Those below are exact near 0, where the plain formula
would lose every digit, and do not overflow.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import triton
import triton.language as tl

from elman.equations import TABLE
from elman.equations.node import LEAVES, Node

KINDS = {*LEAVES, "product", "total"}  # of node that are no row of the table


@triton.jit
def sign(a):
    """-1, 0 or 1."""
    return (a > 0).to(a.dtype) - (a < 0).to(a.dtype)


@triton.jit
def expm1(a):
    """exp(a) - 1: whatever error exp makes is divided out (Kahan)."""
    u = tl.exp(a)
    near = u == 1.0
    far = (u < 1e-6) | (u > 1e30)
    return tl.where(near, a, tl.where(far, u - 1.0, (u - 1.0) * (a / tl.log(tl.where(near | far, 2.0, u)))))


@triton.jit
def log1p(a):
    """ln(1 + a): the rounding of 1 + a is divided out (Kahan)."""
    u = 1.0 + a
    near = u == 1.0
    far = tl.abs(u) > 1e30
    return tl.where(near, a, tl.where(far, tl.log(u), tl.log(u) * (a / tl.where(near, 1.0, u - 1.0))))


@triton.jit
def tanh(a):
    """The hyperbolic tangent."""
    size = tl.abs(a)
    if a.dtype == tl.float64:
        m = expm1(-2.0 * size)
        return tl.where(a < 0, m / (m + 2.0), -m / (m + 2.0))
    e = tl.exp(-2.0 * size)
    far = tl.where(a < 0, e - 1.0, 1.0 - e) / (1.0 + e)
    s = a * a
    near = a + a * s * (-1 / 3 + s * (2 / 15 + s * (-17 / 315 + s * (62 / 2835))))
    return tl.where(size < 0.25, near, far)


@triton.jit
def sigmoid(a):
    """1 / (1 + exp(-a))."""
    return 1.0 / (1.0 + tl.exp(-a))


@triton.jit
def relu(a):
    """a above 0, else 0."""
    return tl.maximum(a, 0.0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def softplus(a):
    """ln(1 + exp(a))."""
    return maximum(a, 0.0) + log1p(tl.exp(-tl.abs(a)))


@triton.jit
def maximum(a, b):
    """The larger of two; NaN where one is."""
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def minimum(a, b):
    """The smaller of two; NaN where one is."""
    return tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def clamp(a, low, high):
    """a, held between two numbers."""
    return minimum(maximum(a, low), high)


@triton.jit
def power(a, exponent: tl.constexpr):  # type: ignore[no-untyped-def]
    """a to the power of a number."""
    if exponent == 0.0:
        return a * 0.0 + 1.0
    elif exponent < 0.0:
        return 1.0 / power(a, -exponent)
    elif exponent == 0.5:
        return tl.sqrt(a)
    elif exponent <= 64.0 and exponent % 2.0 == 0.0:
        return power(a * a, exponent / 2.0)
    elif exponent <= 64.0 and exponent % 1.0 == 0.0:
        return a if exponent == 1.0 else a * power(a * a, (exponent - 1.0) / 2.0)
    elif exponent % 1.0 != 0.0:
        return tl.exp(exponent * tl.log(a))
    else:
        size = tl.exp(exponent * tl.log(tl.abs(a)))
        return size if exponent % 2.0 == 0.0 else tl.where(a < 0, -size, size)


@triton.jit
def atan(a):
    """The arc tangent: its angle is halved three times, and doubled as often behind the series."""
    far = 1e17 if a.dtype == tl.float64 else 1e8
    y = clamp(a, -far, far)
    for _ in tl.static_range(3):
        y = y / (1.0 + tl.sqrt(1.0 + y * y))
    s = y * y
    series = y * 0.0 + 1 / 23
    for k in tl.static_range(11):
        series = 1.0 / (21 - 2 * k) - s * series
    return 8.0 * (y * series)


@triton.jit
def stop_gradient(a):
    """a, unchanged."""
    return a


@triton.jit
def meet(arrived, count):
    """Wait until ``count`` programs have arrived: what each stored before can be read by all behind."""
    tl.debug_barrier()
    tl.atomic_add(arrived, 1, sem="acq_rel", scope="gpu")
    while tl.atomic_add(arrived, 0, sem="acquire", scope="gpu") < count:
        pass
    tl.debug_barrier()


_OWN = (sign, expm1, log1p, tanh, sigmoid, relu, softplus, maximum, minimum, clamp, power, atan, stop_gradient, meet)
FUNCTIONS: dict[str, Any] = {function.__name__: function for function in _OWN}
TRITONS = frozenset({"abs", "exp", "log", "sqrt", "rsqrt", "sin", "cos", "erf", "where"})


def written(op: str) -> str | None:
    """How an operation is written in a kernel, with ``{}`` for its arguments; None where there is no such function."""
    text = "power({}, {})" if op == "power" else TABLE[op].text
    name = text.partition("(")[0]
    if name in TRITONS:
        return f"tl.{text}"
    return text if not name.isidentifier() or name in FUNCTIONS else None


def unwritten(nodes: Iterable[Node]) -> str | None:
    """The first operation that kernels do not know; None where they know all."""
    return next((n.op for n in nodes if n.op not in KINDS and (n.op not in TABLE or written(n.op) is None)), None)
