"""A number that is not finite, traced to the time step, layer and operation where it first appeared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from elman.backends import Call, choose
from elman.backends.reference import Interpreter
from elman.equations.program import Program
from elman.insight.steps import Back
from elman.insight.unrolled import Unrolled
from elman.layers import Recurrent

HEALING = (
    "what heals it: a gradient clipped sooner (clip) and a smaller lr; recurrent weights that begin orthogonal or as "
    "the identity (init); forget_bias=1 where the cell has a gate f"
)


@dataclass(frozen=True)
class Given:
    """What a module was called with: its name in the model, its arguments, detached."""

    name: str
    module: nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


@torch.no_grad()
def calls_of(model: nn.Module, compute: Callable[[], Tensor]) -> tuple[list[Given], Tensor]:
    """What the model's modules that hold no others are called with while ``compute`` runs, in order; and its result."""
    seen: list[Given] = []

    def note(name: str) -> Callable[[nn.Module, Any, Any], None]:
        return lambda module, args, kwargs: seen.append(Given(name, module, detached(args), detached(kwargs)))

    leaves = [(n, m) for n, m in model.named_modules() if not any(True for _ in m.children())]
    hooks = [module.register_forward_pre_hook(note(name), with_kwargs=True) for name, module in leaves]
    try:
        return seen, compute()
    finally:
        for hook in hooks:
            hook.remove()


def trace_forward(model: nn.Module, seen: Sequence[Given]) -> str | None:
    """Where the first number that is not finite appears in a forward pass, in words; None where there is none.

    ``seen`` are the calls of the model's modules, in order.
    """
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            return f"the parameter {name} itself"
    for call in seen:
        if not _finite((call.args, dict(call.kwargs))):
            return f"what {_called(call)} is given" + _first_step(call)
        if isinstance(call.module, Recurrent):
            if source := trace_layer(call.module, *call.args, **call.kwargs):
                return f"{source} of {_called(call)}"
        elif not _finite(_output(call)):
            return f"the output of {_called(call)}"
    return None


@torch.no_grad()
def trace_layer(
    layer: Recurrent, x: Any, state: Any = None, lengths: Any = None, reset: Any = None, **more: Any
) -> Any:
    """Where the first number that is not finite appears in a layer's run, in words; None where all are.

    >>> import torch, elman
    >>> layer = elman.Recurrent("rnn", 1, 1, nonlinearity="identity", bias=False)
    >>> _ = layer.weight_ih_l0.data.fill_(1.0), layer.weight_hh_l0.data.fill_(1e30)
    >>> trace_layer(layer, torch.ones(5, 1, 1))
    'product, on the way to h, at t=2 of T=5, layer 0'
    """
    calls, _ = layer.calls(x, state, lengths, reset, **more)
    for number, directions in enumerate(calls):
        for call in directions:
            if fault := _first_in(call):
                where = f"layer {number}" + (", backwards in time" if call.reverse else "")
                return f"{fault[1]} at t={fault[0]} of T={len(call.x)}, {where}"
    return None


def _first_in(call: Call) -> tuple[int, str] | None:
    """The first step of one direction whose output or state is not finite, and the first value of it that is not."""
    program = call.program
    results = tuple(dict.fromkeys((program.output, *(s.new for s in program.states))))
    ran = choose(asked := replace(call, record=results)).run(asked)
    wrong = torch.stack([~v.isfinite().all(-1) for v in (ran.output, *ran.recorded.values())]).any(0)
    order = range(len(call.x))[::-1] if call.reverse else range(len(call.x))
    step = next((t for t in order if wrong[t].any()), None)
    if step is None:
        return None
    row = int(wrong[step].nonzero()[0])
    return step, _value(program, _nodes_at(call, ran.recorded, step, row, order))


def _nodes_at(call: Call, recorded: Mapping[int, Tensor], step: int, row: int, order: range) -> int:
    """The first node of one step, in one row, that is not finite."""
    program, one = call.program, slice(row, row + 1)
    inputs = call.inputs(program.nodes)
    values = {i: (value[step] if value.dim() == 3 else value)[one] for i, value in inputs.items()}
    fresh = step == order[0] or (call.reset is not None and bool(call.reset[step, row]))
    initial = call.states if call.initial is None or step == order[0] else call.initial
    before = step + 1 if call.reverse else step - 1
    for state, start in zip(program.states, initial, strict=True):
        values[state.old] = (start if fresh else recorded[state.new][before])[one]
    interpreter = Interpreter(program.nodes, program.parameters, call.parameters, call.sizes, call.x)
    for i in range(len(program.nodes)):
        if i not in values:
            interpreter.run([i], values)
        if values[i].is_floating_point() and not values[i].isfinite().all():
            return i
    return program.output


