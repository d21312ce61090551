"""The backward kernel: from the last step to the first, for the rows of each thread.

``carry:h`` (B, n) is the cotangent of the state that a step left; each step makes it that of the state it began
with, in the other of two places, so that all of a step reads what came. Every step writes its columns, the cotangents
of its products, from which the gradients of the weights are formed after each stretch of the loop: so the columns of
all steps never exist at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from elman.backends.cpu.kernels import products, tiles
from elman.backends.cpu.kernels.forward import addresses, copy_rows, packing
from elman.backends.cpu.kernels.stages import Packed, Row, Stages
from elman.backends.cpu.kernels.step import Body, chunk_loop, chunk_rows, flag
from elman.backends.cpu.kernels.timeline import Time
from elman.backends.cpu.layout.early import cuttings
from elman.backends.cpu.layout.shares import gather_offsets
from elman.backends.cpu.layout.variant import Variant
from elman.backends.cpu.llvm import kernel
from elman.backends.cpu.llvm.code import i64
from elman.backends.cpu.llvm.kernel import Arguments, Flushed, Part, Written
from elman.backends.plan.parts import Segment, Store
from elman.backends.plan.plan import Plan


class _Backward(Stages):
    def __init__(self, c: Part, plan: Plan, variant: Variant) -> None:
        super().__init__(c, plan, variant, plan.backward)
        self.gather_at, self.gather_width = gather_offsets(plan)

    def run(self) -> None:
        """Write the loop over the chunks of the rows and, backwards, the steps."""
        c, plan = self.c, self.plan
        cuts = cuttings(plan, plan.backward.phases, self.variant)
        phases = [Packed(phase, cut, packed) for (phase, cut), packed in addresses(c, cuts)]
        with Flushed(c), chunk_loop(c) as chunk:
            low, high = chunk_rows(c, chunk.index)
            if plan.gathers:
                self.gathered = c.at(c.pointer("gathered"), c.mul(chunk.index, 2 * self.gather_width))
            with c.when(c.b.icmp_signed("==", c.number("stop"), c.number("steps"))):
                self._begin_carries(low, high)
            with c.loop(c.number("start"), c.number("stop")) as back:
                turn = c.b.sub(c.b.sub(c.add(c.number("start"), c.number("stop")), i64(1)), back.index)
                self.step(Time.at_turn(c, plan, self.variant, turn, back=True), low, high, phases)
                self._add_gathered()

    def _begin_carries(self, low: Any, high: Any) -> None:
        """The carries begin as the gradients of the final states."""
        c, plan = self.c, self.plan
        for state in plan.program.states:
            source = c.pointer(f"from:{state.name}"), c.number(f"from_row:{state.name}")
            copy_rows(c, plan.sizes[state.size], low, high, source, self._carry(state.name, c.number("steps")))

    def _carry(self, name: str, turn: Any) -> tuple[Any, Any]:
        """The carry of a state that the step at a turn leaves; that of the first step is the caller's."""
        c, plan = self.c, self.plan
        state = next(s for s in plan.program.states if s.name == name)
        is_even = c.b.icmp_signed("==", c.b.and_(turn, i64(1)), i64(0))
        address = c.b.select(is_even, c.pointer(f"carry:{name}"), c.pointer(f"spare:{name}"))
        return address, i64(plan.sizes[state.size])

    # Where things are

    def where(self, time: Time, index: int) -> tuple[Any, Any]:
        node, plan = self.plan.nodes[index], self.plan
        if node.op == "cotangent":
            return self._carry(node.name, self.c.add(time.turn, 1)) if node.name else time.sequence("grad")
        if index in plan.columns and index not in plan.backward.values.readable:
            return self._column(time, index)
        return time.row(index)

    def pace(self, time: Time, index: int) -> Any:
        node, is_column = self.plan.nodes[index], index in self.plan.columns
        if (node.op == "cotangent" and node.name) or (is_column and index not in self.plan.backward.values.readable):
            return None
        return time.pace(index)

    def _column(self, time: Time, index: int) -> tuple[Any, Any]:
        address, width = self._columns(time)
        return self.c.at(address, self.plan.columns[index]), width

    def _columns(self, time: Time) -> tuple[Any, Any]:
        c, width = self.c, self.plan.width
        step = c.b.sub(time.step, c.number("base"))
        return c.at(c.pointer("columns"), c.mul(c.mul(step, c.number("batch")), width)), i64(width)

    def operand(self, time: Time, segment: Segment) -> tuple[Any, Any]:
        return self._columns(time)

    def write(self, body: Body, time: Time, row: Row, store: Store, value: Any) -> None:
        if store.kind == "column":
            self._store(body, self._column(time, store.nodes[0]), row, value)
        elif store.kind == "gather":
            address = self.c.at(self.gathered, self.gather_at[int(store.name)])
            value = self.held(row, value, self.c.splat(0.0))
            body.store(self.c.b.fadd(body.load(address), value), address)
        elif store.kind == "carry":
            self._store_carry(body, time, row, str(store.name), value)
        else:
            with self.c.when(self.is_wanted(str(store.name))):
                stretch = time.whole(f"gradient:{store.name}", self.plan.n(store.nodes[0]))
                self._store(body, stretch, row, value)

    def _store(self, body: Body, stretch: tuple[Any, Any], row: Row, value: Any) -> None:
        body.store(self.held(row, value, self.c.splat(0.0)), self.row_at(stretch, row.index))

    def _store_carry(self, body: Body, time: Time, row: Row, name: str, value: Any) -> None:
        """What flows to an old state; a row that is over passes on what came, a reset passes on nothing."""
        c = self.c
        if row.runs is not None:
            came = self.row_at(self._carry(name, c.add(time.turn, 1)), row.index)
            value = c.b.select(row.runs, value, body.load(came))
        stretch = self._carry(name, time.turn)
        if self.variant.resets:
            anew, zero = flag(c, "reset", time.step, row.index), c.splat(0.0)
            initial = c.at(c.pointer(f"to_initial:{name}"), c.mul(row.index, stretch[1]))
            body.store(c.b.fadd(body.load(initial), c.b.select(anew, value, zero)), initial)
            value = c.b.select(anew, zero, value)
        body.store(value, self.row_at(stretch, row.index))

    def _add_gathered(self) -> None:
        """Add a step's sums of the learned vectors to those of all steps: in two levels, they lose less."""
        if not self.plan.gathers:
            return
        c, width = self.c, self.gather_width

        def add(unit: Any, mask: Any, _: Any) -> list[Any]:
            step, whole = c.at(self.gathered, unit), c.at(c.at(self.gathered, width), unit)
            value = c.b.fadd(c.load_vector(whole, mask), c.load_vector(step, mask))
            c.store_vector(value, whole, mask)
            c.store_vector(c.splat(0.0), step, mask)
            return []

        tiles.each_vector(c, width, add)


def write(plan: Plan, variant: Variant) -> Written:
    """Write the backward kernel, with the products that form the weights' gradients behind it."""

    def loop(module: ir.Module, arguments: Arguments) -> Part:
        c = Part(module, arguments, "run", variant.vectors)
        _Backward(c, plan, variant).run()
        return c

    def flow(c: kernel.Entry, pack: Callable[[], None], run: Callable[[], None]) -> None:
        pack()
        # The turns of a stretch, of which there are ``each`` at most, and the first of its steps in memory.
        steps, each = c.number("steps"), c.number("each")
        with c.loop(0, steps, each) as done:
            stop = c.b.sub(steps, done.index)
            start = c.b.sub(stop, c.least(each, stop))
            ends = [c.add(c.number("first"), c.mul(t, c.number("stride"))) for t in (start, c.b.sub(stop, i64(1)))]
            for name, value in (("start", start), ("stop", stop), ("base", c.least(*ends))):
                c.write(name, value)
            run()
            products.emit_products(c, plan)
        products.emit_shares(c, plan)
        products.emit_vectors(c, plan)

    pack = packing(plan, cuttings(plan, plan.backward.phases, variant), variant)
    return kernel.write(variant.vectors, pack, loop, flow=flow)
