"""A call whose gradient comes of a graph made inside, so that a second derivative can go through the reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from elman.backends.contract import Call, Result
from elman.backends.reference import Reference
from elman.backends.tensors import differentiable_again, gradients

Run = Callable[[Call, bool], Result]  # a call, and whether its gradient will be asked for


def run_inside(run: Run, call: Call) -> Result:
    """``run(call, ...)`` as one function of all tensors of ``call``: differentiated once by what ``run`` made of it,
    further by the reference."""
    tensors = call.tensors
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        output, *states = _Inside.apply(run, call, *tensors)
        return Result(output, tuple(states))
    return run(call, False)


class _Inside(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, run: Run, call: Call, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.run, ctx.call = run, call.with_tensors([None] * len(tensors))
        ctx.save_for_backward(*tensors)
        ctx.inner = _inner(run, call, ctx.needs_input_grad[2:])
        result = ctx.inner[1]
        return tuple(t.detach() for t in (result.output, *result.states))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        needs = ctx.needs_input_grad[2:]
        call = ctx.call.with_tensors(ctx.saved_tensors)
        if torch.is_grad_enabled():
            return (None, None, *differentiable_again(Reference(), call, needs, grads))
        # The graph inside is used up by the first pass; for another over a graph that was retained it is made again.
        leaves, result = ctx.inner or _inner(ctx.run, call, needs)
        ctx.inner = None
        computed = iter(gradients(result, grads, [t for t in leaves if t.requires_grad]))
        return (None, None, *(next(computed) if leaf.requires_grad else None for leaf in leaves))


def _inner(run: Run, call: Call, needs: Sequence[bool]) -> tuple[list[Tensor], Result]:
    """The call run on leaves of its own, and these."""
    leaves = [t.detach().requires_grad_(need) for t, need in zip(call.tensors, needs, strict=True)]
    with torch.enable_grad():
        return leaves, run(call.with_tensors(leaves), True)
