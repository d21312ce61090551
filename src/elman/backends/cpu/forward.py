"""The forward kernel: all steps of a sequence, for the rows of each thread.

What the states become is stored step by step: ``new:h`` (T, B, n) holds after step t the state that step t + 1
begins with. Where the output is a state and nothing holds or resets it, ``new:h`` is the output itself. Without a
backward pass to come, the two newest steps share a small ring.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from elman.backends.cpu import kernel, tiles
from elman.backends.cpu.emit import i64
from elman.backends.cpu.kernel import Arguments, Flushed, Kernel, Part
from elman.backends.cpu.parts import Run
from elman.backends.cpu.plan import Plan
from elman.backends.cpu.step import Body, chunk_loop, chunk_rows, flag


@dataclass(frozen=True)
class Variant:
    """What a kernel is built for beside the program and its sizes."""

    rows: int  # about how many rows a thread has
    width: int
    masked: bool  # some rows end early
    resets: bool  # some rows start anew

    def shares_output(self, plan: Plan) -> bool:
        """Whether the first state's steps are the output."""
        return not (self.masked or self.resets) and plan.program.output == plan.program.states[0].new


def cuts(plan: Plan, phases: Any, variant: Variant) -> list[tiles.Shape]:
    """How each phase is cut."""
    return [tiles.shape(phase, plan.sizes[phase.size], variant.rows, variant.width) for phase in phases]


def packed_length(plan: Plan, phases: Any, variant: Variant) -> int:
    """Floats of packed weights in all."""
    return sum(tiles.packed_length(p, cut) for p, cut in zip(phases, cuts(plan, phases, variant), strict=True))


def packing(plan: Plan, phases: Any, variant: Variant) -> Any:
    """The part of a kernel that packs the weights of ``phases``."""

    def write(module: ir.Module, arguments: Arguments) -> Part:
        c = Part(module, arguments, "pack", variant.width)
        for phase, cut, packed in packed_places(c, plan, phases, variant):
            tiles.emit_packing(c, plan, phase, cut, packed)
        return c

    return write


def packed_places(c: Part, plan: Plan, phases: Any, variant: Variant) -> list[tuple[Any, tiles.Shape, Any]]:
    """Each phase with its cut and where its packed weights begin."""
    at, places = 0, []
    for phase, cut in zip(phases, cuts(plan, phases, variant), strict=True):
        places.append((phase, cut, c.at(c.pointer("packed"), at)))
        at += tiles.packed_length(phase, cut)
    return places


class Time:
    """Where the loop is: turn ``turn`` of the loop is step ``step``; and where each sequence stands there."""

    def __init__(self, c: Part, plan: Plan, variant: Variant, turn: Any, step: Any, before: Any) -> None:
        self.c, self.plan, self.variant, self.turn, self.step = c, plan, variant, turn, step
        self._ring = c.b.icmp_signed("!=", c.number("ring"), i64(0))
        is_first = c.b.icmp_signed("==", turn, i64(0))
        self._old: dict[int, tuple[Any, Any]] = {}
        for k, state in enumerate(plan.program.states):
            # The old state: the initial one at the first turn, then what the step before left.
            earlier = self.new(k, c.b.sub(turn, i64(1)), before)
            address = c.b.select(is_first, c.pointer(f"initial:{state.name}"), earlier[0])
            self._old[k] = address, c.b.select(is_first, c.number(f"initial_row:{state.name}"), earlier[1])

    def new(self, k: int, turn: Any, step: Any) -> tuple[Any, Any]:
        """State ``k`` after a step: address, and the length of a row."""
        c, state = self.c, self.plan.program.states[k]
        n = self.plan.sizes[state.size]
        shared = k == 0 and self.variant.shares_output(self.plan)
        slot = step if shared else c.b.select(self._ring, c.b.and_(turn, i64(1)), step)
        return c.at(c.pointer(f"new:{state.name}"), c.mul(c.mul(slot, c.number("batch")), n)), i64(n)

    def old(self, k: int) -> tuple[Any, Any]:
        """The old state ``k`` at this step: address, and the length of a row."""
        return self._old[k]

    def sequence(self, name: str) -> tuple[Any, Any]:
        """x or a further input at this step: address, and the length of a row."""
        c = self.c
        return c.at(c.pointer(name), c.mul(self.step, c.number(f"{name}_step"))), c.number(f"{name}_row")

    def whole(self, name: str, n: int) -> tuple[Any, Any]:
        """A (T, B, n) buffer at this step."""
        c = self.c
        return c.at(c.pointer(name), c.mul(c.mul(self.step, c.number("batch")), n)), i64(n)

    def kept(self, name: str, n: int) -> tuple[Any, Any]:
        """A (T, B, n) buffer that is kept for the backward pass; without one, (1, B, n)."""
        c = self.c
        step = c.b.select(self._ring, i64(0), self.step)
        return c.at(c.pointer(name), c.mul(c.mul(step, c.number("batch")), n)), i64(n)

    def leaf(self, index: int) -> tuple[Any, Any]:
        """The row of an input, further input, old state or computed operand: address, and the length of a row."""
        node = self.plan.nodes[index]
        if node.op == "state":
            return self.old(next(k for k, s in enumerate(self.plan.program.states) if s.old == index))
        if node.op == "input":
            return self.sequence("x")
        if node.op == "extra":
            return self.sequence(f"extra:{node.name}")
        return self.kept(f"operand:{index}", self.plan.n(index))


