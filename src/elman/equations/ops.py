"""The table of operations: one row an operation, and nothing about an operation anywhere else.

A row says how torch computes it, its derivative (in the same language, so that every backend and the
second derivative follow), and how it is written as text and as LaTeX. ``derivative(g, y, *args)`` gets the
cotangent ``g`` of the result ``y`` and returns one cotangent an argument, None where none flows. ``code`` is how it is
written in C and in JavaScript, where that is not as text; ``onnx`` the operator of ONNX that it is, or how it is made
of other rows.

Subgradients, the same in every backend: relu at 0 is 0; abs at 0 is 0; max and min at a tie share the
gradient in halves; clamp passes the gradient on its edges. All as torch has them.

A row is called like a function. On the symbols of a traced cell it builds a node; on tensors it computes:

>>> import torch
>>> tanh(torch.zeros(2))
tensor([0., 0.])
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

Derivative = Callable[..., Sequence[Any]]


class Expression:
    """What the operators below work on: a symbol of a cell being traced, or of its adjoint."""

    __slots__ = ()

    def pointwise(self, operation: Operation, args: Sequence[Any]) -> Any:
        """Add the node ``operation(*args)`` to the graph this symbol belongs to."""
        raise NotImplementedError

    def __add__(self, other: Any) -> Any:
        return add(self, other)

    def __radd__(self, other: Any) -> Any:
        return add(other, self)

    def __sub__(self, other: Any) -> Any:
        return sub(self, other)

    def __rsub__(self, other: Any) -> Any:
        return sub(other, self)

    def __mul__(self, other: Any) -> Any:
        return mul(self, other)

    def __rmul__(self, other: Any) -> Any:
        return mul(other, self)

    def __truediv__(self, other: Any) -> Any:
        return div(self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return div(other, self)

    def __pow__(self, exponent: float) -> Any:
        return power(self, exponent)

    def __neg__(self) -> Any:
        return neg(self)

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return abs_(self)

    def __gt__(self, other: Any) -> Any:
        return gt(self, other)

    def __ge__(self, other: Any) -> Any:
        return ge(self, other)

    def __lt__(self, other: Any) -> Any:
        return lt(self, other)

    def __le__(self, other: Any) -> Any:
        return le(self, other)

    def __and__(self, other: Any) -> Any:
        return logical_and(self, other)

    def __or__(self, other: Any) -> Any:
        return logical_or(self, other)

    def __invert__(self) -> Any:
        return logical_not(self)


# How tightly a written form binds, loosest first; an argument that binds less tightly is put in parentheses.
COMPARISON, SUM, PRODUCT, PREFIX, POWER, ATOM = range(6)


@dataclass(frozen=True)
class Operation:
    """A row of the table."""

    name: str
    torch: Callable[..., torch.Tensor]
    derivative: Derivative
    latex: str
    text: str
    binds: int = ATOM
    argument_binds: tuple[int, ...] = ()
    latex_argument_binds: tuple[int, ...] | None = None
    code: str = ""
    onnx: str | Callable[..., Any] = ""
    truth_arguments: tuple[int, ...] = ()
    gives_truth: bool = False
    number_arguments: tuple[int, ...] = ()
    costly: bool = False  # more so to compute again than to keep
    also: tuple[str, ...] = field(default=(), repr=False)

    def __call__(self, *args: Any) -> Any:
        for arg in args:
            if isinstance(arg, Expression):
                return arg.pointwise(self, args)
        if not any(isinstance(arg, torch.Tensor) for arg in args):
            return float(self.torch(*(torch.tensor(arg, dtype=torch.float64) for arg in args)))
        like = next(arg for arg in args if isinstance(arg, torch.Tensor))
        numbers = self.number_arguments
        return self.torch(*(arg if i in numbers else _as_tensor(arg, like) for i, arg in enumerate(args)))


def _as_tensor(arg: Any, like: torch.Tensor) -> torch.Tensor:
    """A number beside tensors as a tensor too: torch.maximum, say, takes no numbers."""
    if isinstance(arg, torch.Tensor):
        return arg
    return torch.tensor(arg, dtype=like.dtype if like.is_floating_point() else None, device=like.device)


TABLE: dict[str, Operation] = {}


def _row(
    name: str,
    function: Callable[..., torch.Tensor],
    derivative: Derivative,
    latex: str,
    text: str = "",
    **more: Any,
) -> Operation:
    text = text or f"{name}({{}})"
    more = {"code": text, "onnx": name.capitalize()} | more
    TABLE[name] = row = Operation(name, function, derivative, latex, text, **more)
    return row


def _power(a: torch.Tensor, exponent: float) -> torch.Tensor:
    return torch.pow(a, float(exponent))


def _power_derivative(g: Any, a: Any, exponent: float) -> Any:
    if exponent == 0:
        return None  # and not 0 * a**-1, which is NaN where a is 0
    return g if exponent == 1 else g * (exponent * a ** (exponent - 1))


def _clamp(a: torch.Tensor, low: float, high: float) -> torch.Tensor:
    return torch.clamp(a, float(low), float(high))


def _share(g: Any, wins: Any, a: Any, b: Any) -> Any:
    """The part of ``g`` that flows to the argument that ``wins``; half of it at a tie."""
    return where(wins, g, where(eq(a, b), g / 2, 0.0))


def _inside(g: Any, a: Any, low: float, high: float) -> Any:
    return where(logical_and(ge(a, low), le(a, high)), g, 0.0)


_sum = {"binds": SUM, "argument_binds": (SUM, PRODUCT)}
_compare = {"binds": COMPARISON, "argument_binds": (SUM, SUM), "gives_truth": True}
_logic = {"binds": COMPARISON, "argument_binds": (ATOM, ATOM), "truth_arguments": (0, 1), "gives_truth": True}


def _none(*_: Any) -> list[None]:
    return [None, None]


# Arithmetic
neg: Operation = _row(
    "neg", torch.neg, lambda g, y, a: [-g], "-{}", "-{}",
    binds=PREFIX, argument_binds=(PREFIX,), also=("negative",),
)  # fmt: skip
add: Operation = _row("add", torch.add, lambda g, y, a, b: [g, g], "{} + {}", "{} + {}", **_sum)
sub: Operation = _row("sub", torch.sub, lambda g, y, a, b: [g, -g], "{} - {}", "{} - {}", also=("subtract",), **_sum)
mul: Operation = _row(
    "mul", torch.mul, lambda g, y, a, b: [g * b, g * a], r"{} \odot {}", "{} * {}",
    binds=PRODUCT, argument_binds=(PRODUCT, PRODUCT), also=("multiply",),
)  # fmt: skip
div: Operation = _row(
    "div", torch.div, lambda g, y, a, b: [g / b, -(g * y / b)], r"\frac{{{}}}{{{}}}", "{} / {}",
    binds=PRODUCT, argument_binds=(PRODUCT, PREFIX), latex_argument_binds=(), costly=True,
    also=("divide", "true_divide"),
)  # fmt: skip
power: Operation = _row(
    "power", _power, lambda g, y, a, p: [_power_derivative(g, a, p), None], "{}^{{{}}}", "{}**{}",
    binds=POWER, argument_binds=(ATOM,), number_arguments=(1,), also=("pow", "float_power"),
    code="power({}, {})", onnx="Pow", costly=True,
)  # fmt: skip
abs_: Operation = _row(
    "abs", torch.abs, lambda g, y, a: [g * sign(a)], r"\left|{}\right|",
    also=("absolute",),
)  # fmt: skip
sign: Operation = _row("sign", torch.sign, _none, r"\operatorname{{sign}}({})", also=("sgn",))

# Exponentials and roots
exp: Operation = _row("exp", torch.exp, lambda g, y, a: [g * y], r"\exp({})", costly=True)
expm1: Operation = _row(
    "expm1", torch.expm1, lambda g, y, a: [g * (y + 1)], r"\operatorname{{expm1}}({})",
    onnx=lambda a: tanh(a / 2) * (exp(a) + 1), costly=True,
)  # fmt: skip
log: Operation = _row("log", torch.log, lambda g, y, a: [g / a], r"\ln({})", costly=True)
log1p: Operation = _row(
    "log1p", torch.log1p, lambda g, y, a: [g / (1 + a)], r"\ln(1 + {})",
    # Near 0 the rounding of 1 + a is divided out (Kahan).
    onnx=lambda a: where(lt(abs_(a), 0.5), where(eq(1 + a, 1.0), a, log(1 + a) * (a / ((1 + a) - 1))), log(1 + a)),
    costly=True,
)  # fmt: skip
sqrt: Operation = _row("sqrt", torch.sqrt, lambda g, y, a: [g / (2 * y)], r"\sqrt{{{}}}", costly=True)
rsqrt: Operation = _row(
    "rsqrt", torch.rsqrt, lambda g, y, a: [-(g * y * y * y / 2)], r"({})^{{-1/2}}", onnx=lambda a: 1 / sqrt(a),
    costly=True,
)  # fmt: skip
sin: Operation = _row("sin", torch.sin, lambda g, y, a: [g * cos(a)], r"\sin({})", costly=True)
cos: Operation = _row("cos", torch.cos, lambda g, y, a: [-(g * sin(a))], r"\cos({})", costly=True)
atan: Operation = _row(
    "atan", torch.atan, lambda g, y, a: [g / (1 + a * a)], r"\arctan({})", also=("arctan",), costly=True
)
erf: Operation = _row(
    "erf",
    torch.erf,
    lambda g, y, a: [g * (2 / math.sqrt(math.pi)) * exp(-(a * a))],
    r"\operatorname{{erf}}({})",
    costly=True,
)

# Squashing functions
tanh: Operation = _row("tanh", torch.tanh, lambda g, y, a: [g * (1 - y * y)], r"\tanh({})", costly=True)
sigmoid: Operation = _row(
    "sigmoid", torch.sigmoid, lambda g, y, a: [g * (y * (1 - y))], r"\sigma({})", also=("expit",), costly=True
)
relu: Operation = _row(
    "relu",
    torch.relu,
    lambda g, y, a: [where(gt(a, 0.0), g, 0.0)],
    r"\operatorname{{relu}}({})",
    also=("relu_",),
)
softplus: Operation = _row(
    "softplus",
    # Torch returns a itself above 20, which leaves out 2e-9: too much in float64. Above 40 it is less than a rounding.
    lambda a: torch.nn.functional.softplus(a, threshold=40.0),
    lambda g, y, a: [g * sigmoid(a)],
    r"\operatorname{{softplus}}({})",
    costly=True,
)

# Choice
maximum: Operation = _row(
    "maximum", torch.maximum, lambda g, y, a, b: [_share(g, gt(a, b), a, b), _share(g, gt(b, a), a, b)],
    r"\max({}, {})", "maximum({}, {})", also=("max",), onnx="Max",
)  # fmt: skip
minimum: Operation = _row(
    "minimum", torch.minimum, lambda g, y, a, b: [_share(g, lt(a, b), a, b), _share(g, lt(b, a), a, b)],
    r"\min({}, {})", "minimum({}, {})", also=("min",), onnx="Min",
)  # fmt: skip
clamp: Operation = _row(
    "clamp", _clamp, lambda g, y, a, low, high: [_inside(g, a, low, high), None, None],
    r"\operatorname{{clamp}}({}, {}, {})", "clamp({}, {}, {})", number_arguments=(1, 2), also=("clip", "hardtanh"),
    onnx="Clip",
)  # fmt: skip
where: Operation = _row(
    "where", torch.where, lambda g, y, c, a, b: [None, where(c, g, 0.0), where(c, 0.0, g)],
    r"\operatorname{{where}}({}, {}, {})", "where({}, {}, {})", truth_arguments=(0,),
    code="({} ? {} : {})",
)  # fmt: skip
gt: Operation = _row("gt", torch.gt, _none, "{} > {}", "{} > {}", also=("greater",), onnx="Greater", **_compare)
ge: Operation = _row(
    "ge", torch.ge, _none, r"{} \ge {}", "{} >= {}", also=("greater_equal",), onnx="GreaterOrEqual", **_compare
)
lt: Operation = _row("lt", torch.lt, _none, "{} < {}", "{} < {}", also=("less",), onnx="Less", **_compare)
le: Operation = _row(
    "le", torch.le, _none, r"{} \le {}", "{} <= {}", also=("less_equal",), onnx="LessOrEqual", **_compare
)
eq: Operation = _row("eq", torch.eq, _none, "{} = {}", "{} == {}", onnx="Equal", **_compare)
logical_and: Operation = _row(
    "logical_and", torch.logical_and, _none, r"{} \land {}", "{} & {}", code="{} && {}", onnx="And", **_logic
)
logical_or: Operation = _row(
    "logical_or", torch.logical_or, _none, r"{} \lor {}", "{} | {}", code="{} || {}", onnx="Or", **_logic
)
logical_not: Operation = _row(
    "logical_not", torch.logical_not, _none, r"\lnot {}", "~{}",
    binds=PREFIX, argument_binds=(ATOM,), truth_arguments=(0,), gives_truth=True, code="!{}", onnx="Not",
)  # fmt: skip
stop_gradient: Operation = _row(
    "stop_gradient", torch.detach, _none, r"\operatorname{{stop}}({})", also=("detach",), code="({})", onnx="Identity"
)  # fmt: skip


# Written with the rows above: functions people expect, which need no row of their own.
def identity(a: Any) -> Any:
    """a, unchanged: the activation of a linear network."""
    return a


def square(a: Any) -> Any:
    """a squared."""
    return a * a


def reciprocal(a: Any) -> Any:
    """1 / a."""
    return 1.0 / a


def silu(a: Any) -> Any:
    """a sigmoid(a) (Elfwing et al. 2018), also known as swish."""
    return a * sigmoid(a)


def gelu(a: Any) -> Any:
    """a Phi(a), with the Gaussian's distribution function (Hendrycks & Gimpel 2016)."""
    return a * (0.5 * (1 + erf(a * math.sqrt(0.5))))


