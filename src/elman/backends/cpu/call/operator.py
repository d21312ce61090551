"""Kernels as an operator of torch, ``elman::sequence``: what torch.compile, torch.export and fake tensors see.

Its first arguments are the program's text and its sizes, so that what was compiled in one process runs in another.
Eager mode goes a cheaper way, :mod:`elman.backends.cpu.call.function`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from elman import internals
from elman.backends.contract import Call, Result
from elman.equations import Program

if TYPE_CHECKING:
    from elman.backends.cpu.call.engine import Engine
    from elman.backends.cpu.call.inputs import Inputs

Tensors = Sequence[Tensor]


def _engine(text: str, sizes: Sequence[int]) -> Engine:
    from elman.backends.cpu.call.engine import of_values

    return of_values(text, tuple(sizes))


def _inputs(*args: Any) -> Inputs:
    from elman.backends.cpu.call.inputs import Inputs

    return Inputs(*args)


@torch.library.custom_op("elman::sequence", mutates_args=())
def sequence(
    text: str, sizes: Sequence[int], x: Tensor, states: Tensors, initial: Tensors, parameters: Tensors,
    extras: Tensors, valid: Tensor | None, reset: Tensor | None, reverse: bool, keep: bool,
) -> list[Tensor]:  # fmt: skip
    """A whole sequence: the output, the final states, and what is kept for the backward pass."""
    inputs = _inputs(x, states, initial, parameters, extras, valid, reset, reverse)
    results, kept = _engine(text, sizes).forward(inputs, keep)
    return [*results, *kept]


@sequence.register_fake
def _(
    text: str, sizes: Sequence[int], x: Tensor, states: Tensors, initial: Tensors, parameters: Tensors,
    extras: Tensors, valid: Tensor | None, reset: Tensor | None, reverse: bool, keep: bool,
) -> list[Tensor]:  # fmt: skip
    engine = _engine(text, sizes)
    steps, batch = x.shape[:2]
    results = [x.new_empty(steps, batch, engine.output_size), *(x.new_empty(batch, n) for n in engine.state_sizes)]
    kept = engine.kept_sizes(valid is not None, reset is not None) if keep else []
    return results + [x.new_empty(steps, batch, n) for n in kept]


@torch.library.custom_op("elman::sequence_backward", mutates_args=())
def sequence_backward(
    text: str, sizes: Sequence[int], x: Tensor, states: Tensors, initial: Tensors, parameters: Tensors,
    extras: Tensors, valid: Tensor | None, reset: Tensor | None, reverse: bool,
    grads: Sequence[Tensor | None], output: Tensor, kept: Tensors, wanted: Sequence[bool],
) -> list[Tensor]:  # fmt: skip
    """The gradients that are wanted of (x, states, initial, parameters, extras), in order."""
    inputs = _inputs(x, states, initial, parameters, extras, valid, reset, reverse)
    gradients = _engine(text, sizes).backward(inputs, wanted, grads, output, kept)
    return [gradient for gradient in gradients if gradient is not None]


@sequence_backward.register_fake
def _(
    text: str, sizes: Sequence[int], x: Tensor, states: Tensors, initial: Tensors, parameters: Tensors,
    extras: Tensors, valid: Tensor | None, reset: Tensor | None, reverse: bool,
    grads: Sequence[Tensor | None], output: Tensor, kept: Tensors, wanted: Sequence[bool],
) -> list[Tensor]:  # fmt: skip
    flat = (x, *states, *initial, *parameters, *extras)
    return [x.new_empty(tensor.shape) for tensor, want in zip(flat, wanted, strict=True) if want]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    text, sizes, x, states, initial, parameters, extras, valid, reset, reverse, _ = inputs
    ctx.set_materialize_grads(False)
    ctx.program = text, sizes
    ctx.counts = [len(group) for group in (states, initial, parameters, extras)]
    ctx.masks = valid is not None, reset is not None
    masks = [mask for mask in (valid, reset) if mask is not None]
    ctx.reverse = reverse
    kept = output[1 + len(states) :]
    ctx.save_for_backward(x, *states, *initial, *parameters, *extras, *masks, output[0], *kept)


def _backward(ctx: Any, grads: Sequence[Tensor | None]) -> tuple[Any, ...]:
    saved = list(ctx.saved_tensors)
    x, groups = saved.pop(0), []
    for count in ctx.counts:
        groups.append(saved[:count])
        del saved[:count]
    valid = saved.pop(0) if ctx.masks[0] else None
    reset = saved.pop(0) if ctx.masks[1] else None
    output, kept = saved[0], saved[1:]
    needs = [ctx.needs_input_grad[2]]
    for group, need in zip(groups, ctx.needs_input_grad[3:7], strict=True):
        needs += list(need) if isinstance(need, list | tuple) else [need] * len(group)
    incoming = list(grads[: 1 + ctx.counts[0]])
    gradients = iter(
        sequence_backward(*ctx.program, x, *groups, valid, reset, ctx.reverse, incoming, output, kept, needs)
    )
    flat = [next(gradients) if need else None for need in needs]
    result = [flat.pop(0)]
    for count in ctx.counts:
        result.append(flat[:count])
        del flat[:count]
    return (None, None, *result, None, None, None, None)


sequence.register_autograd(_backward, setup_context=_setup)


@internals.constant
def text_of(program: Program) -> str:
    """The program's text; a constant to torch.compile."""
    return program.to_json()


def run(call: Call) -> Result:
    """Run a call by the operator."""
    program = call.program
    initial = () if call.reset is None or call.initial is None else call.initial
    parameters = [call.parameters[p.name] for p in program.parameters]
    extras = [call.extras[e.name] for e in program.extras]
    tensors = (call.x, *call.states, *initial, *parameters, *extras)
    keep = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    results = sequence(
        text_of(program), list(call.sizes.values()), call.x, list(call.states), list(initial), parameters, extras,
        call.valid, call.reset, call.reverse, keep,
    )  # fmt: skip
    return Result(results[0], tuple(results[1 : 1 + len(program.states)]))
