"""Kernels in eager mode: an autograd function, the cheapest way through torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from elman.backends.contract import Call, Result
from elman.backends.cpu.call.engine import Engine
from elman.backends.cpu.call.inputs import Inputs
from elman.backends.reference import Reference
from elman.backends.tensors import differentiable_again


def inputs_of(call: Call) -> Inputs:
    """The tensors of a call."""
    program = call.program
    initial = () if call.reset is None or call.initial is None else call.initial
    return Inputs(
        call.x, call.states, initial, [call.parameters[p.name] for p in program.parameters],
        [call.extras[e.name] for e in program.extras], call.valid, call.reset, call.reverse,
    )  # fmt: skip


def run(engine: Engine, call: Call) -> Result:
    """Run a call, with a backward pass to come where torch asks for one."""
    inputs = inputs_of(call)
    tensors = (inputs.x, *inputs.states, *inputs.initial, *inputs.parameters, *inputs.extras)
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        output, *finals = _Sequence.apply(engine, inputs, *tensors)
    else:
        (output, *finals), _ = engine.forward(inputs, keep=False)
    return Result(output, tuple(finals))


class _Sequence(torch.autograd.Function):
    """A whole sequence as one function: (x, states, parameters, extras) to (output, final states)."""

    @staticmethod
    def forward(ctx: Any, engine: Engine, inputs: Inputs, *tensors: Tensor) -> tuple[Tensor, ...]:
        results, kept = engine.forward(inputs, keep=True)
        ctx.set_materialize_grads(False)
        ctx.engine, ctx.count = engine, len(tensors)
        ctx.masks = (inputs.valid, inputs.reset, inputs.reverse)
        ctx.save_for_backward(*tensors, results[0], *kept)
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        saved, count = ctx.saved_tensors, ctx.count
        tensors, output, kept = saved[:count], saved[count], saved[count + 1 :]
        engine: Engine = ctx.engine
        inputs = Inputs(*_parts(engine, tensors), *ctx.masks)
        needs = ctx.needs_input_grad[2:]
        if torch.is_grad_enabled():
            return (None, None, *_again(engine, inputs, needs, grads))
        return (None, None, *engine.backward(inputs, needs, grads, output, kept))


def _parts(engine: Engine, flat: Sequence[Any]) -> list[Any]:
    """What stands for x, the states, the initial states (if any), the parameters and the further inputs."""
    program = engine.program
    states, parameters, extras = len(program.states), len(program.parameters), len(program.extras)
    first, last = 1 + states, len(flat) - extras
    return [flat[0], flat[1:first], flat[first : last - parameters], flat[last - parameters : last], flat[last:]]


def _again(
    engine: Engine, inputs: Inputs, needs: Sequence[bool], grads: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """The gradients as functions that can be differentiated again: the reference runs once more."""
    program = engine.program
    call = Call(
        program, engine.sizes, dict(zip((p.name for p in program.parameters), inputs.parameters, strict=True)),
        inputs.x, tuple(inputs.states), dict(zip((e.name for e in program.extras), inputs.extras, strict=True)),
        inputs.valid, inputs.reset, tuple(inputs.initial) or None, inputs.reverse,
    )  # fmt: skip
    return differentiable_again(Reference(), call, needs, grads)
