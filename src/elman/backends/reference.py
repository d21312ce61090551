"""The reference backend: the loop, in plain torch. It is the truth that every other backend is compared with.

It runs everywhere, in any dtype, and differentiates as often as torch does.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from elman.backends.contract import Call, Result
from elman.equations import TABLE
from elman.equations.node import Node, Parameter

Values = dict[int, Tensor]


class Reference:
    """Interprets a program step by step."""

    name = "reference"

    def refuses(self, call: Call) -> str | None:
        """Never."""
        return None

    def run(self, call: Call) -> Result:
        """The loop: what depends on no state is computed for all steps at once, the rest step by step."""
        program, steps = call.program, call.x.shape[0]
        interpreter = Interpreter(program.nodes, program.parameters, call.parameters, call.sizes, call.x)
        hoisted, per_step = _hoist(interpreter, call)
        step = interpreter.plan(i for i in sorted(program.recurrent) if program.nodes[i].op != "state")

        # A reset in the padding is padding: the state of a finished row holds.
        reset = call.reset if call.reset is None or call.valid is None else call.reset & call.valid
        state, results = call.states, []
        initial = call.states if call.initial is None else call.initial
        for t in reversed(range(steps)) if call.reverse else range(steps):
            if reset is not None:
                state = _select(reset[t], initial, state)
            values = hoisted | {i: steps_of[t] for i, steps_of in per_step.items()}
            values |= {s.old: old for s, old in zip(program.states, state, strict=True)}
            interpreter.run(step, values)
            new = tuple(_whole(values[s.new], old) for s, old in zip(program.states, state, strict=True))
            state = new if call.valid is None else _select(call.valid[t], new, state)
            results.append({i: values[i] for i in (program.output, *call.record)})
        if call.reverse:
            results.reverse()
        output, *recorded = (_stack(call, i, [r[i] for r in results]) for i in (program.output, *call.record))
        return Result(output, tuple(state), dict(zip(call.record, recorded, strict=True)))


def hoisted(interpreter: Interpreter, call: Call) -> Values:
    """All values that depend on no state, for all steps at once: (T, B, n), or without T or B where they have none."""
    program = call.program
    values: Values = call.inputs(program.nodes)
    outside = [i for i in range(len(program.nodes)) if i not in program.recurrent and i not in values]
    interpreter.run(interpreter.plan(outside), values)
    return values


def _hoist(interpreter: Interpreter, call: Call) -> tuple[Values, dict[int, tuple[Tensor, ...]]]:
    """What the loop takes of them: those that are the same at every step, and those that are one a step."""
    program = call.program
    values = hoisted(interpreter, call)
    stepwise: set[int] = set()
    for i, value in values.items():
        if value.dim() == 3 or any(a in stepwise for a in program.nodes[i].args):
            stepwise.add(i)
    wanted = {a for i in program.recurrent for a in program.nodes[i].args}
    wanted |= {program.output, *call.record, *(s.new for s in program.states)}
    kept = {i: v for i, v in values.items() if i in wanted}
    # unbind and not indexing: the gradient of T selections would fill T whole sequences.
    per_step = {i: v.unbind(0) for i, v in kept.items() if i in stepwise}
    return {i: v for i, v in kept.items() if i not in stepwise}, per_step


def _select(where: Tensor, chosen: Sequence[Tensor], other: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return tuple(torch.where(where.unsqueeze(-1), c, o) for c, o in zip(chosen, other, strict=True))


def _whole(value: Tensor, like: Tensor) -> Tensor:
    """``value`` broadcast to a state's full shape: equations may give one number for all units or rows."""
    return value if value.shape == like.shape else value.expand_as(like)


def _stack(call: Call, index: int, values: list[Tensor]) -> Tensor:
    batch, size = call.x.shape[1], call.sizes[call.program.nodes[index].size]
    if not values:
        # Nothing of everything: with no step too, each leaf has a gradient, and it is 0.
        return torch.cat([leaf.flatten()[:0] for leaf in call.tensors]).view(0, batch, size)
    stacked = torch.stack([v if v.shape == (batch, size) else v.expand(batch, size) for v in values])
    return stacked if call.valid is None else torch.where(call.valid.unsqueeze(-1), stacked, 0.0)


