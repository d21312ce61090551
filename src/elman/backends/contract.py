"""What a backend is: it takes a program and runs it over a sequence, or says why it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from elman.equations import Program


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
