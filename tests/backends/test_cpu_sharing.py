"""Threads that share the units of all rows give the bits that one thread gives."""

from __future__ import annotations

import pytest
import torch
from llvmlite import binding, ir

import elman
from elman.backends.cpu.call import engine
from elman.backends.cpu.layout import early
from elman.backends.cpu.llvm import machine, threads, waiting
from elman.backends.cpu.llvm.code import I64, PTR, Code
from elman.backends.cpu.llvm.machine import Vectors
from elman.backends.plan.plan import plan_of

pytestmark = pytest.mark.skipif(threads.pool() is None, reason="kernels have no threads here")


@pytest.fixture(autouse=True)
def always(monkeypatch):
    """Whatever can be shared is; nothing is kept, as what is written here hangs on what a test sets."""
    monkeypatch.setenv("ELMAN_CACHE", "off")
    monkeypatch.setattr(engine, "_SMALL", 0)
    monkeypatch.setattr(engine, "_WORTH", 1)
    engine.forget()
    yield
    engine.forget()
    torch.set_num_threads(1)


def members():
    """Among how many threads the kernels that were made share their units."""
    return {key[-1] for _, one in engine._BY_IDENTITY.values() for key in one._runners}


def results(layer, x, team, lengths=None, reset=None):
    """Output, state and gradients on ``team`` threads, and the output without a gradient."""
    torch.set_num_threads(team)
    engine.forget()
    x = x.clone().requires_grad_(True)
    layer.zero_grad()
    output, state = layer(x, lengths=lengths, reset=reset)
    output.square().mean().backward()
    states = state if isinstance(state, tuple) else (state,)
    with torch.no_grad():
        again, _ = layer(x, lengths=lengths, reset=reset)
    shared = members()
    found = [output.detach(), *(s.detach() for s in states), x.grad, *(p.grad.clone() for p in layer.parameters())]
    return [*found, again], shared


def assert_shared_as_alone(layer, x, **given):
    alone, nobody = results(layer, x, 1, **given)
    assert nobody == {1}
    assert all(torch.isfinite(value).all() for value in alone)
    for team in (2, 3):
        found, shared = results(layer, x, team, **given)
        assert shared == {team}
        for a, b in zip(found, alone, strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("sizes", [(3, 70), (19, 35), (5, 9)], ids=str)  # 9 units: fewer panels than threads
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm", "peephole"])
def test_one_row_has_the_bits_of_one_thread(cell, sizes, dtype):
    torch.manual_seed(0)
    layer = elman.Recurrent(cell, *sizes, backend="cpu", dtype=dtype)
    assert_shared_as_alone(layer, torch.randn(41, 1, sizes[0], dtype=dtype))


@pytest.mark.parametrize("rows", [2, 5, 8])
def test_few_rows_and_many_weights(rows, monkeypatch):
    monkeypatch.setattr(engine.machine, "second_cache", lambda: 1 << 10)
    torch.manual_seed(0)
    assert_shared_as_alone(elman.Recurrent("lstm", 20, 40, backend="cpu"), torch.randn(23, rows, 20))


def test_blocks_of_steps_whose_products_come_early(monkeypatch):
    monkeypatch.setattr(early, "ROWS", 7)
    monkeypatch.setattr(early, "FEW", 1 << 40)
    torch.manual_seed(0)
    assert_shared_as_alone(elman.Recurrent("gru", 20, 40, backend="cpu"), torch.randn(23, 1, 20))


def test_with_lengths_resets_and_directions(monkeypatch):
    monkeypatch.setattr(engine.machine, "second_cache", lambda: 1 << 10)
    torch.manual_seed(0)
    layer = elman.Recurrent("lstm", 6, 33, num_layers=2, bidirectional=True, learn_state=True, backend="cpu")
    reset = torch.rand(17, 4) < 0.2
    assert_shared_as_alone(layer, torch.randn(17, 4, 6), lengths=torch.tensor([17, 0, 5, 11]), reset=reset)


@pytest.mark.parametrize("spins", [0, waiting._SPINS], ids=["sleeping", "spinning"])
def test_many_calls_in_a_row(spins, monkeypatch):
    """A thread that did not wait for the others would be seen sooner or later, and one that nobody wakes at once."""
    monkeypatch.setattr(waiting, "_SPINS", spins)
    torch.manual_seed(0)
    layer, x = elman.Recurrent("rnn", 2, 64, backend="cpu"), torch.randn(300, 1, 2)
    with torch.no_grad():
        torch.set_num_threads(1)
        want, _ = layer(x)
        torch.set_num_threads(2)
        for _ in range(30):
            assert torch.equal(layer(x)[0], want)


def test_what_cannot_be_shared():
    def weights(cell):
        program = elman.cells.get(cell).program()
        return early.dealt_weights(plan_of(program, tuple(program.sizes(10, 24).items())))

    assert weights("rnn") == 24 * 24
    assert weights("lstm") == 4 * 24 * 24
    assert weights("lstm_projected") == 0  # the state's product comes behind the step
    assert weights("layernorm_lstm") == 0  # a unit needs the whole row
    assert weights("mingru") == 0  # nothing of the old state is multiplied


@pytest.mark.parametrize(
    ("system", "triple", "has"),
    [
        ("linux", "x86_64-unknown-linux-gnu", ["pause", "syscall"]),
        ("linux", "aarch64-unknown-linux-gnu", ["yield", "syscall"]),
        ("darwin", "aarch64-apple-darwin", [threads.BARRIER]),
        ("win32", "x86_64-pc-windows-msvc", [threads.BARRIER]),
    ],
)
def test_how_processors_and_systems_wait(monkeypatch, system, triple, has):
    monkeypatch.setattr(waiting.sys, "platform", system)
    with machine.foreign(triple):
        c = Code(ir.Module(), "entry", [PTR, I64, I64], Vectors(4))
        waiting.emit_wait(c, *c.function.args)
        c.finish()
        made = binding.parse_assembly(str(c.module), binding.create_context())
        made.triple = machine.triple()
        target = machine.target_machine(4)
        made.data_layout = str(target.target_data)
        text = target.emit_assembly(made)
    assert [word for word in has if word in text] == has
    assert ("syscall" in text) == (system == "linux")


@pytest.mark.parametrize(("hidden", "team"), [(16, 1), (512, 2)])
def test_nobody_waits_for_little(monkeypatch, hidden, team):
    monkeypatch.undo()
    torch.set_num_threads(2)
    layer = elman.Recurrent("rnn", 3, hidden, backend="cpu")
    with torch.no_grad():
        layer(torch.randn(4000, 1, 3)[: 4000 if hidden < 100 else 50])
    assert members() == {team}
