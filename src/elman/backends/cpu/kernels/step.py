"""The pointwise part of a step: any node's value for one vector of units of one row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llvmlite import ir

from elman.backends.cpu.functions.lowering import LOWERINGS
from elman.backends.cpu.llvm.code import I8, i64
from elman.backends.cpu.llvm.kernel import Part
from elman.backends.plan.parts import Work
from elman.backends.plan.plan import Plan
from elman.equations import TABLE

# How a leaf's row is found: its node's index to (address of the row's first unit).
Rows = Callable[[int], Any]


class Body:
    """Values at one place of one row: units from ``unit`` on, those lanes that ``mask`` names.

    ``rows`` finds the row of a leaf or of a value that ``work`` reads, ``joined`` that of what a sum got before;
    ``sums`` holds finished products by root, ``known`` values that are the same for the whole row.
    """

    def __init__(self, c: Part, plan: Plan, unit: Any, mask: Any, rows: Rows, work: Work, known: Mapping[int, Any]):
        self.c: Part = c
        self.plan: Plan = plan
        self.unit: Any = unit
        self.mask: Any = mask
        self.rows = rows
        self.work: Work = work
        self.known: dict[int, Any] = dict(known)
        self.sums: Callable[[int], Any] = lambda i: None
        self.pace: Callable[[int], Any] = lambda i: None
        self.joined: Callable[[tuple[int, ...]], Any] = lambda key: None

    def value(self, index: int) -> Any:
        """The value of node ``index``."""
        if index not in self.known:
            self.known[index] = self._compute(index)
        return self.known[index]

    def added(self, nodes: tuple[int, ...]) -> Any:
        """The sum of some nodes' values; of none, 0."""
        if not nodes:
            return self.c.splat(0.0)
        value = self.value(nodes[0])
        for node in nodes[1:]:
            value = self.c.b.fadd(value, self.value(node))
        return value

    def _compute(self, index: int) -> Any:
        c, node = self.c, self.plan.nodes[index]
        if index in self.work.reads or node.op in ("input", "state", "extra", "cotangent"):
            address, pace = self.rows(index), self.pace(index)
            if pace is not None and node.size != "1":
                c.prefetch(c.at(address, c.add(pace, self.unit)), cache=2)
            return self.load(address, node.size == "1")
        if index in self.plan.sums:
            return self._sum(index)
        if node.op == "constant":
            number = node.value
            if isinstance(number, tuple):
                return c.splat(sum(self.plan.sizes[s] for s in number))
            return c.splat(float(number or 0.0))
        if node.op == "vector":
            name, row = self.plan.rows_of(index)
            return self.load(c.at(c.pointer(f"parameter:{name}"), row), node.size == "1")
        operation = TABLE[node.op]
        numbers = {i: self.plan.nodes[node.args[i]].value for i in operation.number_arguments}
        args = [numbers[i] if i in numbers else self.value(a) for i, a in enumerate(node.args)]
        return LOWERINGS[node.op](c, *args)

    def _sum(self, index: int) -> Any:
        value = self.sums(index)
        before = self.work.joined.get(index, ())
        if before:
            value = self.c.b.fadd(value, self.load(self.joined(before), self.plan.nodes[before[0]].size == "1"))
        for other in self.plan.sums[index].others:
            if other not in before:
                value = self.c.b.fadd(value, self.value(other))
        return value

    def load(self, address: Any, single: bool = False) -> Any:
        """This place's vector of a row, or its one number in every lane."""
        if single:
            return self.c.spread(self.c.load(address))
        return self.c.load_vector(self.c.at(address, self.unit), self.mask)

    def store(self, value: Any, address: Any) -> None:
        """Write this place's vector of a row."""
        self.c.store_vector(value, self.c.at(address, self.unit), self.mask)


def flag(c: Part, name: str, step: Any, row: Any) -> Any:
    """Whether the (T, B) mask ``name`` is set at a step and row."""
    at = c.add(c.mul(step, c.number("batch")), row)
    return c.b.icmp_signed("!=", c.load(c.at(c.pointer(name), at, I8), I8, 1), ir.Constant(I8, 0))


def chunk_loop(c: Part) -> Any:
    """The loop over this member's chunks of the rows."""
    return c.loop(c.member, c.number("chunks"), c.members)


def chunk_rows(c: Part, chunk: Any) -> tuple[Any, Any]:
    """The first row of a chunk, and the row after its last."""
    batch, chunks = c.number("batch"), c.number("chunks")
    each = c.b.sdiv(c.b.sub(c.add(batch, chunks), i64(1)), chunks)
    low = c.mul(chunk, each)
    return low, c.least(c.add(low, each), batch)
