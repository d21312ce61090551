"""Layers of every cell of the registry, and of those outside it, as the tests of insight look into them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

import elman
from cells_outside import OUTSIDE
from elman.equations import Cell
from oracle import CELLS, sizes_of

EVERY_CELL = [*CELLS, *(pytest.param(c, id=f"outside-{c.name}") for c in OUTSIDE)]


@dataclass(frozen=True)
class Case:
    """A layer in float64 with everything random, its input (T, B, I) and its further inputs."""

    layer: elman.Recurrent
    x: Tensor
    given: dict[str, Tensor]


NETWORKS = {
    "deep": {"num_layers": 3},
    "both ways": {"bidirectional": True},
    "both ways, deep": {"num_layers": 2, "bidirectional": True, "merge": "product"},
    "residual": {"num_layers": 3, "residual": True},
    "zoneout": {"num_layers": 2, "zoneout": 0.2},
    "learned state": {"num_layers": 2, "bidirectional": True, "learn_state": True},
}


def case_of(cell: Cell, T: int = 7, B: int = 2, **options: Any) -> Case:
    torch.manual_seed(0)
    sizes = sizes_of(cell.program(), 2, 5)
    named = {name: sizes[name] for name in cell.program().size_names}
    layer = elman.Recurrent(cell, sizes["input"], sizes["hidden"], dtype=torch.float64, **named, **options)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    extras = {e.name: torch.rand(T, B, sizes[e.size], dtype=torch.float64) + 0.1 for e in layer.program.extras}
    return Case(layer, torch.randn(T, B, sizes["input"], dtype=torch.float64), extras)
