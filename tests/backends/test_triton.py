"""The Triton backend, interpreted on the CPU, against the reference; and what its kernels become on a card."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("triton")

from test_cpu_backend import KINDS, resets

from cpu_cells import four_heads, scalar_gate, three_heads, two_inputs
from elman import Recurrent, cells
from elman.backends import BACKENDS
from elman.backends.plan.plan import plan_of
from elman.backends.reference import Reference
from elman.backends.triton import Triton, backend
from elman.backends.triton.kernel import kernels
from elman.backends.triton.layout import Card, Layout, layout_of, spans
from elman.equations import TABLE, blocks, cell, tanh
from elman.equations.loop import loop_of
from oracle import CELLS, assert_matches_reference, cast, leaves, make_call, outcome
from together import together

TRITON = Triton()
ALL = {"B": 3, "T": 4, "I": 3, "H": 6, "lengths": [4, 0, 3], "reset": resets(4, 3), "initial": True, "reverse": True}
PLAIN = {"B": 2, "T": 3, "I": 2, "H": 5}


@cell
def both(x, h, p):
    """Products of the whole of h, and of its blocks."""
    return tanh(p.z(x, h, blocks(h, 3))) * p.g(h, size=1)


@pytest.mark.parametrize("chosen", [pytest.param(c, id=c.name) for c in (*KINDS, two_inputs, scalar_gate)])
def test_equals_the_reference(chosen):
    assert_matches_reference(chosen, TRITON, **ALL)


def test_a_row_of_no_steps_divides_by_no_state():
    """The normaliser of an sLSTM begins at 0, and is never divided by before a step has added to it."""
    lengths = torch.tensor([4, 0, 2])
    x = torch.randn(4, 3, 2, dtype=torch.float64)
    of = {}
    for name in ("triton", "reference"):
        torch.manual_seed(0)
        layer = Recurrent("slstm", 2, 5, backend=name, dtype=torch.float64)
        output = layer(x, lengths=lengths)[0]
        of[name] = torch.autograd.grad(output.square().sum(), list(layer.parameters()))
    for found, want in zip(of["triton"], of["reference"], strict=True):
        torch.testing.assert_close(found, want)


@pytest.fixture
def shared_out(monkeypatch):
    """Rows of three programs that exchange what they need."""

    def layout(parts=3, held=True, rows=16):
        def chosen(plan, *_):
            return Layout(rows, parts, exchanged=True, held=held)

        monkeypatch.setattr(backend, "layout_of", chosen)

    layout()
    with together():
        kernels.cache_clear()
        yield layout
    kernels.cache_clear()


@pytest.mark.parametrize("held", [True, False], ids=["held", "streamed"])
@pytest.mark.parametrize("chosen", [pytest.param(c, id=c.name) for c in (*KINDS, cells.get("cfc"), scalar_gate, both)])
def test_programs_that_share_rows_equal_the_reference(chosen, held, shared_out):
    shared_out(held=held)
    assert_matches_reference(chosen, TRITON, **{**ALL, "H": 6 if chosen is both else 7})


def assert_same_without_gradients(call):
    want = TRITON.run(call)
    with torch.no_grad():
        found = TRITON.run(call)
    assert not found.output.requires_grad
    assert torch.equal(found.output, want.output)
    for a, b in zip(found.states, want.states, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", ["lstm", "gru_cho", "indrnn", "slstm"])
def test_without_gradients(name, shared_out):
    for shape in (PLAIN, ALL):
        assert_same_without_gradients(make_call(cells.get(name), **shape))


def test_without_gradients_in_one_program():
    for shape in (PLAIN, ALL):
        assert_same_without_gradients(make_call(cells.get("lstm"), **shape))


@pytest.mark.full
@pytest.mark.parametrize("chosen", CELLS)
def test_every_cell_of_shared_rows_equals_the_reference(chosen, shared_out):
    assert_matches_reference(chosen, TRITON, **ALL)


@pytest.mark.full
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    chosen=st.sampled_from([*KINDS, cells.get("cfc"), scalar_gate, two_inputs]),
    B=st.integers(1, 4), T=st.integers(1, 4), I=st.integers(1, 3), H=st.integers(1, 9), parts=st.integers(1, 4),
    held=st.booleans(), reverse=st.booleans(), initial=st.booleans(), masks=st.integers(0, 3), seed=st.integers(0, 99),
)  # fmt: skip
def test_any_sizes_and_any_number_of_programs(chosen, B, T, parts, held, masks, seed, shared_out, **shape):
    shared_out(parts=parts, held=held)
    drawn = torch.Generator().manual_seed(seed)
    lengths = torch.randint(T + 1, (B,), generator=drawn).tolist() if masks & 1 else None
    reset = torch.rand(T, B, generator=drawn) < 0.4 if masks & 2 else None
    assert_matches_reference(chosen, TRITON, B, T, lengths=lengths, reset=reset, seed=seed, **shape)


def test_wide_rows_are_multiplied_in_spans(shared_out):
    shared_out(parts=2)
    assert_matches_reference(cells.get("gru"), TRITON, B=2, T=2, I=2, H=75)
    shared_out(parts=2, held=False)
    assert_matches_reference(cells.get("gru"), TRITON, B=2, T=2, I=2, H=150)
    assert [sum(length for _, length in spans(n)) for n in (5, 64, 75, 320, 768, 1000)] == [8, 64, 80, 320, 768, 1024]


def test_programs_that_did_not_meet_would_err(shared_out, monkeypatch):
    from elman.backends.triton import functions

    monkeypatch.setitem(functions.FUNCTIONS, "meet", lambda *_: None)
    kernels.cache_clear()
    call = make_call(cells.get("rnn"))
    assert not torch.allclose(TRITON.run(call).output, Reference().run(call).output)


def test_blocks_are_programs_of_their_own():
    for chosen, count in ((three_heads, 3), (four_heads, 4)):
        call = make_call(chosen, B=2, T=3, I=4, H=12)
        plan = plan_of(loop_of(call.program).program, tuple(call.sizes.items()))
        layout = layout_of(plan, 2, 4, Card(132, 227 << 10))
        assert (layout.parts, layout.exchanged) == (count, False)
        assert_matches_reference(chosen, TRITON, B=2, T=3, I=4, H=12)


@pytest.fixture
def products_of_bfloat16(monkeypatch):
    """Triton's interpreter keeps bfloat16 as its bits, and multiplies those."""
    from triton import language as tl
    from triton.runtime.interpreter import InterpreterBuilder

    product = InterpreterBuilder.create_dot

    def create_dot(self, a, b, *rest):
        a, b = (self.create_fp_ext(v, tl.float32) if v.dtype.scalar == tl.bfloat16 else v for v in (a, b))
        return product(self, a, b, *rest)

    monkeypatch.setattr(InterpreterBuilder, "create_dot", create_dot)


