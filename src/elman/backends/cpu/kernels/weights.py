"""The gradients of the weights: after a stretch of the loop, one large product of the columns with an operand.

gradient[m, n] = sum over steps and rows of columns[t, b, m] operand[t, b, n]; what an earlier stretch left is added to.
The rows b are cut in shares. Each share sums all its steps in order, to a gradient of its own, and what there is to do,
the rows m of every share, is dealt out to the members of the team: so the result does not depend on how many there are,
and where the loop gave a member a share's rows, the columns it reads are in its own cache. Blocks of both are copied to
where the inner loop reads them in order; what rows that are over hold is left out there.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from elman.backends.cpu.layout.shares import BLOCK, SLAB
from elman.backends.cpu.llvm.code import I8, I32, I64, Code, constant, i64
from elman.backends.cpu.llvm.kernel import Flushed, Part


def multiplied(
    c: Code, size: tuple[int, int], factor: Callable[[int], Any], vector: Callable[[int], Any], sums: Sequence[Any]
) -> list[Any]:
    """A turn of a tile: ``sums``, row by row, with every factor times every vector added.

    The fewer of the two are loaded first, and each of the others for its multiply-adds alone: else sums are spilled.
    """
    rows, across = range(size[0]), range(size[1])
    result = list(sums)
    if len(across) < len(rows):
        vectors = [vector(v) for v in across]
        for r in rows:
            each = factor(r)
            for v in across:
                result[r * len(across) + v] = c.fma(each, vectors[v], sums[r * len(across) + v])
    else:
        factors = {r: factor(r) for r in rows}
        for v in across:
            each = vector(v)
            for r in rows:
                result[r * len(across) + v] = c.fma(factors[r], each, sums[r * len(across) + v])
    return result


def lanes_below(c: Code, count: Any) -> Any:
    """The lanes below ``count``, which may be any number."""
    bounded = c.b.select(c.b.icmp_signed("<", count, i64(0)), i64(0), c.least(count, i64(c.width)))
    lanes = ir.Constant(ir.VectorType(I32, c.width), list(range(c.width)))
    return c.b.icmp_signed("<", lanes, c.spread(c.b.trunc(bounded, I32)))


def runs(c: Part, t: Any, b: Any) -> Any:
    """Whether the row runs at this step."""
    masked = c.b.icmp_signed("!=", c.number("masked"), i64(0))
    at = c.b.select(masked, c.add(c.mul(t, c.number("batch")), b), i64(0))
    return c.b.icmp_signed("!=", c.load(c.at(c.pointer("valid"), at, I8), I8, 1), ir.Constant(I8, 0))


def operand_row(c: Part, t: Any, b: Any) -> Any:
    """The address of the operand's row at this step; a state's is what the step before left, or the initial one."""
    initial = c.at(c.pointer("initial"), c.mul(b, c.number("initial_row")))
    offset = c.add(c.mul(c.b.sub(t, c.number("shift")), c.number("operand_step")), c.mul(b, c.number("operand_row")))
    at_first = c.b.icmp_signed("==", t, c.number("initial_step"))
    return c.b.select(at_first, initial, c.at(c.pointer("operand"), offset))


class Wide:
    """Writes the kernel for tiles of ``down`` columns and ``across`` vectors."""

    def __init__(self, c: Part, down: int, across: int) -> None:
        self.c: Part = c
        self.down: int = down
        self.across: int = across
        self.span: int = across * c.width
        self.few = ir.VectorType(c.real, down)

    def write(self) -> None:
        """Write the whole kernel."""
        c = self.c
        tiles = c.b.sdiv(c.add(c.number("m"), self.down - 1), i64(self.down))
        all_ = c.mul(tiles, c.number("shares"))
        low = c.b.sdiv(c.mul(all_, c.member), c.members)
        high = c.b.sdiv(c.mul(all_, c.add(c.member, 1)), c.members)
        room = c.at(c.pointer("room"), c.mul(c.member, c.number("room_each")))
        self.operand = room
        panels = c.b.sdiv(c.add(c.number("n"), self.span - 1), i64(self.span))
        self.panels = panels
        self.slab: Any = c.at(room, c.mul(panels, BLOCK * self.span))
        any_ = c.when(c.b.icmp_signed("<", low, high))
        with Flushed(c), any_:
            stop = c.b.sdiv(c.b.sub(c.add(high, tiles), i64(1)), tiles)
            with c.loop(c.b.sdiv(low, tiles), stop) as share:
                before = c.mul(share.index, tiles)
                first = c.b.sub(low, before)
                first = c.b.select(c.b.icmp_signed("<", first, i64(0)), i64(0), first)
                self._share(share.index, first, c.least(tiles, c.b.sub(high, before)))

    def _share(self, share: Any, low: Any, high: Any) -> None:
        """The tiles from ``low`` to ``high`` of one share of the rows."""
        c = self.c
        self.gradient: Any = c.at(c.pointer("gradient"), c.mul(share, c.number("gradient_share")))
        self.sums: Any = c.at(c.pointer("sums"), c.mul(share, c.number("sums_share")))
        b0 = c.mul(share, c.number("share_rows"))
        b1 = c.least(c.add(b0, c.number("share_rows")), c.number("batch"))
        with c.loop(0, c.number("steps"), c.number("block_steps")) as t:
            t1 = c.least(c.add(t.index, c.number("block_steps")), c.number("steps"))
            with c.loop(b0, b1, c.number("block_rows")) as b:
                is_first = c.b.and_(c.b.icmp_signed("==", t.index, i64(0)), c.b.icmp_signed("==", b.index, b0))
                is_first = c.b.and_(is_first, c.b.icmp_signed("==", c.number("adds"), i64(0)))
                rows = b.index, c.least(c.add(b.index, c.number("block_rows")), b1)
                self._block((t.index, t1), rows, low, high, is_first)

    def _block(self, steps: tuple[Any, Any], rows: tuple[Any, Any], low: Any, high: Any, is_first: Any) -> None:
        c = self.c
        count = c.mul(c.b.sub(steps[1], steps[0]), c.b.sub(rows[1], rows[0]))
        self._copy_operand(steps, rows)
        with c.loop(low, high, SLAB) as slab:
            tiles = c.least(i64(SLAB), c.b.sub(high, slab.index))
            with c.loop(0, tiles) as i:
                m = c.mul(c.add(slab.index, i.index), self.down)
                c.b.store(self._grouped(m, "column_step"), c.at(self.tile_columns, i.index, I64), align=8)
            self._copy_columns(steps, rows, slab.index, tiles)
            # A panel of the operand stays in the nearest cache while all tiles of columns pass by.
            with c.loop(0, self.panels) as p, c.loop(0, tiles) as i:
                columns = c.at(self.slab, c.mul(i.index, BLOCK * self.down))
                m = c.mul(c.add(slab.index, i.index), self.down)
                is_turn = c.b.and_(
                    c.b.icmp_signed("!=", c.number("sums"), i64(0)), c.b.icmp_signed("==", p.index, i64(0))
                )
                with c.when(is_turn):
                    self._sum(columns, count, m, is_first)
                self._tile(columns, p.index, count, m, is_first)

    def _rows(self, steps: tuple[Any, Any], rows: tuple[Any, Any]) -> Any:
        """The loops over a block's steps and rows, and the place of each in the block."""
        c = self.c

        class Both:
            def __enter__(self) -> tuple[Any, Any, Any]:
                self.outer = c.loop(*steps)
                t = self.outer.__enter__()
                self.inner = c.loop(*rows)
                b = self.inner.__enter__()
                each = c.b.sub(rows[1], rows[0])
                k = c.add(c.mul(c.b.sub(t.index, steps[0]), each), c.b.sub(b.index, rows[0]))
                return t.index, b.index, k

            def __exit__(self, *error: Any) -> None:
                self.inner.__exit__(*error)
                self.outer.__exit__(*error)

        return Both()

    def _copy_operand(self, steps: tuple[Any, Any], rows: tuple[Any, Any]) -> None:
        c = self.c
        is_plain = c.b.icmp_signed("==", c.b.srem(c.number("n"), i64(self.span)), i64(0))
        is_plain = c.b.and_(is_plain, c.b.icmp_signed("==", c.number("masked"), i64(0)))
        with c.b.if_else(is_plain) as (then, otherwise):
            for part, masked in ((then, False), (otherwise, True)):
                with part, self._rows(steps, rows) as (t, b, k):
                    source = operand_row(c, t, b)
                    # Rows that are over are left out: nothing of them is read, and zeros are written.
                    count = c.b.select(runs(c, t, b), c.number("n"), i64(0)) if masked else None
                    target = c.at(self.operand, c.mul(k, self.span))
                    with c.loop(0, self.panels) as p:
                        for v in range(self.across):
                            first = c.add(c.mul(p.index, self.span), v * c.width)
                            mask = None if count is None else lanes_below(c, c.b.sub(count, first))
                            value = c.load_vector(c.at(source, first), mask)
                            c.store_vector(value, c.at(target, c.add(c.mul(p.index, BLOCK * self.span), v * c.width)))

    def _grouped(self, m: Any, step: str) -> Any:
        """Where row ``m`` of the product stands, among columns or rows of the gradient that may lie in groups."""
        c = self.c
        group = c.b.sdiv(m, c.number("group"))
        return c.add(c.mul(group, c.number(step)), c.b.sub(m, c.mul(group, c.number("group"))))

    @functools.cached_property
    def tile_columns(self) -> Any:
        """Room for the place of each tile of a slab among the columns."""
        return self.c.room(ir.ArrayType(I64, SLAB), 8)

    def _copy_columns(self, steps: tuple[Any, Any], rows: tuple[Any, Any], first: Any, tiles: Any) -> None:
        c, down = self.c, self.down
        end = c.mul(c.add(first, SLAB), down)
        is_whole = c.b.and_(c.b.icmp_signed("==", tiles, i64(SLAB)), c.b.icmp_signed("<=", end, c.number("m")))
        with c.b.if_else(is_whole) as (then, otherwise):
            with then:
                places = [c.load(c.at(self.tile_columns, i, I64), I64, 8) for i in range(SLAB)]
                with self._rows(steps, rows) as (t, b, k):
                    source, target = self._column_row(t, b), c.at(self.slab, c.mul(k, down))
                    for number, column in enumerate(places):
                        value = c.b.load(c.at(source, column), typ=self.few, align=c.item)
                        c.b.store(value, c.at(target, number * BLOCK * down), align=c.item)
            with otherwise, self._rows(steps, rows) as (t, b, k), c.loop(0, tiles) as i:
                begin = c.at(self._column_row(t, b), c.load(c.at(self.tile_columns, i.index, I64), I64, 8))
                left = c.b.sub(c.number("m"), c.mul(c.add(first, i.index), down))
                to = c.at(self.slab, c.add(c.mul(i.index, BLOCK * down), c.mul(k, down)))
                with c.b.if_else(c.b.icmp_signed(">=", left, i64(down))) as (all_, some):
                    with all_:
                        c.b.store(c.b.load(begin, typ=self.few, align=c.item), to, align=c.item)
                    with some, c.loop(0, down) as j:
                        inside = c.b.icmp_signed("<", j.index, left)
                        value = c.load(c.at(begin, c.b.select(inside, j.index, i64(0))))
                        c.store(c.b.select(inside, value, ir.Constant(c.real, 0.0)), c.at(to, j.index))

    def _column_row(self, t: Any, b: Any) -> Any:
        """The address of a row's columns."""
        c = self.c
        at = c.mul(c.add(c.mul(t, c.number("batch")), b), c.number("columns_row"))
        return c.at(c.pointer("columns"), at)

    def _sum(self, columns: Any, count: Any, m: Any, is_first: Any) -> None:
        """The sums of the columns themselves: the gradients of biases."""
        c, down = self.c, self.down
        zero = constant(self.few, 0.0)
        with c.loop(0, count, carry=[zero]) as k:
            value = c.b.load(c.at(columns, c.mul(k.index, down)), typ=self.few, align=c.item)
            k.next = [c.b.fadd(k.values[0], value)]
        kept, first = self.few_room, self._grouped(m, "column_step")
        c.b.store(k.values[0], kept, align=c.item)
        with c.loop(0, c.least(i64(down), c.b.sub(c.number("m"), m))) as j:
            to = c.at(self.sums, c.add(first, j.index))
            old = c.b.select(is_first, ir.Constant(c.real, 0.0), c.load(to))
            c.store(c.b.fadd(old, c.load(c.at(kept, j.index))), to)

    @functools.cached_property
    def few_room(self) -> Any:
        """Room for one number a column of a tile."""
        return self.c.buffer(self.down)

    @functools.cached_property
    def tile_room(self) -> Any:
        """Room for a finished tile."""
        return self.c.buffer(self.down * self.span)

    def _tile(self, columns: Any, panel: Any, count: Any, m: Any, is_first: Any) -> None:
        c, down, across, width = self.c, self.down, self.across, self.c.width
        operand = c.at(self.operand, c.mul(panel, BLOCK * self.span))
        with c.loop(0, count, carry=[c.splat(0.0)] * (down * across)) as k:
            here = c.at(operand, c.mul(k.index, self.span))
            first = c.mul(k.index, down)

            def vector(v: int, here: Any = here) -> Any:
                return c.load_vector(c.at(here, v * width))

            def factor(r: int, first: Any = first) -> Any:
                return c.spread(c.load(c.at(columns, c.add(first, r))))

            k.next = multiplied(c, (down, across), factor, vector, k.values)
        room = self.tile_room
        for i, value in enumerate(k.values):
            c.store_vector(value, c.at(room, i * width), align=c.line)
        first, top = c.mul(panel, self.span), self._grouped(m, "row_step")
        with c.loop(0, c.least(i64(down), c.b.sub(c.number("m"), m))) as r:
            row = c.at(self.gradient, c.add(c.mul(c.add(top, r.index), c.number("n")), first))
            for v in range(across):
                mask = lanes_below(c, c.b.sub(c.number("n"), c.add(first, v * width)))
                to = c.at(row, v * width)
                old = c.b.select(is_first, c.splat(0.0), c.load_vector(to, mask))
                value = c.load_vector(c.at(room, c.add(c.mul(r.index, self.span), v * width)), align=c.line)
                c.store_vector(c.b.fadd(old, value), to, mask)