def _value(program: Program, index: int) -> str:
    """A node in words: its name in the equations, or the nearest value made from it that has one."""
    names = {i: name for name, i in program.values.items()}
    op = program.nodes[index].op
    if index in names:
        return f"{names[index]} ({op})"
    if op in ("input", "extra", "state"):
        return ("the old " if op == "state" else "") + program.nodes[index].name
    users = [index]
    for i in range(index + 1, len(program.nodes)):
        if any(a in users for a in program.nodes[i].args):
            users.append(i)
            if i in names:
                return f"{op}, on the way to {names[i]},"
    return op


def trace_backward(model: nn.Module, compute_loss: Callable[[], Tensor]) -> str | None:
    """Where the gradient of a finite loss is not finite first, going back, in words; None where it is.

    Runs ``compute_loss`` and its backward pass once more, and leaves its gradients in the model.
    """
    seen: list[tuple[Given, Tensor]] = []

    def enter(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if isinstance(output[0], Tensor) and output[0].requires_grad:
            output[0].retain_grad()
            seen.append((Given(names[module], module, detached(args), detached(kwargs)), output[0]))

    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, Recurrent)]
    names: dict[nn.Module, str] = {module: name for name, module in layers}
    hooks = [module.register_forward_hook(enter, with_kwargs=True) for module in names]
    try:
        model.zero_grad()
        compute_loss().backward()
    finally:
        for hook in hooks:
            hook.remove()
    for call, output in reversed(seen):
        if output.grad is None:
            continue
        if not output.grad.isfinite().all():
            return f"the gradient that reaches the output of {_called(call)}"
        if source := _trace_back_through(call, output.grad):
            return f"{source} of {_called(call)}"
    wrong = [name for name, p in model.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
    return f"the gradient of {wrong[-1]}" if wrong else None


def _trace_back_through(call: Given, gradient: Tensor) -> str | None:
    layer = call.module
    assert isinstance(layer, Recurrent)
    x, *more = call.args
    named = dict(zip(("state", "lengths", "reset"), more, strict=False))
    unrolled = Unrolled.in_dtype(gradient.dtype, layer, x, **named, **call.kwargs)
    cotangent = gradient.unsqueeze(1) if gradient.dim() == 2 else gradient
    cotangent = cotangent.transpose(0, 1) if layer.batch_first and gradient.dim() == 3 else cotangent
    sources: list[str] = []

    def look(place: tuple[int, int], back: Back) -> None:
        if not sources and (what := _first_of(back)):
            where = f"layer {place[0]}" + (", backwards in time" if place[1] else "")
            sources.append(f"the gradient of {what} at t={back.step} of T={back.steps.count}, {where}")

    unrolled.back(cotangent.unsqueeze(0), look)
    return sources[0] if sources else None


def _first_of(back: Back) -> str | None:
    """The value whose cotangent is the first that is not finite in this step."""
    backward = back.steps.backward
    whose = {index: node for node, index in enumerate(backward.gradients) if index is not None}
    for index in sorted(back.values):
        if index >= len(backward.program.nodes) and not back.values[index].isfinite().all():
            after = next((i for i in sorted(whose) if i >= index), None)
            return backward.nodes[index].op if after is None else _value(backward.program, whose[after])
    return None


def detached(value: Any) -> Any:
    """``value`` cut off from the gradient, in whatever tuples and dicts it stands."""
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, dict):
        return {name: detached(part) for name, part in value.items()}
    if type(value) in (tuple, list):
        return type(value)(detached(part) for part in value)
    return value


def _finite(value: Any) -> bool:
    if isinstance(value, Tensor):
        return not value.is_floating_point() or bool(value.isfinite().all())
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else ()
    return all(_finite(part) for part in inner)


@torch.no_grad()
def _output(call: Given) -> Any:
    return call.module(*call.args, **call.kwargs)


def _called(call: Given) -> str:
    return f"'{call.name}'" if call.name else "the model"


def _first_step(call: Given) -> str:
    """Of a sequence (T, B, I), the step that is not finite first."""
    x = call.args[0] if call.args else None
    if not isinstance(call.module, Recurrent) or not isinstance(x, Tensor) or _finite(x):
        return ""
    steps = x.transpose(0, 1) if call.module.batch_first and x.dim() == 3 else x
    step = next(t for t, here in enumerate(steps) if not _finite(here))
    return f": x at t={step} of T={len(steps)}"
