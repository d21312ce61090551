"""The backend ``torch``: a program that is one of torch's networks runs on torch's own kernel for it."""

from __future__ import annotations

import torch

from elman import internals
from elman.backends.contract import Call, Result
from elman.backends.fused import kernel
from elman.backends.fused.recognise import recognise
from elman.backends.inner import run_inside


class Fused:
    """Hands a call to torch's LSTM, GRU or RNN where the program computes that network."""

    name = "torch"

    def refuses(self, call: Call) -> str | None:
        """Why torch's kernels cannot take ``call``, or None where they can."""
        network = recognise(call.program)
        if network is None:
            return "has kernels for the LSTM, GRU and RNN of torch.nn alone, and this program is none of them"
        if internals.network(network.kind) is None:
            return f"finds no kernel {network.kind} in this torch"
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
        return run_inside(_forward, call)


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
    if torch.jit.is_tracing():
        return "does not run under torch.jit.trace"
    if torch.compiler.is_compiling():
        return "does not run under torch.compile"
    return internals.transform()
