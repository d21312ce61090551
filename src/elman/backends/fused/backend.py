"""The backend ``torch``: a program that is one of torch's networks runs on torch's own kernel for it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from elman.backends.contract import Call, Result
from elman.backends.fused import kernel
from elman.backends.fused.recognise import recognise
from elman.backends.reference import Reference
from elman.backends.tensors import differentiable_again, gradients, tensors_of, with_tensors


class Fused:
    """Hands a call to torch's LSTM, GRU or RNN where the program computes that network."""

    name = "torch"

    def refuses(self, call: Call) -> str | None:
        """Why torch's kernels cannot take ``call``, or None where they can."""
        if recognise(call.program) is None:
            return "has kernels for the LSTM, GRU and RNN of torch.nn alone, and this program is none of them"
        if call.record:
            return "does not record values of the steps"
        if call.reset is not None:
            return "cannot reset a state in mid-sequence"
        if 0 in call.x.shape[:2]:
            return "needs a step and a row at least"
        return _tensors(call) or _mode()

    def run(self, call: Call) -> Result:
        """Run ``call``; differentiable by torch, a second time by the reference."""
        network = recognise(call.program)
        assert network is not None
        kernel.flatten(call, network)
        tensors = tensors_of(call)
        if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
            output, *states = _Sequence.apply(call, *tensors)
            return Result(output, tuple(states))
        return _forward(call, training=False)


def _forward(call: Call, training: bool) -> Result:
    network = recognise(call.program)
    assert network is not None
    return kernel.run(call, network, training)


def _tensors(call: Call) -> str | None:
    autocast = torch.is_autocast_enabled(call.x.device.type)
    for tensor in (call.x, *call.states, *call.parameters.values()):
        if not tensor.is_floating_point():
            return f"computes with floating-point numbers and got {tensor.dtype}"
        if tensor.dtype is not call.x.dtype and not autocast:
            return f"takes one dtype at a time and got {call.x.dtype} and {tensor.dtype}"
        if tensor.device != call.x.device:
            return f"takes one device at a time and got {call.x.device} and {tensor.device}"
        if tensor.layout is not torch.strided:
            return "needs dense tensors"
    return None


def _mode() -> str | None:
    if forward_ad._current_level >= 0:
        return "does not take forward-mode derivatives"
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return "does not run under torch.func's transforms"
    if torch.compiler.is_compiling():
        return "does not run under torch.compile"
    return None


class _Sequence(torch.autograd.Function):
    """A whole sequence as one function of all tensors of its call.

    Its gradient is torch's own, of a graph that is made inside: so a second derivative, which torch's fused kernels
    do not have, can go through the reference.
    """

    @staticmethod
    def forward(ctx: Any, call: Call, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.call = with_tensors(call, [None] * len(tensors))
        ctx.save_for_backward(*tensors)
        ctx.inner = _inner(call, ctx.needs_input_grad[1:])
        result = ctx.inner[1]
        return tuple(t.detach() for t in (result.output, *result.states))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        needs = ctx.needs_input_grad[1:]
        call = with_tensors(ctx.call, ctx.saved_tensors)
        if torch.is_grad_enabled():
            return (None, *differentiable_again(Reference(), call, needs, grads))
        # The graph inside is used up by the first pass; for another over a graph that was retained it is made again.
        leaves, result = ctx.inner or _inner(call, needs)
        ctx.inner = None
        found = iter(gradients(result, grads, [t for t in leaves if t.requires_grad]))
        return (None, *(next(found) if leaf.requires_grad else None for leaf in leaves))


def _inner(call: Call, needs: tuple[bool, ...]) -> tuple[list[Tensor], Result]:
    """The call run on leaves of its own, and these."""
    leaves = [t.detach().requires_grad_(need) for t, need in zip(tensors_of(call), needs, strict=True)]
    with torch.enable_grad():
        return leaves, _forward(with_tensors(call, leaves), training=True)
