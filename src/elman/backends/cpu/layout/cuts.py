"""How a phase is cut into panels and tiles, chosen by what a step of it costs, and what its packed weights take."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from elman.backends.cpu.llvm import machine
from elman.backends.cpu.llvm.machine import Vectors
from elman.backends.plan.parts import Phase, Segment
from elman.backends.plan.uses import NARROW

OVERHEAD = 3  # multiply-adds that a turn of an inner loop takes longer, measured
# What comes from the second-level cache in the time of one vector multiply-add, measured with AVX-512 and below it: a
# panel for tile after tile, and all panels of a step one after the other.
BYTES_A_MULTIPLY_ADD = {True: 14, False: 10}
STREAMED_A_MULTIPLY_ADD = {True: 22, False: 10}
LARGE = 1 << 16  # multiply-adds a row, from which a second size of tiles is worth its code
ASKED = 2  # lines that a turn can ask for beside its loads
LATENCY = 4  # cycles until a multiply-add comes back; a narrow processor begins two in each


@dataclass(frozen=True)
class Cut:
    """How a phase is cut: ``stretches`` of units, ``vectors`` in each, ``units`` of these and ``rows`` rows a tile.

    Rows that whole tiles do not cover go, with those of one whole tile, in tiles of ``rest`` rows. Every turn of an
    inner loop asks for ``ahead`` numbers of the next panel.
    """

    size: int
    width: int
    vectors: int
    units: int
    rows: int
    gates: int
    stretches: int = 1
    rest: int = 0
    ahead: int = 0

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


def cut_of(phase: Phase, size: int, rows: int, vectors: Vectors, members: int = 1) -> Cut:
    """Cut a phase for about ``rows`` rows a thread, whose units are dealt to ``members`` threads."""
    gates, stretches = max(1, len(phase.sums)), math.lcm(*(segment.blocks for segment in phase.segments))
    width = vectors.lanes
    count, wide = -(-(size // stretches) // width), vectors.floats == 16
    registers = machine.registers(vectors.floats)
    if not phase.sums:
        return Cut(size, width, count, 1, 1, 0, rest=1)

    spans, length = spans_of(phase), max(1, sum(segment.length for segment in phase.segments))
    live = max(
        (sum(first <= i <= last for first, last in spans.values()) for i in range(len(phase.segments))), default=gates
    )

    def fits(units: int, tile: int) -> bool:
        # Sums, the fewer of a turn's weights and factors, and one of the others; six hold these with AVX-512.
        return live * units * tile <= (registers - 6 if wide else registers - 1 - min(live * units, tile))

    def turn(units: int, tile: int, far: bool) -> float:
        # A turn of the inner loop: the multiply-adds, at least as long as they take to come back, or its loads, or what
        # each tile reads of a panel from the second-level cache again.
        begun, total = LATENCY * (1 if wide else 2), 0.0
        for segment in phase.segments:
            used = len(segment.sums) * units
            read = used * width * vectors.item / BYTES_A_MULTIPLY_ADD[wide] if far else 0.0
            total += segment.length * max(used * tile, begun, used + tile, read)
        return total / length + OVERHEAD

    def cost(units: int, tile: int, rest: int) -> float:
        across = -(-count // (units * members)) * units
        whole = Cut(size, width, count, units, tile, gates, stretches)
        far = vectors.item * panel_length(phase, whole) > machine.first_cache()
        full, left = _covered(rows, tile, rest)
        down = full * turn(units, tile, far) + -(-left // rest) * turn(units, rest, far)
        # Weights come from the second-level cache meanwhile: with few rows that takes longer.
        work, wait = across / units * down, _streamed(phase, whole, vectors.item, wide) / stretches
        return max(work, wait) + work / 4

    large = gates * count * width * length >= LARGE
    options = [
        (cost(units, tile, rest), rest != tile, -tile, units, rest)
        for units in range(1, min(count, 8) + 1)
        for tile in range(1, min(rows, 8) + 1)
        for rest in (range(1, tile + 1) if large else [tile])
        if fits(units, tile) or (units == 1 and tile == 1)
    ]
    _, _, tile, units, rest = min(options)
    cut = Cut(size, width, count, units, -tile, gates, stretches, rest)
    return dataclasses.replace(cut, ahead=_ahead(phase, cut, rows, vectors.item))


def _ahead(phase: Phase, cut: Cut, rows: int, item: int) -> int:
    """Numbers of the next panel to ask for in a turn, so that all of it comes while this one's tiles are computed.

    None where the weights stay in the second-level cache, and where tiles are so few that all their loads wait for it.
    """
    panel, (full, left) = panel_length(phase, cut), _covered(rows, cut.rows, cut.rest)
    tiles, most = full + -(-left // cut.rest), ASKED * machine.LINE // item
    turns = tiles * max(1, sum(segment.length for segment in phase.segments))
    if item * panel * cut.panels <= machine.second_cache() or tiles == 1 or panel // turns > most:
        return 0
    return min(-(-panel // turns), most)


def _covered(rows: int, tile: int, rest: int) -> tuple[int, int]:
    """How many whole tiles there are of so many rows, and how many rows are left for those of ``rest``."""
    full = -(-rows // tile) if rest == tile else rows // tile - (rows % tile > 0 and rows > tile)
    return full, max(0, rows - full * tile)


def _streamed(phase: Phase, cut: Cut, item: int, wide: bool) -> float:
    """The time to read, at every step, what panels do not stay in the first-level cache: multiply-adds a turn of k."""
    panel = item * panel_length(phase, cut)
    stay = machine.first_cache() * 4 // 5 // panel
    turns = max(1, sum(segment.length for segment in phase.segments))
    return panel * max(cut.panels - stay, 0) / STREAMED_A_MULTIPLY_ADD[wide] / turns


def panel_length(phase: Phase, cut: Cut) -> int:
    """Numbers of one packed panel, all runs and the vectors that start the sums."""
    return sum(cut.length(segment) for segment in phase.segments) + cut.accumulators * cut.width


def packed_length(phase: Phase, cut: Cut) -> int:
    """Numbers of all packed panels of a phase."""
    if is_narrow(phase, cut.size):
        return narrow_length(phase, cut.size, cut.width)
    return panel_length(phase, cut) * cut.panels if phase.sums else 0


def is_narrow(phase: Phase, size: int) -> bool:
    """Whether a phase's products are those of ``kernels/narrow.py``: of columns, for few units."""
    return (
        bool(phase.sums and phase.segments)
        and size <= NARROW
        and all(segment.source is None and segment.blocks == 1 for segment in phase.segments)
    )


def padded(segment: Segment, width: int) -> int:
    """Columns of a narrow segment, in whole vectors."""
    return -(-segment.length // width) * width


def narrow_length(phase: Phase, size: int, width: int) -> int:
    """Numbers of a narrow phase's packed weights: a row of columns for every unit of every sum."""
    return sum(padded(segment, width) * len(segment.sums) * size for segment in phase.segments)


def spans_of(phase: Phase) -> dict[int, tuple[int, int]]:
    """The first and the last segment that adds to each sum."""
    adding: dict[int, list[int]] = {}
    for i, segment in enumerate(phase.segments):
        for g in segment.sums:
            adding.setdefault(g, []).append(i)
    return {g: (among[0], among[-1]) for g, among in adding.items()}
