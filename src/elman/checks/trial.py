"""A cell on trial: layers of it, random cases, everything that comes out of one, and where two results differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from elman.equations import Cell, Program
from elman.layers import Recurrent
from elman.layers.shape import Shape

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Subject:
    """What is checked: a cell, its options and sizes, and the seed of all numbers."""

    cell: Cell
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    def program(self) -> Program:
        """The cell with those of the options that are its own; the rest are sizes."""
        return self.cell.program(**{k: v for k, v in self.options.items() if k in self.cell.options})

    def layer(self, shape: Shape, dtype: torch.dtype = torch.float64, backend: str = "auto") -> Recurrent:
        """Make a layer with the same weights in every dtype.

        They are of a scale at which the cell is not nearly linear.
        """
        layer = Recurrent(self.cell, shape.I, shape.H, backend=backend, dtype=dtype, **self.options)
        generator = torch.Generator().manual_seed(self.seed)
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / 2)
        return layer

    def case(self, shape: Shape, dtype: torch.dtype = torch.float64) -> Case:
        """Random input; the states are such as the cell comes to by itself."""
        layer = self.layer(shape, backend="reference")
        sizes, generator = layer.stack.sizes[0], torch.Generator().manual_seed(self.seed + 1)

        def draw(*size: int) -> Tensor:
            return torch.randn(size, generator=generator).double()

        def extras(steps: int) -> Tensors:
            return {e.name: draw(steps, shape.B, sizes[e.size]).abs() + 0.1 for e in layer.program.extras}

        with torch.no_grad():
            _, state = layer(draw(2, shape.B, shape.I), **extras(2))
        states = [state] if isinstance(state, Tensor) else list(state)
        whole = Case(shape, draw(shape.T, shape.B, shape.I), [s.float().double() for s in states], extras(shape.T))
        return whole.to(dtype)


@dataclass(frozen=True)
class Case:
    """``x`` (T, B, I), the initial ``states`` (1, B, n) and the further inputs (T, B, n) of one call."""

    shape: Shape
    x: Tensor
    states: list[Tensor]
    extras: Tensors
    lengths: list[int] | None = None
    reset: Tensor | None = None

    def to(self, dtype: torch.dtype) -> Case:
        """Return this case with its numbers in another dtype."""
        extras = {name: e.to(dtype) for name, e in self.extras.items()}
        return replace(self, x=self.x.to(dtype), states=[s.to(dtype) for s in self.states], extras=extras)

    def steps(self, start: int, stop: int, rows: slice = slice(None)) -> Case:
        """Steps ``start`` to ``stop`` of some rows, as a case of its own without lengths and resets."""
        extras = {name: e[start:stop, rows] for name, e in self.extras.items()}
        return Case(self.shape, self.x[start:stop, rows], [s[:, rows] for s in self.states], extras)

    def poisoned(self, lengths: Sequence[int]) -> Case:
        """The case with these lengths and NaN in the padding."""
        x, extras = self.x.clone(), {name: e.clone() for name, e in self.extras.items()}
        for row, length in enumerate(lengths):
            for value in (x, *extras.values()):
                value[length:, row] = torch.nan
        return replace(self, x=x, extras=extras, lengths=list(lengths))


def outcome(layer: Recurrent, case: Case, cotangents: Tensors | None = None) -> Tensors:
    """Output, final states, and the gradient of x, further inputs, initial states and weights.

    ``cotangents`` are what arrives at the output and the final states, by name: :func:`waves` where None.
    """
    names = [s.name for s in layer.program.states]
    leaves = {"x": case.x} | {f"initial {n}": s for n, s in zip(names, case.states, strict=True)} | case.extras
    leaves = {name: value.detach().clone().requires_grad_() for name, value in leaves.items()}
    states = [leaves[f"initial {n}"] for n in names]
    output, final = layer(
        leaves["x"],
        states[0] if len(states) == 1 else tuple(states),
        lengths=case.lengths,
        reset=case.reset,
        **{name: leaves[name] for name in case.extras},
    )
    finals = [final] if len(names) == 1 else list(final)
    values = {"output": output} | {f"final {n}": s for n, s in zip(names, finals, strict=True)}
    arriving = cotangents or waves(values)
    leaves |= dict(layer.named_parameters())
    gradients = torch.autograd.grad(
        list(values.values()), list(leaves.values()), [arriving[n] for n in values], allow_unused=True,
        materialize_grads=True,
    )  # fmt: skip
    tensors = values | {f"gradient of {n}": g for n, g in zip(leaves, gradients, strict=True)}
    return {name: value.detach() for name, value in tensors.items()}


def waves(values: Mapping[str, Tensor]) -> Tensors:
    """cos(0), cos(1), ... in the shape of each value: gradients that tell entries apart."""
    return {n: torch.arange(v.numel(), dtype=torch.float64).cos().view(v.shape).to(v.dtype) for n, v in values.items()}


def first_difference(
    computed: Mapping[str, Tensor], want: Mapping[str, Tensor], allowed: Mapping[str, float] | float
) -> dict[str, Any] | None:
    """The worst entry of the first tensor that errs by more than ``allowed``, or None.

    Errors are relative to the largest entry of what is wanted. A dict: tensor, entry, found, wanted, error.

    >>> first_difference({"h": torch.tensor([1.0, 2.5])}, {"h": torch.tensor([1.0, 2.0])}, 1e-6)["entry"]
    [1]
    """
    for name, wanted in want.items():
        value, wanted = computed[name].double(), wanted.double()
        off = ((value - wanted).abs() / wanted.abs().nan_to_num(0.0).amax().clamp(min=1e-3)).nan_to_num(torch.inf)
        limit = allowed if isinstance(allowed, float) else allowed[name]
        if off.numel() and float(off.max()) > limit:
            entry = tuple(int(i) for i in torch.unravel_index(off.argmax(), off.shape))
            return {
                "tensor": name, "entry": list(entry), "found": float(value[entry]), "wanted": float(wanted[entry]),
                "error": float(off.max()), "allowed": limit,
            }  # fmt: skip
    return None


def errors(computed: Mapping[str, Tensor], want: Mapping[str, Tensor]) -> dict[str, float]:
    """The largest error of each tensor, relative to its largest entry."""
    return {
        n: float((computed[n].double() - w.double()).abs().max() / w.abs().max().clamp(min=1e-3)) if w.numel() else 0.0
        for n, w in want.items()
    }
