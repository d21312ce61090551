"""The product inside a step: packed weights, and a tile of rows times vectors held in registers.

A panel is all the sums of ``units`` neighbouring vectors of units. Its weights are packed ``[k][sum x unit][lanes]``,
segment after segment, so that the inner loop reads them in order. Where a product is in blocks, each block of units is
cut by itself: its panels multiply the block's own stretch of the operand and hold no zeros of other blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from elman.backends.cpu.kernels import narrow
from elman.backends.cpu.llvm import machine
from elman.backends.cpu.llvm.code import I64, Code, i64
from elman.backends.cpu.llvm.kernel import Part
from elman.backends.cpu.llvm.machine import Vectors
from elman.backends.plan.parts import Phase, Segment

AHEAD = 8  # turns of k, of which weights are asked for early where they come from the second-level cache
# What comes from the second-level cache in the time of one vector multiply-add, measured: with AVX-512, and below it.
BYTES_A_MULTIPLY_ADD = {True: 14, False: 10}
LARGE = 1 << 16  # multiply-adds a row, from which a second size of tiles is worth its code
LATENCY = 4  # cycles until a multiply-add comes back; a narrow processor begins two in each


class Operand(NamedTuple):
    """What a segment reads at a step: where a row is, and how far off that of the next turn is, or None where that is
    near already."""

    row: Callable[[Any], Any]
    pace: Any = None


@dataclass(frozen=True)
class Cut:
    """How a phase is cut: ``stretches`` of units, ``vectors`` in each, ``units`` of these and ``rows`` rows a tile.

    Rows that whole tiles do not cover go, with those of one whole tile, in tiles of ``rest`` rows.
    """

    size: int
    width: int
    vectors: int
    units: int
    rows: int
    gates: int
    stretches: int = 1
    rest: int = 0

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

    def length(self, segment: Segment) -> int:
        """Numbers of a segment in one panel."""
        return segment.length * len(segment.sums) * self.units * self.width

    @property
    def tail(self) -> int:
        """Lanes in use of the last vector, 0 where it is full."""
        return self.span % self.width

    def block(self, c: Code, segment: Segment, stretch: Any) -> Any:
        """The block of a segment that a stretch lies in."""
        return c.b.sdiv(c.mul(stretch, segment.blocks), i64(self.stretches))


def cut_of(phase: Phase, size: int, rows: int, vectors: Vectors) -> Cut:
    """Cut a phase for about ``rows`` rows a thread."""
    gates, stretches = max(1, len(phase.sums)), math.lcm(*(segment.blocks for segment in phase.segments))
    width = vectors.lanes
    count, wide = -(-(size // stretches) // width), vectors.floats == 16
    registers = machine.registers(vectors.floats)
    if not phase.sums:
        return Cut(size, width, count, 1, 1, 0, rest=1)

    def fits(units: int, tile: int) -> bool:
        # Sums, and a factor a row; of the weights all of a turn where there are registers for them, else one.
        return gates * units * tile <= (registers - 6 if wide else registers - 1 - tile)

    def turn(units: int, tile: int, far: bool) -> float:
        # A turn of the inner loop: the multiply-adds, at least as long as they take to come back, or its loads, or what
        # each tile reads of a panel from the second-level cache again.
        begun = LATENCY * (1 if wide else 2)
        read = gates * units * width * vectors.item / BYTES_A_MULTIPLY_ADD[wide] if far else 0.0
        return max(gates * units * tile, begun, gates * units + tile, read) + (3 if far and wide else 0.5)

    def cost(units: int, tile: int, rest: int) -> float:
        across = -(-count // units) * units
        whole = Cut(size, width, count, units, tile, gates, stretches)
        far = vectors.item * panel_length(phase, whole) > machine.first_cache()
        full, left = _covered(rows, tile, rest)
        down = full * turn(units, tile, far) + -(-left // rest) * turn(units, rest, far)
        # With one tile a step there is little to do while weights come from the second-level cache.
        wait = _streamed(phase, whole, vectors.item, wide) / stretches if rows <= tile else 0.0
        return across / units * down + wait

    large = gates * count * width * sum(segment.length for segment in phase.segments) >= LARGE
    options = [
        (cost(units, tile, rest), rest != tile, -tile, units, rest)
        for units in range(1, min(count, 8) + 1)
        for tile in range(1, min(rows, 8) + 1)
        for rest in (range(1, tile + 1) if large else [tile])
        if fits(units, tile) or (units == 1 and tile == 1)
    ]
    _, _, tile, units, rest = min(options)
    return Cut(size, width, count, units, -tile, gates, stretches, rest)


def _covered(rows: int, tile: int, rest: int) -> tuple[int, int]:
    """How many whole tiles there are of so many rows, and how many rows are left for those of ``rest``."""
    full = -(-rows // tile) if rest == tile else rows // tile - (rows % tile > 0 and rows > tile)
    return full, max(0, rows - full * tile)


def _streamed(phase: Phase, cut: Cut, item: int, wide: bool) -> float:
    """The time to read, at every step, what panels do not stay in the first-level cache: multiply-adds a turn of k."""
    panel = item * panel_length(phase, cut)
    stay = machine.first_cache() * 4 // 5 // panel
    turns = max(1, sum(segment.length for segment in phase.segments))
    return panel * max(cut.panels - stay, 0) / BYTES_A_MULTIPLY_ADD[wide] / turns


def panel_length(phase: Phase, cut: Cut) -> int:
    """Numbers of one packed panel, all runs and the vectors that start the sums."""
    return sum(cut.length(segment) for segment in phase.segments) + cut.accumulators * cut.width


def packed_length(phase: Phase, cut: Cut) -> int:
    """Numbers of all packed panels of a phase."""
    if narrow.is_narrow(phase, cut.size):
        return narrow.packed_length(phase, cut.size, cut.width)
    return panel_length(phase, cut) * cut.panels if phase.sums else 0


def of_stretch(c: Code, cut: Cut, panel: Any) -> tuple[Any, Any]:
    """A panel's stretch, and which of the stretch's panels it is."""
    stretch = c.b.sdiv(panel, i64(cut.each))
    return stretch, c.b.sub(panel, c.mul(stretch, cut.each))


def emit_phase(
    c: Part,
    phase: Phase,
    cut: Cut,
    packed: Any,
    low: Any,
    high: Any,
    operands: Sequence[Operand],
    begin: Callable[[Any], Any],
    body: Callable[[Any, Any, Any, dict[int, Any]], None],
    turn: Any,
    early: Callable[[int, Any, Any, int], Any] | None = None,
) -> None:
    """All panels of a phase for the rows from ``low`` to ``high``.

    Every other ``turn`` of the time loop takes the panels from the last to the first: those the turn before ended
    with are still in the nearest cache.

    ``operands`` are the runs'. ``begin(row)`` writes what comes before the units of a row, and
    ``body(begun, unit, mask, sums)`` what is done with the finished sums, by root, of one vector of units of that row.
    ``early(sum, row, panel, u)`` is what a sum has already, None where it has nothing.
    """
    if not phase.sums:
        emit_plain(c, cut.size, low, high, begin, lambda row, unit, mask: body(row, unit, mask, {}))
        return
    if narrow.is_narrow(phase, cut.size):
        narrow.emit_phase(c, phase, cut.size, packed, low, high, operands, begin, body)
        return
    scratch = c.buffer(cut.rows * cut.accumulators * cut.width)
    is_odd = c.b.icmp_signed("!=", c.b.and_(turn, i64(1)), i64(0))
    count, full, middle = _tiles(c, cut, low, high)
    with c.loop(0, cut.panels) as each:
        panel = c.b.select(is_odd, c.b.sub(i64(cut.panels - 1), each.index), each.index)
        weights = c.at(packed, c.mul(panel, panel_length(phase, cut)))
        stretch, number = of_stretch(c, cut, panel)
        starts = [
            c.add(c.mul(cut.block(c, segment, stretch), segment.length), segment.offset) for segment in phase.segments
        ]
        with c.loop(0, count) as tile:
            is_full = c.b.icmp_signed("<", tile.index, full)
            rest = c.add(middle, c.mul(c.b.sub(tile.index, full), cut.rest))
            first = c.b.select(is_full, c.add(low, c.mul(tile.index, cut.rows)), rest)
            _fetch_ahead(c, phase, cut, operands, panel, first, high)
            arguments = weights, operands, starts, first, high, scratch, panel, early
            if cut.rest == cut.rows:
                _tile(c, phase, cut, cut.rows, *arguments)
            else:
                with c.b.if_else(is_full) as (then, otherwise):
                    with then:
                        _tile(c, phase, cut, cut.rows, *arguments)
                    with otherwise:
                        _tile(c, phase, cut, cut.rest, *arguments)
            height = c.b.select(is_full, i64(cut.rows), i64(cut.rest))
            with c.loop(0, c.least(height, c.b.sub(high, first))) as line:
                base = c.at(scratch, c.mul(line.index, cut.accumulators * cut.width))
                begun = begin(c.add(first, line.index))
                _units(c, phase, cut, base, begun, c.mul(stretch, cut.span), c.mul(number, cut.units), body)


def _tiles(c: Part, cut: Cut, low: Any, high: Any) -> tuple[Any, Any, Any]:
    """How many tiles the rows take, how many of these are whole, and the row behind those."""
    rows = c.b.sub(high, low)
    if cut.rest == cut.rows:
        count = c.b.sdiv(c.add(rows, cut.rows - 1), i64(cut.rows))
        return count, count, high
    full, left = c.b.sdiv(rows, i64(cut.rows)), c.b.srem(rows, i64(cut.rows))
    one_less = c.b.and_(c.b.icmp_signed(">", left, i64(0)), c.b.icmp_signed(">", full, i64(0)))
    full = c.b.sub(full, c.b.zext(one_less, I64))
    middle = c.add(low, c.mul(full, cut.rows))
    left = c.b.sub(high, middle)
    return c.add(full, c.b.sdiv(c.add(left, cut.rest - 1), i64(cut.rest))), full, middle


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


def _units(c: Part, phase: Phase, cut: Cut, base: Any, begun: Any, start: Any, first: Any, body: Any) -> None:
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


def _fetch_ahead(
    c: Part, phase: Phase, cut: Cut, operands: Sequence[Operand], panel: Any, start: Any, high: Any
) -> None:
    """Bring nearer what the next turn reads of operands in far memory; each panel sees to a part of its tiles' rows."""
    for segment, operand in zip(phase.segments, operands, strict=True):
        if operand.pace is None:
            continue
        part = -(-segment.length * segment.blocks // (cut.panels * cut.width)) * cut.width
        first = c.add(operand.pace, c.mul(panel, part))
        for r in range(cut.rows):
            line = c.at(operand.row(c.least(c.add(start, r), c.b.sub(high, i64(1)))), first)
            for i in range(0, part, cut.width):
                c.prefetch(c.at(line, i), cache=2)


def _tile(
    c: Part, phase: Phase, cut: Cut, height: int, weights: Any, operands: Any, starts: Any, start: Any, high: Any,
    scratch: Any, panel: Any, early: Any,
) -> None:  # fmt: skip
    """The products of ``height`` rows and one panel, into ``scratch``; rows past the end repeat the last."""
    width, units = cut.width, cut.units
    wide = c.vectors.floats == 16
    far = wide and c.item * panel_length(phase, cut) * cut.panels > machine.first_cache()  # narrower, asking costs more
    last = c.b.sub(high, i64(1))
    rows = [c.least(c.add(start, r), last) for r in range(height)]
    at = sum(cut.length(segment) for segment in phase.segments)
    begin = [c.load_vector(c.at(weights, at + a * width), align=c.line) for a in range(cut.accumulators)]
    values = {(r, a): begin[a] for r in range(height) for a in range(cut.accumulators)}
    if early:
        for (r, a), value in values.items():
            values[r, a] = early(a // units, rows[r], panel, a % units) or value
    at = 0
    for segment, operand, begin_at in zip(phase.segments, operands, starts, strict=True):
        lines = [c.at(operand.row(row), begin_at) for row in rows]
        used = [g * units + u for g in segment.sums for u in range(units)]
        keys = [(r, a) for r in range(height) for a in used]
        panel = c.at(weights, at)
        with c.loop(0, segment.length, carry=[values[key] for key in keys]) as k:
            here = c.at(panel, c.mul(k.index, len(used) * width))
            if far:
                for j in range(len(used)):
                    c.prefetch(c.at(here, (AHEAD * len(used) + j) * width), cache=1)
            sums: dict[tuple[int, int], Any] = {}
            columns = [c.load_vector(c.at(here, j * width), align=c.line) for j in range(len(used) if wide else 0)]
            factors = [c.spread(c.load(c.at(line, k.index))) for line in lines]
            for j in range(len(used)):
                # With few registers each vector of weights is loaded for its multiply-adds alone, or sums are spilled.
                column = columns[j] if wide else c.load_vector(c.at(here, j * width), align=c.line)
                sums |= {(r, j): c.fma(factors[r], column, k.values[r * len(used) + j]) for r in range(height)}
            k.next = [sums[r, j] for r in range(height) for j in range(len(used))]
        values.update(zip(keys, k.values, strict=True))
        at += cut.length(segment)
    for (r, a), value in values.items():
        c.store_vector(value, c.at(scratch, (r * cut.accumulators + a) * width), align=c.line)
