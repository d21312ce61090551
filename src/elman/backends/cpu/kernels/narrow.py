"""Products with so few units that a vector of them would stand nearly empty: x of one or two columns, mostly.

Here the many columns are the vector, and the few units are scalars.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from elman.backends.cpu.kernels.weights import lanes_below, operand_row, runs
from elman.backends.cpu.layout.cuts import narrow_length, padded
from elman.backends.cpu.llvm.code import I32, Code, constant, i64
from elman.backends.cpu.llvm.kernel import Flushed, Part
from elman.backends.plan.parts import Phase
from elman.backends.plan.plan import Plan


class NarrowGradient:
    """Writes the kernel for an operand of so few units that they, and not the columns, are the scalars.

    It needs no copies: a row of columns is read as it lies. One more sum, with 1 as its scalar, is that of the columns.
    """

    ACROSS = 2

    def __init__(self, c: Part, count: int) -> None:
        self.c: Part = c
        self.count: int = count
        self.span: int = self.ACROSS * c.width

    def write(self) -> None:
        """Write the whole kernel."""
        c = self.c
        spans = c.b.sdiv(c.add(c.number("m"), self.span - 1), i64(self.span))
        with Flushed(c), c.loop(c.member, spans, c.members) as span:
            m = c.mul(span.index, self.span)
            masks = [lanes_below(c, c.b.sub(c.number("m"), c.add(m, v * c.width))) for v in range(self.ACROSS)]
            zeros = [c.splat(0.0)] * (self.ACROSS * (self.count + 1))
            with c.loop(0, c.number("steps"), c.number("block_steps"), carry=zeros) as block:
                stop = c.least(c.add(block.index, c.number("block_steps")), c.number("steps"))
                with c.loop(block.index, stop, carry=zeros) as t, c.loop(0, c.number("batch"), carry=t.values) as b:
                    b.next = self._row(t.index, b.index, m, masks, b.values)
                    # The inner loop's last values are the outer one's next.
                    t.next = b.values
                block.next = [c.b.fadd(total, part) for total, part in zip(block.values, t.values, strict=True)]
            self._store(m, masks, block.values)

    def _row(self, t: Any, b: Any, m: Any, masks: Any, sums: Any) -> list[Any]:
        c = self.c
        at = c.mul(c.add(c.mul(t, c.number("batch")), b), c.number("columns_row"))
        row = c.at(c.pointer("columns"), c.add(at, m))
        columns = [c.load_vector(c.at(row, v * c.width), mask) for v, mask in enumerate(masks)]
        source, is_on = operand_row(c, t, b), runs(c, t, b)
        factors = [c.b.select(is_on, c.load(c.at(source, n)), ir.Constant(c.real, 0.0)) for n in range(self.count)]
        across = self.ACROSS
        products = [
            c.fma(c.spread(factor), columns[v], sums[n * across + v])
            for n, factor in enumerate(factors)
            for v in range(across)
        ]
        return products + [c.b.fadd(columns[v], sums[self.count * across + v]) for v in range(across)]

    def _store(self, m: Any, masks: Any, sums: Any) -> None:
        c, across = self.c, self.ACROSS
        adds = c.b.icmp_signed("!=", c.number("adds"), i64(0))
        with c.when(c.b.icmp_signed("!=", c.number("sums"), i64(0))):
            for v, mask in enumerate(masks):
                to = c.at(c.pointer("sums"), c.add(m, v * c.width))
                old = c.b.select(adds, c.load_vector(to, mask), c.splat(0.0))
                c.store_vector(c.b.fadd(old, sums[self.count * across + v]), to, mask)
        room = c.buffer(self.count * self.span)
        for i, value in enumerate(sums[: self.count * across]):
            c.store_vector(value, c.at(room, i * c.width), align=c.line)
        with c.loop(0, c.least(i64(self.span), c.b.sub(c.number("m"), m))) as j:
            row = c.at(c.pointer("gradient"), c.mul(c.add(m, j.index), self.count))
            for n in range(self.count):
                old = c.b.select(adds, c.load(c.at(row, n)), ir.Constant(c.real, 0.0))
                c.store(c.b.fadd(old, c.load(c.at(room, c.add(j.index, n * self.span)))), c.at(row, n))


def emit_packing(c: Part, plan: Plan, phase: Phase, size: int, packed: Any) -> None:
    """Pack a narrow phase's weights, columns in order, with zeros behind the last."""
    with c.when(c.b.icmp_signed("==", c.member, i64(0))):
        with c.loop(0, narrow_length(phase, size, c.width)) as i:
            c.store(ir.Constant(c.real, 0.0), c.at(packed, i.index))
        at = 0
        for segment in phase.segments:
            length = padded(segment, c.width)
            for piece in segment.pieces:
                columns = plan.columns_of(piece.parameter)
                source = c.at(c.pointer(f"parameter:{piece.parameter}"), piece.row * columns)
                start = c.at(packed, at + segment.sums.index(piece.sum) * size * length + piece.k)
                with c.loop(0, size) as u, c.loop(0, piece.count) as k:
                    value = c.load(c.at(source, c.add(c.mul(k.index, columns), u.index)))
                    c.store(value, c.at(start, c.add(c.mul(u.index, length), k.index)))
            at += length * len(segment.sums) * size


