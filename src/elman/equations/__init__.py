"""The language of cells: the table of operations, tracing, the program, its adjoint and its LaTeX.

Everything a cell's equations may use is importable from here: the rows of the table, the functions written
with them, and ``antisymmetric``, ``blocks``, ``norm``, ``total`` and ``units``.
"""

from elman.equations.adjoint import Adjoint, adjoint
from elman.equations.cell import Cell, cell
from elman.equations.latex import Equation, equations, equations_by_node
from elman.equations.ops import (
    TABLE,
    atan,
    clamp,
    cos,
    elu,
    eq,
    erf,
    exp,
    expm1,
    gelu,
    hardsigmoid,
    identity,
    leaky_relu,
    log,
    log1p,
    logaddexp,
    logsigmoid,
    maximum,
    minimum,
    power,
    reciprocal,
    relu,
    rsqrt,
    sigmoid,
    sign,
    silu,
    sin,
    softplus,
    softsign,
    sqrt,
    square,
    stop_gradient,
    tanh,
    where,
)
from elman.equations.program import Program
from elman.equations.trace import antisymmetric, blocks, norm, total, units

__all__ = [
    "TABLE", "Adjoint", "Cell", "Equation", "Program", "adjoint", "antisymmetric", "atan", "blocks", "cell", "clamp",
    "cos", "elu", "eq", "equations", "equations_by_node", "erf", "exp", "expm1", "gelu", "hardsigmoid", "identity",
    "leaky_relu", "log", "log1p", "logaddexp", "logsigmoid", "maximum", "minimum", "norm", "power", "reciprocal",
    "relu", "rsqrt", "sigmoid", "sign", "silu", "sin", "softplus", "softsign", "sqrt", "square", "stop_gradient",
    "tanh", "total", "units", "where",
]  # fmt: skip