class _Forward:
    def __init__(self, c: Part, plan: Plan, variant: Variant) -> None:
        self.c, self.plan, self.variant = c, plan, variant

    def write(self) -> None:
        c = self.c
        places = packed_places(c, self.plan, self.plan.forward, self.variant)
        with Flushed(c), chunk_loop(c) as chunk:
            low, high = chunk_rows(c, chunk.index)
            with c.loop(0, c.number("steps")) as turn:
                self._step(turn.index, low, high, places)
            self._finish(low, high)

    def _step(self, turn: Any, low: Any, high: Any, places: Any) -> None:
        c = self.c
        step = c.add(c.number("first"), c.mul(turn, c.number("stride")))
        time = Time(c, self.plan, self.variant, turn, step, c.b.sub(step, c.number("stride")))
        self._operands(time, low, high)
        for phase, cut, packed in places:

            def body(row: Any, unit: Any, mask: Any, sums: Mapping[int, Any], size: str = phase.size) -> None:
                self._body(time, size, row, unit, mask, sums)

            tiles.emit_phase(c, phase, cut, packed, low, high, lambda run: time.leaf(_source(run)), body, turn)

    def _place(self, time: Time, row: Any, unit: Any, mask: Any) -> Body:
        def rows(index: int) -> Any:
            address, stride = time.leaf(index)
            return self.c.at(address, self.c.mul(row, stride))

        return Body(self.c, self.plan, unit, mask, rows)

    def _operands(self, time: Time, low: Any, high: Any) -> None:
        """Operands of products that must be computed first."""
        for index in self.plan.computed:
            cut = tiles.Shape(self.plan.n(index), self.variant.width, 1, 1, 1, 0)
            address, stride = time.leaf(index)

            def body(row: Any, unit: Any, mask: Any, _: Any, index: int = index, at: Any = (address, stride)) -> None:
                place = self._place(time, row, unit, mask)
                place.store(place.value(index), self.c.at(at[0], self.c.mul(row, at[1])))

            tiles.emit_plain(self.c, cut, low, high, body)

    def _body(self, time: Time, size: str, row: Any, unit: Any, mask: Any, sums: Mapping[int, Any]) -> None:
        c, plan = self.c, self.plan
        place = self._place(time, row, unit, mask)
        place.sums.update(sums)
        runs = flag(c, "valid", time.step, row) if self.variant.masked else None
        results = []
        for k, state in enumerate(plan.program.states):
            if state.size == size:
                results.append((k, self._held(place, time, k, place.value(state.new), row, runs)))
        if plan.nodes[plan.program.output].size == size and not self.variant.shares_output(plan):
            output = place.value(plan.program.output)
            output = output if runs is None else c.b.select(runs, output, c.splat(0.0))
            place.store(output, self._row(time.whole("output", plan.n(plan.program.output)), row))
        for k, value in results:
            self._keep_state(place, time, k, value, row)
        for index, offset in plan.saved.items():
            if plan.nodes[index].size == size:
                address = self._row(time.kept("saved", plan.saved_width), row)
                place.store(place.value(index), c.at(address, offset))

    def _held(self, place: Body, time: Time, k: int, value: Any, row: Any, runs: Any) -> Any:
        """The new state; the old one where the row is over."""
        if runs is None:
            return value
        return self.c.b.select(runs, value, place.value(self.plan.program.states[k].old))

    def _keep_state(self, place: Body, time: Time, k: int, value: Any, row: Any) -> None:
        c, state = self.c, self.plan.program.states[k]
        n = self.plan.sizes[state.size]
        if self.variant.resets:
            place.store(value, c.at(c.pointer(f"final:{state.name}"), c.mul(row, i64(n))))
            follows = c.b.icmp_signed("<", c.add(time.turn, 1), c.number("steps"))
            after = c.b.select(follows, c.add(time.step, c.number("stride")), time.step)
            anew = c.b.and_(follows, flag(c, "reset", after, row))
            initial = c.at(c.pointer(f"anew:{state.name}"), c.mul(row, c.number(f"anew_row:{state.name}")))
            value = c.b.select(anew, place.load(initial), value)
        place.store(value, self._row(time.new(k, time.turn, time.step), row))

    def _row(self, place: tuple[Any, Any], row: Any) -> Any:
        return self.c.at(place[0], self.c.mul(row, place[1]))

    def _finish(self, low: Any, high: Any) -> None:
        """Copy the states of the last step to where the caller wants them."""
        c = self.c
        if self.variant.resets:
            return
        steps = c.number("steps")
        last = c.add(c.number("first"), c.mul(c.b.sub(steps, i64(1)), c.number("stride")))
        time = Time(c, self.plan, self.variant, steps, last, last)
        for k, state in enumerate(self.plan.program.states):
            n = self.plan.sizes[state.size]
            cut = tiles.Shape(n, self.variant.width, 1, 1, 1, 0)

            def body(row: Any, unit: Any, mask: Any, _: Any, k: int = k, n: int = n, name: str = state.name) -> None:
                place = self._place(time, row, unit, mask)
                value = place.load(self._row(time.old(k), row))
                place.store(value, c.at(c.pointer(f"final:{name}"), c.mul(row, i64(n))))

            tiles.emit_plain(c, cut, low, high, body)