def emit_phase(
    c: Part, phase: Phase, size: int, packed: Any, low: Any, high: Any,
    operands: Sequence[Any], begin: Callable[[Any], Any],
    body: Callable[[Any, Any, Any, dict[int, Any]], None],
) -> None:  # fmt: skip
    """A narrow phase for the rows from ``low`` to ``high``; see :func:`elman.backends.cpu.kernels.tiles.emit_phase`."""
    with c.loop(low, high) as row:
        sums = [[c.splat(0.0)] * size for _ in phase.sums]
        at = 0
        for segment, operand in zip(phase.segments, operands, strict=True):
            line = c.at(operand.row(row.index), segment.offset)
            for g in segment.sums:
                sums[g] = _dot(c, segment.length, line, c.at(packed, at), sums[g])
                at += size * padded(segment, c.width)
        gathered = {s.root: _gather(c, v) for s, v in zip(phase.sums, sums, strict=True)}
        body(begin(row.index), i64(0), c.lanes(size), gathered)


def _dot(c: Part, length: int, line: Any, weights: Any, sums: list[Any]) -> list[Any]:
    """Add the products of a row of columns with each unit's weights, lane by lane."""
    step, whole = -(-length // c.width) * c.width, length // c.width * c.width

    def add(k: Any, mask: Any, sums: list[Any]) -> list[Any]:
        columns = c.load_vector(c.at(line, k), mask)
        return [
            c.fma(columns, c.load_vector(c.at(weights, c.add(k, u * step)), align=c.line), value)
            for u, value in enumerate(sums)
        ]

    if whole:
        with c.loop(0, whole, c.width, carry=sums) as k:
            k.next = add(k.index, None, k.values)
        sums = k.values
    return add(i64(whole), c.lanes(length - whole), sums) if length > whole else sums


def _gather(c: Code, sums: list[Any]) -> Any:
    """The sum over the lanes of each vector, in one vector."""
    result = c.splat(0.0)
    for u, value in enumerate(sums):
        one = c.b.extract_element(in_every_lane(c, value), ir.Constant(I32, 0))
        result = c.b.insert_element(result, one, ir.Constant(I32, u))
    return result


def in_every_lane(c: Code, value: Any) -> Any:
    """The sum over a vector's lanes, in every lane, by halving."""
    half = c.width // 2
    while half:
        lanes = constant(ir.VectorType(I32, c.width), *((i + half) % c.width for i in range(c.width)))
        value = c.b.fadd(value, c.b.shuffle_vector(value, value, lanes))
        half //= 2
    return value
