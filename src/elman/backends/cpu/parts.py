"""What a plan is made of."""

from __future__ import annotations

from dataclasses import dataclass

from elman.backends.cpu.sums import Sum


class Refused(Exception):
    """The CPU backend cannot take this program; the message is the reason."""


@dataclass(frozen=True)
class Piece:
    """Rows ``row`` ... of a weight, that feed the sum ``sum`` of a phase from turn ``k`` of a run on."""

    sum: int
    k: int
    count: int
    parameter: str
    row: int
    transposed: bool


@dataclass(frozen=True)
class Run:
    """A stretch of an operand's row that several sums multiply: ``length`` turns of the product's inner loop."""

    source: int | None  # the operand's node; None stands for the columns
    offset: int
    length: int
    sums: tuple[int, ...]
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Phase:
    """Sums of one size, taken together, and what is done with them."""

    key: str
    size: str
    sums: tuple[Sum, ...]
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Job:
    """Rows of a parameter's gradient: columns ``column`` ... of all steps, transposed, times an operand."""

    parameter: str
    row: int
    column: int
    width: int
    operand: int


@dataclass(frozen=True)
class Gather:
    """Rows of a learned vector's gradient, summed in the loop: of a node, over units too where it is a total."""

    parameter: str
    row: int
    width: int
    nodes: tuple[int, ...]
    size: str
    total: bool
