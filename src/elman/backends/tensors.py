"""The steps of a call chunk by chunk, and gradients that can be differentiated again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from elman.backends.contract import Backend, Call, Result


def differentiable_again(
    backend: Backend, call: Call, needs: Sequence[bool], grads: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """The gradients of :attr:`Call.tensors`, where ``needs`` says so, as functions that can be differentiated again.

    ``backend`` must run ``call`` differentiably; ``grads`` are those of the output and the final states.
    """
    with torch.enable_grad():
        # Each under a name of its own: one tensor may have been made from another, whose gradient is asked for too.
        own = [t.view_as(t) for t in call.tensors]
        wanted = [t for t, need in zip(own, needs, strict=True) if need]
        of_wanted = iter(gradients(backend.run(call.with_tensors(own)), grads, wanted, create_graph=True))
    return [next(of_wanted) if need else None for need in needs]


def gradients(
    result: Result, grads: Sequence[Tensor | None], wanted: Sequence[Tensor], create_graph: bool = False
) -> list[Tensor | None]:
    """The gradients of ``wanted`` from those of the output and the final states; None where none arrives."""
    values = (result.output, *result.states)
    pairs = [(v, g) for v, g in zip(values, grads, strict=True) if g is not None and v.requires_grad]
    if not pairs or not wanted:
        return [None] * len(wanted)
    ends, cotangents = zip(*pairs, strict=True)
    return list(torch.autograd.grad(ends, wanted, cotangents, allow_unused=True, create_graph=create_graph))


def are_long(call: Call) -> list[bool]:
    """Which of the tensors have a value for each step."""
    others = len(call.states) + len(call.initial or ()) + len(call.parameters)
    return [True, *[False] * others, *(extra.dim() == 3 for extra in call.extras.values())]


def chunks(count: int, steps: int, reverse: bool) -> Iterator[slice]:
    """The steps of each chunk, in the order they are run."""
    starts = range(0, count, steps)
    for first in reversed(starts) if reverse else starts:
        yield slice(first, min(first + steps, count))


def steps_of(call: Call, chunk: slice) -> Call:
    """The call's steps of one chunk."""
    return replace(
        call,
        x=call.x[chunk],
        valid=None if call.valid is None else call.valid[chunk],
        reset=None if call.reset is None else call.reset[chunk],
        extras={name: value[chunk] if value.dim() == 3 else value for name, value in call.extras.items()},
    )
