"""What a program is made of: its values, its learned arrays, its states and its further inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# The kinds of node that are computed from no other.
LEAVES = frozenset({"input", "extra", "state", "constant", "vector", "cotangent"})


@dataclass(frozen=True)
class Node:
    """One value of the step. ``args`` are the indices of the nodes it is computed from."""

    op: str
    args: tuple[int, ...] = ()
    size: str = "1"
    name: str = ""  # of an input or state; of the parameter for a vector or product
    rows: str = ""  # which rows of that parameter
    blocks: int = 1  # of a block-diagonal product
    transposed: bool = False  # a product with the transposed weight (in an adjoint)
    value: float | tuple[str, ...] | None = None  # of a constant; names: the sum of these sizes


@dataclass(frozen=True)
class Parameter:
    """A learned matrix (or vector, where ``columns`` is empty) whose rows are stacked by projection."""

    name: str
    rows: tuple[tuple[str, str], ...]  # (projection, size), in order
    columns: str = ""
    blocks: int = 1
    antisymmetric: bool = False  # what the products take of each projection's rows W is W - W^T

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The concrete shape, (rows, columns / blocks) or (rows,)."""
        rows = sum(sizes[size] for _, size in self.rows)
        return (rows, sizes[self.columns] // self.blocks) if self.columns else (rows,)

    def span(self, projection: str, sizes: Mapping[str, int]) -> tuple[int, int]:
        """First row of ``projection`` and the row after its last."""
        start = 0
        for name, size in self.rows:
            if name == projection:
                return start, start + sizes[size]
            start += sizes[size]
        raise KeyError(projection)


@dataclass(frozen=True)
class State:
    """A state: its name and size, the node that is its old value and the node that is its new one."""

    name: str
    size: str
    old: int
    new: int


@dataclass(frozen=True)
class Extra:
    """A named input beside x."""

    name: str
    size: str
