"""The CPU backend against the reference: every cell, odd shapes, lengths, resets, directions, vector widths."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from statistics import median

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cells_outside import OUTSIDE
from cpu_cells import (
    OWN,
    centred,
    coupled,
    four_heads,
    gaps,
    mingru,
    odd,
    raw,
    row_groups,
    rows_cell,
    scalar_gate,
    three_heads,
)
from elman import cells
from elman.backends.cpu import Cpu
from elman.backends.cpu.call import runner
from elman.backends.cpu.llvm import machine
from elman.backends.reference import Reference
from elman.layers import Recurrent
from oracle import assert_matches_reference, cast, error, leaves, make_call, outcome

CPU = Cpu()
SINGLE = {"dtype": torch.float32, "backend": CPU}
EVERY = [*OWN, *(c for c in OUTSIDE if c.name not in {own.name for own in OWN})]
# One of each kind: a stage, several, comparisons, a learned number, totals, blocks.
KINDS = [cells.get("lstm"), cells.get("gru_cho"), odd, raw, centred, three_heads]


def resets(T, B):
    """Some here and there, and all at the last step, which for some rows is padding."""
    mask = torch.rand(T, B, generator=torch.Generator().manual_seed(3)) < 0.3
    mask[-1] = True
    return mask


SHAPES = [
    pytest.param({"B": 3, "T": 7, "I": 2, "H": 5}, id="plain"),
    pytest.param({"B": 5, "T": 6, "I": 3, "H": 17, "lengths": [6, 0, 3, 1, 6], "reverse": True}, id="lengths"),
    pytest.param({"B": 1, "T": 4, "I": 1, "H": 1, "reset": resets(4, 1), "reverse": True}, id="one"),
    pytest.param(
        {"B": 4, "T": 5, "I": 33, "H": 20, "lengths": [5, 2, 4, 5], "reset": resets(5, 4), "initial": True},
        id="all",
    ),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cell", [pytest.param(c, id=c.name) for c in EVERY])  # the catalogue: test_contract.py
def test_equals_the_reference(cell, shape):
    assert_matches_reference(cell, **SINGLE, **shape)


@pytest.mark.parametrize("cell", [pytest.param(c, id=c.name) for c in EVERY])  # the catalogue: test_contract.py
def test_equals_the_reference_in_float64(cell):
    shape = {"B": 5, "T": 6, "I": 3, "H": 17, "lengths": [6, 0, 3, 1, 6], "reset": resets(6, 5), "initial": True}
    assert_matches_reference(cell, CPU, dtype=torch.float64, **shape)


@pytest.mark.parametrize("chosen", [cells.get("lstm"), cells.get("gru_cho"), centred, four_heads], ids=lambda c: c.name)
def test_gradcheck_through_the_kernels(chosen):
    call = make_call(chosen, B=2, T=3, I=2, H=4)
    wanted = leaves(call)
    states, parameters = [f"initial {s.name}" for s in call.program.states], list(call.parameters)

    def run(*tensors):
        given = dict(zip(wanted, tensors, strict=True))
        result = CPU.run(
            replace(
                call,
                x=given["x"],
                states=tuple(given[n] for n in states),
                parameters={n: given[n] for n in parameters},
            )
        )
        return result.output, *result.states

    assert torch.autograd.gradcheck(run, list(wanted.values()))


@pytest.mark.parametrize("chosen", [cells.get("lstm"), cells.get("gru_cho"), centred, four_heads], ids=lambda c: c.name)
def test_gradients_formed_in_several_stretches(chosen, monkeypatch):
    monkeypatch.setattr(runner, "_COLUMNS", 1)
    shape = {"B": 3, "T": 200, "I": 6, "H": 8, "lengths": [200, 85, 190], "reset": resets(200, 3)}
    for reverse in (False, True):
        assert_matches_reference(chosen, CPU, dtype=torch.float64, reverse=reverse, **shape)


def test_takes_every_cell():
    taken = [*EVERY, *cells.REGISTRY.values()]
    for dtype in (torch.float32, torch.float64):
        assert not [c.name for c in taken if CPU.refuses(make_call(c, dtype=dtype))]


@pytest.mark.parametrize("names", row_groups(), ids=",".join)
def test_every_row_of_the_table(names):
    assert CPU.refuses(make_call(rows_cell(names), dtype=torch.float32)) is None
    assert_matches_reference(rows_cell(names), **SINGLE, B=3, T=5, I=2, H=7, seed=2)


@pytest.mark.parametrize("width", machine.WIDTHS)
@pytest.mark.parametrize(
    "chosen", [cells.get("lstm"), cells.get("gru_cho"), odd, raw, centred, three_heads], ids=lambda c: c.name
)
def test_every_vector_width(chosen, width):
    if width not in machine.widths():
        pytest.skip(f"this processor has no vectors of {width} floats")
    with machine.forced(width):
        shape = {"B": 9, "T": 5, "I": 6, "H": 19, "lengths": [5, 4, 1, 0, 5, 2, 5, 3, 5]}
        assert_matches_reference(chosen, **SINGLE, **shape)
        assert_matches_reference(chosen, CPU, dtype=torch.float64, **shape)


@pytest.mark.parametrize("B", [128, 129, 130, 145, 178, 255, 273, 530])
def test_no_share_of_the_rows_is_empty(B):
    """Of 16 shares and more the last could have no rows, and its gradient was what stood in memory."""
    layer, plain = (Recurrent("gru", 3, 8, backend=backend) for backend in ("cpu", "reference"))
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(4, B, 3)
    for length in (1 << k for k in range(6, 20)):  # what is given back is taken again: nothing of it may count
        [torch.full((length,), torch.nan) for _ in range(4)].clear()
    for each in (layer, plain):
        each(x)[0].square().sum().backward()
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(layer.get_parameter(name).grad, parameter.grad, rtol=1e-4, atol=1e-3)


def test_the_widest_vectors_can_be_told():
    told = "from elman.backends.cpu.llvm import machine; print(machine.width())"
    for most in ("4", "8", "32"):
        settings = {**os.environ, "ELMAN_VECTORS": most}
        done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, env=settings, check=False)
        if most == "32":
            assert "ELMAN_VECTORS: got '32', want 16, 8, 4" in done.stderr
        else:
            assert int(done.stdout) == max(w for w in machine.widths() if w <= int(most))


@pytest.mark.full
@settings(max_examples=12, deadline=None)
@given(st.sampled_from(["rnn", "gru"]), st.integers(1, 9), st.integers(1, 6), st.integers(1, 40), st.integers(1, 70))
def test_any_shape(name, B, T, I, H):
    assert_matches_reference(cells.get(name), **SINGLE, B=B, T=T, I=I, H=H)


@pytest.mark.parametrize("shape", [(0, 3), (4, 0)], ids=["no steps", "no rows"])
def test_nothing_to_do(shape):
    T, B = shape
    call = make_call(cells.get("lstm"), B=B, T=T, dtype=torch.float32)
    found = outcome(CPU, call)
    assert found["output"].shape == (T, B, 5)
    assert torch.equal(found["final h"], call.states[0])
    assert not any(found[f"gradient of {n}"].any() for n in ("x", "weight_ih", "bias_hh"))
    assert found["gradient of initial c"].shape == (B, 5)


@pytest.mark.parametrize("chosen", [gaps, cells.get("cfc"), scalar_gate], ids=lambda c: c.name)
def test_per_row_extras(chosen):
    assert_matches_reference(chosen, **SINGLE, B=4, T=5, I=2, H=6, per_row=list(chosen.inputs))


def test_strided_and_expanded_inputs():
    call = make_call(cells.get("lstm"), B=4, T=6, I=3, H=5, dtype=torch.float32)
    wide = torch.randn(4, 3, 12, 2, dtype=torch.float32)
    x = wide[:, :, ::2, 0].permute(2, 0, 1).requires_grad_()
    states = tuple(torch.randn(1, 5).expand(4, 5).detach().requires_grad_() for _ in range(2))
    given = {n: p.detach().t().contiguous().t().requires_grad_() for n, p in call.parameters.items() if p.dim() == 2}
    call = replace(call, x=x, states=states, parameters={**call.parameters, **given})
    own, truth = outcome(CPU, call), outcome(Reference(), cast(call, torch.float64))
    assert all(error(own[name], truth[name]) < 2e-6 for name in truth)


@pytest.mark.parametrize("which", range(3), ids=["output", "h", "c"])
def test_gradient_of_one_result_alone(which):
    call = make_call(coupled, B=3, T=5, H=9, dtype=torch.float32)
    true = cast(call, torch.float64)
    found = []
    for backend, this in ((CPU, call), (Reference(), true)):
        result = backend.run(this)
        value = (result.output, *result.states)[which]
        found.append(torch.autograd.grad(value.square().sum(), list(leaves(this).values()), materialize_grads=True))
    assert all(error(a, b) < 2e-6 for a, b in zip(*found, strict=True))


def test_some_gradients_alone():
    call = make_call(cells.get("lstm"), dtype=torch.float32)
    for frozen in ("weight_hh", "bias_ih", "weight_ih"):
        parameters = {n: p.detach().requires_grad_(n != frozen) for n, p in call.parameters.items()}
        part = replace(call, x=call.x.detach(), parameters=parameters)
        CPU.run(part).output.sum().backward()
        whole = make_call(cells.get("lstm"), dtype=torch.float32)
        CPU.run(whole).output.sum().backward()
        assert parameters[frozen].grad is None
        for name, p in parameters.items():
            assert name == frozen or torch.equal(p.grad, whole.parameters[name].grad)


@pytest.mark.parametrize("chosen", [cells.get("gru"), cells.get("gru_cho"), centred], ids=lambda c: c.name)
def test_same_bits_again_and_saved_tensors_are_kept(chosen):
    call = make_call(chosen, B=7, T=9, I=3, H=33, dtype=torch.float32)
    first, second = outcome(CPU, call), outcome(CPU, call)
    assert all(torch.equal(first[n], second[n]) for n in first)
    result = CPU.run(call)
    wanted = list(leaves(call).values())
    once = torch.autograd.grad(result.output.sum(), wanted, retain_graph=True)
    again = torch.autograd.grad(result.output.sum(), wanted)
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))


@pytest.mark.parametrize("chosen", [*KINDS, mingru], ids=lambda c: c.name)
@pytest.mark.parametrize("I", [3, 20])
def test_shares_of_the_rows_come_together(chosen, I):
    """Of 37 rows, four shares, the last one smaller."""
    shape = {"B": 37, "T": 9, "I": I, "H": 12, "lengths": [9, 4, *range(1, 8), 0, *[9] * 27], "reset": resets(9, 37)}
    assert_matches_reference(chosen, **SINGLE, **shape)


@pytest.mark.parametrize("chosen", [cells.get("lstm"), cells.get("slstm"), mingru], ids=lambda c: c.name)
@pytest.mark.parametrize("B", [15, 37, 64])
def test_bits_do_not_depend_on_the_threads(chosen, B):
    """The rows' shares, each with a gradient of its own, are cut alike; and in each all steps come in order."""
    call = make_call(chosen, B=B, T=40, I=30, H=64, dtype=torch.float32, lengths=[40, *range(B - 1)])
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(outcome(CPU, call))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(other[n], found[0][n]) for other in found[1:] for n in found[0])


