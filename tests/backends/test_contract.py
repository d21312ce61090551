"""What every backend must hold for every cell of the catalogue: outputs, final states and every gradient.

Both dtypes, odd shapes, rows that end early, resets to other states, both directions, one head and three. A backend
that refuses a case is skipped with its reason.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from elman.backends import BACKENDS, Backend, Call
from elman.cells import REGISTRY, get
from oracle import assert_matches_reference, leaves, make_call

pytestmark = pytest.mark.usefixtures("optimised")

FAST = [backend for backend in BACKENDS.values() if backend.name != "reference"]
CASES = [pytest.param(name, {}, id=name) for name in REGISTRY]
CASES += [pytest.param(n, {"heads": 3}, id=f"{n}-3-heads") for n, cell in REGISTRY.items() if "heads" in cell.options]
DTYPES = [torch.float32, torch.float64]
# Triton is interpreted: its gradients are compared with the reference's, once.
RUNS = [
    pytest.param(b, d, id=f"{b.name}-{d}") for b in FAST for d in DTYPES if (b.name, d) != ("triton", torch.float32)
]
OF_DIFFERENCES = [backend for backend in BACKENDS.values() if backend.name != "triton"]


def resets(T: int, B: int) -> Tensor:
    """Some here and there, and all at the last step, which for some rows is padding."""
    mask = torch.rand(T, B, generator=torch.Generator().manual_seed(3)) < 0.3
    mask[-1] = True
    return mask


SHAPES = [
    pytest.param({"B": 3, "T": 7, "I": 2, "H": 5}, id="plain"),
    pytest.param(
        {"B": 5, "T": 6, "I": 3, "H": 17, "lengths": [6, 0, 3, 1, 6], "reset": resets(6, 5), "initial": True,
         "reverse": True}, id="all",
    ),
    pytest.param({"B": 1, "T": 4, "I": 1, "H": 1, "reset": resets(4, 1)}, id="one", marks=pytest.mark.slow),
    pytest.param(
        {"B": 4, "T": 5, "I": 33, "H": 20, "lengths": [5, 2, 4, 5], "reverse": True}, id="wide", marks=pytest.mark.slow
    ),
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("backend", "dtype"), RUNS)
@pytest.mark.parametrize(("name", "options"), CASES)
def test_equals_the_reference(name, options, dtype, shape, backend):
    assert_matches_reference(get(name), backend, dtype=dtype, options=options, **shape)


@pytest.mark.parametrize("backend", FAST, ids=lambda b: b.name)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", [name for name, cell in REGISTRY.items() if cell.inputs])
def test_further_inputs_of_a_row(name, dtype, backend):
    assert_matches_reference(get(name), backend, dtype=dtype, per_row=list(get(name).inputs), lengths=[7, 0, 4])


def runner(backend: Backend, call: Call):
    """The call as a function of all its leaves, for gradcheck."""
    named = leaves(call)

    def run(*values: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(named, values, strict=True))
        states = tuple(given[f"initial {s.name}"] for s in call.program.states)
        parameters = {n: given[n] for n in call.parameters}
        extras = {n: given[n] for n in call.extras}
        result = backend.run(replace(call, x=given["x"], states=states, parameters=parameters, extras=extras))
        return (result.output, *result.states)

    return run, tuple(named.values())


@pytest.mark.parametrize("backend", OF_DIFFERENCES, ids=lambda b: b.name)
@pytest.mark.parametrize(("name", "options"), CASES)
def test_gradients_in_double_are_those_of_differences(name, options, backend):
    call = make_call(get(name), B=2, T=3, I=2, H=3, options=options)
    if reason := backend.refuses(call):
        pytest.skip(f"backend '{backend.name}' {reason}")
    run, values = runner(backend, call)
    # Small differences: a step of the usual 1e-6 is far inside what separates these values from a kink.
    assert torch.autograd.gradcheck(run, values, fast_mode=True, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["cpu", "triton"])
def test_second_derivatives_where_one_input_is_made_from_another(name):
    call = make_call(get("cfc"), B=2, T=3, I=2, H=3)

    def second(backend: Backend) -> list[Tensor]:
        gap = call.x.square().sum(-1, keepdim=True) + call.extras["gap"]
        output = backend.run(replace(call, extras={"gap": gap})).output
        (first,) = torch.autograd.grad(output.square().sum(), call.x, create_graph=True)
        return list(torch.autograd.grad(first.square().sum(), [call.x, *call.parameters.values()]))

    for found, want in zip(second(BACKENDS[name]), second(BACKENDS["reference"]), strict=True):
        torch.testing.assert_close(found, want)
