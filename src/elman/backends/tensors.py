"""The tensors of a call in one order, its steps chunk by chunk, and gradients that can be differentiated again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from elman.backends.contract import Backend, Call, Result


def differentiable_again(
    backend: Backend, call: Call, needs: Sequence[bool], grads: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """The gradients of :func:`tensors_of`, where ``needs`` says so, as functions that can be differentiated again.

    ``backend`` must run ``call`` differentiably; ``grads`` are those of the output and the final states.
    """
    with torch.enable_grad():
        wanted = [t for t, need in zip(tensors_of(call), needs, strict=True) if need]
        of_wanted = iter(gradients(backend.run(call), grads, wanted, create_graph=True))
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


def tensors_of(call: Call) -> list[Any]:
    """What a gradient may be asked for, in order: x, states, those of resets, parameters, further inputs."""
    return [call.x, *call.states, *(call.initial or ()), *call.parameters.values(), *call.extras.values()]


def with_tensors(call: Call, tensors: Sequence[Any]) -> Call:
    """The call with these tensors, in the order of :func:`tensors_of`."""
    rest = iter(tensors[1:])
    return replace(
        call,
        x=tensors[0],
        states=tuple(next(rest) for _ in call.states),
        initial=tuple(next(rest) for _ in call.initial or ()),
        parameters={name: next(rest) for name in call.parameters},
        extras={name: next(rest) for name in call.extras},
    )


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
