"""The backward kernel: from the last step to the first, for the rows of each thread.

``carry:h`` (B, n) is the cotangent of the state that a step left; each step makes it that of the state it began
with. Every step writes its columns, the cotangents of its products, from which the gradients of the weights are formed
after the loop. What a later level of the step needs of an earlier one crosses in a buffer (B, ...).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from llvmlite import ir

from elman.backends.cpu import jobs, kernel, tiles
from elman.backends.cpu.emit import i64
from elman.backends.cpu.forward import Time, Variant, inputs_layout, packed_places, packing
from elman.backends.cpu.kernel import Arguments, Flushed, Kernel, Part
from elman.backends.cpu.parts import Gather
from elman.backends.cpu.plan import Plan
from elman.backends.cpu.step import Body, chunk_loop, chunk_rows, flag


def crossing_offsets(plan: Plan) -> tuple[dict[tuple[int, ...], int], int]:
    """Where each value that crosses from one level to the next stands in its row, and the row's length."""
    offsets, at = {}, 0
    for nodes in plan.crossing:
        offsets[nodes] = at
        at += plan.n(nodes[0])
    return offsets, at


def gather_offsets(plan: Plan) -> tuple[list[int], int]:
    """Where each learned vector's sum stands in its row, and the row's length."""
    offsets, at = [], 0
    for gather in plan.gathers:
        offsets.append(at)
        at += plan.sizes[gather.size]
    return offsets, at


@dataclass
class _Work:
    """What one size's pointwise level stores."""

    columns: list[int] = field(default_factory=list)
    crossing: list[tuple[int, ...]] = field(default_factory=list)
    gathers: list[int] = field(default_factory=list)
    targets: list[tuple[str, int | None]] = field(default_factory=list)