@pytest.mark.usefixtures("products_of_bfloat16")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", ["lstm", "indrnn", "mingru"])
def test_other_dtypes(name, dtype):
    assert_matches_reference(cells.get(name), TRITON, B=2, T=4, I=3, H=6, dtype=dtype)


def test_inputs_of_a_row_and_of_all():
    assert_matches_reference(two_inputs, TRITON, **PLAIN, per_row=["other"])
    assert_matches_reference(cells.get("peephole"), TRITON, **PLAIN)


def test_one_step_and_more_rows_than_a_program():
    assert_matches_reference(cells.get("gru_cho"), TRITON, B=18, T=1, I=2, H=3)
    assert_matches_reference(cells.get("indrnn"), TRITON, B=2, T=2, I=2, H=130)


def test_rows_of_more_programs_than_run_at_once(shared_out, monkeypatch):
    from elman.backends.triton import kernel

    shared_out(parts=3)
    monkeypatch.setattr(kernel, "card_of", lambda _: Card(7, 100 << 10))  # two groups of rows at once, of three
    assert_matches_reference(cells.get("gru_cho"), TRITON, B=34, T=2, I=2, H=3)


def test_a_scan_of_several_chunks():
    lengths, reset = [70, 0, 66], resets(70, 3)
    shape = {"B": 3, "T": 70, "I": 2, "H": 2, "lengths": lengths, "reset": reset, "initial": True}
    for reverse in (False, True):
        assert_matches_reference(cells.get("mingru"), TRITON, **shape, reverse=reverse)
    assert_matches_reference(cells.get("qrnn"), TRITON, B=1, T=66, I=2, H=2)


