"""The CPU backend: what it takes, what it refuses and why."""

from __future__ import annotations

import functools
import sys
from types import ModuleType

import torch
from torch import Tensor, nn

from elman import internals
from elman.backends.contract import Call, Result
from elman.backends.cpu.call import operator
from elman.equations import Program

DTYPES = (torch.float32, torch.float64)


class Cpu:
    """Runs a program as native code over the whole sequence."""

    name = "cpu"

    def refuses(self, call: Call) -> str | None:
        """Why the CPU backend cannot take ``call``, or None where it can."""
        if call.record:
            return "does not record values of the steps"
        if reason := _tensors(call):
            return reason
        if torch.compiler.is_compiling():
            return _leaves() or _constant_reason(call.program, tuple(call.sizes.values())) or None
        return _mode() or _program(call)

    def run(self, call: Call) -> Result:
        """Run ``call``; differentiable by torch."""
        if torch.compiler.is_compiling() or _is_traced(call.x):
            return operator.run(call)
        engine, function = _kernels()
        return function.run(engine.engine(call.program, call.sizes), call)


@functools.cache
def _kernels() -> tuple[ModuleType, ModuleType]:
    """What needs llvmlite, imported with the first call."""
    from elman.backends.cpu.call import engine, function

    return engine, function


def _tensors(call: Call) -> str | None:
    dtype = call.x.dtype
    for tensor in call.tensors:
        if tensor.dtype not in DTYPES:
            return f"computes in float32 and float64 and got {_names(tensor)}"
        if tensor.dtype is not dtype:
            return f"takes one dtype at a time and got {_names(call.x, tensor)}"
        if not tensor.is_cpu:
            return f"needs tensors on the CPU and got one on {tensor.device}"
        if tensor.layout is not torch.strided:
            return "needs dense tensors"
    return None


def _names(*tensors: Tensor) -> str:
    return " and ".join(str(tensor.dtype).removeprefix("torch.") for tensor in tensors)


@internals.constant
def _leaves() -> str:
    """Why not, where torch.onnx writes down what it sees: other runtimes have no kernels of ours."""
    onnx = sys.modules.get("torch.onnx")
    return "cannot be exported to ONNX" if onnx is not None and onnx.is_in_onnx_export() else ""


def _mode() -> str | None:
    if torch.jit.is_tracing():
        return "does not run under torch.jit.trace"
    if torch.is_autocast_enabled("cpu"):
        return "does not run under autocast"
    return internals.transform()


def _is_traced(x: Tensor) -> bool:
    """Whether something looks at every operation (fake tensors, a tracer) and must find one it knows."""
    return type(x) not in (Tensor, nn.Parameter) or internals.is_watched()


def _program(call: Call) -> str | None:
    if not _has_llvm():
        return "needs the package llvmlite, which is not installed"
    reason: str | None = _kernels()[0].engine(call.program, call.sizes).reason
    return reason


@internals.constant
def _constant_reason(program: Program, sizes: tuple[int, ...]) -> str:
    """Why the program cannot be taken, "" where it can; a constant to torch.compile."""
    if not _has_llvm():
        return "needs the package llvmlite, which is not installed"
    from elman.backends.cpu.call.engine import of_values

    return of_values(program.to_json(), sizes).reason or ""


@functools.cache
def _has_llvm() -> bool:
    import importlib.util

    return importlib.util.find_spec("llvmlite") is not None
