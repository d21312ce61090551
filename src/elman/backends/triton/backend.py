"""The Triton backend: what it takes, what it refuses and why."""

from __future__ import annotations

import functools
import importlib.util
import os
from dataclasses import replace

import torch
from torch import Tensor

from elman import internals
from elman.backends.contract import Call, Result
from elman.backends.inner import run_inside
from elman.backends.plan.plan import Plan, plan_of
from elman.backends.reference import Interpreter, hoisted
from elman.backends.triton.layout import Layout, Variant, bytes_of, card_of, layout_of
from elman.backends.triton.linear import states_are_linear
from elman.equations import Program
from elman.equations.loop import Loop, loop_of

KINDS = {3: "steps", 2: "rows", 1: "all", 0: "all"}  # of a further input, by its dimensions


class Triton:
    """Runs the inside of a program's loop as one kernel for the whole sequence, on CUDA."""

    name = "triton"

    def refuses(self, call: Call) -> str | None:
        """Why Triton cannot take ``call``, or None where it can."""
        if importlib.util.find_spec("triton") is None:
            return "needs the package triton: pip install 'elman[triton]'"
        if reason := _tensors(call):
            return reason
        if call.record:
            return "does not record values of the steps"
        if 0 in call.x.shape[:2]:
            return "needs a step and a row at least"
        if torch.jit.is_tracing() or torch.compiler.is_compiling():
            return "does not run under torch.jit.trace or torch.compile"
        if torch.is_autocast_enabled(call.x.device.type):
            return "does not run under autocast"
        return internals.transform() or _program(call)

    def run(self, call: Call) -> Result:
        """Run ``call``; differentiable by torch, a second time by the reference."""
        from elman.backends.triton import linear, sequence
        from elman.backends.triton.kernel import kernels

        loop, is_linear = _loop(call.program)
        if is_linear:
            return run_inside(lambda given, _: linear.run(_inside(given, loop)), call)
        inside = _inside(call, loop)
        layout = _layout(plan_of(inside.program, tuple(inside.sizes.items())), inside)
        assert layout is not None
        return sequence.run(kernels(inside.program, tuple(inside.sizes.items()), _variant(inside, layout)), inside)


def _layout(plan: Plan, call: Call) -> Layout | None:
    return layout_of(plan, call.x.shape[1], bytes_of(call.x.dtype), card_of(call.x.device))


def _tensors(call: Call) -> str | None:
    for tensor in call.tensors:
        if tensor.device.type != "cuda" and not interprets():
            return f"needs tensors on CUDA and got one on {tensor.device}"
        if tensor.device != call.x.device:
            return f"takes one device at a time and got {call.x.device} and {tensor.device}"
        if tensor.dtype is not call.x.dtype:
            return f"takes one dtype at a time and got {call.x.dtype} and {tensor.dtype}"
        if tensor.dtype not in (torch.float32, torch.bfloat16, torch.float16) and not interprets():
            return f"computes in float32, bfloat16 and float16 and got {tensor.dtype}"
        if tensor.layout is not torch.strided:
            return "needs dense tensors"
    return None


def interprets() -> bool:
    """Whether Triton interprets its kernels on the CPU, as ``TRITON_INTERPRET=1`` asks: good for tests."""
    return os.environ.get("TRITON_INTERPRET", "0") == "1"


@functools.lru_cache(maxsize=256)
def _loop(program: Program) -> tuple[Loop, bool]:
    """The inside of a program's loop, and whether it is linear in its states: asked at every call."""
    loop = loop_of(program)
    return loop, states_are_linear(loop.program)


def _program(call: Call) -> str | None:
    from elman.backends.triton.functions import unwritten

    loop, is_linear = _loop(call.program)
    if is_linear:
        return None
    plan = plan_of(loop.program, tuple(call.sizes.items()))
    if op := unwritten(plan.nodes):
        return f"has no function '{op}'"
    if _layout(plan, call) is None:
        return "would need more processors than the card has, for so many units"
    return None


def _inside(call: Call, loop: Loop) -> Call:
    """The call of a loop: what was hoisted out of it is computed, by torch, and given."""
    interpreter = Interpreter(call.program.nodes, call.program.parameters, call.parameters, call.sizes, call.x)
    values = hoisted(interpreter, call)
    extras = {
        extra.name: _wide(values[i], call.sizes[extra.size])
        for extra, i in zip(loop.program.extras, loop.hoisted, strict=True)
    }
    parameters = {p.name: call.parameters[p.name] for p in loop.program.parameters}
    return replace(call, program=loop.program, extras=extras, parameters=parameters)


def _wide(value: Tensor, size: int) -> Tensor:
    """``value`` with as many units as it stands for."""
    return value.expand(*value.shape[:-1], size) if value.dim() else value.expand(size)


def _variant(inside: Call, layout: Layout) -> Variant:
    kinds = tuple(KINDS[extra.dim()] for extra in inside.extras.values())
    keep = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inside.tensors)
    return Variant(layout, kinds, inside.valid is not None, inside.reset is not None, inside.reverse, keep)
