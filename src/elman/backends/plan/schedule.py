"""When each value of a step is computed, and what crosses from there to where it is used.

A product needs its operand's whole row, so it begins a new *stage*, after everything of the stage before. A total needs
the whole row too, but of its own row alone: within a stage it begins a new *pass* over the units of that row. A value
of an earlier place is read again where something stores it anyway, computed again where that is cheap, and else it
*crosses* in a buffer. All this holds for the adjoint as for the program.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from elman.backends.plan.parts import At, Phase, Segment, Stage, Store, Work, offsets
from elman.backends.plan.sums import Sum
from elman.equations.node import LEAVES, Node

ROWS = frozenset({"input", "extra", "state", "vector"})  # leaves that a product can read as they are


@dataclass(frozen=True)
class Values:
    """The nodes of a step. Those below ``first``, and ``readable`` ones, are known before it."""

    nodes: Sequence[Node]
    sums: Mapping[int, Sum]
    first: int
    readable: frozenset[int]
    is_cheap: Callable[[int], bool]  # to be computed again rather than stored and read

    def is_given(self, index: int) -> bool:
        """Whether nothing of the step need be computed for a value."""
        return index < self.first or index in self.readable or self.nodes[index].op in LEAVES


@dataclass
class _Place:
    """One pass over the units of one size, while what it needs is found."""

    at: At
    size: str
    work: Work
    position: Mapping[int, At]
    seen: set[int] = field(default_factory=set)
    again: dict[int, bool] = field(default_factory=dict)


class Schedule:
    """The stages that compute ``stores``, and the values that cross between them; ``kept`` values are in the stores."""

    def __init__(
        self, values: Values, stores: Sequence[Store], sizes: Mapping[str, int],
        segments: Callable[[Sequence[Sum]], tuple[Segment, ...]], kept: Iterable[int],
    ) -> None:  # fmt: skip
        self.values: Values = values
        self.nodes: Sequence[Node] = values.nodes
        self.sums: Mapping[int, Sum] = values.sums
        self.kept: set[int] = {i for i in kept if not values.is_given(i)}
        self.stages: list[Stage] = []
        self._positions: list[Mapping[int, At]] = []  # of each stage
        self._crossing: dict[tuple[int, ...], None] = {}
        self._summed: list[set[int]] = []  # the sums of each stage
        self._single_sums: dict[int, set[int]] = {}
        self._place_stores(stores)
        for place in self._places():
            for store in place.work.stores:
                for i in store.nodes:
                    self._visit(place, i)
            for _, value in place.work.totals:
                self._visit(place, value)
        for stage, summed in zip(self.stages, self._summed, strict=True):
            stage.phases = self._phases(stage, summed, segments)
        raw = [i for stage in self.stages if not stage.fused for i in self._raw(stage)]
        widths = [sizes[self.nodes[key[0]].size] for key in [*self._crossing, *((i,) for i in raw)]]
        starts, self.crossing_width = offsets(widths)
        self.crossing: dict[tuple[int, ...], int] = dict(zip(self._crossing, starts, strict=False))
        self.raw: dict[int, int] = dict(zip(raw, starts[len(self.crossing) :], strict=True))

    @property
    def phases(self) -> tuple[Phase, ...]:
        """All products, in order."""
        return tuple(phase for stage in self.stages for phase in stage.phases)

    # Where values are known

    def _place_stores(self, stores: Sequence[Store]) -> None:
        main = self._reach(i for s in stores if not s.condition for i in s.nodes)
        position: dict[int, At] = {}
        late = [s for s in stores if s.condition and self._own(s, main)]
        self._settle(main, position, 0)
        for store in stores:
            if store.condition and store not in late:
                self._settle(self._reach(store.nodes), position, 0)
        self._open(position, stores, lambda s: s not in late)
        for store in late:
            base, own = len(self.stages), dict[int, At]()
            rest = self._reach(store.nodes) - self._own(store, main)
            self._settle(rest - position.keys(), position, 0)
            whole = ChainMap(own, position)
            self._settle(self._own(store, main), whole, base)
            self._open(whole, [store], lambda s: True, store.condition)

    def _own(self, store: Store, main: set[int]) -> set[int]:
        """What is computed for a conditional store alone, from its first sum or total on."""
        own: set[int] = set()
        for i in sorted(self._reach(store.nodes) - main):
            node = self.nodes[i]
            if node.op in ("product", "total") or any(a in own for a in node.args):
                own.add(i)
        return own if any(i in own for i in store.nodes) else set()

    def _reach(self, roots: Iterable[int]) -> set[int]:
        reached: set[int] = set()
        open_ = list(roots)
        while open_:
            i = open_.pop()
            if i not in reached and not self.values.is_given(i):
                reached.add(i)
                open_.extend(self.nodes[i].args)
        return reached

    def _settle(self, nodes: Iterable[int], position: ChainMap[int, At] | dict[int, At], base: int) -> None:
        for i in sorted(nodes):
            node = self.nodes[i]
            at = max((position.get(a, At(0, 0)) for a in node.args), default=At(0, 0))
            if node.op == "product":
                at = At(0 if self.nodes[node.args[0]].op in ROWS else at.stage + 1, 0)
            at = max(at, At(base, 0))
            position[i] = At(at.stage, at.turn + 1) if node.op == "total" else at

    def _open(
        self, position: Mapping[int, At], stores: Sequence[Store], takes: Callable[[Store], bool], condition: str = ""
    ) -> None:
        """Add stages for all positions, and put the stores into their passes."""
        base = len(self.stages)
        ends: dict[int, int] = {base: 0}
        for at in position.values():
            if at.stage >= base:
                ends[at.stage] = max(ends.get(at.stage, 0), at.turn)
        for number in range(base, max(ends) + 1):
            self.stages.append(Stage(condition, passes=[{} for _ in range(ends.get(number, 0) + 1)]))
            self._positions.append(position)
            self._summed.append(set())
        for store in stores:
            if takes(store):
                at = max((position.get(i, At(0, 0)) for i in store.nodes), default=At(0, 0))
                self._work(max(at, At(base, 0)), store.size).stores.append(store)

    def _work(self, at: At, size: str) -> Work:
        return self.stages[at.stage].passes[at.turn].setdefault(size, Work())

    # What each place needs

    def _places(self) -> Iterator[_Place]:
        """From last to first, so that what crosses is known where it is computed; single numbers last, for the same
        reason."""
        for number in reversed(range(len(self.stages))):
            for turn in reversed(range(len(self.stages[number].passes))):
                works = self.stages[number].passes[turn]
                for size in [*(s for s in works if s != "1"), "1"]:
                    if size in works:
                        yield _Place(At(number, turn), size, works[size], self._positions[number])

    def _visit(self, place: _Place, i: int) -> None:
        if i in place.seen:
            return
        place.seen.add(i)
        node, work = self.nodes[i], place.work
        if node.size == "1" and node.op != "constant":
            work.singles.add(i)
        if i in self.values.readable:
            work.reads.add(i)
        elif self.values.is_given(i):
            for a in node.args:
                self._visit(place, a)
        elif node.op == "total" and place.position[i].stage == place.at.stage:
            self._accumulate(place, i)
        elif self._is_earlier(place, i) and not self._is_again(place, i):
            if i not in self.kept:
                self._cross(place, (i,))
            work.reads.add(i)
        elif i in self.sums:
            self._visit_sum(place, i)
        else:
            for a in node.args:
                self._visit(place, a)

    def _visit_sum(self, place: _Place, i: int) -> None:
        stage = place.position[i].stage
        self._summed[stage].add(i)
        others = self.sums[i].others
        same = [o for o in others if self.nodes[o].size == self.nodes[i].size and self._crosses(place, o)]
        before = tuple(o for o in same if place.position[o].stage < stage)
        if before:
            self._cross(place, before)
            place.work.joined[i] = before
        for other in others:
            if other not in before:
                self._visit(place, other)

    def _crosses(self, place: _Place, i: int) -> bool:
        return not self.values.is_given(i) and i not in self.kept and not self._is_again(place, i)

    def _is_earlier(self, place: _Place, i: int) -> bool:
        """Whether the value is known before the place, and not only computed for it."""
        at, single = place.position[i], self.nodes[i].size == "1"
        if at.stage < place.at.stage:
            return True
        if not self.stages[at.stage].fused:
            return at < place.at and not single
        # Sums of one unit come before those of others, so that these can read them.
        return single and place.size != "1" and i in self._from_sums(place)

    def _from_sums(self, place: _Place) -> set[int]:
        """The values of one unit that come from a product of the place's own stage."""
        if place.at.stage not in self._single_sums:
            scalars: set[int] = set()
            for i in sorted(i for i, at in place.position.items() if at.stage == place.at.stage):
                node = self.nodes[i]
                if node.size == "1" and (node.op == "product" or any(a in scalars for a in node.args)):
                    scalars.add(i)
            self._single_sums[place.at.stage] = scalars
        return self._single_sums[place.at.stage]

    def _is_again(self, place: _Place, i: int) -> bool:
        """Whether a value can be had again at the place, from what is there, for less than storing and reading it."""
        if i not in place.again:
            place.again[i] = self._decide_again(place, i)
        return place.again[i]

    def _decide_again(self, place: _Place, i: int) -> bool:
        node = self.nodes[i]
        if i in self.kept:
            return False
        if self.values.is_given(i):
            return True
        if (i,) in self._crossing or node.op == "total":
            return False
        if i in self.sums:
            is_raw = not self.stages[place.position[i].stage].fused
            return is_raw and all(self._is_had(place, o) for o in self.sums[i].others)
        return self.values.is_cheap(i) and all(self._is_had(place, a) for a in node.args)

    def _is_had(self, place: _Place, i: int) -> bool:
        if i in self.kept or (i,) in self._crossing:
            return True
        same = not self.values.is_given(i) and place.position[i].stage == place.at.stage
        if same and self.nodes[i].size == "1" and not self.stages[place.at.stage].fused:
            return True
        return self._is_again(place, i)

    def _accumulate(self, place: _Place, i: int) -> None:
        """Have a total added up in the pass before the one that first knows it."""
        at = place.position[i]
        for a in self.nodes[i].args:
            totals = self._work(At(at.stage, at.turn - 1), self.nodes[a].size).totals
            if (i, a) not in totals:
                totals.append((i, a))

    def _cross(self, place: _Place, key: tuple[int, ...]) -> None:
        if key not in self._crossing:
            self._crossing[key] = None
            size = self.nodes[key[0]].size
            at = max(place.position[i] for i in key)
            self._work(at, size).stores.append(Store("crossing", 0, key, size))

    def _raw(self, stage: Stage) -> list[int]:
        """The sums of a stage that wait in the buffer; one that is kept as it is goes where it is kept at once."""
        roots = {each.root for phase in stage.phases for each in phase.sums}
        at_once = {i for i in roots if not self.sums[i].others}
        for work in (work for works in stage.passes for work in works.values()):
            kept = [s for s in work.stores if s.kind == "saved" and s.nodes[0] in at_once]
            work.stores = [s for s in work.stores if s not in kept]
            roots -= {s.nodes[0] for s in kept}
        return sorted(roots)

    def _phases(
        self, stage: Stage, summed: set[int], segments: Callable[[Sequence[Sum]], tuple[Segment, ...]]
    ) -> tuple[Phase, ...]:
        """The products of a stage by size; where it is fused, also the sizes without any, and where it is not, those
        that share no operand by themselves, for their tiles have more rows."""
        sizes = [self.nodes[i].size for i in sorted(summed)] + (list(stage.passes[0]) if stage.fused else [])
        phases = []
        for size in sorted(dict.fromkeys(sizes), key=lambda size: size != "1"):
            sums = [self.sums[i] for i in sorted(summed) if self.nodes[i].size == size]
            for group in [sums] if stage.fused else _apart(sums, segments(sums)):
                phases.append(Phase(size, tuple(group), segments(group)))
        return tuple(phases)


def _apart(sums: Sequence[Sum], segments: Iterable[Segment]) -> list[list[Sum]]:
    """The sums in groups that have no segment of a product in common."""
    groups: list[set[int]] = []
    for segment in segments:
        joined = set(segment.sums).union(*(g for g in groups if not g.isdisjoint(segment.sums)))
        groups = [*(g for g in groups if g.isdisjoint(segment.sums)), joined]
    return [[sums[i] for i in sorted(group)] for group in groups]
