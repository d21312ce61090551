"""The product inside a step: packed weights, and a tile of rows times vectors held in registers.

A panel is all the sums of ``units`` neighbouring vectors of units. Its weights are packed ``[k][sum x unit][lanes]``,
run after run, so that the inner loop reads them in order. Where a product is in blocks, each block of units is cut by
itself: its panels multiply the block's own stretch of the operand and hold no zeros of other blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from elman.backends.cpu import machine, narrow
from elman.backends.cpu.emit import I32, I64, PTR, Code, i64
from elman.backends.cpu.kernel import Part
from elman.backends.cpu.machine import Vectors
from elman.backends.cpu.parts import Phase, Run
from elman.backends.cpu.plan import Plan

BYTES_A_MULTIPLY_ADD = 22  # what comes from the second-level cache in the time of one vector multiply-add, measured


@dataclass(frozen=True)
class Shape:
    """How a phase is cut: ``stretches`` of units, ``vectors`` in each, ``units`` of these and ``rows`` rows a tile."""

    size: int
    width: int
    vectors: int
    units: int
    rows: int
    gates: int
    stretches: int = 1

    @property
    def each(self) -> int:
        """Panels of a stretch."""
        return -(-self.vectors // self.units)

    @property
    def panels(self) -> int:
        """Panels in all."""
        return self.stretches * self.each

    @property
    def span(self) -> int:
        """Units of a stretch."""
        return self.size // self.stretches

    @property
    def accumulators(self) -> int:
        """Vectors of one row of a tile."""
        return self.gates * self.units

    def length(self, run: Run) -> int:
        """Numbers of a run in one panel."""
        return run.length * len(run.sums) * self.units * self.width

    @property
    def tail(self) -> int:
        """Lanes in use of the last vector, 0 where it is full."""
        return self.span % self.width

    def block(self, c: Code, run: Run, stretch: Any) -> Any:
        """The block of a run that a stretch lies in."""
        return c.b.sdiv(c.mul(stretch, run.blocks), i64(self.stretches))


def shape(phase: Phase, size: int, rows: int, vectors: Vectors) -> Shape:
    """Cut a phase for about ``rows`` rows a thread."""
    gates, stretches = max(1, len(phase.sums)), math.lcm(*(run.blocks for run in phase.runs))
    width = vectors.lanes
    count, wide = -(-(size // stretches) // width), vectors.floats == 16
    free = machine.registers(vectors.floats) - (6 if wide else 4)
    if not phase.sums:
        return Shape(size, width, count, 1, 1, 0)

    def cost(units: int, tile: int) -> float:
        across, down = -(-count // units) * units, -(-rows // tile)
        # A turn of the inner loop: the multiply-adds, at least as long as they take to come back, or its loads.
        turn = max(gates * units * tile, 4, (gates * units + tile) * (1.0 if wide else 1.2))
        # With one tile a step there is little to do while weights come from the second-level cache.
        whole = Shape(size, width, count, units, tile, gates, stretches)
        wait = _streamed(phase, whole, vectors.item) / stretches if down == 1 else 0.0
        return across / units * down * (turn + 0.5) + wait

    options = [
        (cost(units, tile), -tile, units)
        for units in range(1, min(count, 8) + 1)
        for tile in range(1, min(rows, 8) + 1)
        if gates * units * tile <= free or (units == 1 and tile == 1)
    ]
    _, tile, units = min(options)
    return Shape(size, width, count, units, -tile, gates, stretches)


def _streamed(phase: Phase, cut: Shape, item: int) -> float:
    """The time to read, at every step, what panels do not stay in the first-level cache: multiply-adds a turn of k."""
    panel = item * panel_length(phase, cut)
    stay = machine.first_cache() * 4 // 5 // panel
    return panel * max(cut.panels - stay, 0) / BYTES_A_MULTIPLY_ADD / max(1, sum(run.length for run in phase.runs))


def panel_length(phase: Phase, cut: Shape) -> int:
    """Numbers of one packed panel, all runs and the vectors that start the sums."""
    return sum(cut.length(run) for run in phase.runs) + cut.accumulators * cut.width


def packed_length(phase: Phase, cut: Shape) -> int:
    """Numbers of all packed panels of a phase."""
    if narrow.is_narrow(phase, cut.size):
        return narrow.packed_length(phase, cut.size, cut.width)
    return panel_length(phase, cut) * cut.panels if phase.sums else 0


def emit_packing(c: Part, plan: Plan, phase: Phase, cut: Shape, packed: Any) -> None:
    """Pack a phase's weights and the sums of its learned vectors; panels go round the team's members."""
    if not phase.sums:
        return
    if narrow.is_narrow(phase, cut.size):
        narrow.emit_packing(c, plan, phase, cut.size, packed)
        return
    copy_across, copy_along = _copy(c, across=True), _copy(c, across=False)
    with c.loop(c.member, cut.panels, c.members) as panel:
        start = c.at(packed, c.mul(panel.index, panel_length(phase, cut)))
        stretch, turn = _of_stretch(c, cut, panel.index)
        for u in range(cut.units):
            inside = c.mul(c.add(c.mul(turn, cut.units), u), cut.width)
            first, count = c.add(c.mul(stretch, cut.span), inside), c.b.sub(i64(cut.span), inside)
            at = 0
            for run in phase.runs:
                step = len(run.sums) * cut.units * cut.width
                for piece in run.pieces:
                    lane = (run.sums.index(piece.sum) * cut.units + u) * cut.width
                    target = c.at(start, at + piece.k * step + lane)
                    columns = plan.columns_of(piece.parameter)
                    source = c.at(c.pointer(f"parameter:{piece.parameter}"), piece.row * columns)
                    copy = copy_along if piece.transposed else copy_across
                    block = cut.block(c, run, stretch)
                    begin = c.b.sub(first, c.mul(block, cut.size // run.blocks))
                    along = c.add(c.mul(block, piece.count * columns), begin)
                    source = c.at(source, along if piece.transposed else c.mul(first, columns))
                    c.b.call(copy, [target, source, i64(piece.count), i64(columns), count, i64(step)])
                at += cut.length(run)
            for g, each in enumerate(phase.sums):
                target = c.at(start, at + (g * cut.units + u) * cut.width)
                _pack_vectors(c, plan, each.vectors, target, first, count)


def _of_stretch(c: Code, cut: Shape, panel: Any) -> tuple[Any, Any]:
    """A panel's stretch, and which of the stretch's panels it is."""
    stretch = c.b.sdiv(panel, i64(cut.each))
    return stretch, c.b.sub(panel, c.mul(stretch, cut.each))


def _mask(c: Code, count: Any) -> Any:
    """The lanes below ``count``, which may be any number."""
    bounded = c.b.select(c.b.icmp_signed("<", count, i64(0)), i64(0), c.least(count, i64(c.width)))
    lanes = ir.Constant(ir.VectorType(I32, c.width), list(range(c.width)))
    return c.b.icmp_signed("<", lanes, c.spread(c.b.trunc(bounded, I32)))


def _pack_vectors(c: Part, plan: Plan, vectors: tuple[int, ...], target: Any, first: Any, count: Any) -> None:
    value = c.splat(0.0)
    for v in vectors:
        name, row = plan.rows_of(v)
        value = c.b.fadd(value, c.load_vector(c.at(c.pointer(f"parameter:{name}"), c.add(first, row)), _mask(c, count)))
    c.store_vector(value, target)


def _copy(part: Part, across: bool) -> Any:
    """A function that copies ``length`` turns of one vector of weights; what lies beyond ``count`` units is 0.

    Across: lane v of turn k is source[v columns + k]. Along: it is source[k columns + v].
    """
    name = "copy_across" if across else "copy_along"
    if name in part.module.globals:
        return part.module.globals[name]
    c = Code(part.module, name, [PTR, PTR, I64, I64, I64, I64], part.vectors, internal=True)
    target, source, length, columns, count, step = c.function.args
    if across:
        with c.loop(0, c.width) as lane, c.b.if_else(c.b.icmp_signed("<", lane.index, count)) as (inside, outside):
            with inside:
                row = c.at(source, c.mul(lane.index, columns))
                with c.loop(0, length) as k:
                    value = c.load(c.at(row, k.index))
                    c.store(value, c.at(target, c.add(c.mul(k.index, step), lane.index)))
            with outside, c.loop(0, length) as k:
                c.store(ir.Constant(value.type, 0.0), c.at(target, c.add(c.mul(k.index, step), lane.index)))
    else:
        mask = _mask(c, count)
        with c.loop(0, length) as k:
            c.store_vector(
                c.load_vector(c.at(source, c.mul(k.index, columns)), mask), c.at(target, c.mul(k.index, step))
            )
    c.finish()
    return c.function


def emit_phase(
    c: Part,
    phase: Phase,
    cut: Shape,
    packed: Any,
    low: Any,
    high: Any,
    operand: Callable[[Run], tuple[Any, Any]],
    begin: Callable[[Any], Any],
    body: Callable[[Any, Any, Any, dict[int, Any]], None],
    turn: Any,
) -> None:
    """All panels of a phase for the rows from ``low`` to ``high``.

    Every other ``turn`` of the time loop takes the panels from the last to the first: those the turn before ended
    with are still in the nearest cache.

    ``operand`` gives the address and the row's length of a run's operand. ``begin(row)`` writes what comes before the
    units of a row, and ``body(begun, unit, mask, sums)`` what is done with the finished sums, by root, of one vector
    of units of that row.
    """
    if not phase.sums:
        emit_plain(c, cut.size, low, high, begin, lambda row, unit, mask: body(row, unit, mask, {}))
        return
    if narrow.is_narrow(phase, cut.size):
        narrow.emit_phase(c, phase, cut.size, packed, low, high, operand, begin, body)
        return
    scratch = c.buffer(cut.rows * cut.accumulators * cut.width)
    operands = [operand(run) for run in phase.runs]
    is_odd = c.b.icmp_signed("!=", c.b.and_(turn, i64(1)), i64(0))
    with c.loop(0, cut.panels) as each:
        panel = c.b.select(is_odd, c.b.sub(i64(cut.panels - 1), each.index), each.index)
        weights = c.at(packed, c.mul(panel, panel_length(phase, cut)))
        stretch, number = _of_stretch(c, cut, panel)
        starts = [c.add(c.mul(cut.block(c, run, stretch), run.length), run.offset) for run in phase.runs]
        with c.loop(low, high, cut.rows) as tile:
            _tile(c, phase, cut, weights, operands, starts, tile.index, high, scratch)
            with c.loop(0, c.least(i64(cut.rows), c.b.sub(high, tile.index))) as line:
                base = c.at(scratch, c.mul(line.index, cut.accumulators * cut.width))
                begun = begin(c.add(tile.index, line.index))
                _units(c, phase, cut, base, begun, c.mul(stretch, cut.span), c.mul(number, cut.units), body)


def emit_plain(
    c: Part, size: int, low: Any, high: Any, begin: Callable[[Any], Any], body: Callable[[Any, Any, Any], None]
) -> None:
    """A phase without products: every vector of every row."""
    with c.loop(low, high) as row:
        begun = begin(row.index)

        def vector(unit: Any, mask: Any, _: Any) -> list[Any]:
            body(begun, unit, mask)
            return []

        each_vector(c, size, vector)


def each_vector(
    c: Code, size: int, body: Callable[[Any, Any, list[Any]], list[Any]], carry: Sequence[Any] = ()
) -> list[Any]:
    """``body(unit, mask, carried)`` for each vector of ``size`` units; it returns what is carried on, as this does."""
    whole, tail, values = size // c.width, size % c.width, list(carry)
    if whole:
        with c.loop(0, whole, carry=values) as v:
            v.next = body(c.mul(v.index, c.width), None, v.values)
        values = v.values
    return body(i64(size - tail), c.lanes(tail), values) if tail else values


def _units(c: Part, phase: Phase, cut: Shape, base: Any, begun: Any, start: Any, first: Any, body: Any) -> None:
    """The vectors of units of one row of a tile, from vector ``first`` of the stretch that starts at ``start``."""

    def one(u: Any, mask: Any) -> None:
        unit = c.add(start, c.mul(c.add(first, u), cut.width))
        at = c.mul(u, cut.width)
        sums = {
            each.root: c.load_vector(c.at(base, c.add(at, g * cut.units * cut.width)), align=c.line)
            for g, each in enumerate(phase.sums)
        }
        body(begun, unit, mask, sums)

    full = c.b.sub(i64(cut.span // cut.width), first)
    if cut.span // cut.width:
        with c.loop(0, c.least(i64(cut.units), full)) as u:
            one(u.index, None)
    if cut.tail:
        with c.when(c.b.icmp_signed("<", full, i64(cut.units))):
            one(full, c.lanes(cut.tail))


def _tile(
    c: Part, phase: Phase, cut: Shape, weights: Any, operands: Any, starts: Any, start: Any, high: Any, scratch: Any
) -> None:
    """The products of ``cut.rows`` rows and one panel, into ``scratch``; rows past the end repeat the last."""
    width, units = cut.width, cut.units
    last = c.b.sub(high, i64(1))
    rows = [c.least(c.add(start, r), last) for r in range(cut.rows)]
    at = sum(cut.length(run) for run in phase.runs)
    begin = [c.load_vector(c.at(weights, at + a * width), align=c.line) for a in range(cut.accumulators)]
    values = {(r, a): begin[a] for r in range(cut.rows) for a in range(cut.accumulators)}
    at = 0
    for run, (operand, stride), begin_at in zip(phase.runs, operands, starts, strict=True):
        lines = [c.at(operand, c.add(c.mul(row, stride), begin_at)) for row in rows]
        used = [g * units + u for g in run.sums for u in range(units)]
        keys = [(r, a) for r in range(cut.rows) for a in used]
        panel = c.at(weights, at)
        with c.loop(0, run.length, carry=[values[key] for key in keys]) as k:
            here = c.at(panel, c.mul(k.index, len(used) * width))
            columns = [c.load_vector(c.at(here, j * width), align=c.line) for j in range(len(used))]
            factors = [c.spread(c.load(c.at(line, k.index))) for line in lines]
            k.next = [
                c.fma(factors[r], columns[j], k.values[r * len(used) + j])
                for r in range(cut.rows)
                for j in range(len(used))
            ]
        values.update(zip(keys, k.values, strict=True))
        at += cut.length(run)
    for (r, a), value in values.items():
        c.store_vector(value, c.at(scratch, (r * cut.accumulators + a) * width), align=c.line)
