"""What the kernels of a program compute, keep and pass on: the plan, before any code is written.

Forward, a step ends with the new states and the output, and with what the backward pass will read. Backward, it begins
with the cotangents of these and ends with those of the old states, of x and of the further inputs; on the way it leaves
the columns and the learned vectors' sums. When what is computed is the schedule's to say.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence

from elman.backends.plan.parts import Gather, Piece, Product, Segment, Store, offsets
from elman.backends.plan.schedule import ROWS, Schedule, Values
from elman.backends.plan.sums import Sum, find_sums
from elman.backends.plan.uses import Uses
from elman.equations import TABLE, Adjoint, Program, adjoint
from elman.equations.node import Node, Parameter

GIVEN = frozenset({"input", "extra"})  # what is known of all steps before the first


class Plan:
    """The plan of a program at given sizes; ``with_reset`` where rows may start anew inside the sequence."""

    saved: dict[int, int]
    saved_width: int

    def __init__(self, program: Program, sizes: Mapping[str, int], with_reset: bool) -> None:
        self.program: Program = program
        self.sizes: dict[str, int] = dict(sizes)
        # What the plan follows from.
        self.identity: tuple[object, ...] = (program.to_json(), self.sizes, with_reset)
        self.adjoint: Adjoint = adjoint(program)
        self.nodes: tuple[Node, ...] = self.adjoint.nodes
        self.count: int = len(program.nodes)
        self.parameters: dict[str, Parameter] = {p.name: p for p in program.parameters}
        uses = Uses(self.adjoint, self.sizes)
        self.columns: dict[int, int] = uses.columns
        self.width: int = uses.width
        self.products: tuple[Product, ...] = uses.products
        self.column_vectors: tuple[tuple[str, int, int, int], ...] = uses.column_vectors
        self.gathers: tuple[Gather, ...] = uses.gathers
        self.sums_of_columns: dict[Product, int] = uses.sums
        self.sum_of_column: dict[int, int] = uses.sum_of
        self.wanted: list[int] = self._wanted()
        results = [program.output, *(s.new for s in program.states), *self.wanted]
        # Twice, so that what leaves the step is never taken for the inside of another sum.
        self.sums: dict[int, Sum] = find_sums(self.nodes, [*results, *results])
        # With resets, what is stored after a step is not always what the step computed.
        self.from_state: dict[int, int] = (
            {} if with_reset else {s.new: k for k, s in reversed(list(enumerate(program.states)))}
        )
        self.computed: tuple[int, ...] = self._computed()
        self.saved, self.saved_width = self._saved()
        self.forward: Schedule = self._schedule_forward()
        self.backward: Schedule = self._schedule_backward()

    def n(self, index: int) -> int:
        """How many units node ``index`` has."""
        return self.sizes[self.nodes[index].size]

    def rows_of(self, index: int) -> tuple[str, int]:
        """The parameter and first row of a product or vector node."""
        node = self.nodes[index]
        return node.name, self.parameters[node.name].span(node.rows, self.sizes)[0]

    def columns_of(self, parameter: str) -> int:
        """The length of a parameter's rows."""
        weight = self.parameters[parameter]
        return self.sizes[weight.columns] // weight.blocks

    @property
    def work(self) -> int:
        """Multiply-adds of a step and row; the pointwise work counts as if it were products."""
        products = (p.count * self.sizes[f.size] for f in self.forward.phases for r in f.segments for p in r.pieces)
        return sum(products) + 20 * self.count

    def targets(self) -> list[tuple[str, int]]:
        """What leaves the step backward: (``state:h``, ``input`` or ``extra:dt``, node)."""
        back, program = self.adjoint, self.program
        named = [("input", back.input)]
        named += [(f"extra:{e.name}", i) for e, i in zip(program.extras, back.extras, strict=True)]
        named += [(f"state:{s.name}", i) for s, i in zip(program.states, back.states, strict=True)]
        return [(name, i) for name, i in named if i is not None]

    def sequence(self, index: int) -> str:
        """What the sequence at a :data:`GIVEN` leaf is called among a kernel's arguments."""
        node = self.nodes[index]
        return "x" if node.op == "input" else f"extra:{node.name}"

    def _wanted(self) -> list[int]:
        cotangents = [c.cotangent for c in self.adjoint.contributions]
        return [i for _, i in self.targets()] + cotangents + [i for g in self.gathers for i in g.nodes]

    def _reach(self, sources: Iterable[int]) -> set[int]:
        reached = set(sources)
        for i, node in enumerate(self.nodes):
            if any(a in reached for a in node.args):
                reached.add(i)
        return reached

    # What is kept

    def _computed(self) -> tuple[int, ...]:
        """Operands of products that are stored for them alone, in order; a new state is stored anyway."""
        operands = {node.args[0] for node in self.program.nodes if node.op == "product"}
        return tuple(sorted(o for o in operands if self.nodes[o].op not in ROWS and o not in self.from_state))

    def _saved(self) -> tuple[dict[int, int], int]:
        """Values of the forward pass that the backward pass reads, and where they stand in a row of all of them."""
        heavy = self._reach(i for i, node in enumerate(self.program.nodes) if node.op in ("product", "total"))
        needed: set[int] = set()
        seen = {*self.from_state, *self.computed}
        open_ = [a for i in self._reached_back() for a in self.nodes[i].args if a < self.count]
        while open_:
            i = open_.pop()
            if i in seen or i not in heavy:
                continue
            seen.add(i)
            if i in self.sums or _is_costly(self.nodes[i]) or self.nodes[i].op == "total":
                needed.add(i)
            else:
                open_.extend(self.nodes[i].args)
        order = sorted(needed)
        starts, width = offsets([self.n(i) for i in order])
        return dict(zip(order, starts, strict=True)), width

    def _reached_back(self) -> set[int]:
        """The adjoint's own nodes that something wanted depends on."""
        reached: set[int] = set()
        open_ = [i for i in self.wanted if i >= self.count]
        while open_:
            i = open_.pop()
            if i not in reached:
                reached.add(i)
                # A transposed product reads its column, and a weight; its operand is reached as a column.
                open_.extend(a for a in self.nodes[i].args if a >= self.count)
        return reached

    # The steps

    def _schedule_forward(self) -> Schedule:
        program, nodes = self.program, self.program.nodes
        varying = self._reach(i for i, node in enumerate(nodes) if node.op in ("input", "extra", "state"))
        sums = {i: s for i, s in self.sums.items() if i < self.count}
        values = Values(nodes, sums, 0, frozenset(), lambda i: not _is_costly(nodes[i]) or i not in varying)
        stores = [Store("operand", i, (i,), nodes[i].size) for i in self.computed]
        stores += [Store("state", k, (s.new,), s.size) for k, s in enumerate(program.states)]
        stores += [Store("output", "", (program.output,), program.output_size)]
        stores += [Store("saved", i, (i,), nodes[i].size) for i in self.saved]
        kept = {*self.computed, *self.saved, *self.from_state}
        return Schedule(values, stores, self.sizes, self._segments_forward, kept)

    def _schedule_backward(self) -> Schedule:
        cotangents = self._reach(i for i, node in enumerate(self.nodes) if node.op == "cotangent")
        readable = frozenset({*self.saved, *self.from_state, *self.computed})
        values = Values(self.nodes, self.sums, self.count, readable, lambda i: i not in cotangents)
        stores = [Store("column", i, (i,), self.nodes[i].size) for i in self.columns]
        stores += [Store("gather", g, gather.nodes, gather.size) for g, gather in enumerate(self.gathers)]
        targets = dict(self.targets())
        for state in self.program.states:
            node = targets.pop(f"state:{state.name}", None)
            stores.append(Store("carry", state.name, () if node is None else (node,), state.size))
        stores += [Store("leaving", name, (i,), self.nodes[i].size, name) for name, i in targets.items()]
        return Schedule(values, stores, self.sizes, self._segments_backward, self.columns)

    def _segments_forward(self, sums: Sequence[Sum]) -> tuple[Segment, ...]:
        by_operand: dict[tuple[int, int, int], list[Piece]] = {}
        for g, each in enumerate(sums):
            seen: dict[tuple[int, int], int] = {}
            for p in each.products:
                operand, blocks = self.nodes[p].args[0], self.nodes[p].blocks
                turn = seen[operand, blocks] = seen.get((operand, blocks), -1) + 1
                piece = Piece(g, 0, self.n(operand) // blocks, *self.rows_of(p), transposed=False)
                by_operand.setdefault((operand, blocks, turn), []).append(piece)
        # What is known before the loop comes first, whether it is multiplied there or in the step: the same bits.
        first = sorted(by_operand.items(), key=lambda item: self.nodes[item[0][0]].op not in GIVEN)
        return tuple(
            Segment(operand, 0, pieces[0].count, tuple(p.sum for p in pieces), tuple(pieces), blocks)
            for (operand, blocks, _), pieces in first
        )

    def _segments_backward(self, sums: Sequence[Sum]) -> tuple[Segment, ...]:
        """Neighbouring columns that feed the same sums become one segment."""
        feeds: dict[tuple[int, int], list[tuple[int, str, int]]] = {}
        for g, each in enumerate(sums):
            for p in each.products:
                feeds.setdefault((self.nodes[p].args[0], self.nodes[p].blocks), []).append((g, *self.rows_of(p)))
        segments: list[Segment] = []
        for column, blocks in sorted(feeds, key=lambda key: (key[1], self.columns[key[0]])):
            entries, count, offset = feeds[column, blocks], self.n(column) // blocks, self.columns[column]
            members = tuple(g for g, _, _ in entries)
            last = segments[-1] if segments and segments[-1].blocks == blocks == 1 else None
            joined = last and last.sums == members and last.offset + last.length == offset
            k = last.length if last and joined else 0
            pieces = tuple(Piece(g, k, count, parameter, row, True) for g, parameter, row in entries)
            if last and joined:
                segments[-1] = Segment(None, last.offset, last.length + count, members, last.pieces + pieces)
            else:
                segments.append(Segment(None, offset, count, members, pieces, blocks))
        return tuple(segments)


def _is_costly(node: Node) -> bool:
    """Whether a value is kept rather than computed again."""
    return node.op in TABLE and TABLE[node.op].costly


@functools.lru_cache(maxsize=256)
def plan_of(program: Program, sizes: tuple[tuple[str, int], ...]) -> Plan:
    """The plan of a program at given sizes, where what is stored after a step is what the step computed."""
    return Plan(program, dict(sizes), with_reset=False)
