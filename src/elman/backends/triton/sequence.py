"""A loop's kernels as a function that torch differentiates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from elman.backends.contract import Call, Result
from elman.backends.plan.plan import Plan
from elman.backends.reference import Reference
from elman.backends.tensors import differentiable_again
from elman.backends.triton.kernel import Kernel, Kernels
from elman.backends.triton.source import kept_by, shares_output


@dataclass
class Memory:
    """What a forward pass leaves: the states of all steps and of one more, and values by node."""

    steps: list[Tensor]
    kept: dict[int, Tensor]


def run(kernels: Kernels, call: Call) -> Result:
    """Run ``call``, of the loop alone; differentiable by torch where the kernels keep what that takes."""
    if kernels.variant.keep:
        output, *states = _Sequence.apply(kernels, call, *call.tensors)
        return Result(output, tuple(states))
    output, memory = _forward(kernels, call)
    return Result(output, _finals(call, memory))


def _finals(call: Call, memory: Memory) -> tuple[Tensor, ...]:
    return tuple(steps[0 if call.reverse else -1].clone() for steps in memory.steps)


def _forward(kernels: Kernels, call: Call) -> tuple[Tensor, Memory]:
    """The output, and what else is left."""
    plan, program, variant, x = kernels.plan, call.program, kernels.variant, call.x
    T, B = x.shape[:2]
    steps = [x.new_empty(T + 1, B, call.sizes[s.size]) for s in program.states]
    for all_steps, first in zip(steps, call.states, strict=True):
        all_steps[T if call.reverse else 0] = first
    own = None if shares_output(plan, variant) else x.new_empty(T, B, call.sizes[program.output_size])
    output = _after(steps[0], call.reverse) if own is None else own
    memory = Memory(steps, {i: x.new_empty(T, B, plan.n(i)) for i in kept_by(plan, variant)})
    values = _values(call, memory) | {"output": output} | _meeting(kernels.forward, x)
    kernels.forward(x, values)
    return output, memory


def _values(call: Call, memory: Memory) -> dict[str, Any]:
    """What both kernels read, by name."""
    states = call.program.states
    values: dict[str, Any] = {f"steps_{s.name}": t for s, t in zip(states, memory.steps, strict=True)}
    initial = call.states if call.initial is None else call.initial
    values |= {f"initial_{s.name}": t.contiguous() for s, t in zip(states, initial, strict=True)}
    values |= {name: weight.contiguous() for name, weight in call.parameters.items()}
    for name, extra in call.extras.items():
        values[name] = _dense(extra)
        values[f"{name}_stride"] = values[name].stride(1) if extra.dim() == 3 else 0
    values |= {f"kept_{i}": value for i, value in memory.kept.items()}
    values |= {"valid": _bytes(call.valid), "reset": _bytes(call.reset)}
    return values


def _meeting(kernel: Kernel, x: Tensor) -> dict[str, Tensor]:
    """What the programs of a row exchange beside what is kept: how many have arrived, and their parts of sums."""
    rows, parts = x.shape[1], kernel.layout.parts
    arrived = x.new_zeros(-(-rows // kernel.layout.rows), dtype=torch.int32)
    total = torch.promote_types(x.dtype, torch.float32)
    return {"arrived": arrived, "partial": x.new_empty(2 * kernel.source.partials * parts * rows, dtype=total)}


def _dense(value: Tensor) -> Tensor:
    """``value`` where its units lie side by side and its steps one behind the other, or a copy that does."""
    if value.dim() < 3:
        return value.contiguous()
    side_by_side = value.stride(2) == 1 and value.stride(0) == value.shape[1] * value.stride(1)
    return value if side_by_side else value.contiguous()


def _bytes(mask: Tensor | None) -> Tensor | None:
    return None if mask is None else mask.contiguous().view(torch.uint8)


def _after(steps: Tensor, reverse: bool) -> Tensor:
    return steps[:-1] if reverse else steps[1:]


def _before(steps: Tensor, reverse: bool) -> Tensor:
    return steps[1:] if reverse else steps[:-1]


class _Sequence(torch.autograd.Function):
    """A whole sequence: the tensors of a call to (output, final states)."""

    @staticmethod
    def forward(ctx: Any, kernels: Kernels, call: Call, *tensors: Tensor) -> tuple[Tensor, ...]:
        output, memory = _forward(kernels, call)
        ctx.set_materialize_grads(False)
        ctx.kernels, ctx.count = kernels, len(tensors)
        ctx.call = call.with_tensors([None] * len(tensors))
        ctx.save_for_backward(*tensors, *memory.steps, *memory.kept.values())
        return (output, *_finals(call, memory))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        kernels: Kernels = ctx.kernels
        tensors, rest = ctx.saved_tensors[: ctx.count], ctx.saved_tensors[ctx.count :]
        call, needs = ctx.call.with_tensors(tensors), ctx.needs_input_grad[2:]
        if torch.is_grad_enabled():
            return (None, None, *differentiable_again(Reference(), call, needs, grads))
        states = len(call.states)
        kept = dict(zip(kept_by(kernels.plan, kernels.variant), rest[states:], strict=True))
        return (None, None, *_backward(kernels, call, Memory(list(rest[:states]), kept), grads))


def _backward(kernels: Kernels, call: Call, memory: Memory, grads: Sequence[Tensor | None]) -> list[Tensor | None]:
    """The gradients of the call's tensors."""
    plan, program, sizes, x = kernels.plan, call.program, call.sizes, call.x
    T, B = x.shape[:2]
    total = torch.promote_types(x.dtype, torch.float32)
    values = _values(call, memory)
    columns = values["columns"] = x.new_empty(T, B, plan.width)
    output = x.new_zeros(T, B, sizes[program.output_size]) if grads[0] is None else grads[0]
    values["d_output"] = output.contiguous()
    for state, grad in zip(program.states, grads[1:], strict=True):
        carried = x.new_zeros(B, sizes[state.size], dtype=total)
        values[f"carried_{state.name}"] = carried if grad is None else carried.copy_(grad)
        values[f"restarted_{state.name}"] = torch.zeros_like(carried)
    for extra in program.extras:
        if call.extras[extra.name].dim() == 3:
            values[f"d_{extra.name}"] = x.new_empty(T, B, sizes[extra.size])
        else:
            values[f"total_{extra.name}"] = x.new_zeros(B, sizes[extra.size], dtype=total)
    values |= _meeting(kernels.backward, x)
    kernels.backward(x, values)

    carried_back = [values[f"carried_{s.name}"] for s in program.states]
    restarted = [values[f"restarted_{s.name}"] for s in program.states]
    if call.initial is None:
        carried_back, restarted = [c + r for c, r in zip(carried_back, restarted, strict=True)], []
    of_states = [grad.to(x.dtype) for grad in (*carried_back, *restarted)]
    of_extras = [_of_extra(plan, values, e.name, call.extras[e.name]) for e in program.extras]
    return [None, *of_states, *_of_weights(plan, call, memory, columns), *of_extras]