def elu(a: Any, alpha: float = 1.0) -> Any:
    """a above 0 and alpha (exp(a) - 1) below (Clevert et al. 2016)."""
    return where(gt(a, 0.0), a, alpha * expm1(minimum(a, 0.0)))


def leaky_relu(a: Any, negative_slope: float = 0.01) -> Any:
    """a above 0 and negative_slope a below (Maas et al. 2013)."""
    return where(gt(a, 0.0), a, negative_slope * a)


def softsign(a: Any) -> Any:
    """a / (1 + |a|)."""
    return a / (1 + abs_(a))


def hardsigmoid(a: Any) -> Any:
    """a / 6 + 1/2, held between 0 and 1."""
    return clamp(a / 6 + 0.5, 0.0, 1.0)


def logsigmoid(a: Any) -> Any:
    """ln(sigmoid(a)), exact on both tails."""
    return -softplus(-a)


def logaddexp(a: Any, b: Any) -> Any:
    """ln(exp(a) + exp(b)), exact whichever is larger."""
    return maximum(a, b) + softplus(-abs_(a - b))


COMPOSITES: dict[str, Callable[..., Any]] = {
    f.__name__: f
    for f in (
        identity,
        square,
        reciprocal,
        silu,
        gelu,
        elu,
        leaky_relu,
        softsign,
        hardsigmoid,
        logsigmoid,
        logaddexp,
    )
}


def find(name: str) -> Callable[..., Any] | None:
    """The row or composite that ``name`` (torch's name for it too) stands for, or None."""
    return _BY_NAME.get(name)


_BY_NAME: dict[str, Callable[..., Any]] = {
    **COMPOSITES,
    **{alias: row for row in TABLE.values() for alias in (row.name, *row.also)},
}
