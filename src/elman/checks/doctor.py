"""What each backend takes of the catalogue on this machine, and whether it agrees with the reference there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from elman.backends import BACKENDS, Backend, Call, report
from elman.cells import REGISTRY
from elman.equations import Program

TRUTH = "reference"
ALLOWED = 1e-5  # of the largest entry; rounding in float32 errs about 1e-6 here
TAKES = "takes it"


def examine() -> dict[str, Any]:
    """Check every backend with every cell against the reference.

    For each: whether it takes the cell, or why not, and the largest error.

    The case is small and random: float32, rows of several lengths, a reset, sizes that fill no vector. ``error`` is
    relative, over the output, the final states and every gradient. ``problems`` says in words what is wrong.
    """
    cells = {name: _examine(cell.program()) for name, cell in REGISTRY.items()}
    return {"backends": _by_backend(cells), "problems": findings(cells)}


def _examine(program: Program) -> dict[str, dict[str, Any]]:
    call = small_call(program)
    truth = outcome(BACKENDS[TRUTH], small_call(program, torch.float64))
    return {name: {"answer": answer, **_check(name, answer, call, truth)} for name, answer in report(call).items()}


def _check(name: str, answer: str, call: Call, truth: Mapping[str, Tensor]) -> dict[str, Any]:
    if answer != TAKES:
        return {}
    try:
        return {"error": largest_error(outcome(BACKENDS[name], call), truth)}
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {error}"}


def _by_backend(cells: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: {cell: results[name] for cell, results in cells.items()} for name in BACKENDS}


def findings(cells: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """What is wrong, in words: backends that failed, or whose error is not rounding.

    >>> findings({"lstm": {"cpu": {"answer": "takes it", "error": 0.5}}})
    ["backend 'cpu' errs by 5.0e-01 on 'lstm', which is more than rounding (1e-05)"]
    """
    problems = []
    for cell, backends in cells.items():
        for name, result in backends.items():
            if "failed" in result:
                problems.append(f"backend '{name}' fails on '{cell}': {result['failed']}")
            # Not "above": an error that is no number is wrong too.
            elif "error" in result and not result["error"] <= ALLOWED:
                error = f"errs by {result['error']:.1e} on '{cell}'"
                problems.append(f"backend '{name}' {error}, which is more than rounding ({ALLOWED})")
    return problems


def small_call(program: Program, dtype: torch.dtype = torch.float32, B: int = 5, T: int = 9, H: int = 21) -> Call:
    """A case of random numbers, the same in every dtype: rows of several lengths with NaN in the padding, a reset.

    >>> from elman.cells import get
    >>> small_call(get("lstm").program()).x.shape
    torch.Size([9, 5, 3])
    """
    sizes = _sizes(program, 3, H)
    generator = torch.Generator().manual_seed(0)

    def leaf(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    valid = torch.arange(T).unsqueeze(1) < torch.tensor([T - row % 4 for row in range(B)])
    reset = torch.zeros(T, B, dtype=torch.bool)
    reset[T // 2, 0] = True
    x = leaf(T, B, sizes[program.input_size])
    parameters = {p.name: leaf(*p.shape(sizes)) / 3 for p in program.parameters}
    extras = {e.name: leaf(T, B, sizes[e.size]).abs() + 0.1 for e in program.extras}
    nothing = tuple(x.new_zeros(B, sizes[s.size]) for s in program.states)
    states = _reached(Call(program, sizes, parameters, x, nothing, extras), dtype)
    poisoned = x.masked_fill(~valid.unsqueeze(-1), torch.nan)
    call = Call(program, sizes, parameters, poisoned, states, extras, valid, reset)
    for value in _leaves(call).values():
        value.requires_grad_()
    return call


def _reached(call: Call, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """States that the cell comes to by itself, the same in every dtype: equations may divide by what is never 0."""
    double = replace(
        call,
        x=call.x.double(),
        states=tuple(s.double() for s in call.states),
        parameters={name: p.double() for name, p in call.parameters.items()},
        extras={name: e.double() for name, e in call.extras.items()},
    )
    with torch.no_grad():
        return tuple(s.float().to(dtype) for s in BACKENDS[TRUTH].run(double).states)


def _sizes(program: Program, I: int, H: int) -> dict[str, int]:
    """Sizes that fit the program: its blocks divide them, and x is as wide as the equations use it."""
    blocks = max((node.blocks for node in program.nodes), default=1)
    H = -(-H // blocks) * blocks
    width = I * blocks if program.input_size == "input" else H
    return program.sizes(width, H)


def _leaves(call: Call) -> dict[str, Tensor]:
    states = {f"initial {s.name}": t for s, t in zip(call.program.states, call.states, strict=True)}
    return {"x": call.x} | states | dict(call.extras) | dict(call.parameters)


def outcome(backend: Backend, call: Call) -> dict[str, Tensor]:
    """Output, final states and the gradient of every leaf, under the gradients cos(0), cos(1), ... of each result."""
    result = backend.run(call)
    values = {"output": result.output}
    values |= {f"final {s.name}": v for s, v in zip(call.program.states, result.states, strict=True)}
    cotangents = [torch.arange(v.numel(), dtype=torch.float64).cos().view(v.shape).to(v.dtype) for v in values.values()]
    leaves = _leaves(call)
    gradients = torch.autograd.grad(
        list(values.values()), list(leaves.values()), cotangents, allow_unused=True, materialize_grads=True
    )
    return values | {f"gradient of {name}": g for name, g in zip(leaves, gradients, strict=True)}


def largest_error(computed: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> float:
    """The largest error of any tensor, relative to that tensor's largest entry; NaN where there is one.

    >>> largest_error({"output": torch.tensor([1.0, 2.5])}, {"output": torch.tensor([1.0, 2.0])})
    0.25
    """
    return _worst(_error(computed[name], want) for name, want in truth.items())


def _error(computed: Tensor, want: Tensor) -> float:
    if computed.shape != want.shape:
        return float("inf")
    computed, want = computed.detach().double(), want.detach().double()
    return float((computed - want).abs().max() / want.abs().max().clamp(min=1e-3))


def _worst(errors: Iterable[float]) -> float:
    listed = list(errors)
    return next((e for e in listed if e != e), max(listed, default=0.0))
