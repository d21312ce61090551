"""How each row of the table of operations is written for vectors. A row that is not here is refused by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from elman.backends.plan.parts import Refused
from elman.equations.node import LEAVES, Node

if TYPE_CHECKING:
    from elman.backends.cpu.llvm.code import Code

Lowering = Callable[..., Any]


class _Later:
    """A file beside this one, imported when a function of it writes: which rows there are is asked without llvmlite."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, function: str) -> Lowering:
        return lambda *args: getattr(importlib.import_module(f"{__package__}.{self._name}"), function)(*args)


curves, maths = _Later("curves"), _Later("maths")
KINDS = {*LEAVES, "product", "total"}  # of node that are no row of the table


def _compare(sign: str) -> Lowering:
    return lambda c, a, b: c.b.fcmp_ordered(sign, a, b)


def _sign(c: Code, a: Any) -> Any:
    zero, one = c.splat(0.0), c.splat(1.0)
    negative = maths.select(c, c.b.fcmp_ordered("<", a, zero), c.splat(-1.0), zero)
    # torch.sign of NaN is 0.
    return maths.select(c, c.b.fcmp_ordered(">", a, zero), one, negative)


def _chosen(sign: str) -> Lowering:
    """The larger or smaller of two; NaN if either is, as in torch."""

    def lower(c: Code, a: Any, b: Any) -> Any:
        first = maths.select(c, c.b.fcmp_unordered(sign, a, b), a, b)
        return maths.select(c, c.b.fcmp_unordered("uno", b, b), b, first)

    return lower


def _clamp(c: Code, a: Any, low: float, high: float) -> Any:
    a = maths.select(c, c.b.fcmp_ordered("<", a, c.splat(low)), c.splat(low), a)
    return maths.select(c, c.b.fcmp_ordered(">", a, c.splat(high)), c.splat(high), a)


def _relu(c: Code, a: Any) -> Any:
    return maths.select(c, c.b.fcmp_ordered("<", a, c.splat(0.0)), c.splat(0.0), a)


LOWERINGS: dict[str, Lowering] = {
    "neg": lambda c, a: c.b.fneg(a),
    "add": lambda c, a, b: c.b.fadd(a, b),
    "sub": lambda c, a, b: c.b.fsub(a, b),
    "mul": lambda c, a, b: c.b.fmul(a, b),
    "div": lambda c, a, b: c.b.fdiv(a, b),
    "power": curves.power,
    "abs": maths.absolute,
    "sign": _sign,
    "exp": maths.exp,
    "expm1": maths.expm1,
    "log": maths.log,
    "log1p": maths.log1p,
    "sqrt": curves.sqrt,
    "rsqrt": lambda c, a: c.b.fdiv(c.splat(1.0), curves.sqrt(c, a)),
    "sin": curves.sin,
    "cos": curves.cos,
    "atan": curves.atan,
    "erf": curves.erf,
    "tanh": maths.tanh,
    "sigmoid": maths.sigmoid,
    "relu": _relu,
    "softplus": maths.softplus,
    "maximum": _chosen(">"),
    "minimum": _chosen("<"),
    "clamp": _clamp,
    "where": lambda c, condition, a, b: maths.select(c, condition, a, b),
    "gt": _compare(">"),
    "ge": _compare(">="),
    "lt": _compare("<"),
    "le": _compare("<="),
    "eq": _compare("=="),
    "logical_and": lambda c, a, b: c.b.and_(a, b),
    "logical_or": lambda c, a, b: c.b.or_(a, b),
    "logical_not": lambda c, a: c.b.not_(a),
    "stop_gradient": lambda c, a: a,
}


def refuse_unwritten(nodes: Iterable[Node]) -> None:
    """Raise :class:`Refused` where there is a kind of node that kernels do not know."""
    for node in nodes:
        if node.op not in LOWERINGS and node.op not in KINDS:
            raise Refused(f"has no vector form of '{node.op}'")
