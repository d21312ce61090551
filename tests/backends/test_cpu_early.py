"""Products formed for several steps at once give the bits that the step itself gives."""

from __future__ import annotations

import pytest
import torch

import elman
from elman.backends.cpu.call import engine
from elman.backends.cpu.layout import cuts, early
from elman.backends.cpu.layout.variant import Variant
from elman.backends.cpu.llvm import machine
from elman.backends.cpu.llvm.machine import Vectors
from elman.backends.plan.plan import plan_of
from elman.equations import tanh

OFF = {"FEW": 0, "CACHES": 1 << 40}
ALWAYS = {"FEW": 1 << 40, "SHORT": 1}


@elman.cell
def behind(x, h, p):
    """x feeds sums of both stages; h is named before x, and one sum has nothing of x."""
    r = tanh(p.a(h, x))
    return tanh(p.b(x, r * h) * p.c(h)) + 0.1 * p.d(x)


def results(cell, batch, steps, sizes, monkeypatch, settings, lengths=None, **options):
    engine.forget()
    monkeypatch.setenv("ELMAN_CACHE", "off")  # what is written hangs on what is set here
    for name, value in settings.items():
        monkeypatch.setattr(early, name, value)
    torch.manual_seed(0)
    layer = elman.Recurrent(cell, *sizes, backend="cpu", **options)
    x = torch.randn(steps, batch, sizes[0])
    if lengths is not None:
        for row, length in enumerate(lengths):
            x[length:, row] = float("nan")
    with torch.no_grad():
        output, state = layer(x, lengths=None if lengths is None else torch.tensor(lengths))
    engine.forget()
    monkeypatch.undo()
    return [output, *(s for s in (state if isinstance(state, tuple) else (state,)))]


def assert_same(first, second):
    for a, b in zip(first, second, strict=True):
        assert torch.isfinite(a).all()
        assert torch.equal(a, b)


@pytest.mark.parametrize("batch", [1, 3, 21])
@pytest.mark.parametrize("sizes", [(19, 35), (4, 4), (3, 1)])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm", "peephole", "mingru", "indrnn", "layernorm_lstm", behind])
def test_early_products_have_the_same_bits(cell, sizes, batch, monkeypatch):
    plain = results(cell, batch, 37, sizes, monkeypatch, OFF)
    assert_same(results(cell, batch, 37, sizes, monkeypatch, ALWAYS), plain)
    # Blocks of a few steps, the last one shorter.
    assert_same(results(cell, batch, 37, sizes, monkeypatch, ALWAYS | {"ROWS": 5 * batch}), plain)


@pytest.mark.parametrize("sizes", [(4, 4), (17, 12)])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("cell", elman.cells.REGISTRY)
def test_every_cell_with_few_rows_is_as_the_reference(cell, batch, sizes):
    if any(name in elman.cells.get(cell).options for name in ("heads", "blocks")):
        sizes = sizes[0], 12
    torch.manual_seed(0)
    layer = elman.Recurrent(cell, *sizes, backend="cpu")
    extras = {e.name: torch.rand(9, batch, 1) for e in layer.program.extras}
    plain = elman.Recurrent(cell, *sizes, backend="reference")
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(9, batch, sizes[0])
    torch.testing.assert_close(layer(x, **extras)[0], plain(x, **extras)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cell", ["gru", behind])
def test_with_lengths_and_directions(cell, monkeypatch):
    lengths, options = [9, 1, 5, 9, 7], {"bidirectional": True, "num_layers": 2}
    plain = results(cell, 5, 9, (18, 20), monkeypatch, OFF, lengths, **options)
    assert_same(results(cell, 5, 9, (18, 20), monkeypatch, ALWAYS | {"ROWS": 10}, lengths, **options), plain)


@pytest.mark.parametrize("batch", [1, 5, 11, 12, 13, 37])
def test_a_second_size_of_tiles_has_the_same_bits(batch, monkeypatch):
    plain = results("lstm", batch, 4, (19, 50), monkeypatch, OFF)
    monkeypatch.setattr(cuts, "LARGE", 0)
    assert_same(results("lstm", batch, 4, (19, 50), monkeypatch, OFF), plain)


def test_they_are_chosen_where_a_thread_has_few_rows_or_many_weights():
    def cut(hidden, rows):
        program = elman.Recurrent("lstm", 64, hidden).calls(torch.zeros(1, 1, 64))[0][0][0].program
        plan = plan_of(program, tuple(program.sizes(64, hidden).items()))
        (only,) = early.cuttings(plan, plan.forward.phases, Variant(rows, Vectors(machine.width()), False, False))
        return only

    assert cut(32, 1).early
    assert cut(32, early.FEW).early
    assert not cut(32, early.FEW + 1).early
    large = next(h for h in range(128, 1 << 14, 128) if 16 * h * (64 + h) > early.CACHES * machine.second_cache())
    assert cut(large, 32).early
    assert not cut(large - 128, 32).early
    assert cut(large - 128, 16).early  # fewer rows wait longer for weights from beyond the cache
    tiles_of = {hidden: [cut(hidden, rows).cut for rows in range(9, 33)] for hidden in (32, 128)}
    assert any(tile.rest < tile.rows for tile in tiles_of[128])
    assert all(tile.rest == tile.rows for tile in tiles_of[32])  # not worth its code
