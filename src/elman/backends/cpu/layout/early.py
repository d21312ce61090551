"""Which products come early, for several steps at once, and how their phases are cut then."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from elman.backends.cpu.layout.cuts import Cut, cut_of, is_narrow
from elman.backends.cpu.layout.cuts import packed_length as length_of
from elman.backends.cpu.layout.variant import Variant
from elman.backends.cpu.llvm import machine
from elman.backends.plan.parts import Phase, Segment
from elman.backends.plan.plan import GIVEN, Plan

ROWS = 512  # steps times rows, about, whose sums are formed at once
CACHES = 8  # second-level caches that the weights overflow, from where on it pays with MANY rows; with fewer, fewer
MANY = 32
FEW = 8  # rows a thread, with which the tiles of one step stand half empty
SHORT = 4  # units of x, below which their product costs less than to read what it gave


@dataclass(frozen=True)
class Cutting:
    """A phase and its cut; where products come early, their phase and cut, and how many numbers a row of theirs has."""

    phase: Phase
    cut: Cut
    early: Phase | None = None
    early_cut: Cut | None = None
    sums: tuple[int, ...] = ()  # of the phase, in the order of the early one's

    @property
    def all(self) -> list[tuple[Phase, Cut]]:
        """Everything with weights to pack."""
        before = [(self.early, self.early_cut)] if self.early and self.early_cut else []
        return [*before, (self.phase, self.cut)]

    @property
    def row(self) -> int:
        """Numbers that come early for a row."""
        return len(self.sums) * self.cut.panels * self.cut.units * self.cut.width


def cuttings(plan: Plan, phases: tuple[Phase, ...], variant: Variant) -> list[Cutting]:
    """How each phase is cut."""
    return [_cutting(plan, phase, variant) for phase in phases]


def _cutting(plan: Plan, phase: Phase, variant: Variant) -> Cutting:
    size = plan.sizes[phase.size]
    cut = cut_of(phase, size, variant.rows, variant.vectors, variant.members)
    given = given_segments(plan, phase)
    if not phase.sums or is_narrow(phase, size) or sum(s.length for s in given) < SHORT:
        return Cutting(phase, cut)
    weights = length_of(phase, cut) * variant.vectors.item
    if variant.rows > FEW and weights * MANY < CACHES * variant.rows * machine.second_cache():
        return Cutting(phase, cut)
    sums = tuple(sorted({g for s in given for g in s.sums}))
    place = {g: i for i, g in enumerate(sums)}
    segments = tuple(
        dataclasses.replace(
            s,
            sums=tuple(place[g] for g in s.sums),
            pieces=tuple(dataclasses.replace(p, sum=place[p.sum]) for p in s.pieces),
        )
        for s in given
    )
    early = Phase(phase.size, tuple(phase.sums[g] for g in sums), segments)
    late = dataclasses.replace(phase, segments=tuple(s for s in phase.segments if s not in given))
    whole, cut = cut, cut_of(late, size, variant.rows, variant.vectors, variant.members)
    early_cut = cut_of(early, size, ROWS, variant.vectors, variant.members)
    if early_cut.stretches != cut.stretches:
        return Cutting(phase, whole)  # the blocks' vectors begin elsewhere
    return Cutting(late, cut, early, early_cut, sums)


def given_segments(plan: Plan, phase: Phase) -> list[Segment]:
    """Those of a phase whose operand is known before the loop."""
    return [s for s in phase.segments if s.source is not None and plan.nodes[s.source].op in GIVEN]


def row_length(cuts: Sequence[Cutting]) -> int:
    """Numbers that come early for a row, of all phases."""
    return sum(cut.row for cut in cuts)


def packed_length(cuts: Sequence[Cutting]) -> int:
    """Numbers of packed weights in all."""
    return sum(length_of(*pair) for cutting in cuts for pair in cutting.all)


def dealt_weights(plan: Plan) -> int:
    """How many weights of a step are dealt to threads with its units; 0 where units cannot be dealt.

    They can where a unit needs nothing of the same step but what is its own: one product, and one pass behind it. What
    is known before the loop is not counted: its products may come early.
    """
    stages = plan.forward.stages
    if len(stages) != 1 or not stages[0].fused or len(stages[0].phases) != 1:
        return 0
    ((phase,), (works,)) = stages[0].phases, stages[0].passes
    size = plan.sizes[phase.size]
    if not phase.sums or is_narrow(phase, size) or works.keys() != {phase.size}:
        return 0
    given = given_segments(plan, phase)
    return sum(s.length * len(s.sums) * size for s in phase.segments if s not in given)
