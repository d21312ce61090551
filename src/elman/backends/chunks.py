"""A long sequence in chunks of steps, of which the states between them alone are kept.

What happens inside a chunk is computed once more when its gradient is wanted (Chen et al. 2016, "Training deep nets
with sublinear memory cost"; for recurrent networks Gruslys et al. 2016). Outputs and gradients are written to where
they stay: joined from the chunks' own, they would exist twice, and that is as much as is saved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from elman.backends.contract import Backend, Call, Result
from elman.backends.tensors import (
    are_long,
    chunks,
    differentiable_again,
    gradients,
    steps_of,
)


class Chunk(Protocol):
    """How one chunk is run, forwards and, from what it was given, backwards."""

    def forward(self, call: Call) -> Result:
        """The result of ``call``, without a gradient."""
        ...

    def backward(self, call: Call, needs: Sequence[bool], grads: Sequence[Tensor | None]) -> list[Tensor | None]:
        """The gradients of the tensors of ``call`` where ``needs`` says so, from those of output and states."""
        ...

    def differentiable(self) -> Backend:
        """The backend that runs a whole call so that its gradient can be differentiated again."""
        ...


@dataclass(frozen=True)
class Recomputed:
    """A chunk on any backend: the backward pass runs it again."""

    backend: Backend

    def forward(self, call: Call) -> Result:
        """The result of ``call``."""
        return self.backend.run(call)

    def backward(self, call: Call, needs: Sequence[bool], grads: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Run ``call`` again, on tensors of its own, and differentiate it."""
        own = [t.detach().requires_grad_(need) for t, need in zip(call.tensors, needs, strict=True)]
        with torch.enable_grad():
            result = self.backend.run(call.with_tensors(own))
        of_own = iter(gradients(result, grads, [t for t in own if t.requires_grad]))
        return [next(of_own) if need else None for need in needs]

    def differentiable(self) -> Backend:
        """The backend itself."""
        return self.backend


def run_in_chunks(chunk: Chunk, call: Call, steps: int) -> Result:
    """Run ``call``, ``steps`` steps at a time; the backward pass is left what stands between the chunks."""
    call = replace(call, initial=call.initial or call.states)  # a reset's, whatever chunk it falls in
    output, *states = _Chunks.apply(chunk, call, steps, *call.tensors)
    return Result(output, tuple(states))


class _Chunks(torch.autograd.Function):
    """A sequence chunk by chunk, as a function of all tensors of its call."""

    @staticmethod
    def forward(ctx: Any, chunk: Chunk, call: Call, steps: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        states, between = call.states, []
        output = call.x.new_empty(*call.x.shape[:2], call.sizes[call.program.output_size])
        for span in chunks(len(call.x), steps, call.reverse):
            between.append(states)
            result = chunk.forward(replace(steps_of(call, span), states=states))
            output[span] = result.output
            states = result.states
        ctx.set_materialize_grads(False)
        ctx.chunk, ctx.steps, ctx.count = chunk, steps, len(tensors)
        # Torch saves the tensors, and sees to it that none is changed meanwhile; the rest of the call is kept.
        ctx.call = call.with_tensors([None] * len(tensors))
        ctx.save_for_backward(*tensors, *(state for each in between for state in each))
        return (output, *states)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        tensors, between = ctx.saved_tensors[: ctx.count], ctx.saved_tensors[ctx.count :]
        needs, call = ctx.needs_input_grad[3:], ctx.call.with_tensors(tensors)
        if torch.is_grad_enabled():  # nothing is saved by chunks then
            return (None, None, None, *differentiable_again(ctx.chunk.differentiable(), call, needs, grads))
        return (None, None, None, *_backwards(ctx.chunk, call, ctx.steps, between, needs, grads))


def _backwards(
    chunk: Chunk, call: Call, steps: int, between: Sequence[Tensor], needs: Sequence[bool],
    grads: Sequence[Tensor | None],
) -> list[Tensor | None]:  # fmt: skip
    """The gradients of all tensors of a call, from the last chunk to the first."""
    tensors, count, sequences = call.tensors, len(call.states), are_long(call)
    sums = [torch.zeros_like(t) if need else None for t, need in zip(tensors, needs, strict=True)]
    carried, states = list(grads[1:]), slice(1, 1 + count)
    spans = list(chunks(len(call.x), steps, call.reverse))
    for number, span in reversed(list(enumerate(spans))):
        before = between[number * count : (number + 1) * count]
        own = [t[span] if is_long else t for t, is_long in zip(tensors, sequences, strict=True)]
        own[states] = before
        # Towards the chunk before, the states' gradients are wanted whether or not the first states' are.
        wants = [need or (number > 0 and 1 <= i <= count) for i, need in enumerate(needs)]
        output = None if grads[0] is None else grads[0][span]
        of_all = chunk.backward(steps_of(call, span).with_tensors(own), wants, [output, *carried])
        carried = of_all[states]
        for i, (whole, part) in enumerate(zip(sums, of_all, strict=True)):
            if whole is None or part is None or (1 <= i <= count and number > 0):
                continue
            if sequences[i]:
                whole[span] = part
            else:
                whole += part
    return sums
