"""Networks of every cell, for what is written from their steps."""

from __future__ import annotations

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


def sequence(layer, steps=20, rows=2):
    """x (T, B, I), and the further inputs by name."""
    torch.manual_seed(2)
    dtype = next(layer.parameters()).dtype if [*layer.parameters()] else torch.float64
    sizes = layer.stack.sizes[0]
    extras = {e.name: torch.rand(steps, rows, sizes[e.size], dtype=dtype) for e in layer.program.extras}
    return torch.randn(steps, rows, layer.input_size, dtype=dtype), extras
