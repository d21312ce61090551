"""What the kernels of a program compute, keep and pass on: the plan, before any code is written.

Forward, a step is: operands that must be computed first, then for every vector of units all sums of products in
registers, then the pointwise equations. Backward, a step is two levels: the adjoint's pointwise work, which gives the
cotangents of the products (the *columns*), and then the transposed products, which give those of the states and x.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence

from elman.backends.cpu.lowering import LOWERINGS
from elman.backends.cpu.parts import Gather, Job, Phase, Piece, Refused, Run
from elman.backends.cpu.sums import Sum, find_sums
from elman.equations import TABLE, Program, adjoint
from elman.equations.program import LEAVES

# Rows that cost more to compute again than to keep.
_COSTLY = frozenset(LOWERINGS) & {
    *("exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "sin", "cos", "atan", "erf"),
    *("tanh", "sigmoid", "softplus", "div", "power"),
}


class Plan:
    """The plan of a program at given sizes; ``with_reset`` where rows may start anew inside the sequence."""

    def __init__(self, program: Program, sizes: Mapping[str, int], with_reset: bool) -> None:
        self.program, self.sizes = program, dict(sizes)
        self.adjoint = adjoint(program)
        self.nodes = self.adjoint.nodes
        self.count = len(program.nodes)
        self.parameters = {p.name: p for p in program.parameters}
        self.wanted = self._wanted()
        results = [program.output, *(s.new for s in program.states), *self.wanted]
        # Twice, so that what leaves the step is never taken for the inside of another sum.
        self.sums = find_sums(self.nodes, [*results, *results])
        self.in_products = self._reach(i for i in range(self.count) if self.nodes[i].op == "product")
        self._check_forward()
        self.forward = self._forward_phases()
        self.from_state = {} if with_reset else {s.new: k for k, s in reversed(list(enumerate(program.states)))}
        self._plan_backward()

    # What both directions ask

    def n(self, index: int) -> int:
        """How many units node ``index`` has."""
        return self.sizes[self.nodes[index].size]

    def rows_of(self, index: int) -> tuple[str, int]:
        """The parameter and first row of a product or vector node."""
        node = self.nodes[index]
        return node.name, self.parameters[node.name].span(node.rows, self.sizes)[0]

    def columns_of(self, parameter: str) -> int:
        """The length of a parameter's rows."""
        return self.sizes[self.parameters[parameter].columns]

    def _reach(self, sources: Iterable[int]) -> set[int]:
        reached = set(sources)
        for i, node in enumerate(self.nodes):
            if any(a in reached for a in node.args):
                reached.add(i)
        return reached

    def _wanted(self) -> list[int]:
        back = self.adjoint
        leaving = [back.input, *back.extras, *back.states]
        return [i for i in leaving if i is not None] + [c.cotangent for c in back.contributions]

    # Forward

    def _check_forward(self) -> None:
        program = self.program
        if program.kind not in ("one stage", "elementwise"):
            raise Refused(f"takes one product after another within a step only once, and '{program.name}' is "
                          f"of {program.kind}")  # fmt: skip
        for i, node in enumerate(program.nodes):
            if node.op == "total":
                raise Refused("has no sums over the units (total, norm) yet")
            if node.op in TABLE and node.op not in LOWERINGS:
                raise Refused(f"has no vector form of '{node.op}'")
            if node.op == "product":
                self._check_product(i)

    def _check_product(self, index: int) -> None:
        node = self.nodes[index]
        if node.blocks > 1:
            raise Refused("has no block-diagonal products (blocks) yet")
        if node.size == "1":
            raise Refused(f"has no projections of size 1 yet (p.{node.rows})")
        if node.args[0] in self.in_products:
            raise Refused(f"has no projections of projections outside of the loop yet (p.{node.rows})")

    @functools.cached_property
    def computed(self) -> tuple[int, ...]:
        """Operands of products that are computed from the states or x first, in order."""
        operands = {self.nodes[p].args[0] for s in self.sums.values() if s.root < self.count for p in s.products}
        return tuple(sorted(o for o in operands if self.nodes[o].op not in LEAVES))

    def _forward_phases(self) -> tuple[Phase, ...]:
        """One for every size that a sum, a new state or the output has."""
        results = [self.program.output, *(s.new for s in self.program.states)]
        sizes = [self.nodes[i].size for i in results] + [s.size for s in self.program.states]
        phases = []
        for size in dict.fromkeys(sizes):
            sums = tuple(s for s in self.sums.values() if s.root < self.count and self.nodes[s.root].size == size)
            phases.append(Phase(size, size, sums, self._forward_runs(sums)))
        return tuple(phases)

    def _forward_runs(self, sums: Sequence[Sum]) -> tuple[Run, ...]:
        by_operand: dict[tuple[int, int], list[Piece]] = {}
        for g, each in enumerate(sums):
            seen: dict[int, int] = {}
            for p in each.products:
                operand = self.nodes[p].args[0]
                turn = seen[operand] = seen.get(operand, -1) + 1
                piece = Piece(g, 0, self.n(operand), *self.rows_of(p), transposed=False)
                by_operand.setdefault((operand, turn), []).append(piece)
        return tuple(
            Run(operand, 0, self.n(operand), tuple(p.sum for p in pieces), tuple(pieces))
            for (operand, _), pieces in by_operand.items()
        )

    # Backward

    def _plan_backward(self) -> None:
        self.unsupported: dict[str, str] = {}
        self.cotangents = self._reach(i for i, n in enumerate(self.nodes) if n.op == "cotangent")
        self.level = self._levels()
        self.columns = self._columns()
        self.width = sum(self.n(i) for i in self.columns)
        self.jobs = self._jobs()
        self.column_vectors, self.gathers = self._vector_uses()
        self.saved = self._saved()
        self.saved_width = sum(self.n(i) for i in self.saved)
        self.crossing: dict[tuple[int, ...], int] = {}
        self.backward = self._backward_phases()

    def _levels(self) -> list[int]:
        levels: list[int] = []
        for node in self.nodes:
            above = max((levels[a] for a in node.args), default=0)
            levels.append(above + (node.op == "product" and node.transposed))
        return levels

    def _columns(self) -> dict[int, int]:
        """The cotangents of products and where they stand in a row of all of them.

        Those that only x's weights use come first, those that only the states' use last: then the columns of either
        are one stretch.
        """
        users: dict[int, set[bool]] = {}
        for use in self.adjoint.contributions:
            if use.operand is not None:
                users.setdefault(use.cotangent, set()).add(use.operand in self.program.recurrent)
                if self.level[use.cotangent]:
                    raise Refused("cannot differentiate a step of two products, one behind the other, yet")
        backwards = list(users)[::-1]
        order = sorted(backwards, key=lambda i: sum(users[i]) / len(users[i]))
        offsets, at = {}, 0
        for i in order:
            offsets[i] = at
            at += self.n(i)
        return offsets

    def _jobs(self) -> tuple[Job, ...]:
        uses = [u for u in self.adjoint.contributions if u.operand is not None]
        jobs = []
        for use in uses:
            start, stop = self.parameters[use.parameter].span(use.rows, self.sizes)
            jobs.append(Job(use.parameter, start, self.columns[use.cotangent], stop - start, use.operand or 0))
        merged: list[Job] = []
        for job in sorted(jobs, key=lambda j: (j.parameter, j.row)):
            last = merged[-1] if merged else None
            if (
                last and (last.parameter, last.operand) == (job.parameter, job.operand)
                and (last.row + last.width, last.column + last.width) == (job.row, job.column)
            ):  # fmt: skip
                merged[-1] = Job(last.parameter, last.row, last.column, last.width + job.width, last.operand)
            else:
                merged.append(job)
        return tuple(merged)

    def _vector_uses(self) -> tuple[tuple[tuple[str, int, int, int], ...], tuple[Gather, ...]]:
        """Learned vectors whose gradient is a sum of columns: (parameter, row, column, width); and the others."""
        in_columns, gathers = [], []
        for use in self.adjoint.contributions:
            if use.operand is not None:
                continue
            start, stop = self.parameters[use.parameter].span(use.rows, self.sizes)
            node = self.nodes[use.cotangent]
            if use.cotangent in self.columns:
                in_columns.append((use.parameter, start, self.columns[use.cotangent], stop - start))
                continue
            total = node.op == "total"
            parts = node.args if total else (use.cotangent,)
            if len({self.nodes[p].size for p in parts}) > 1 or any(self._totals(p) for p in parts):
                raise Refused(f"has no sums over the units in a gradient yet (p.{use.rows})")
            gathers.append(Gather(use.parameter, start, stop - start, parts, self.nodes[parts[0]].size, total))
        return tuple(in_columns), tuple(gathers)

    def _totals(self, index: int) -> bool:
        """Whether a total lies on the way to a node."""
        node = self.nodes[index]
        return node.op == "total" or any(self._totals(a) for a in node.args if a >= self.count)

    def _saved(self) -> dict[int, int]:
        """Values of the forward pass that the backward pass reads, and where they stand in a row of all of them."""
        needed: set[int] = set()
        seen: set[int] = set()
        open_ = [a for i in self._reached_back() for a in self.nodes[i].args if a < self.count]
        while open_:
            i = open_.pop()
            if i in seen or i in self.from_state or i not in self.in_products:
                continue
            seen.add(i)
            if i in self.sums or self.nodes[i].op in _COSTLY:
                needed.add(i)
            else:
                open_.extend(self.nodes[i].args)
        offsets, at = {}, 0
        for i in sorted(needed):
            offsets[i] = at
            at += self.n(i)
        return offsets

    def _reached_back(self) -> set[int]:
        """The adjoint's own nodes that something wanted depends on."""
        reached: set[int] = set()
        open_ = [i for i in self.wanted if i >= self.count]
        while open_:
            i = open_.pop()
            if i not in reached:
                reached.add(i)
                node = self.nodes[i]
                # A transposed product reads its column, and a weight; its operand is reached as a column.
                open_.extend(a for a in node.args if a >= self.count)
        return reached

    def targets(self) -> list[tuple[str, int]]:
        """What leaves the step backward: (``state:h``, ``input`` or ``extra:dt``, node)."""
        back, program = self.adjoint, self.program
        named = [("input", back.input)]
        named += [(f"extra:{e.name}", i) for e, i in zip(program.extras, back.extras, strict=True)]
        named += [(f"state:{s.name}", i) for s, i in zip(program.states, back.states, strict=True)]
        return [(name, i) for name, i in named if i is not None]

    def _backward_phases(self) -> tuple[Phase, ...]:
        """The transposed products: of the states (one phase a size), of x, of each further input."""
        groups: dict[tuple[str, str], list[int]] = {}
        for name, i in self.targets():
            if self._totals(i):
                self.unsupported[name] = f"has no sums over the units in the gradient of {name.partition(':')[2]} yet"
            elif self.level[i] > 1:
                raise Refused("cannot differentiate a step of two products, one behind the other, yet")
            elif self.level[i]:
                kind = "state" if name.startswith("state") else name
                groups.setdefault((kind, self.nodes[i].size), []).append(i)
        for gather in self.gathers:
            if any(self.level[i] for i in gather.nodes):
                groups.setdefault(("state", gather.size), []).extend(gather.nodes)
        return tuple(self._backward_phase(kind, size, roots) for (kind, size), roots in groups.items())

    def _backward_phase(self, kind: str, size: str, roots: list[int]) -> Phase:
        sums: dict[int, Sum] = {}
        seen: set[int] = set()
        open_ = list(roots)
        while open_:
            i = open_.pop()
            if i in seen or i < self.count:
                continue
            seen.add(i)
            if not self.level[i]:
                if i in self.cotangents:
                    self.crossing.setdefault((i,), 0)
                continue
            if i not in self.sums:
                open_.extend(self.nodes[i].args)
                continue
            sums[i] = each = self.sums[i]
            if self.nodes[i].size != size:
                raise Refused("cannot differentiate a step whose sizes mix behind a product yet")
            early = tuple(o for o in each.others if not self.level[o])
            if early:
                self.crossing.setdefault(early, 0)
            open_.extend(o for o in each.others if self.level[o])
        chosen = tuple(sums.values())
        return Phase(f"{kind}:{size}", size, chosen, self._backward_runs(chosen))

    def _backward_runs(self, sums: Sequence[Sum]) -> tuple[Run, ...]:
        """Neighbouring columns that feed the same sums become one run."""
        feeds: dict[int, list[tuple[int, str, int]]] = {}
        for g, each in enumerate(sums):
            for p in each.products:
                feeds.setdefault(self.nodes[p].args[0], []).append((g, *self.rows_of(p)))
        runs: list[Run] = []
        for column in sorted(feeds, key=lambda i: self.columns[i]):
            entries, count, offset = feeds[column], self.n(column), self.columns[column]
            members = tuple(g for g, _, _ in entries)
            last = runs[-1] if runs else None
            joined = last and last.sums == members and last.offset + last.length == offset
            k = last.length if last and joined else 0
            pieces = tuple(Piece(g, k, count, parameter, row, True) for g, parameter, row in entries)
            if last and joined:
                runs[-1] = Run(None, last.offset, last.length + count, members, last.pieces + pieces)
            else:
                runs.append(Run(None, offset, count, members, pieces))
        return tuple(runs)
