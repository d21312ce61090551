"""What a backend is: it takes a program and runs it over a sequence, or says why it refuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from elman.equations import Program
from elman.equations.node import Node


@dataclass(frozen=True)
class Call:
    """One direction of one layer, run over a sequence.

    ``x`` (T, B, I); ``states`` one (B, n) a state; ``parameters`` by the program's names; ``extras`` by name, (T, B, n)
    or (B, n). ``valid`` (T, B), bool: where False the row is over: its state holds and its output is 0, whatever x,
    the extras and ``reset`` hold there. ``reset`` (T, B), bool: where True the state before the step is ``initial``,
    or where that is None the states the run begins with. ``reverse`` runs from the last step to the first. ``record``
    names nodes whose values are to be returned for every step.
    """

    program: Program
    sizes: Mapping[str, int]
    parameters: Mapping[str, Tensor]
    x: Tensor
    states: tuple[Tensor, ...]
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    valid: Tensor | None = None
    reset: Tensor | None = None
    initial: tuple[Tensor, ...] | None = None
    reverse: bool = False
    record: tuple[int, ...] = ()

    @property
    def tensors(self) -> list[Any]:
        """What a gradient may be asked for, in order: x, states, those of resets, parameters, further inputs."""
        return [self.x, *self.states, *(self.initial or ()), *self.parameters.values(), *self.extras.values()]

    def with_tensors(self, tensors: Sequence[Any]) -> Call:
        """The call with these in their places."""
        rest = iter(tensors[1:])
        return replace(
            self,
            x=tensors[0],
            states=tuple(next(rest) for _ in self.states),
            initial=None if self.initial is None else tuple(next(rest) for _ in self.initial),
            parameters={name: next(rest) for name in self.parameters},
            extras={name: next(rest) for name in self.extras},
        )

    def inputs(self, nodes: Sequence[Node]) -> dict[int, Tensor]:
        """Return x and the further inputs by the number of their node, without what padding holds."""
        values = {}
        for i, node in enumerate(nodes):
            if node.op in ("input", "extra"):
                value = self.x if node.op == "input" else self.extras[node.name]
                padded = self.valid if value.dim() == 3 else None
                values[i] = value if padded is None else without_padding(value, padded)
        return values


def without_padding(value: Tensor, valid: Tensor) -> Tensor:
    """``value`` with the padding replaced by the row's own first step, or by 1 in a row of no steps.

    What the padding holds must reach neither a result nor a gradient, and 0 times NaN is NaN. Zeros in its place
    would do the same to equations that divide by an input; where the data are, these are finite.
    """
    if not len(value):
        return value
    first = torch.where(valid[0].unsqueeze(-1), value[0].detach(), 1.0)
    return torch.where(valid.unsqueeze(-1), value, first)


@dataclass(frozen=True)
class Result:
    """What a run computes: output, final states and recorded values.

    ``output`` is (T, B, O), each of ``states`` (B, n), and each recorded node (T, B, n).
    """

    output: Tensor
    states: tuple[Tensor, ...]
    recorded: dict[int, Tensor] = field(default_factory=dict)


class Backend(Protocol):
    """Runs programs."""

    name: str

    def refuses(self, call: Call) -> str | None:
        """Why this backend cannot take ``call``, or None where it can."""
        ...

    def run(self, call: Call) -> Result:
        """Run ``call``; differentiable by torch."""
        ...
