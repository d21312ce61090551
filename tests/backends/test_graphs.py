"""The backend `graph`: chunks that are replayed, here by a recorder that runs them without CUDA."""

from __future__ import annotations

import pytest
import torch

from elman import cells
from elman.backends import graphs
from elman.backends.graphs import Graphs
from elman.backends.reference import Reference
from oracle import CELLS, assert_matches_reference, cast, make_call, outcome


class Ran:
    """Work that is done at each replay, its results copied to where the first stood, as a graph's are."""

    def __init__(self, work, like):
        self.work, self.results = work, [t.detach().clone() for t in work()]

    def replay(self):
        for own, new in zip(self.results, self.work(), strict=True):
            own.copy_(new.detach())
        return self.results


@pytest.fixture
def backend(monkeypatch):
    monkeypatch.setattr(graphs.backend, "STEPS", 3)
    return Graphs(Ran, device="cpu")


SHAPES = [
    pytest.param({"B": 3, "T": 7, "I": 2, "H": 5}, id="plain"),
    pytest.param({"B": 4, "T": 8, "I": 3, "H": 4, "lengths": [8, 0, 3, 7], "reverse": True}, id="lengths"),
    pytest.param({"B": 2, "T": 7, "I": 2, "H": 4, "reset": torch.tensor([[0, 1], [0, 0]] * 3 + [[1, 0]]).bool(),
                  "initial": True}, id="resets"),
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cell", [c for c in CELLS if c.id in ("lstm", "gru_cho", "layer_norm_lstm", "slstm", "cfc")])
def test_equals_the_reference(backend, cell, shape):
    assert_matches_reference(cell, backend, **shape)


def test_other_weights_give_other_results(backend):
    call = make_call(cells.get("gru"))
    first = outcome(backend, call)
    with torch.no_grad():
        for p in call.parameters.values():
            p.mul_(1.5)
    found, want = outcome(backend, call), outcome(Reference(), cast(call, torch.float64))
    assert not torch.equal(first["output"], found["output"])
    for name in want:
        torch.testing.assert_close(found[name], want[name])
    assert len(backend.kept) == 4  # chunks of three steps and of one, forwards and backwards


def test_two_calls_before_their_gradients(backend):
    one, two = make_call(cells.get("lstm"), seed=1), make_call(cells.get("lstm"), seed=2)
    results = [backend.run(call).output for call in (one, two)]
    for call, output in zip((one, two), results, strict=True):
        (found,) = torch.autograd.grad(output.square().sum(), call.x, retain_graph=True)
        (want,) = torch.autograd.grad(Reference().run(call).output.square().sum(), call.x)
        torch.testing.assert_close(found, want)


def test_the_cache_is_bounded(backend, monkeypatch):
    monkeypatch.setattr(graphs.backend, "KEPT", 2)
    for H in (2, 3, 4):
        backend.run(make_call(cells.get("rnn"), T=3, H=H))
    assert len(backend.kept) == 2


def test_refusals():
    call = make_call(cells.get("rnn"))
    assert "needs tensors on CUDA" in Graphs().refuses(call)
    own = Graphs(Ran, device="cpu")
    assert own.refuses(call) is None
    assert "two steps" in own.refuses(make_call(cells.get("rnn"), T=1))


def test_second_derivatives(backend):
    call = make_call(cells.get("peephole"), B=2, T=4, I=2, H=3)

    def second(chosen):
        (first,) = torch.autograd.grad(chosen.run(call).output.square().sum(), call.x, create_graph=True)
        return torch.autograd.grad(first.square().sum(), list(call.parameters.values()))

    for found, want in zip(second(backend), second(Reference()), strict=True):
        torch.testing.assert_close(found, want)
