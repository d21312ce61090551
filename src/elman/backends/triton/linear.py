"""Loops that are linear in their states, unit by unit: each step is h -> a h + b, and steps can be joined."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from elman.backends.contract import Call, Result
from elman.backends.reference import Interpreter
from elman.equations import Program

Value = Tensor | float


@dataclass(frozen=True)
class Affine:
    """factor * state + added; ``state`` is None where none is in it."""

    added: Value
    factor: Value = 0.0
    state: int | None = None


def states_are_linear(program: Program) -> bool:
    """Whether every new state is affine in its own old one, with factors that no state is in.

    >>> import elman
    >>> from elman.equations.loop import loop_of
    >>> [states_are_linear(loop_of(elman.cells.get(name).program()).program) for name in ("mingru", "indrnn")]
    [True, False]
    """
    found = _affine(program, {i: 1.0 for i, node in enumerate(program.nodes) if node.op == "extra"})
    new = [(k, found.get(state.new)) for k, state in enumerate(program.states)]
    return all(value is not None and value.state in (None, k) for k, value in new)


def run(call: Call) -> Result:
    """Run the ``call`` of a loop whose states are linear; differentiable by torch."""
    from elman.backends.triton.scan import before, scan

    program, (T, B) = call.program, call.x.shape[:2]
    given = {i: call.extras[node.name] for i, node in enumerate(program.nodes) if node.op == "extra"}
    affine = _affine(program, given)
    anew = call.reset if call.reset is None or call.valid is None else call.reset & call.valid
    initial = call.states if call.initial is None else call.initial
    values = dict(given)
    finals = []
    for state, first, restart in zip(program.states, call.states, initial, strict=True):
        step, shape = affine[state.new], (T, B, call.sizes[state.size])
        a, b = (_whole(value, call.x, shape) for value in (step.factor, step.added))
        if anew is not None:
            a, b = _where(anew, torch.zeros_like(a), a), _where(anew, a * restart + b, b)
        if call.valid is not None:
            a, b = _where(call.valid, a, torch.ones_like(a)), _where(call.valid, b, torch.zeros_like(b))
        h = scan(a, b, first, call.reverse)
        old = before(h, first, call.reverse)
        values[state.old] = old if anew is None else _where(anew, restart.expand_as(old), old)
        values[state.new] = h
        finals.append(h[0 if call.reverse else -1].clone())
    output = _whole(_output(call, values), call.x, (T, B, call.sizes[program.output_size]))
    if call.valid is not None:
        output = _where(call.valid, output, torch.zeros_like(output))
    return Result(output, tuple(finals))


def _output(call: Call, values: dict[int, Tensor]) -> Tensor:
    """The output of all steps, from the states of all steps."""
    program = call.program
    needed, open_ = set[int](), [program.output]
    while open_:
        i = open_.pop()
        if i not in needed and i not in values:
            needed.add(i)
            open_.extend(program.nodes[i].args)
    interpreter = Interpreter(program.nodes, program.parameters, call.parameters, call.sizes, call.x)
    interpreter.run(interpreter.plan(sorted(needed)), values)
    return values[program.output]


def _affine(program: Program, given: Mapping[int, Value]) -> dict[int, Affine]:
    """The nodes that are affine in one state, unit by unit, with ``given`` for the further inputs."""
    found = {i: Affine(value) for i, value in given.items()}
    numbers = {state.old: k for k, state in enumerate(program.states)}
    for i, node in enumerate(program.nodes):
        if node.op == "constant" and not isinstance(node.value, tuple):
            found[i] = Affine(float(node.value or 0))
        elif i in numbers:
            found[i] = Affine(0.0, 1.0, numbers[i])
        elif all(a in found for a in node.args) and node.args:
            value = _joined(node.op, [found[a] for a in node.args])
            if value is not None:
                found[i] = value
    return found


def _joined(op: str, args: list[Affine]) -> Affine | None:
    states = {a.state for a in args} - {None}
    if len(states) > 1:
        return None
    state = next(iter(states), None)
    if op == "neg":
        return Affine(-args[0].added, -args[0].factor, state)
    if op in ("add", "sub"):
        sign = 1.0 if op == "add" else -1.0
        return Affine(args[0].added + sign * args[1].added, args[0].factor + sign * args[1].factor, state)
    if op == "mul" and any(a.state is None for a in args):
        plain, other = args if args[0].state is None else args[::-1]
        return Affine(plain.added * other.added, plain.added * other.factor, state)
    if op == "div" and args[1].state is None:
        return Affine(args[0].added / args[1].added, args[0].factor / args[1].added, state)
    return None


def _whole(value: Value, like: Tensor, shape: tuple[int, int, int]) -> Tensor:
    tensor = value if isinstance(value, Tensor) else torch.tensor(value, dtype=like.dtype, device=like.device)
    return tensor.expand(shape)


def _where(mask: Tensor, chosen: Tensor, other: Tensor) -> Tensor:
    return torch.where(mask.unsqueeze(-1), chosen, other)