def _of_extra(plan: Plan, values: Mapping[str, Any], name: str, like: Tensor) -> Tensor | None:
    node = dict(plan.targets()).get(f"extra:{name}")
    if node is None:
        return None
    if like.dim() == 3 and node in plan.columns:
        first = plan.columns[node]
        return values["columns"][:, :, first : first + plan.n(node)]
    if like.dim() == 3:
        return values[f"d_{name}"]
    total: Tensor = values[f"total_{name}"]
    return (total.sum(0) if like.dim() == 1 else total).to(like.dtype)


def _of_weights(plan: Plan, call: Call, memory: Memory, columns: Tensor) -> list[Tensor | None]:
    """The gradients of the products' weights, each a large product over all steps and rows."""
    grads = {p.name: torch.zeros_like(call.parameters[p.name]) for p in call.program.parameters}
    flat = columns.flatten(0, 1)
    operands: dict[int, Tensor] = {}
    for product in plan.products:
        if product.operand not in operands:
            operands[product.operand] = _operand(plan, call, memory, product.operand).flatten(0, 1)
        operand = operands[product.operand][:, product.offset : product.offset + product.count]
        for g in range(product.groups):
            row, column = product.row + g * product.row_step, product.column + g * product.column_step
            grads[product.parameter][row : row + product.width] += flat[:, column : column + product.width].T @ operand
    return list(grads.values())


def _operand(plan: Plan, call: Call, memory: Memory, node: int) -> Tensor:
    """The values of all steps that a product multiplied."""
    if node in memory.kept:
        return memory.kept[node]
    for k, state in enumerate(call.program.states):
        if node == state.old:
            old = _before(memory.steps[k], call.reverse)
            if call.reset is None:
                return old
            initial = (call.states if call.initial is None else call.initial)[k]
            anew = call.reset if call.valid is None else call.reset & call.valid
            return torch.where(anew.unsqueeze(-1), initial, old)
    return _after(memory.steps[plan.from_state[node]], call.reverse)
