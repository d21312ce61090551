"""A schedule as code: the products and passes of each stage, for some rows at one step, forward and backward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from elman.backends.cpu.kernels import narrow, tiles
from elman.backends.cpu.kernels.early import Early
from elman.backends.cpu.kernels.step import Body, flag
from elman.backends.cpu.kernels.timeline import Time, Variant
from elman.backends.cpu.llvm.code import i64
from elman.backends.cpu.llvm.kernel import Part
from elman.backends.plan.parts import Phase, Segment, Stage, Store, Work
from elman.backends.plan.plan import Plan
from elman.backends.plan.schedule import Schedule


class Packed(NamedTuple):
    """A phase in the loop: its cut, where its packed weights are, and what of its sums comes early."""

    phase: Phase
    cut: tiles.Cut
    weights: Any
    early: Early | None = None


@dataclass(frozen=True)
class Row:
    """A row at a step: whether it runs (None where all do), and the values that are the same for all its units."""

    index: Any
    runs: Any
    known: Mapping[int, Any]


class Stages:
    """Writes the stages of a schedule. What a store means is the direction's to say."""

    def __init__(self, c: Part, plan: Plan, variant: Variant, schedule: Schedule) -> None:
        self.c: Part = c
        self.plan: Plan = plan
        self.variant: Variant = variant
        self.schedule: Schedule = schedule

    def where(self, time: Time, index: int) -> tuple[Any, Any]:
        """The row of a leaf or of a value that is stored: address, and the length of a row."""
        raise NotImplementedError

    def operand(self, time: Time, segment: Segment) -> tuple[Any, Any]:
        """The row that a product reads: address, and the length of a row."""
        raise NotImplementedError

    def pace(self, time: Time, index: int) -> Any:
        """How far it is from a value's row to the one the next turn reads, or None where that is near already."""
        raise NotImplementedError

    def write(self, body: Body, time: Time, row: Row, store: Store, value: Any) -> None:
        """Put a value where its store says."""
        raise NotImplementedError

    def is_only_kept(self, store: Store) -> bool:
        """Whether nothing but the backward pass reads what a store writes."""
        return False

    def keeps(self) -> Any:
        """Whether a backward pass comes."""
        return self.c.b.icmp_signed("==", self.c.number("ring"), i64(0))

    def step(self, time: Time, low: Any, high: Any, phases: Sequence[Packed]) -> None:
        """All stages of a step, for the rows from ``low`` to ``high``."""
        rest = list(phases)
        self.readers: dict[int, Work] = {}
        for stage in self.schedule.stages:
            mine, rest = rest[: len(stage.phases)], rest[len(stage.phases) :]
            with self.c.when(self.is_wanted(stage.condition)) if stage.condition else nullcontext():
                self._products(stage, time, low, high, mine)
                if not stage.fused:
                    with self.c.loop(low, high) as row:
                        self._passes(stage, time, row.index)

    def is_wanted(self, name: str) -> Any:
        """Whether the gradient ``name`` is wanted."""
        return self.c.b.icmp_signed("!=", self.c.number(f"gradient:{name}"), i64(0))

    def row_at(self, stretch: tuple[Any, Any], row: Any) -> Any:
        """The address of a row."""
        return self.c.at(stretch[0], self.c.mul(row, stretch[1]))

    def held(self, row: Row, value: Any, other: Any) -> Any:
        """``value``, or ``other`` where the row is over."""
        return value if row.runs is None else self.c.b.select(row.runs, value, other)

    # The parts of a stage

    def _products(self, stage: Stage, time: Time, low: Any, high: Any, phases: Sequence[Packed]) -> None:
        for phase, cut, weights, come in phases:
            work = stage.passes[0].get(phase.size, Work()) if stage.fused else Work()
            begin = partial(self._begin, time, work if phase.size != "1" else Work())
            body = partial(self._behind if stage.fused else self._raw, time, work)
            operands = [
                tiles.Operand(partial(self.row_at, self.operand(time, segment)), self._operand_pace(time, segment))
                for segment in phase.segments
            ]
            sums = come.read(time) if come else None
            panels = self.c.dealt(cut.panels) if self.variant.by_units else None
            tiles.emit_phase(self.c, phase, cut, weights, low, high, operands, begin, body, time.turn, sums, panels)

    def _pace_once(self, time: Time, work: Work, index: int) -> Any:
        """:meth:`pace` in the first pass of a step that reads the value; None in the passes after it."""
        first = self.readers.setdefault(index, work) is work
        return self.pace(time, index) if first and (index,) not in self.schedule.crossing else None

    def _operand_pace(self, time: Time, segment: Segment) -> Any:
        return None if segment.source is None else self.pace(time, segment.source)

    def _begin(self, time: Time, work: Work, index: Any) -> Row:
        runs = flag(self.c, "valid", time.step, index) if self.variant.masked else None
        row = Row(index, runs, {})
        return Row(index, runs, self._singles([work], time, row))

    def _singles(self, works: Sequence[Work], time: Time, row: Row) -> dict[int, Any]:
        """The values of one unit that the work on a row needs, in every lane."""
        known = dict(row.known)
        for work in works:
            body = self._body(time, work, row, i64(0), None)
            body.known = known
            for i in sorted(work.singles):
                body.value(i)
        return known

    def _body(self, time: Time, work: Work, row: Row, unit: Any, mask: Any) -> Body:
        body = Body(self.c, self.plan, unit, mask, lambda i: self._address(time, i, row), work, row.known)
        body.pace = lambda i: self._pace_once(time, work, i)
        body.sums = lambda i: body.load(self._raw_row(time, row, i), self.plan.nodes[i].size == "1")
        body.joined = lambda key: self._crossing(row, self.schedule.crossing[key])
        return body

    def _address(self, time: Time, index: int, row: Row) -> Any:
        if (index,) in self.schedule.crossing:
            return self._crossing(row, self.schedule.crossing[index,])
        return self.row_at(self.where(time, index), row.index)

    def _crossing(self, row: Row, offset: int) -> Any:
        address = self.c.at(self.c.pointer("crossing"), self.c.mul(row.index, self.schedule.crossing_width))
        return self.c.at(address, offset)

    def _raw(self, time: Time, work: Work, row: Row, unit: Any, mask: Any, sums: Mapping[int, Any]) -> None:
        """A product's sums as they are, for the passes that come."""
        body = self._body(time, work, row, unit, mask)
        for root, value in sums.items():
            body.store(value, self._raw_row(time, row, root))

    def _raw_row(self, time: Time, row: Row, index: int) -> Any:
        """Where a product's sum is until a pass takes it up: where it is kept, or else in the buffer that crosses."""
        if index in self.schedule.raw:
            return self._crossing(row, self.schedule.raw[index])
        return self.row_at(self.where(time, index), row.index)

    def _behind(self, time: Time, work: Work, row: Row, unit: Any, mask: Any, sums: Mapping[int, Any]) -> None:
        """The only pass of a stage, while the sums are at hand."""
        body = self._body(time, work, row, unit, mask)
        body.sums = sums.__getitem__
        self._write_all(body, time, row, work)

    def _write_all(self, body: Body, time: Time, row: Row, work: Work) -> None:
        values = [(store, body.added(store.nodes)) for store in work.stores]
        only_kept = list[tuple[Store, Any]]()
        for store, value in values:
            if store.kind == "crossing":
                body.store(value, self._crossing(row, self.schedule.crossing[store.nodes]))
            elif self.is_only_kept(store):
                only_kept.append((store, value))
            else:
                self.write(body, time, row, store, value)
        if only_kept:
            with self.c.when(self.keeps()):
                for store, value in only_kept:
                    self.write(body, time, row, store, value)

    def _passes(self, stage: Stage, time: Time, index: Any) -> None:
        """All passes over the units of one row."""
        row = self._begin(time, Work(), index)
        for works in stage.passes:
            row = Row(index, row.runs, self._singles(list(works.values()), time, row))
            totals: dict[int, Any] = {}
            for size, work in works.items():
                if size == "1":
                    self._single_pass(time, row, work, totals)
                else:
                    self._wide_pass(time, row, self.plan.sizes[size], work, totals)
            row = Row(index, row.runs, {**row.known, **totals})

    def _single_pass(self, time: Time, row: Row, work: Work, totals: dict[int, Any]) -> None:
        body = self._body(time, work, row, i64(0), self.c.lanes(1))
        self._write_all(body, time, row, work)
        for total, value in work.totals:
            self._add(totals, total, body.value(value))

    def _wide_pass(self, time: Time, row: Row, size: int, work: Work, totals: dict[int, Any]) -> None:
        c = self.c

        def vector(unit: Any, mask: Any, sums: list[Any]) -> list[Any]:
            body = self._body(time, work, row, unit, mask)
            self._write_all(body, time, row, work)
            values = [body.added(terms) for terms in summed.values()]
            # Lanes without a unit hold anything.
            values = [v if mask is None else c.b.select(mask, v, c.splat(0.0)) for v in values]
            return [c.b.fadd(total, v) for total, v in zip(sums, values, strict=True)]

        summed: dict[int, tuple[int, ...]] = {}
        for total, value in work.totals:
            summed[total] = (*summed.get(total, ()), value)
        sums = tiles.each_vector(c, size, vector, [c.splat(0.0)] * len(summed))
        for total, lane in zip(summed, sums, strict=True):
            self._add(totals, total, narrow.in_every_lane(c, lane))

    def _add(self, totals: dict[int, Any], total: int, value: Any) -> None:
        totals[total] = self.c.b.fadd(totals[total], value) if total in totals else value
