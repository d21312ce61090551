"""What is measured: shapes, modes, the work that is in a case, and the numbers every peer is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from elman.backends import BACKENDS, Call, choose
from elman.equations import Program
from elman.layers import Recurrent
from elman.layers.shape import Shape

GRID = tuple(
    Shape.read(text)
    for text in ("32,50,1,32", "32,128,16,64", "32,128,64,128", "64,100,123,320", "64,100,512,512", "16,1000,64,64")
)
QUICK = GRID[:2]
CATALOGUE = GRID[1]

# What is run, and how much work that is in forward passes: a backward pass takes each product twice, once for the
# gradient of its operand and once for that of its weights.
MODES = {"forward+backward": 3, "forward": 1}


def flops(program: Program, sizes: Mapping[str, int], shape: Shape, mode: str) -> int:
    """Count the floating-point operations of a sequence.

    Those of the program's products: two for each multiply-add.

    Pointwise work is not counted.

    >>> from elman.cells import get
    >>> program, shape = get("lstm").program(), Shape(1, 1, 3, 5)
    >>> flops(program, program.sizes(3, 5), shape, "forward") == 2 * 4 * 5 * (3 + 5)
    True
    """
    products = (node for node in program.nodes if node.op == "product")
    step = 0
    for node in products:
        parameter = program.parameter(node.name)
        first, stop = parameter.span(node.rows, sizes)
        step += (stop - first) * (sizes[parameter.columns] // parameter.blocks)
    return 2 * step * shape.B * shape.T * MODES[mode]


@dataclass(frozen=True)
class Work:
    """One case: the ``layer`` whose weights every peer takes, ``x`` (T, B, I), the further inputs of the cell, and the
    gradient (T, B, O) that arrives at the output."""

    cell: str
    shape: Shape
    mode: str
    layer: Recurrent
    x: Tensor
    extras: Mapping[str, Tensor]
    cotangent: Tensor
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls, cell: str, shape: Shape, mode: str, backend: str = "auto", options: Mapping[str, Any] | None = None
    ) -> Work:
        """The case with random numbers, the same ones each time.

        >>> Work.of("gru", Shape(2, 7, 3, 5), "forward").x.shape
        torch.Size([7, 2, 3])
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            layer = Recurrent(cell, shape.I, shape.H, backend=backend, **(options or {}))
            sizes = layer.stack.sizes[0]
            extras = {e.name: torch.rand(shape.T, shape.B, sizes[e.size]) for e in layer.program.extras}
            x = torch.randn(shape.T, shape.B, shape.I)
            cotangent = torch.randn(shape.T, shape.B, layer.output_size)
            return cls(cell, shape, mode, layer, x, extras, cotangent, options or {})

    @property
    def backward(self) -> bool:
        """Whether gradients to the weights and the input are asked for."""
        return self.mode == "forward+backward"

    @property
    def flops(self) -> int:
        """Floating-point operations of the products."""
        return flops(self.layer.program, self.layer.stack.sizes[0], self.shape, self.mode)

    def weights(self) -> dict[str, Tensor]:
        """The layer's parameters by the program's names, cut off from the gradient."""
        return {name.removesuffix("_l0"): p.detach() for name, p in self.layer.named_parameters()}

    def backend(self) -> str:
        """The backend that takes the case. Raises :class:`BackendError` where the one asked for refuses."""
        return choose(self._call(), self.layer.stack.backend).name

    def fallback(self) -> str:
        """Why a faster backend than the one that takes the case does not, "" where none is faster."""
        taken = list(BACKENDS).index(self.backend())
        reasons = [backend.refuses(self._call()) for backend in list(BACKENDS.values())[:taken]]
        return "; ".join(reason for reason in reasons if reason)

    def _call(self) -> Call:
        """The case as a backend sees it, with the gradients that it will be asked for."""
        stack = self.layer.stack
        (states,) = stack.zero_states(self.shape.B, self.x)[0]
        x, weights = self.x, stack.program.weights(self.weights())
        if self.backward:
            x, weights = x.clone().requires_grad_(), {n: w.clone().requires_grad_() for n, w in weights.items()}
        return Call(stack.program, stack.sizes[0], weights, x, states, self.extras)
