"""The one comparison of a backend with the reference: outputs, final states and every gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from elman.backends import Backend, Call
from elman.backends.reference import Reference
from elman.cells import REGISTRY
from elman.equations import Cell, Program
from elman.layers import Recurrent
from elman.sequences import running

CELLS = [pytest.param(cell, id=name) for name, cell in REGISTRY.items()]


@dataclass(frozen=True)
class Tolerance:
    """A result may err by ``own`` times what rounding alone does to it, plus ``floor``.

    What rounding does is measured for each call: what the reference errs in the same dtype, and by how much it changes
    in float64 where every given number is off by one rounding of that dtype. So a cell that divides by something small
    is allowed what follows from that, and every other is held to the floor. Errors are relative to the largest entry of
    the true result, which is the reference's in float64.
    """

    own: float
    floor: float


TOLERANCES = {
    torch.float64: Tolerance(own=4.0, floor=1e-12),
    torch.float32: Tolerance(own=4.0, floor=2e-6),
    torch.bfloat16: Tolerance(own=4.0, floor=2e-2),
    torch.float16: Tolerance(own=4.0, floor=3e-3),
}


def sizes_of(program: Program, I: int, H: int) -> dict[str, int]:
    """Sizes for ``program``, those of its own unlike H where it has no blocks."""
    blocks = max((node.blocks for node in program.nodes), default=1)
    H = H if H % blocks == 0 else H + blocks - H % blocks
    named = {name: H + blocks * (k + 1) for k, name in enumerate(program.size_names)}
    I = {"input": I, "hidden": H, **named}[program.input_size]
    return program.sizes(I, H, **named)


def further_inputs(layer: Recurrent, x: Tensor) -> dict[str, Tensor]:
    """What ``layer`` takes beside x (T, B, I), by name: 0.1, 0.2, ... by the step, the same for every row."""
    sizes, steps = layer.stack.sizes[0], torch.arange(1, len(x) + 1).to(x.dtype) / 10
    return {e.name: steps[:, None, None].repeat(1, x.shape[1], sizes[e.size]) for e in layer.program.extras}


def make_call(
    cell: Cell | Program,
    B: int = 3,
    T: int = 7,
    I: int = 2,
    H: int = 5,
    lengths: Sequence[int] | None = None,
    reset: Tensor | None = None,
    reverse: bool = False,
    dtype: torch.dtype = torch.float64,
    per_row: Sequence[str] = (),
    seed: int = 0,
    options: Mapping[str, object] | None = None,
    initial: bool = False,
) -> Call:
    """A call with random leaves that ask for their gradients; what stands in the padding is NaN.

    Extras are positive, (T, B, n), or (B, n) where named in ``per_row``. With ``initial``, a reset
    goes back to states other than those that the call starts with.
    """
    program = cell if isinstance(cell, Program) else cell.program(**(options or {}))
    sizes = sizes_of(program, I, H)
    generator = torch.Generator().manual_seed(seed)

    def leaf(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    parameters = {p.name: leaf(*p.shape(sizes)) / 2 for p in program.parameters}
    x = leaf(T, B, sizes[program.input_size])
    states = [leaf(B, sizes[s.size]) for s in program.states]
    others = [leaf(B, sizes[s.size]) for s in program.states] if initial else []
    shapes = {e.name: (B, sizes[e.size]) if e.name in per_row else (T, B, sizes[e.size]) for e in program.extras}
    extras = {name: leaf(*shape).abs() + 0.1 for name, shape in shapes.items()}
    valid = None if lengths is None else running(torch.tensor(lengths), T)
    if valid is not None:
        for value in (x, *(e for e in extras.values() if e.dim() == 3)):
            value[~valid] = torch.nan

    def finish(value: Tensor) -> Tensor:
        return value.to(dtype).requires_grad_()

    return Call(
        program=program,
        sizes=sizes,
        parameters={n: finish(p) for n, p in parameters.items()},
        x=finish(x),
        states=tuple(finish(s) for s in states),
        extras={n: finish(e) for n, e in extras.items()},
        valid=valid,
        reset=reset,
        reverse=reverse,
        initial=tuple(finish(s) for s in others) if initial else None,
    )


def leaves(call: Call) -> dict[str, Tensor]:
    """Everything a gradient is asked for, by name."""
    states = {f"initial {s.name}": t for s, t in zip(call.program.states, call.states, strict=True)}
    states |= {f"reset {s.name}": t for s, t in zip(call.program.states, call.initial or (), strict=False)}
    return {"x": call.x} | states | dict(call.extras) | dict(call.parameters)


def cast(call: Call, dtype: torch.dtype) -> Call:
    """The same call in another dtype, with leaves of its own."""

    def own(tensor: Tensor) -> Tensor:
        return tensor.detach().to(dtype).requires_grad_()

    return replace(
        call,
        x=own(call.x),
        states=tuple(own(s) for s in call.states),
        initial=None if call.initial is None else tuple(own(s) for s in call.initial),
        parameters={n: own(p) for n, p in call.parameters.items()},
        extras={n: own(e) for n, e in call.extras.items()},
    )


def off_by_a_rounding(call: Call, dtype: torch.dtype, seed: int) -> Call:
    """The call in float64, each of its numbers moved by at most one rounding of ``dtype``."""
    generator = torch.Generator().manual_seed(seed)

    def moved(tensor: Tensor) -> Tensor:
        by = torch.rand(tensor.shape, generator=generator, dtype=torch.float64) * 2 - 1
        return (tensor.detach().double() * (1 + by * torch.finfo(dtype).eps)).requires_grad_()

    return replace(
        call,
        x=moved(call.x),
        states=tuple(moved(s) for s in call.states),
        initial=None if call.initial is None else tuple(moved(s) for s in call.initial),
        parameters={n: moved(p) for n, p in call.parameters.items()},
        extras={n: moved(e) for n, e in call.extras.items()},
    )


def outcome(backend: Backend, call: Call, seed: int = 1) -> dict[str, Tensor]:
    """Output, final states, and the gradient of every leaf under random cotangents."""
    result = backend.run(call)
    values = {"output": result.output}
    values |= {f"final {s.name}": v for s, v in zip(call.program.states, result.states, strict=True)}
    generator = torch.Generator().manual_seed(seed)
    cotangents = [torch.randn(v.shape, generator=generator, dtype=torch.float64).to(v.dtype) for v in values.values()]
    wanted = leaves(call)
    gradients = torch.autograd.grad(
        list(values.values()), list(wanted.values()), cotangents, allow_unused=True, materialize_grads=True
    )
    return values | {f"gradient of {n}": g for n, g in zip(wanted, gradients, strict=True)}


def error(found: Tensor, want: Tensor) -> float:
    """The largest error relative to the largest entry of ``want``."""
    if found.numel() == 0:
        return 0.0
    scale = max(float(want.detach().double().abs().max()), 1e-3)
    return float((found.detach().double() - want.detach().double()).abs().max()) / scale


def assert_matches_reference(
    cell: Cell | Program,
    backend: Backend,
    B: int = 3,
    T: int = 7,
    I: int = 2,
    H: int = 5,
    lengths: Sequence[int] | None = None,
    reset: Tensor | None = None,
    reverse: bool = False,
    dtype: torch.dtype = torch.float64,
    per_row: Sequence[str] = (),
    seed: int = 0,
    options: Mapping[str, object] | None = None,
    initial: bool = False,
) -> None:
    """Run one call on ``backend`` and on the reference and compare all there is; skips what the backend refuses."""
    call = make_call(cell, B, T, I, H, lengths, reset, reverse, dtype, per_row, seed, options, initial)
    if reason := backend.refuses(call):
        pytest.skip(f"backend '{backend.name}' {reason}")
    found = outcome(backend, call)
    own = outcome(Reference(), cast(call, dtype))
    moved = [outcome(Reference(), off_by_a_rounding(call, dtype, seed)) for seed in range(2)]
    truth = outcome(Reference(), cast(call, torch.float64))
    assert_close(found, [own, *moved], truth, dtype)


def assert_close(
    found: Mapping[str, Tensor],
    rounded: Sequence[Mapping[str, Tensor]],
    truth: Mapping[str, Tensor],
    dtype: torch.dtype,
) -> None:
    """Each of ``found`` errs from ``truth`` at most as the table allows, given what the ``rounded`` references err."""
    tolerance = TOLERANCES[dtype]
    assert found.keys() == truth.keys()
    for name, want in truth.items():
        assert found[name].shape == want.shape, f"{name}: shape {tuple(found[name].shape)}, want {tuple(want.shape)}"
        assert found[name].dtype == dtype, f"{name}: {found[name].dtype}, want {dtype}"
        assert torch.isfinite(want).all(), f"{name}: the reference itself is not finite"
        allowed = tolerance.own * max(error(r[name], want) for r in rounded) + tolerance.floor
        err = error(found[name], want)
        assert err <= allowed, f"{name}: relative error {err:.2e}, allowed {allowed:.2e}"