@cell
def mixed(x, h, p):
    """Linear in h, though it does not look it."""
    return (h - p.z(x)) / (1 + abs(p.d(x))) + 2 * (h * p.g() - 1)


@cell
def carried_over(x, h, m, p):
    """A linear state, and one that hangs on it."""
    return p.z(x) * h, m * h


def test_what_is_linear_is_seen():
    from elman.backends.triton.linear import states_are_linear

    linear = {c.id: states_are_linear(loop_of(c.values[0].program()).program) for c in CELLS}
    assert {name for name, is_linear in linear.items() if is_linear} == {"mingru", "minlstm", "qrnn"}
    assert states_are_linear(loop_of(mixed.program()).program)
    assert not states_are_linear(loop_of(carried_over.program()).program)
    assert_matches_reference(mixed, TRITON, **ALL)
    assert_matches_reference(carried_over, TRITON, **ALL)


def test_second_derivatives():
    for name in ("peephole", "mingru"):
        call = make_call(cells.get(name), B=2, T=3, I=2, H=3)

        def second(chosen, call=call):
            (first,) = torch.autograd.grad(chosen.run(call).output.square().sum(), call.x, create_graph=True)
            return torch.autograd.grad(first.square().sum(), list(call.parameters.values()))

        for found, want in zip(second(TRITON), second(Reference()), strict=True):
            torch.testing.assert_close(found, want)


def test_two_runs_give_equal_bits():
    call = make_call(cells.get("lstm"), B=3, T=5, H=9, dtype=torch.float32)
    first, second = outcome(TRITON, call), outcome(TRITON, call)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_only_some_gradients_arrive():
    call = make_call(cells.get("lstm"))
    final = TRITON.run(call).states[1]
    want = Reference().run(call).states[1]
    for found, true in zip(
        torch.autograd.grad(final.sum(), list(leaves(call).values())),
        torch.autograd.grad(want.sum(), list(leaves(call).values())),
        strict=True,
    ):
        torch.testing.assert_close(found, true)
    frozen = replace(call, parameters={n: p.detach() for n, p in call.parameters.items()})
    (found,) = torch.autograd.grad(TRITON.run(frozen).output.sum(), frozen.x)
    (true,) = torch.autograd.grad(Reference().run(frozen).output.sum(), frozen.x)
    torch.testing.assert_close(found, true)
    with torch.no_grad():
        assert not TRITON.run(call).output.requires_grad


def test_writing_into_the_output_is_noticed():
    call = make_call(cells.get("gru"))
    output = TRITON.run(call).output
    loss = output.sum()
    with torch.no_grad():
        output.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_layers_run_on_it():
    x = torch.randn(2, 4, 3)
    for options in ({"bidirectional": True, "num_layers": 2}, {"zoneout": 0.5}):
        layer = Recurrent("lstm", 3, 5, backend="triton", batch_first=True, **options)
        torch.manual_seed(1)
        found = layer(x)[0]
        layer.backend = "reference"
        torch.manual_seed(1)
        torch.testing.assert_close(found, layer(x)[0])


