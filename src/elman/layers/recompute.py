"""Memory for time: a long sequence in chunks, of which the states between them alone are kept.

What happens inside a chunk is computed once more when its gradient is wanted (Chen et al. 2016, "Training deep nets
with sublinear memory cost"; for recurrent networks Gruslys et al. 2016). Outputs and gradients are written to where
they stay: joined from the chunks' own, they would exist twice, and that is as much as is saved.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from elman.backends import Backend, Call, Result


def run_in_chunks(backend: Backend, call: Call, steps: int) -> Result:
    """Run ``call``, ``steps`` steps at a time; the backward pass is left what stands between the chunks."""
    call = replace(call, initial=call.initial or call.states)  # a reset's, whatever chunk it falls in
    output, *states = _Chunks.apply(backend, call, steps, *_tensors(call))
    return Result(output, tuple(states))


class _Chunks(torch.autograd.Function):
    """A sequence chunk by chunk, as a function of all tensors of its call."""

    @staticmethod
    def forward(ctx: Any, backend: Backend, call: Call, steps: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        states, between = call.states, []
        output = call.x.new_empty(*call.x.shape[:2], call.sizes[call.program.output_size])
        for chunk in _chunks(len(call.x), steps, call.reverse):
            between.append(states)
            result = backend.run(replace(_part(call, chunk), states=states))
            output[chunk] = result.output
            states = result.states
        ctx.set_materialize_grads(False)
        ctx.backend, ctx.steps, ctx.count = backend, steps, len(tensors)
        # Torch saves the tensors, and sees to it that none is changed meanwhile; the rest of the call is kept.
        ctx.call = _with(call, [None] * len(tensors))
        ctx.save_for_backward(*tensors, *(state for each in between for state in each))
        return (output, *states)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        tensors, between = ctx.saved_tensors[: ctx.count], ctx.saved_tensors[ctx.count :]
        needs, call = ctx.needs_input_grad[3:], _with(ctx.call, tensors)
        run = _whole if torch.is_grad_enabled() else _backwards
        return (None, None, None, *run(ctx.backend, call, ctx.steps, between, needs, grads))


def _backwards(
    backend: Backend, call: Call, steps: int, between: Sequence[Tensor], needs: Sequence[bool],
    grads: Sequence[Tensor | None],
) -> list[Tensor | None]:  # fmt: skip
    """The gradients of all tensors of a call, from the last chunk to the first."""
    tensors, count, sequences = _tensors(call), len(call.states), _sequences(call)
    found = [torch.zeros_like(t) if need else None for t, need in zip(tensors, needs, strict=True)]
    carried, states = list(grads[1:]), slice(1, 1 + count)
    chunks = list(_chunks(len(call.x), steps, call.reverse))
    for number, chunk in reversed(list(enumerate(chunks))):
        before = between[number * count : (number + 1) * count]
        own = [t[chunk] if is_long else t for t, is_long in zip(tensors, sequences, strict=True)]
        own[states] = before
        # Towards the chunk before, the states' gradients are wanted whether or not the first states' are.
        wants = [need or (number > 0 and 1 <= i <= count) for i, need in enumerate(needs)]
        own = [t.detach().requires_grad_(want) for t, want in zip(own, wants, strict=True)]
        with torch.enable_grad():
            result = backend.run(_with(_part(call, chunk), own))
        output = None if grads[0] is None else grads[0][chunk]
        of_own = iter(_gradients(result, [output, *carried], [t for t in own if t.requires_grad]))
        of_all = [next(of_own) if want else None for want in wants]
        carried = of_all[states]
        for i, (whole, part) in enumerate(zip(found, of_all, strict=True)):
            if whole is None or part is None or (1 <= i <= count and number > 0):
                continue
            if sequences[i]:
                whole[chunk] = part
            else:
                whole += part
    return found


def _whole(
    backend: Backend, call: Call, steps: int, between: Sequence[Tensor], needs: Sequence[bool],
    grads: Sequence[Tensor | None],
) -> list[Tensor | None]:  # fmt: skip
    """The gradients as functions that can be differentiated again: nothing is saved by chunks then."""
    with torch.enable_grad():
        wanted = [t for t, need in zip(_tensors(call), needs, strict=True) if need]
        of_wanted = iter(_gradients(backend.run(call), grads, wanted, create_graph=True))
    return [next(of_wanted) if need else None for need in needs]


def _gradients(
    result: Result, grads: Sequence[Tensor | None], wanted: Sequence[Tensor], create_graph: bool = False
) -> list[Tensor | None]:
    values = (result.output, *result.states)
    pairs = [(v, g) for v, g in zip(values, grads, strict=True) if g is not None and v.requires_grad]
    if not pairs or not wanted:
        return [None] * len(wanted)
    ends, given = zip(*pairs, strict=True)
    return list(torch.autograd.grad(ends, wanted, given, allow_unused=True, create_graph=create_graph))


def _tensors(call: Call) -> list[Any]:
    """What a gradient may be asked for, in order: x, states, those of resets, parameters, further inputs."""
    return [call.x, *call.states, *(call.initial or ()), *call.parameters.values(), *call.extras.values()]


def _with(call: Call, tensors: Sequence[Any]) -> Call:
    """The call with these tensors, in the order of :func:`_tensors`."""
    rest = iter(tensors[1:])
    return replace(
        call,
        x=tensors[0],
        states=tuple(next(rest) for _ in call.states),
        initial=tuple(next(rest) for _ in call.initial or ()),
        parameters={name: next(rest) for name in call.parameters},
        extras={name: next(rest) for name in call.extras},
    )


def _sequences(call: Call) -> list[bool]:
    """Which of the tensors have a value for each step."""
    others = len(call.states) + len(call.initial or ()) + len(call.parameters)
    return [True, *[False] * others, *(extra.dim() == 3 for extra in call.extras.values())]


def _chunks(count: int, steps: int, reverse: bool) -> Iterator[slice]:
    """The steps of each chunk, in the order they are run."""
    starts = range(0, count, steps)
    for first in reversed(starts) if reverse else starts:
        yield slice(first, min(first + steps, count))


def _part(call: Call, chunk: slice) -> Call:
    """The call's steps of one chunk."""
    return replace(
        call,
        x=call.x[chunk],
        valid=None if call.valid is None else call.valid[chunk],
        reset=None if call.reset is None else call.reset[chunk],
        extras={name: value[chunk] if value.dim() == 3 else value for name, value in call.extras.items()},
    )
