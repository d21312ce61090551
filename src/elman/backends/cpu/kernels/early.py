"""Products of what is known before the loop, formed for several steps at once.

The product of x waits for no step. Inside the step it costs nothing extra while the weights stay near. Where they
overflow the second-level cache, each step fetches all of them anew, and for many rows of several steps they are
fetched once. And where a thread has few rows, a tile of several steps is full. A step's sums then begin with what is
there: in the same order, so with the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from elman.backends.cpu.kernels import tiles
from elman.backends.cpu.kernels.timeline import Time
from elman.backends.cpu.layout.early import Cutting
from elman.backends.cpu.llvm.code import i64
from elman.backends.cpu.llvm.kernel import Part
from elman.backends.plan.plan import Plan


class Early:
    """The early sums of one phase: written for a block of steps, read at each of them.

    They are those of one thread's rows, or of all rows; then each is dealt units of them, and all wait for each other.
    """

    def __init__(
        self, c: Part, plan: Plan, cutting: Cutting, packed: Any, room: Any, rows: tuple[Any, Any], by_units: bool
    ) -> None:
        self.by_units: bool = by_units
        self.c: Part = c
        self.plan: Plan = plan
        self.cutting: Cutting = cutting
        self.packed: Any = packed
        self.room: Any = room
        self.low: Any = rows[0]
        self.each: Any = c.b.sub(rows[1], rows[0])
        self.first: Any = None  # turn of the block

    def write(self, first: Any, stop: Any) -> None:
        """Form the sums of the turns from ``first`` to ``stop``."""
        c, cutting = self.c, self.cutting
        assert cutting.early
        assert cutting.early_cut
        self.first = first
        count = c.mul(c.b.sub(stop, first), self.each)
        operands = [tiles.Operand(partial(self._row, segment.source)) for segment in cutting.early.segments]
        tiles.emit_phase(
            c,
            cutting.early,
            cutting.early_cut,
            self.packed,
            i64(0),
            count,
            operands,
            lambda row: row,
            self._store,
            i64(0),
            panels=c.dealt(cutting.early_cut.panels) if self.by_units else None,
        )
        if self.by_units:
            c.wait()

    def _row(self, source: int | None, row: Any) -> Any:
        """Where the operand's row is, of the block's row ``row``."""
        c = self.c
        assert source is not None
        turn, inside = c.add(self.first, c.b.sdiv(row, self.each)), c.add(self.low, c.b.srem(row, self.each))
        name = self.plan.sequence(source)
        step = c.add(c.number("first"), c.mul(turn, c.number("stride")))
        at = c.add(c.mul(step, c.number(f"{name}_step")), c.mul(inside, c.number(f"{name}_row")))
        return c.at(c.pointer(name), at)

    def _store(self, row: Any, unit: Any, mask: Any, sums: Mapping[int, Any]) -> None:
        assert self.cutting.early
        del mask  # there is room for whole vectors
        c, cut = self.c, self.cutting.cut
        stretch = c.b.sdiv(unit, i64(cut.span))
        vector = c.b.sdiv(c.b.sub(unit, c.mul(stretch, cut.span)), i64(cut.width))
        panel = c.add(c.mul(stretch, cut.each), c.b.sdiv(vector, i64(cut.units)))
        u = c.b.srem(vector, i64(cut.units))
        for i, each in enumerate(self.cutting.early.sums):
            c.store_vector(sums[each.root], self._at(i, row, panel, u), align=c.line)

    def _at(self, i: int, row: Any, panel: Any, u: Any) -> Any:
        c, cut, count = self.c, self.cutting.cut, len(self.cutting.sums)
        line = c.mul(c.add(c.mul(panel, c.number("early_rows")), row), count)
        return c.at(self.room, c.mul(c.add(c.mul(c.add(line, i), cut.units), u), cut.width))

    def read(self, time: Time) -> Any:
        """``(sum, row, panel, u)`` to what the sum has at a step; None where it has nothing yet."""
        c = self.c
        shift = c.b.sub(c.mul(c.b.sub(time.turn, self.first), self.each), self.low)

        def value(g: int, row: Any, panel: Any, u: int) -> Any:
            if g not in self.cutting.sums:
                return None
            place = self._at(self.cutting.sums.index(g), c.add(row, shift), panel, u)
            return c.load_vector(place, align=c.line)

        return value
