"""A forward pass without a gradient: what only a backward pass reads is not written, and nothing else is missed."""

from __future__ import annotations

import pytest
import torch

import elman
from elman.backends.cpu.call import workspace
from elman.backends.cpu.call.runner import Runner
from oracle import CELLS, further_inputs


@pytest.fixture
def poisoned(monkeypatch):
    """The working room of every call, NaN at first."""
    rooms, take = [], workspace.take

    def filled(floats):
        rooms.append(take(floats).fill_(float("nan")))
        return rooms[-1]

    monkeypatch.setattr(workspace, "take", filled)
    return rooms


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("cell", CELLS)
def test_the_bits_are_those_of_a_pass_that_keeps(cell, batch, poisoned):
    torch.manual_seed(0)
    layer = elman.Recurrent(cell, 3, 20, backend="cpu")
    x = torch.randn(4, batch, 3)
    further = further_inputs(layer, x)
    with torch.no_grad():
        output, state = layer(x, **further)
    kept, after = layer(x.requires_grad_(True), **further)
    assert torch.isfinite(output).all()
    assert torch.equal(output, kept)
    for a, b in zip(*((s if isinstance(s, tuple) else (s,)) for s in (state, after)), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("cell", ["lstm", "gru", "peephole"])
def test_what_only_the_backward_pass_reads_is_not_written(cell, poisoned, monkeypatch):
    layer, x = elman.Recurrent(cell, 3, 24, backend="cpu"), torch.randn(4, 2, 3)
    runners, run = [], Runner.forward

    def forward(self, *arguments):
        runners.append(self)
        return run(self, *arguments)

    monkeypatch.setattr(Runner, "forward", forward)
    with torch.no_grad():
        layer(x)
    (runner,), (room,) = runners, poisoned
    places = dict(runner._forward_room.places)
    saved = room[places["saved"] // 4 :][: 2 * runner.plan.saved_width]
    assert saved.isnan().all()
    assert not room[: places["saved"] // 4].isnan().all()