@pytest.mark.parametrize("chosen", [coupled, cells.get("gru_cho"), centred, scalar_gate], ids=lambda c: c.name)
def test_poisoned_buffers(chosen):
    """Working room and fresh memory that hold NaN change nothing."""
    call = make_call(chosen, B=5, T=6, I=3, H=18, lengths=[6, 2, 0, 5, 6], dtype=torch.float32)
    before = torch.utils.deterministic.fill_uninitialized_memory
    clean = outcome(CPU, call)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    try:
        from elman.backends.cpu.call import workspace

        kept = [buffer for buffers in workspace._FREE.values() for buffer in buffers]
        assert kept
        for buffer in kept:
            buffer.fill_(torch.nan)
        poisoned = outcome(CPU, call)
    finally:
        torch.use_deterministic_algorithms(False)
        torch.utils.deterministic.fill_uninitialized_memory = before
    assert all(torch.equal(clean[n], poisoned[n]) for n in clean)


def test_changing_the_output_in_place_is_noticed():
    call = make_call(cells.get("rnn"), dtype=torch.float32)
    output = CPU.run(call).output
    output.mul_(2.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


REFUSED = [
    (lambda: make_call(cells.get("lstm"), dtype=torch.bfloat16), "computes in float32 and float64 and got bfloat16"),
    (lambda: replace(make_call(cells.get("rnn")), x=torch.ones(7, 3, 2)), "one dtype at a time and got float32 and"),
    (lambda: replace(make_call(cells.get("rnn"), dtype=torch.float32), record=(9,)), "does not record"),
    (lambda: replace(make_call(cells.get("rnn"), dtype=torch.float32), x=torch.ones(2, 3, 2, device="meta")), "meta"),
]


@pytest.mark.parametrize(("make", "reason"), REFUSED, ids=[r for _, r in REFUSED])
def test_refuses_with_the_reason(make, reason):
    assert reason in CPU.refuses(make())


@pytest.mark.parametrize(("name", "module_of"), [("rnn", nn.RNN), ("gru", nn.GRU), ("lstm", nn.LSTM)])
def test_errs_no_more_than_torch(name, module_of):
    """Per layer at default initialisation: the median error over 20 seeds is at most twice torch's."""
    ours, theirs = [], []
    for seed in range(20):
        torch.manual_seed(seed)
        module = module_of(8, 32)
        layer = Recurrent(name, 8, 32, backend="cpu")
        layer.load_state_dict(module.state_dict())
        x = torch.randn(128, 4, 8)
        with torch.no_grad():
            single, own = module(x)[0], layer(x)[0]
            truth = module.double()(x.double())[0]
        ours.append(error(own, truth))
        theirs.append(error(single, truth))
    assert median(ours) <= 2 * median(theirs), (median(ours), median(theirs))