def _source(run: Run) -> int:
    assert run.source is not None
    return run.source


def inputs_layout(plan: Plan) -> list[str]:
    """The names of what both kernels are told, in order."""
    program = plan.program
    names = ["team", "chunks", "steps", "batch", "first", "stride", "ring", "packed"]
    names += ["x", "x_step", "x_row", "valid", "reset"]
    for state in program.states:
        names += [f"initial:{state.name}", f"initial_row:{state.name}", f"anew:{state.name}", f"anew_row:{state.name}"]
    names += [f"parameter:{p.name}" for p in program.parameters]
    for extra in program.extras:
        names += [f"extra:{extra.name}", f"extra:{extra.name}_step", f"extra:{extra.name}_row"]
    new, operands = [f"new:{s.name}" for s in program.states], [f"operand:{i}" for i in plan.computed]
    return [*names, "output", *new, "saved", *operands]


def layout(plan: Plan) -> list[str]:
    """The names of the forward kernel's arguments, in order."""
    return inputs_layout(plan) + [f"final:{s.name}" for s in plan.program.states]


def build(plan: Plan, variant: Variant) -> Kernel:
    """Compile the forward kernel."""

    def write(module: ir.Module, arguments: Arguments) -> Part:
        c = Part(module, arguments, "run", variant.width)
        _Forward(c, plan, variant).write()
        return c

    return kernel.build("forward", variant.width, layout(plan), packing(plan, plan.forward, variant), write)