@dataclass(frozen=True)
class _Linear:
    """Products of one value with rows of one matrix, taken together: node i is columns start to stop."""

    operand: int
    weight: Tensor
    parts: tuple[int, ...]
    widths: tuple[int, ...]


class Interpreter:
    """Computes nodes in torch. Values may have any leading dimensions that broadcast, (B, n) or (T, B, n)."""

    def __init__(
        self,
        nodes: Sequence[Node],
        parameters: Iterable[Parameter],
        tensors: Mapping[str, Tensor],
        sizes: Mapping[str, int],
        like: Tensor,
    ) -> None:
        self.nodes = nodes
        self.parameters: dict[str, Parameter] = {p.name: p for p in parameters}
        self.tensors = tensors
        self.sizes = sizes
        self.like = like

    def plan(self, indices: Iterable[int]) -> list[int | _Linear]:
        """The nodes in order, products of one value with one matrix joined into one."""
        plan: list[int | _Linear] = []
        joined: dict[tuple[str, int], list[int]] = {}
        order = list(indices)
        for i in order:
            node = self.nodes[i]
            if node.op == "product" and node.blocks == 1 and not node.transposed:
                joined.setdefault((node.name, node.args[0]), []).append(i)
        for i in order:
            node = self.nodes[i]
            group = joined.get((node.name, node.args[0])) if node.op == "product" else None
            if group is None or i not in group:
                plan.append(i)
            elif i == group[0]:
                plan.append(self._join(group))
        return plan

    def _join(self, group: list[int]) -> _Linear:
        spans = [self._span(self.nodes[i]) for i in group]
        weight = self.tensors[self.nodes[group[0]].name]
        if all(a[1] == b[0] for a, b in pairwise(spans)):
            rows = weight[spans[0][0] : spans[-1][1]]
        else:
            rows = torch.cat([weight[start:stop] for start, stop in spans])
        return _Linear(self.nodes[group[0]].args[0], rows, tuple(group), tuple(b - a for a, b in spans))

    def _span(self, node: Node) -> tuple[int, int]:
        return self.parameters[node.name].span(node.rows, self.sizes)

    def run(self, plan: Iterable[int | _Linear], values: Values) -> None:
        """Fill ``values`` with the nodes of ``plan``."""
        for item in plan:
            if isinstance(item, _Linear):
                product = functional.linear(values[item.operand], item.weight)
                values.update(zip(item.parts, product.split(item.widths, dim=-1), strict=True))
            else:
                values[item] = self._compute(self.nodes[item], values)

    def _compute(self, node: Node, values: Values) -> Tensor:
        if node.op == "constant":
            return self._constant(node)
        if node.op == "vector":
            start, stop = self._span(node)
            return self.tensors[node.name][start:stop]
        if node.op == "product":
            return self._product(node, values[node.args[0]])
        if node.op == "total":
            return functools.reduce(torch.add, (self._sum(values[a], self.nodes[a]) for a in node.args))
        row = TABLE[node.op]
        numbers = {i: self.nodes[node.args[i]].value for i in row.number_arguments}
        return row.torch(*(numbers.get(i, values[a]) for i, a in enumerate(node.args)))

    def _constant(self, node: Node) -> Tensor:
        number = sum(self.sizes[s] for s in node.value) if isinstance(node.value, tuple) else float(node.value or 0)
        constant = torch.full((), number, dtype=self.like.dtype, device=self.like.device)
        return constant if node.size == "1" else constant.expand(self.sizes[node.size])

    def _sum(self, value: Tensor, node: Node) -> Tensor:
        size = self.sizes[node.size]
        if value.dim() == 0 or value.shape[-1] != size:
            value = value.expand(*value.shape[:-1], size)
        return value.sum(-1, keepdim=True)

    def _product(self, node: Node, value: Tensor) -> Tensor:
        start, stop = self._span(node)
        weight = self.tensors[node.name][start:stop]
        if node.blocks == 1:
            return value @ weight if node.transposed else functional.linear(value, weight)
        weight = weight.unflatten(0, (node.blocks, -1))
        pattern = "...nr,nrc->...nc" if node.transposed else "...nc,nrc->...nr"
        return torch.einsum(pattern, value.unflatten(-1, (node.blocks, -1)), weight).flatten(-2)
