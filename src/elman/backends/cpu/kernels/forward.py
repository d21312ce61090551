"""The forward kernel: all steps of a sequence, for the rows of each thread.

What the states become is stored step by step: ``new:h`` (T, B, n) holds after step t the state that step t + 1
begins with. Where the output is a state and nothing holds or resets it, ``new:h`` is the output itself. Without a
backward pass to come, the two newest steps share a small ring.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from elman.backends.cpu.kernels import tiles
from elman.backends.cpu.kernels.early import Early
from elman.backends.cpu.kernels.packing import emit_packing
from elman.backends.cpu.kernels.stages import Packed, Row, Stages
from elman.backends.cpu.kernels.step import Body, chunk_loop, chunk_rows, flag
from elman.backends.cpu.kernels.timeline import Time
from elman.backends.cpu.layout.cuts import Cut, packed_length
from elman.backends.cpu.layout.early import Cutting, cuttings, row_length
from elman.backends.cpu.layout.variant import Variant
from elman.backends.cpu.llvm import kernel
from elman.backends.cpu.llvm.code import i64
from elman.backends.cpu.llvm.kernel import Arguments, Flushed, Part, Written
from elman.backends.plan.parts import Phase, Segment, Store
from elman.backends.plan.plan import Plan


def packing(plan: Plan, cuts: Sequence[Cutting], variant: Variant) -> Any:
    """The part of a kernel that packs the weights of phases."""

    def pack(module: ir.Module, arguments: Arguments) -> Part:
        c = Part(module, arguments, "pack", variant.vectors)
        for (phase, cut), packed in addresses(c, cuts):
            emit_packing(c, plan, phase, cut, packed)
        return c

    return pack


def addresses(c: Part, cuts: Sequence[Cutting]) -> list[tuple[tuple[Phase, Cut], Any]]:
    """Each phase with its cut, and where its packed weights begin."""
    every = [pair for cutting in cuts for pair in cutting.all]
    starts = itertools.accumulate((packed_length(*pair) for pair in every), initial=0)
    return [(pair, c.at(c.pointer("packed"), at)) for pair, at in zip(every, starts, strict=False)]


class _Forward(Stages):
    def run(self) -> None:
        """Write the loop over the chunks of the rows and the steps."""
        c, cuts = self.c, cuttings(self.plan, self.schedule.phases, self.variant)
        packed = [at for _, at in addresses(c, cuts)]
        with Flushed(c):
            if self.variant.by_units:
                self._blocks(i64(0), c.number("batch"), self._phases(cuts, packed, (i64(0), c.number("batch")), i64(0)))
            with chunk_loop(c) as chunk:
                low, high = chunk_rows(c, chunk.index)
                if not self.variant.by_units:
                    self._blocks(low, high, self._phases(cuts, packed, (low, high), chunk.index))
                self._finish(low, high)

    def _blocks(self, low: Any, high: Any, phases: Sequence[Packed]) -> None:
        """All steps for some rows, in blocks where products come early."""
        c, before = self.c, [phase.early for phase in phases if phase.early]
        if not before:
            self._turns(0, c.number("steps"), low, high, phases)
            return
        with c.loop(0, c.number("steps"), c.number("early_turns")) as block:
            stop = c.least(c.add(block.index, c.number("early_turns")), c.number("steps"))
            for each in before:
                each.write(block.index, stop)
            self._turns(block.index, stop, low, high, phases)

    def _phases(
        self, cuts: Sequence[Cutting], packed: Sequence[Any], rows: tuple[Any, Any], chunk: Any
    ) -> list[Packed]:
        """The phases of the loop, with what comes early."""
        c, starts, phases, at = self.c, iter(packed), list[Packed](), 0
        room = row_length(cuts)
        for cutting in cuts:
            come = None
            if cutting.early:
                here = c.mul(c.number("early_rows"), c.add(c.mul(chunk, room), at))
                come = Early(
                    c, self.plan, cutting, next(starts), c.at(c.pointer("early"), here), rows, self.variant.by_units
                )
            phases.append(Packed(cutting.phase, cutting.cut, next(starts), come))
            at += cutting.row
        return phases

    def _turns(self, start: Any, stop: Any, low: Any, high: Any, phases: Sequence[Packed]) -> None:
        with self.c.loop(start, stop) as turn:
            self.step(Time.at_turn(self.c, self.plan, self.variant, turn.index), low, high, phases)
            if self.variant.by_units:
                self.c.wait()  # the next step reads what all have written

    def where(self, time: Time, index: int) -> tuple[Any, Any]:
        return time.row(index)

    def pace(self, time: Time, index: int) -> Any:
        # What else it reads it has just written.
        return time.pace(index) if self.plan.nodes[index].op in ("input", "extra") else None

    def operand(self, time: Time, segment: Segment) -> tuple[Any, Any]:
        assert segment.source is not None
        return time.row(segment.source)

    def is_only_kept(self, store: Store) -> bool:
        return store.kind == "saved" and store.nodes[0] not in self.read

    @functools.cached_property
    def read(self) -> set[int]:
        """The values that a later pass or product of the same step reads."""
        stages = self.schedule.stages
        works = [work for stage in stages for works in stage.passes for work in works.values()]
        segments = [segment for stage in stages for phase in stage.phases for segment in phase.segments]
        sources = {segment.source for segment in segments if segment.source is not None}
        return sources.union(*(work.reads | work.singles for work in works))

    def write(self, body: Body, time: Time, row: Row, store: Store, value: Any) -> None:
        if store.kind == "state":
            self._state(body, time, row, int(store.name), value)
        elif store.kind == "output":
            if not self.variant.shares_output(self.plan):
                stretch = time.whole("output", self.plan.n(store.nodes[0]))
                body.store(self.held(row, value, self.c.splat(0.0)), self.row_at(stretch, row.index))
        else:
            body.store(value, self.row_at(time.row(store.nodes[0]), row.index))

    def _state(self, body: Body, time: Time, row: Row, k: int, value: Any) -> None:
        """Store a new state; the old one where the row is over."""
        c, state = self.c, self.plan.program.states[k]
        n = i64(self.plan.sizes[state.size])
        if row.runs is not None:
            value = c.b.select(row.runs, value, body.value(state.old))
        if self.variant.resets:
            body.store(value, c.at(c.pointer(f"final:{state.name}"), c.mul(row.index, n)))
            follows = c.b.icmp_signed("<", c.add(time.turn, 1), c.number("steps"))
            after = c.b.select(follows, c.add(time.step, c.number("stride")), time.step)
            anew = c.b.and_(follows, flag(c, "reset", after, row.index))
            initial = c.at(c.pointer(f"anew:{state.name}"), c.mul(row.index, c.number(f"anew_row:{state.name}")))
            value = c.b.select(anew, body.load(initial), value)
        body.store(value, self.row_at(time.new(k, time.turn, time.step), row.index))

    def _finish(self, low: Any, high: Any) -> None:
        """Copy the states of the last step to where the caller wants them."""
        c = self.c
        if self.variant.resets:
            return
        time = Time.at_turn(c, self.plan, self.variant, c.number("steps"))
        for k, state in enumerate(self.plan.program.states):
            n = self.plan.sizes[state.size]
            final = c.pointer(f"final:{state.name}"), i64(n)
            copy_rows(c, n, low, high, time.old(k), final)


def copy_rows(c: Part, n: int, low: Any, high: Any, source: tuple[Any, Any], target: tuple[Any, Any]) -> None:
    """Copy rows of ``n`` units; ``source`` and ``target`` are an address and the length of a row."""

    def begin(row: Any) -> tuple[Any, Any]:
        return c.at(source[0], c.mul(row, source[1])), c.at(target[0], c.mul(row, target[1]))

    def body(row: tuple[Any, Any], unit: Any, mask: Any) -> None:
        c.store_vector(c.load_vector(c.at(row[0], unit), mask), c.at(row[1], unit), mask)

    tiles.emit_plain(c, n, low, high, begin, body)


def write(plan: Plan, variant: Variant) -> Written:
    """Write the forward kernel."""

    def run(module: ir.Module, arguments: Arguments) -> Part:
        c = Part(module, arguments, "run", variant.vectors)
        _Forward(c, plan, variant, plan.forward).run()
        return c

    pack = packing(plan, cuttings(plan, plan.forward.phases, variant), variant)
    return kernel.write(variant.vectors, pack, run)
