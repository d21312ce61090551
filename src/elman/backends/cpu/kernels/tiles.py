"""The product inside a step: packed weights, and a tile of rows times vectors held in registers.

A panel is all the sums of ``units`` neighbouring vectors of units. Its weights are packed ``[k][sum x unit][lanes]``,
segment after segment, so that the inner loop reads them in order. Where a product is in blocks, each block of units is
cut by itself: its panels multiply the block's own stretch of the operand and hold no zeros of other blocks.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from elman.backends.cpu.kernels import narrow
from elman.backends.cpu.kernels.weights import multiplied
from elman.backends.cpu.layout.cuts import Cut, is_narrow, panel_length, spans_of
from elman.backends.cpu.llvm import machine
from elman.backends.cpu.llvm.code import I64, Code, i64
from elman.backends.cpu.llvm.kernel import Part
from elman.backends.plan.parts import Phase, Segment


class Operand(NamedTuple):
    """What a segment reads at a step: where a row is, and how far off that of the next turn is, or None where that is
    near already."""

    row: Callable[[Any], Any]
    pace: Any = None


def block_of(c: Code, cut: Cut, segment: Segment, stretch: Any) -> Any:
    """The block of a segment that a stretch lies in."""
    return c.b.sdiv(c.mul(stretch, segment.blocks), i64(cut.stretches))


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
    panels: tuple[Any, Any] | None = None,
) -> None:
    """All panels of a phase, or those from one to another of ``panels``, for the rows from ``low`` to ``high``.

    Every other ``turn`` of the time loop takes the panels from the last to the first: those the turn before ended
    with are still in the nearest cache.

    ``operands`` are the runs'. ``begin(row)`` writes what comes before the units of a row, and
    ``body(begun, unit, mask, sums)`` what is done with the finished sums, by root, of one vector of units of that row.
    ``early(sum, row, panel, u)`` is what a sum has already, None where it has nothing.
    """
    if not phase.sums:
        emit_plain(c, cut.size, low, high, begin, lambda row, unit, mask: body(row, unit, mask, {}))
        return
    if is_narrow(phase, cut.size):
        narrow.emit_phase(c, phase, cut.size, packed, low, high, operands, begin, body)
        return
    scratch = c.buffer(cut.rows * cut.accumulators * cut.width)
    is_odd = c.b.icmp_signed("!=", c.b.and_(turn, i64(1)), i64(0))
    count, full, middle = _tiles(c, cut, low, high)
    start, stop = panels or (i64(0), i64(cut.panels))
    turns = sum(segment.length for segment in phase.segments)
    with c.loop(start, stop) as each:
        panel = c.b.select(is_odd, c.b.sub(c.b.sub(c.add(start, stop), i64(1)), each.index), each.index)
        weights = c.at(packed, c.mul(panel, panel_length(phase, cut)))
        following = _next_panel(c, phase, cut, weights, is_odd, c.b.icmp_signed("<", c.add(each.index, 1), stop))
        stretch, number = of_stretch(c, cut, panel)
        starts = [
            c.add(c.mul(block_of(c, cut, segment, stretch), segment.length), segment.offset)
            for segment in phase.segments
        ]
        with c.loop(0, count) as tile:
            is_full = c.b.icmp_signed("<", tile.index, full)
            rest = c.add(middle, c.mul(c.b.sub(tile.index, full), cut.rest))
            first = c.b.select(is_full, c.add(low, c.mul(tile.index, cut.rows)), rest)
            _fetch_ahead(c, phase, cut, operands, panel, first, high)
            ahead = c.at(following, c.mul(tile.index, cut.ahead * turns)) if cut.ahead else following
            arguments = weights, ahead, operands, starts, first, high, scratch, panel, early
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


def _next_panel(c: Part, phase: Phase, cut: Cut, weights: Any, is_odd: Any, is_more: Any) -> Any:
    """Where the panel stands that comes after the one at ``weights``: this one again, where it is the last."""
    if not cut.ahead:
        return weights
    length = panel_length(phase, cut)
    return c.at(weights, c.b.select(is_more, c.b.select(is_odd, i64(-length), i64(length)), i64(0)))


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
    c: Part, phase: Phase, cut: Cut, height: int, weights: Any, ahead: Any, operands: Any, starts: Any, start: Any,
    high: Any, scratch: Any, panel: Any, early: Any,
) -> None:  # fmt: skip
    """The products of ``height`` rows and one panel, into ``scratch``; rows past the end repeat the last.

    A part of the next panel, from ``ahead`` on, is asked for meanwhile.
    """
    width, units = cut.width, cut.units
    last = c.b.sub(high, i64(1))
    rows = [c.least(c.add(start, r), last) for r in range(height)]
    places = list(itertools.product(range(height), range(units)))
    at = sum(cut.length(segment) for segment in phase.segments)
    values: dict[tuple[int, int, int], Any] = {}

    def begin(g: int) -> None:
        bias = [c.load_vector(c.at(weights, at + (g * units + u) * width), align=c.line) for u in range(units)]
        for r, u in places:
            values[r, g, u] = (early(g, rows[r], panel, u) if early else None) or bias[u]

    def end(g: int) -> None:
        for r, u in places:
            to = c.at(scratch, (r * cut.accumulators + g * units + u) * width)
            c.store_vector(values.pop((r, g, u)), to, align=c.line)

    # A sum is held from the first segment that adds to it to the last, and no longer: registers are few.
    spans, base = spans_of(phase), 0
    for i, (segment, operand, begin_at) in enumerate(zip(phase.segments, operands, starts, strict=True)):
        for g in segment.sums:
            if spans[g][0] == i:
                begin(g)
        lines = [c.at(operand.row(row), begin_at) for row in rows]
        used = [(g, u) for g in segment.sums for u in range(units)]
        keys = [(r, g, u) for r in range(height) for g, u in used]
        run = c.at(weights, base)
        with c.loop(0, segment.length, carry=[values[key] for key in keys]) as k:
            here = c.at(run, c.mul(k.index, len(used) * width))
            for j in range(0, cut.ahead, machine.LINE // c.item):
                c.prefetch(c.at(ahead, c.add(c.mul(k.index, cut.ahead), j)), cache=2)
            factor, vector = partial(_factor, c, lines, k.index), partial(_weights, c, here)
            k.next = multiplied(c, (height, len(used)), factor, vector, k.values)
        values.update(zip(keys, k.values, strict=True))
        ahead = c.at(ahead, cut.ahead * segment.length) if cut.ahead else ahead
        base += cut.length(segment)
        for g in segment.sums:
            if spans[g][1] == i:
                end(g)
    for g in set(range(len(phase.sums))) - spans.keys():
        begin(g)
        end(g)


def _factor(c: Part, lines: Sequence[Any], k: Any, r: int) -> Any:
    return c.spread(c.load(c.at(lines[r], k)))


def _weights(c: Part, here: Any, v: int) -> Any:
    return c.load_vector(c.at(here, v * c.width), align=c.line)