def test_refusals(monkeypatch):
    call = make_call(cells.get("rnn"), dtype=torch.float32)
    assert TRITON.refuses(call) is None
    assert "one dtype at a time" in TRITON.refuses(replace(call, states=(call.states[0].double(),)))
    assert "step and a row" in TRITON.refuses(make_call(cells.get("rnn"), T=0))
    assert "record" in TRITON.refuses(replace(call, record=(call.program.output,)))
    with torch.autocast("cpu"):
        assert "autocast" in TRITON.refuses(call)
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    assert "needs tensors on CUDA" in TRITON.refuses(call)


def test_auto_waits_until_a_card_has_measured_it():
    from elman.backends import choose

    call = cast(make_call(cells.get("rnn")), torch.bfloat16)
    assert choose(call).name != "triton"
    assert choose(call, "triton") is BACKENDS["triton"]


def test_a_card_with_too_few_processors():
    program = cells.get("lstm").program()
    plan = plan_of(loop_of(program).program, tuple(program.sizes(8, 1024).items()))
    assert layout_of(plan, 16, 4, Card(8, 100 << 10)) is None
    assert layout_of(plan, 16, 4, Card(16, 100 << 10)).parts == 16


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_functions_are_exact(dtype):
    """In float32 within a few roundings, near 0 too."""
    import linecache

    import triton
    import triton.language as tl

    from elman.backends.triton.functions import FUNCTIONS, written

    wide = torch.linspace(-9, 9, 512, dtype=dtype)
    near = torch.logspace(-20, 0, 512, dtype=dtype)
    for op in (name for name, row in TABLE.items() if row.text.startswith(f"{name}({{}}")):
        if len(TABLE[op].argument_binds) > 1 or op in ("where", "maximum", "minimum", "clamp"):
            continue
        for x in (wide, near, -near):
            x = x.abs() if op in ("log", "sqrt", "rsqrt", "log1p") else x
            name = f"<{op} {dtype} {float(x[0])}>"
            text = "def run(x, y, N: tl.constexpr):\n    i = tl.arange(0, N)\n    a = tl.load(x + i)\n"
            text += f"    tl.store(y + i, {written(op).format('a')})\n"
            linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
            scope = {"tl": tl, **FUNCTIONS}
            exec(compile(text, name, "exec"), scope)
            found = torch.empty_like(x)
            triton.jit(scope["run"])[(1,)](x, found, len(x))
            want = TABLE[op].torch(x.double())
            error = ((found.double() - want).abs() / want.abs().clamp_min(1e-35)).max()
            allowed = 8 * torch.finfo(dtype).eps
            assert error <= (allowed * 40 if op in ("sin", "cos") else allowed), f"{op}: {error:.1e}"


COMPILE = """
import json, sys, torch
from elman import cells
from elman.backends.triton.compiled import of_cell
for name, size, dtype, capability in json.loads(sys.argv[1]):
    for found in of_cell(cells.get(name), size, 16, getattr(torch, dtype), capability).values():
        print(json.dumps([name, size, dtype, capability, *found]))
"""


def compiled(wanted):
    """What kernels take on cards, in a process that does not interpret: (cell, size, dtype, capability, resources)."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-c", COMPILE, json.dumps(wanted)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def assert_fits(rows):
    for name, size, dtype, capability, registers, spilled, shared in rows:
        what = f"{name} {size} {dtype} sm_{capability}"
        assert 0 < registers <= 255, what
        assert spilled == 0, f"{what}: {spilled} bytes"
        assert shared <= {80: 163 << 10, 90: 227 << 10, 100: 227 << 10}[capability], f"{what}: {shared} bytes"


def test_kernels_compile_without_spills():
    assert_fits(compiled([("rnn", 128, "float32", 90), ("indrnn", 256, "bfloat16", 80), ("rnn", 3, "bfloat16", 90)]))


@pytest.mark.full
def test_more_kernels_compile_without_spills():
    wanted = [(n, 256, d, c) for n in ("lstm", "gru", "slstm") for d in ("float32", "bfloat16") for c in (80, 90, 100)]
    assert_fits(compiled([*wanted, ("peephole", 1024, "float32", 90), ("gru_cho", 512, "float16", 90)]))
