"""Memory for time: a long sequence in chunks, of which the backward pass keeps the states between them alone.

What happens inside a chunk is computed once more when its gradient is wanted (Chen et al. 2016, "Training deep nets
with sublinear memory cost"; for recurrent networks Gruslys et al. 2016).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from elman.backends import Backend, Call, Result


def run_in_chunks(backend: Backend, call: Call, steps: int) -> Result:
    """Run ``call``, ``steps`` steps at a time; the backward pass is left what stands between the chunks."""
    from torch.utils.checkpoint import checkpoint

    names = tuple(call.parameters)
    states, outputs = call.states, []
    initial = call.initial or call.states  # of the whole sequence, whatever chunk a reset falls in
    for first, last in _chunks(call.x.shape[0], steps, call.reverse):
        part = replace(
            call,
            x=call.x[first:last],
            valid=_steps(call.valid, first, last),
            reset=_steps(call.reset, first, last),
            extras={name: value[first:last] if value.dim() == 3 else value for name, value in call.extras.items()},
        )

        def chunk(states: tuple[Tensor, ...], weights: tuple[Tensor, ...], part: Call = part) -> tuple[Tensor, ...]:
            parameters = dict(zip(names, weights, strict=True))
            result = backend.run(replace(part, states=states, parameters=parameters, initial=initial))
            return (result.output, *result.states)

        weights = tuple(call.parameters.values())
        output, *after = checkpoint(chunk, states, weights, use_reentrant=False, preserve_rng_state=False)
        states = tuple(after)
        outputs.append(output)
    return Result(torch.cat(outputs[::-1] if call.reverse else outputs), states)


def _chunks(count: int, steps: int, reverse: bool) -> Iterator[tuple[int, int]]:
    """First and last step of each chunk, in the order they are run."""
    starts = range(0, count, steps)
    for first in reversed(starts) if reverse else starts:
        yield first, min(first + steps, count)


def _steps(mask: Tensor | None, first: int, last: int) -> Tensor | None:
    return None if mask is None else mask[first:last]
