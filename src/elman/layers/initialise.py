"""Initialisers by name: how the weights of a recurrent network begin.

Each takes one projection's rows of one weight at a time, so that a gate is initialised as if it stood alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from elman.equations.node import Parameter
from elman.equations.program import Program
from elman.errors import CellError, nearest


def _uniform(rows: Tensor, hidden: int) -> None:
    nn.init.uniform_(rows, -(hidden**-0.5), hidden**-0.5)


def _glorot(rows: Tensor, hidden: int) -> None:
    nn.init.xavier_uniform_(rows)


def _orthogonal(rows: Tensor, hidden: int) -> None:
    nn.init.orthogonal_(rows)


def _identity(rows: Tensor, hidden: int) -> None:
    nn.init.eye_(rows)


def _zeros(rows: Tensor, hidden: int) -> None:
    nn.init.zeros_(rows)


Initialiser = Callable[[Tensor, int], None]


@dataclass(frozen=True)
class Scheme:
    """How the weights of x, the weights of states and values, and vectors (biases too) begin."""

    inputs: Initialiser
    recurrent: Initialiser
    vectors: Initialiser


SCHEMES = {
    # U(-k, k) with k = 1 / sqrt(H), everywhere: torch.nn's.
    "torch": Scheme(_uniform, _uniform, _uniform),
    # Glorot & Bengio 2010
    "glorot": Scheme(_glorot, _glorot, _zeros),
    # Saxe et al. 2014: no direction of the state grows or fades at first. Keras's choice.
    "orthogonal": Scheme(_glorot, _orthogonal, _zeros),
    # Le et al. 2015: with relu, a network that begins by remembering everything.
    "identity": Scheme(_glorot, _identity, _zeros),
}


def scheme(name: str) -> Scheme:
    """The scheme of that name. Raises :class:`CellError` where there is none."""
    if name not in SCHEMES:
        raise CellError(f"there is no initialiser {name!r}; {nearest(str(name), SCHEMES)}")
    return SCHEMES[name]


def initialise(
    program: Program,
    sizes: Mapping[str, int],
    tensors: Mapping[str, Tensor],
    name: str,
    forget_bias: float | None = None,
) -> None:
    """Fill ``tensors``, the parameters of one layer by the program's names, by the scheme ``name``.

    ``forget_bias`` (Gers et al. 2000; Jozefowicz et al. 2015) is the sum of the biases of the projection ``f``;
    raises :class:`CellError` where the cell has none.
    """
    chosen = scheme(name)
    for parameter in program.parameters:
        for projection, _ in parameter.rows:
            start, stop = parameter.span(projection, sizes)
            _of(parameter, chosen)(tensors[parameter.name].data[start:stop], sizes["hidden"])
    if forget_bias is not None:
        _set_forget_bias(program, sizes, tensors, forget_bias)


def _of(parameter: Parameter, chosen: Scheme) -> Initialiser:
    if not parameter.columns:
        return chosen.vectors
    return chosen.inputs if parameter.name == "weight_ih" else chosen.recurrent


def _set_forget_bias(program: Program, sizes: Mapping[str, int], tensors: Mapping[str, Tensor], value: float) -> None:
    biases = [p for p in program.parameters if p.name.startswith("bias") and any(r == "f" for r, _ in p.rows)]
    if not biases:
        raise CellError(
            f"cell '{program.name}' has no bias of a projection f, so forget_bias does nothing; leave it out"
        )
    for i, parameter in enumerate(biases):
        start, stop = parameter.span("f", sizes)
        tensors[parameter.name].data[start:stop] = value if i == 0 else 0.0
