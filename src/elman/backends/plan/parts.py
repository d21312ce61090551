"""What a plan is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from elman.backends.plan.sums import Sum


class Refused(Exception):
    """The CPU backend cannot take this program; the message is the reason."""


class At(NamedTuple):
    """When a value of a step is known: in which stage, and in which of its passes over the units of a row."""

    stage: int
    turn: int


@dataclass(frozen=True)
class Piece:
    """Rows ``row`` ... of a weight, that feed the sum ``sum`` of a phase from turn ``k`` of a segment on."""

    sum: int
    k: int
    count: int
    parameter: str
    row: int
    transposed: bool


@dataclass(frozen=True)
class Segment:
    """A stretch of an operand's row that several sums multiply: ``length`` turns of the product's inner loop.

    Of a product in ``blocks``, each block of units multiplies a stretch of its own; they lie one behind the other.
    """

    source: int | None  # the operand's node; None stands for the columns
    offset: int
    length: int
    sums: tuple[int, ...]
    pieces: tuple[Piece, ...]
    blocks: int = 1


@dataclass(frozen=True)
class Phase:
    """Sums of one size, taken together."""

    size: str
    sums: tuple[Sum, ...]
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class Store:
    """The sum of ``nodes``, written to where ``kind`` and ``name`` say; without nodes, zeros of size ``size``.

    ``condition`` names the gradient that must be wanted for it.
    """

    kind: str
    name: str | int
    nodes: tuple[int, ...]
    size: str
    condition: str = ""


@dataclass
class Work:
    """What one pass does for the units of one size."""

    stores: list[Store] = field(default_factory=list)
    totals: list[tuple[int, int]] = field(default_factory=list)  # (total, the value of this size it adds up)
    reads: set[int] = field(default_factory=set)  # values that were stored before, and are read
    joined: dict[int, tuple[int, ...]] = field(default_factory=dict)  # by sum, what was added and stored before
    singles: set[int] = field(default_factory=set)  # values of one unit: the same for all units of a row


@dataclass
class Stage:
    """Products, then passes over the units of each row. A total of one pass is known in the next.

    A stage of one pass is ``fused``: its pass runs where a product's sums are in registers still.
    """

    condition: str
    phases: tuple[Phase, ...] = ()
    passes: list[dict[str, Work]] = field(default_factory=list)

    @property
    def fused(self) -> bool:
        """Whether the pass runs behind each tile of a product."""
        return len(self.passes) == 1


@dataclass(frozen=True)
class Product:
    """Rows of a parameter's gradient: columns ``column`` ... of all steps, transposed, times ``count`` units of an
    operand from ``offset`` on. There may be ``groups`` of them, so far apart in the gradient and in the columns.
    """

    parameter: str
    row: int
    column: int
    width: int
    operand: int
    offset: int
    count: int
    groups: int = 1
    row_step: int = 0
    column_step: int = 0


@dataclass(frozen=True)
class Gather:
    """Rows of a learned vector's gradient, summed in the loop: of nodes, over units too where it is a total."""

    parameter: str
    row: int
    width: int
    nodes: tuple[int, ...]
    size: str
    total: bool


def offsets(widths: Sequence[int]) -> tuple[list[int], int]:
    """Where each of several values stands in a row of them all, and the row's length.

    Single numbers stand last, and behind them a row of wide values is filled up, so that these stay in line with the
    processor's cache.
    """
    at = 0
    starts = [0] * len(widths)
    for i in sorted(range(len(widths)), key=lambda i: widths[i] == 1):
        starts[i] = at
        at += widths[i]
    return starts, -(-at // 16) * 16 if 1 in widths and at >= 64 else at
