"""States and gates: what every named value of the equations does over a sequence, and which of its units do nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from elman.equations import Program
from elman.layers import Recurrent

# A value is saturated within this share of the larger of its bounds: a sigmoid below 0.1 or above 0.9, |tanh| > 0.9.
MARGIN = 0.1
# What moves less than this, relative to its size, does not move.
STILL = 1e-6


@dataclass(frozen=True)
class Activity:
    """One named value of one layer and direction over a sequence.

    ``values`` (T, B, n), with ``running`` (T, B) False where a row is over. ``bounds`` are what the operation that made
    it keeps it between, from the program: (0, 1) of a sigmoid, (-1, 1) of a tanh, (0, inf) of a relu, (-inf, inf) of
    what is not squashed.
    """

    name: str
    values: Tensor
    running: Tensor
    bounds: tuple[float, float]

    @property
    def squashed(self) -> bool:
        """Whether it has two ends to be stuck at: a gate, or a candidate."""
        return math.isfinite(self.bounds[0]) and math.isfinite(self.bounds[1])

    @property
    def low(self) -> Tensor:
        """How often each unit is at its lower end, (n,); 0 if it has none.

        As a fraction of steps and rows.
        """
        return self._share(self.values < self.bounds[0] + self._margin)

    @property
    def high(self) -> Tensor:
        """How often each unit is at its upper end, (n,); 0 if it has none.

        As a fraction of steps and rows.
        """
        return self._share(self.values > self.bounds[1] - self._margin)

    @property
    def saturated(self) -> float:
        """The share of steps, rows and units that are at either end."""
        return float((self.low + self.high).mean())

    @property
    def stuck(self) -> list[int]:
        """The units that are always at the same end: gates always open or always shut."""
        return torch.where((self.low == 1) | (self.high == 1))[0].tolist()

    @property
    def dead(self) -> list[int]:
        """The units that never move, whatever the input: a relu that is always 0, say."""
        seen = self.values[self.running]
        moved = seen.amax(0) - seen.amin(0)
        return torch.where(moved <= STILL * seen.abs().amax(0))[0].tolist()

    @property
    def _margin(self) -> float:
        return MARGIN * max(abs(bound) for bound in self.bounds)

    def _share(self, at_end: Tensor) -> Tensor:
        if not self.squashed:
            return self.values.new_zeros(self.values.shape[-1])
        return at_end[self.running].to(self.values.dtype).mean(0)


@torch.no_grad()
def activity(layer: Recurrent, x: Any, **given: Any) -> list[list[dict[str, Activity]]]:
    """Measure every state, gate and candidate over ``x``.

    Returns ``[layer][direction][name]``, with the names of the equations.

    ``given``: state, lengths, reset and further inputs. The layer runs as in evaluation.

    >>> import torch, elman
    >>> forget = activity(elman.Recurrent("lstm", 3, 5, forget_bias=5.0), torch.zeros(20, 2, 3))[0][0]["f"]
    >>> forget.bounds, forget.saturated, forget.stuck
    ((0.0, 1.0), 1.0, [0, 1, 2, 3, 4])
    """
    training = layer.training
    try:
        recorded = layer.eval().record(x, **given).values
    finally:
        layer.train(training)
    valid = layer.calls(x, **given)[0][0][0].valid
    program = layer.stack.running_program(False)
    limits = {name: bounds(program, index) for name, index in program.values.items()}

    def of(name: str, values: Tensor) -> Activity:
        running = values.new_ones(values.shape[:2], dtype=torch.bool) if valid is None else valid
        return Activity(name, values, running, limits[name])

    return [[{name: of(name, v) for name, v in named.items()} for named in row] for row in recorded]


def bounds(program: Program, index: int) -> tuple[float, float]:
    """What node ``index`` always lies between, found from the operations that make it.

    >>> import elman
    >>> gru = elman.cells.get("gru").program()
    >>> bounds(gru, gru.values["z"]), bounds(gru, gru.values["n"])
    ((0.0, 1.0), (-1.0, 1.0))
    """
    node = program.nodes[index]
    known = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "relu": (0.0, math.inf), "exp": (0.0, math.inf)}
    if node.op in known:
        return known[node.op]
    if node.op == "constant" and isinstance(node.value, float):
        return node.value, node.value
    if node.op == "clamp":
        low, high = (program.nodes[a].value for a in node.args[1:])
        return float(low), float(high)  # type: ignore[arg-type]
    if node.op in ("neg", "add", "sub", "mul", "div"):
        return _moved(node.op, [bounds(program, a) for a in node.args])
    return -math.inf, math.inf


def _moved(op: str, sides: list[tuple[float, float]]) -> tuple[float, float]:
    """The bounds of a value moved or stretched by a constant, as 1 - sigmoid(a) is; of anything else, none."""
    moves: dict[str, Callable[..., float]] = {
        "neg": lambda a: -a,
        "add": lambda a, b: a + b,
        "sub": lambda a, b: a - b,
        "mul": lambda a, b: a * b,
        "div": lambda a, b: a / b if b else math.inf,
    }
    if sum(low != high for low, high in sides) > 1:
        return -math.inf, math.inf
    ends = [moves[op](*(side[end] for side in sides)) for end in (0, 1)]
    return (min(ends), max(ends)) if not any(math.isnan(e) for e in ends) else (-math.inf, math.inf)
