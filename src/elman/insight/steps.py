"""One direction of one layer, unrolled in time: what every step saw, and the way back through each of them.

The way back is the program's own adjoint, taken for many gradients at once. Each is a *query*: one number of the
output whose gradient is followed back in time; N of them pass a step together, as one more leading dimension.
Everything here is float64, unless told, whatever the network is: a gradient that fades over 1000 steps leaves
float32's range.

A row that is over (its length is reached) takes no part: its state holds and its output is 0. A ``reset`` cuts the
way back, as it cut the way forward.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from elman.backends import Call, choose
from elman.backends.reference import Interpreter
from elman.equations import adjoint
from elman.equations.adjoint import Adjoint, Contribution
from elman.equations.program import reached


@dataclass(frozen=True)
class Back:
    """N queries at one step, on their way back: what they bring to everything in it.

    ``live`` are those of all queries that pass here; ``values`` the adjoint's nodes.
    """

    steps: Steps
    step: int
    live: slice
    values: dict[int, Tensor]
    count: int

    def _whole(self, index: int | None, size: str) -> Tensor:
        """A cotangent as (N, B, n), 0 in the rows that are over."""
        shape = (self.count, self.steps.rows, self.steps.call.sizes[size])
        if index is None:
            return self.steps.like.new_zeros(shape)
        value = self.values[index].expand(shape)
        valid = self.steps.call.valid
        return value if valid is None else torch.where(valid[self.step].unsqueeze(-1), value, 0.0)

    def new(self, state: str) -> Tensor:
        """dL/d(new state), (N, B, n): all uses of its value, within this step and after it, as autograd has it."""
        program = self.steps.call.program
        declared = next(s for s in program.states if s.name == state)
        return self._whole(self.steps.backward.gradients[declared.new], declared.size)

    def old(self, k: int) -> Tensor:
        """dL/d(state k before the step), (N, B, n), through this step alone."""
        return self._whole(self.steps.backward.states[k], self.steps.call.program.states[k].size)

    def input(self) -> Tensor:
        """dL/dx of this step, (N, B, I)."""
        return self._whole(self.steps.backward.input, self.steps.call.program.input_size)

    def weights(self, groups: Tensor, count: int) -> Iterator[tuple[str, slice, Tensor]]:
        """The gradient of each use of a parameter at this step: its name, its rows, and (count, rows[, columns]).

        ``groups`` (N,) says to which of the ``count`` sums each query goes.
        """
        for use in self.steps.backward.contributions:
            rows = slice(*self.steps.call.program.parameter(use.parameter).span(use.rows, self.steps.call.sizes))
            yield use.parameter, rows, self._contributed(use, groups, count)

    def initial(self, groups: Tensor, count: int, given: bool) -> list[Tensor]:
        """The gradient of each initial state, where this step is the first to see it: (count, n), over the rows.

        With ``given``, the state that the run began with was another, and only a reset goes back to the initial one.
        """
        rows = self.steps.begins(self.step)
        rows = rows if given else rows | self.steps.starts(self.step)
        begun = [torch.where(rows.unsqueeze(-1), self.old(k), 0.0) for k in range(len(self.steps.old))]
        return [_grouped(value, groups, count).sum(1) for value in begun]

    def _contributed(self, use: Contribution, groups: Tensor, count: int) -> Tensor:
        nodes = self.steps.backward.nodes
        g = _grouped(self._whole(use.cotangent, nodes[use.cotangent].size), groups, count)
        if use.operand is None:
            return g.sum(1)
        operand = self.values[use.operand].expand(self.steps.rows, self.steps.call.sizes[nodes[use.operand].size])
        g, operand = g.unflatten(-1, (use.blocks, -1)), operand.unflatten(-1, (use.blocks, -1))
        return torch.einsum("Nbkr,bkc->Nkrc", g, operand).flatten(1, 2)


class Steps:
    """One direction of one layer, unrolled. ``old`` and ``new`` are its states (T, B, n) before and after each step."""

    def __init__(self, call: Call, dtype: torch.dtype = torch.float64) -> None:
        program = call.program
        recording = replace(call, record=tuple({s.new for s in program.states}))
        result = choose(recording).run(recording)
        self.output: Tensor = result.output.to(dtype)
        self.call = call = _cast(call, dtype)
        self.like: Tensor = call.x
        self.count, self.rows = call.x.shape[:2]
        self.new: tuple[Tensor, ...] = tuple(result.recorded[s.new].to(dtype) for s in program.states)
        self.order: range = range(self.count)[::-1] if call.reverse else range(self.count)
        self.old: tuple[Tensor, ...] = self._before()
        self.backward: Adjoint = adjoint(program)
        self.interpreter: Interpreter = Interpreter(
            self.backward.nodes, program.parameters, call.parameters, call.sizes, like=self.like
        )
        self._linear = _linear_in_cotangents(self.backward)
        self.plan = self.interpreter.plan(sorted(self._linear))
        self.fixed, self.per_step = self._known()

    def _before(self) -> tuple[Tensor, ...]:
        """The states before each step: after the one before it, held where a row is over, initial where it begins."""
        call, old = self.call, tuple(torch.empty_like(new) for new in self.new)
        state = call.states
        for t in self.order:
            if call.reset is not None:
                state = _chosen(self.begins(t), self.initial, state)
            for kept, value in zip(old, state, strict=True):
                kept[t] = value
            after = tuple(new[t] for new in self.new)
            state = after if call.valid is None else _chosen(call.valid[t], after, state)
        return old

    @property
    def initial(self) -> tuple[Tensor, ...]:
        """The states that a reset goes back to, (B, n)."""
        return self.call.states if self.call.initial is None else self.call.initial

    def begins(self, t: int) -> Tensor:
        """The rows (B,) whose state before step t is the initial one because of a reset."""
        call = self.call
        if call.reset is None:
            return torch.zeros(self.rows, dtype=torch.bool, device=self.like.device)
        return call.reset[t] if call.valid is None else call.reset[t] & call.valid[t]

    def starts(self, t: int) -> Tensor:
        """The rows (B,) whose first step is step t."""
        valid, before = self.call.valid, t + 1 if self.call.reverse else t - 1
        every = torch.ones(self.rows, dtype=torch.bool, device=self.like.device)
        first = every if t == self.order[0] else ~every
        if valid is None:
            return first
        return valid[t] & (first if t == self.order[0] else ~valid[before])

    def _known(self) -> tuple[dict[int, Tensor], list[dict[int, Tensor]]]:
        """The values that no cotangent reaches, for all steps at once: those alike at every step, and one a step."""
        nodes, call = self.backward.nodes, self.call
        values = call.inputs(nodes)
        values |= {s.old: old for s, old in zip(call.program.states, self.old, strict=True)}
        stepwise = {i for i, value in values.items() if value.dim() == 3}
        rest = [
            i for i in range(len(nodes)) if i not in self._linear and i not in values and nodes[i].op != "cotangent"
        ]
        self.interpreter.run(self.interpreter.plan(rest), values)
        stepwise |= {i for i in reached(nodes, stepwise) if i in values}
        wanted = {a for i in self._linear for a in nodes[i].args}
        wanted |= {use.operand for use in self.backward.contributions if use.operand is not None}
        wanted |= {i for i in (*self.backward.gradients, *self.backward.states, self.backward.input) if i is not None}
        kept = {i: v for i, v in values.items() if i in wanted}
        unbound = {i: v.unbind(0) for i, v in kept.items() if i in stepwise}
        per_step = [{i: v[t] for i, v in unbound.items()} for t in range(self.count)]
        return {i: v for i, v in kept.items() if i not in stepwise}, per_step

    def at(self, step: int, live: slice, output: Tensor, states: Sequence[Tensor]) -> Back:
        """Take the cotangents of one step's ``output`` (N, B, O) and new ``states`` (N, B, n) back through it."""
        arriving = {"": output} | {s.name: c for s, c in zip(self.call.program.states, states, strict=True)}
        values = self.fixed | self.per_step[step]
        values |= {i: arriving[n.name] for i, n in enumerate(self.backward.nodes) if n.op == "cotangent"}
        self.interpreter.run(self.plan, values)
        return Back(self, step, live, values, len(output))

    def back(self, arriving: Tensor, last: Sequence[int] | None = None) -> Iterator[Back]:
        """Walk N queries from the last step to the first: ``arriving`` (N, T, B, O) are the cotangents of the output.

        ``last`` names each query's last step, ascending, where nothing arrives after it: it joins the walk there.
        """
        states = self.call.program.states
        carry = [arriving.new_zeros(0, self.rows, self.call.sizes[s.size]) for s in states]
        for step in reversed(self.order):
            live = slice(0 if last is None else bisect_left(last, step), len(arriving))
            if live.start == live.stop:
                continue
            joined = live.stop - live.start - len(carry[0])
            carry = [torch.cat([c.new_zeros(joined, *c.shape[1:]), c]) if joined else c for c in carry]
            passed = self.at(step, live, arriving[live, step], carry)
            yield passed
            carry = self.leaving(passed)

    def leaving(self, passed: Back) -> list[Tensor]:
        """What goes on to the step before, for each state (N, B, n): nothing past a reset.

        Nothing where the row is over either: no loss of it lies there, and no step on the way to one.
        """
        gradients = [passed.old(k) for k in range(len(self.old))]
        if self.call.reset is None:
            return gradients
        return [torch.where(self.begins(passed.step).unsqueeze(-1), 0.0, value) for value in gradients]


def _grouped(values: Tensor, groups: Tensor, count: int) -> Tensor:
    """The sums (count, ...) of ``values`` (N, ...) that go to the same of the ``groups`` (N,)."""
    return values.new_zeros(count, *values.shape[1:]).index_add_(0, groups, values)


def _cast(call: Call, dtype: torch.dtype) -> Call:
    def of(values: Any) -> Any:
        return None if values is None else tuple(v.detach().to(dtype) for v in values)

    return replace(
        call,
        x=call.x.detach().to(dtype),
        states=of(call.states),
        initial=of(call.initial),
        parameters={n: p.detach().to(dtype) for n, p in call.parameters.items()},
        extras={n: e.detach().to(dtype) for n, e in call.extras.items()},
    )


def _chosen(rows: Tensor, values: Sequence[Tensor], others: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return tuple(torch.where(rows.unsqueeze(-1), a, b) for a, b in zip(values, others, strict=True))


def _linear_in_cotangents(backward: Adjoint) -> frozenset[int]:
    """The nodes that a cotangent reaches, without the cotangents themselves."""
    cotangents = {i for i, node in enumerate(backward.nodes) if node.op == "cotangent"}
    return reached(backward.nodes, cotangents) - cotangents