class _Backward:
    def __init__(self, c: Part, plan: Plan, variant: Variant) -> None:
        self.c, self.plan, self.variant = c, plan, variant
        self.crossing, self.crossing_width = crossing_offsets(plan)
        self.gather_at, self.gather_width = gather_offsets(plan)
        self.kept = plan.saved.keys() | plan.from_state.keys()

    def write(self) -> None:
        c, plan = self.c, self.plan
        places = packed_places(c, plan, plan.backward, self.variant)
        with Flushed(c), chunk_loop(c) as chunk:
            low, high = chunk_rows(c, chunk.index)
            self.gathered = c.at(c.pointer("gathered"), c.mul(chunk.index, self.gather_width)) if plan.gathers else None
            self._begin(low, high)
            with c.loop(0, c.number("steps")) as back:
                turn = c.b.sub(c.b.sub(c.number("steps"), i64(1)), back.index)
                self._step(turn, low, high, places)

    def _begin(self, low: Any, high: Any) -> None:
        """The carries begin as the gradients of the final states."""
        c = self.c
        for state in self.plan.program.states:
            n = self.plan.sizes[state.size]
            cut = tiles.Shape(n, self.variant.width, 1, 1, 1, 0)

            def body(row: Any, unit: Any, mask: Any, _: Any, n: int = n, name: str = state.name) -> None:
                place = Body(c, self.plan, unit, mask, lambda _: None)
                given = c.at(c.pointer(f"from:{name}"), c.mul(row, c.number(f"from_row:{name}")))
                place.store(place.load(given), c.at(c.pointer(f"carry:{name}"), c.mul(row, i64(n))))

            tiles.emit_plain(c, cut, low, high, body)

    def _step(self, turn: Any, low: Any, high: Any, places: Any) -> None:
        c, plan = self.c, self.plan
        step = c.add(c.number("first"), c.mul(turn, c.number("stride")))
        time = Time(c, plan, self.variant, turn, step, c.b.sub(step, c.number("stride")))
        for size, work in self._pointwise().items():
            cut = tiles.Shape(plan.sizes[size], self.variant.width, 1, 1, 1, 0)

            def early(row: Any, unit: Any, mask: Any, _: Any, work: _Work = work) -> None:
                self._early(time, work, row, unit, mask)

            tiles.emit_plain(c, cut, low, high, early)
        for phase, cut, packed in places:

            def late(row: Any, unit: Any, mask: Any, sums: Mapping[int, Any], key: str = phase.key) -> None:
                self._late(time, key, row, unit, mask, sums)

            def emit(phase: Any = phase, cut: Any = cut, packed: Any = packed, late: Any = late) -> None:
                columns = time.whole("columns", plan.width)
                tiles.emit_phase(c, phase, cut, packed, low, high, lambda _: columns, late, time.turn)

            kind = phase.key.rpartition(":")[0]
            if kind == "state":
                emit()
            else:
                with c.when(self._is_wanted(kind)):
                    emit()

    def _pointwise(self) -> dict[str, _Work]:
        """What the first level stores, by size."""
        plan = self.plan
        work: dict[str, _Work] = {}

        def of(size: str) -> _Work:
            return work.setdefault(size, _Work())

        for i in plan.columns:
            of(plan.nodes[i].size).columns.append(i)
        for nodes in plan.crossing:
            of(plan.nodes[nodes[0]].size).crossing.append(nodes)
        for g, gather in enumerate(plan.gathers):
            if not self._is_late(gather):
                of(gather.size).gathers.append(g)
        targets = dict(plan.targets())
        for state in plan.program.states:
            node = targets.pop(f"state:{state.name}", None)
            if node is None or not plan.level[node]:
                of(state.size).targets.append((f"state:{state.name}", node))
        for name, node in targets.items():
            if name not in plan.unsupported and not plan.level[node]:
                of(plan.nodes[node].size).targets.append((name, node))
        return work

    def _is_late(self, gather: Gather) -> bool:
        return any(self.plan.level[i] for i in gather.nodes)

    def _is_wanted(self, name: str) -> Any:
        return self.c.b.icmp_signed("!=", self.c.number(f"gradient:{name}"), i64(0))

    # One place of a step

    def _place(self, time: Time, row: Any, unit: Any, mask: Any) -> Body:
        c, plan = self.c, self.plan

        def rows(index: int) -> Any:
            node = plan.nodes[index]
            if node.op != "cotangent":
                address, stride = time.leaf(index)
            elif not node.name:
                address, stride = time.sequence("grad")
            else:
                address, stride = c.pointer(f"carry:{node.name}"), i64(plan.n(index))
            return c.at(address, c.mul(row, stride))

        place = Body(c, plan, unit, mask, rows)
        place.read = {i: self._reader(place, time, i, row) for i in self.kept}
        return place

    def _reader(self, place: Body, time: Time, index: int, row: Any) -> Callable[[], Any]:
        """How a value of the forward pass is read: from what was saved, or from the states."""
        c, plan = self.c, self.plan

        def read() -> Any:
            if index in plan.from_state:
                return place.load(self._row(time.new(plan.from_state[index], time.turn, time.step), row))
            address = self._row(time.whole("saved", plan.saved_width), row)
            return place.load(c.at(address, plan.saved[index]))

        return read

    def _row(self, at: tuple[Any, Any], row: Any) -> Any:
        return self.c.at(at[0], self.c.mul(row, at[1]))

    def _early(self, time: Time, work: _Work, row: Any, unit: Any, mask: Any) -> None:
        """The first level: everything is computed before anything is stored, for the carries are stored in place."""
        c, plan = self.c, self.plan
        place = self._place(time, row, unit, mask)
        runs = flag(c, "valid", time.step, row) if self.variant.masked else None
        columns = [place.value(i) for i in work.columns]
        crossing = [self._added(place, nodes) for nodes in work.crossing]
        gathers = [self._added(place, plan.gathers[g].nodes) for g in work.gathers]
        targets = [c.splat(0.0) if i is None else place.value(i) for _, i in work.targets]
        address = self._row(time.whole("columns", plan.width), row)
        for i, value in zip(work.columns, columns, strict=True):
            place.store(self._if_runs(runs, value), c.at(address, plan.columns[i]))
        for nodes, value in zip(work.crossing, crossing, strict=True):
            place.store(value, self._crossing_row(nodes, row))
        for g, value in zip(work.gathers, gathers, strict=True):
            self._gather(place, g, self._if_runs(runs, value))
        for (name, _), value in zip(work.targets, targets, strict=True):
            self._leave(place, time, name, value, row, runs)

    def _late(self, time: Time, key: str, row: Any, unit: Any, mask: Any, sums: Mapping[int, Any]) -> None:
        """The second level: what needs the transposed products."""
        c, plan = self.c, self.plan
        place = self._place(time, row, unit, mask)
        runs = flag(c, "valid", time.step, row) if self.variant.masked else None
        place.added = frozenset(i for nodes in self.crossing for i in nodes)
        for root, value in sums.items():
            early = tuple(o for o in plan.sums[root].others if not plan.level[o])
            place.sums[root] = c.b.fadd(value, place.load(self._crossing_row(early, row))) if early else value
        place.read = {
            **place.read,
            **{n[0]: self._crossing_reader(place, n, row) for n in self.crossing if len(n) == 1},
        }
        kind, _, size = key.rpartition(":")
        for g, gather in enumerate(plan.gathers):
            if kind == "state" and gather.size == size and self._is_late(gather):
                self._gather(place, g, self._if_runs(runs, self._added(place, gather.nodes)))
        for name, node in plan.targets():
            named = name if kind != "state" else name.partition(":")[0]
            if named == kind and plan.nodes[node].size == size and plan.level[node] and name not in plan.unsupported:
                self._leave(place, time, name, place.value(node), row, runs)

    def _added(self, place: Body, nodes: tuple[int, ...]) -> Any:
        value = place.value(nodes[0])
        for node in nodes[1:]:
            value = self.c.b.fadd(value, place.value(node))
        return value

    def _if_runs(self, runs: Any, value: Any) -> Any:
        return value if runs is None else self.c.b.select(runs, value, self.c.splat(0.0))

    def _crossing_row(self, nodes: tuple[int, ...], row: Any) -> Any:
        address = self.c.at(self.c.pointer("crossing"), self.c.mul(row, self.crossing_width))
        return self.c.at(address, self.crossing[nodes])

    def _crossing_reader(self, place: Body, nodes: tuple[int, ...], row: Any) -> Callable[[], Any]:
        return lambda: place.load(self._crossing_row(nodes, row))

    def _gather(self, place: Body, g: int, value: Any) -> None:
        address = self.c.at(self.gathered, self.gather_at[g])
        place.store(self.c.b.fadd(place.load(address), value), address)

    def _leave(self, place: Body, time: Time, name: str, value: Any, row: Any, runs: Any) -> None:
        """Store what flows to an old state, to x or to a further input."""
        c, plan = self.c, self.plan
        kind, _, which = name.partition(":")
        if kind == "state":
            self._carry(place, time, which, value, row, runs)
            return
        n = plan.sizes[plan.program.input_size] if kind == "input" else plan.n(dict(plan.targets())[name])
        with c.when(self._is_wanted(name)):
            place.store(self._if_runs(runs, value), self._row(time.whole(f"gradient:{name}", n), row))

    def _carry(self, place: Body, time: Time, which: str, value: Any, row: Any, runs: Any) -> None:
        c = self.c
        state = next(s for s in self.plan.program.states if s.name == which)
        n = i64(self.plan.sizes[state.size])
        carry = c.at(c.pointer(f"carry:{which}"), c.mul(row, n))
        if runs is not None:
            value = c.b.select(runs, value, place.load(carry))
        if self.variant.resets:
            anew, zero = flag(c, "reset", time.step, row), c.splat(0.0)
            initial = c.at(c.pointer(f"to_initial:{which}"), c.mul(row, n))
            place.store(c.b.fadd(place.load(initial), c.b.select(anew, value, zero)), initial)
            value = c.b.select(anew, zero, value)
        place.store(value, carry)


def layout(plan: Plan) -> list[str]:
    """The names of the backward kernel's arguments, in order."""
    program = plan.program
    names = [*inputs_layout(plan), "grad", "grad_step", "grad_row"]
    for state in program.states:
        names += [f"from:{state.name}", f"from_row:{state.name}", f"carry:{state.name}", f"to_initial:{state.name}"]
    names += ["gradient:input", *(f"gradient:extra:{e.name}" for e in program.extras)]
    names += [f"gradient:parameter:{p.name}" for p in program.parameters]
    return [*names, "columns", "crossing", "gathered", "sums", "room", "masked", "ones"]


def build(plan: Plan, variant: Variant) -> Kernel:
    """Compile the backward kernel, with the products that form the weights' gradients behind it."""

    def write(module: ir.Module, arguments: Arguments) -> Part:
        c = Part(module, arguments, "run", variant.width)
        _Backward(c, plan, variant).write()
        return c

    def after(c: kernel.Entry) -> None:
        jobs.emit_jobs(c, plan, variant.width)
        jobs.emit_vectors(c, plan, *gather_offsets(plan))

    pack = packing(plan, plan.backward, variant)
    return kernel.build("backward", variant.width, layout(plan), pack, write, after=after)
