"""Networks of every cell, for what is written from their steps."""

from __future__ import annotations

import copy

import torch

import elman
from cells_outside import OUTSIDE
from cpu_cells import OWN
from elman.cells.registry import REGISTRY

CELLS = {**REGISTRY, **{f"outside_{c.name}": c for c in OUTSIDE}, **{f"own_{c.name}": c for c in OWN}}


def network(key, dtype=torch.float64, **more):
    """Two layers of a cell, in evaluation; inputs and states of one size, so that any cell takes them."""
    torch.manual_seed(1)
    return elman.Recurrent(CELLS[key], 12, 12, num_layers=2, dtype=dtype, **more).eval()


def exactly(layer, x, extras, state=None, lengths=None, times=8):
    """The output (T, B, O) and the states in float64, each with how far a form in float32 may be from it: 1e-5 of its
    largest value, or some ``times`` what torch errs by itself, where that is more."""
    exact, double = copy.deepcopy(layer).double(), torch.Tensor.double
    given = state if state is None else tuple(map(double, state)) if isinstance(state, tuple) else double(state)
    with torch.no_grad():
        want, wanted = exact(double(x), given, lengths, **{name: double(value) for name, value in extras.items()})
        own, ends = layer(x, state, lengths, **extras)
    pairs = [(want, own), *zip(*(part if isinstance(part, tuple) else (part,) for part in (wanted, ends)), strict=True)]
    return [(a.numpy(), max(1e-5 * float(a.abs().max()), times * float((b - a).abs().max()))) for a, b in pairs]


def sequence(layer, steps=20, rows=2):
    """x (T, B, I), and the further inputs by name."""
    torch.manual_seed(2)
    dtype = next(layer.parameters()).dtype if [*layer.parameters()] else torch.float64
    sizes = layer.stack.sizes[0]
    extras = {e.name: torch.rand(steps, rows, sizes[e.size], dtype=dtype) for e in layer.program.extras}
    return torch.randn(steps, rows, layer.input_size, dtype=dtype), extras
