"""Effective memory by gradient and by perturbation, cells at equal size, and attribution to the input's steps."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import elman
from elman.errors import ElmanError, ShapeError
from elman.insight import (
    attribution,
    compare_memory,
    layers_of_equal_size,
    memory_by_gradient,
    memory_by_perturbation,
)
from insight_layers import EVERY_CELL, NETWORKS, case_of

MEASURES = [memory_by_gradient, memory_by_perturbation]


@pytest.mark.parametrize("cell", EVERY_CELL)
def test_by_gradient_is_the_jacobian_of_the_last_output(cell):
    case = case_of(cell)
    found = memory_by_gradient(case.layer, case.x, **case.given)
    jacobian = torch.autograd.functional.jacobian(lambda x: case.layer(x, **case.given)[0][-1], case.x)
    rows = torch.stack([jacobian[b, :, :, b] for b in range(2)])  # (B, O, T, I): a row knows nothing of another
    want = rows.square().sum(3).mean(0).sqrt().flip(1)
    torch.testing.assert_close(found.units, want, rtol=1e-9, atol=1e-13)
    torch.testing.assert_close(found.influence, want.square().sum(0).sqrt())


@pytest.mark.parametrize("cell", EVERY_CELL)
def test_a_slight_push_moves_the_output_as_the_gradient_says(cell):
    """E ||J n||^2 over many rows of the same x, n normal noise of the size 1e-5, is 1e-10 ||J||^2."""
    case, rows = case_of(cell, B=1), 4000
    case.x[:, :, 0] *= 3  # each feature is pushed by its own spread
    x = case.x.expand(-1, rows, -1)
    given = {n: e.expand(-1, rows, -1) for n, e in case.given.items()}
    found = memory_by_perturbation(case.layer, x, scale=1e-5, **given)
    want = memory_by_gradient(case.layer, case.x, **case.given)
    scale = 1e-5 * torch.where(case.x.std((0, 1), correction=0) > 0, case.x.std((0, 1), correction=0), 1.0)
    jacobian = torch.autograd.functional.jacobian(lambda x: case.layer(x, **case.given)[0][-1, 0], case.x)[:, :, 0]
    exact = (jacobian * scale).norm(dim=2).flip(1)
    assert found.units.shape == want.units.shape
    torch.testing.assert_close(found.units, exact, rtol=0.15, atol=1e-9)


@pytest.mark.parametrize("options", NETWORKS.values(), ids=NETWORKS)
def test_through_any_network(options):
    case = case_of(elman.cells.get("gru"), B=2, **options)
    case.layer.eval()
    jacobian = torch.autograd.functional.jacobian(lambda x: case.layer(x)[0][-1], case.x)
    want = torch.stack([jacobian[b, :, :, b] for b in range(2)]).square().sum(3).mean(0).sqrt().flip(1)
    torch.testing.assert_close(memory_by_gradient(case.layer, case.x).units, want, rtol=1e-9, atol=1e-13)
    pushed = memory_by_perturbation(case.layer, case.x)
    assert pushed.units.shape == want.shape
    assert ((pushed.units > 1e-12) == (want > 0)).all()


def test_a_push_by_hand():
    """A linear network's last output moves by 0.5^d times the noise, whatever x is."""
    layer = linear(0.5)
    found = memory_by_perturbation(layer, torch.randn(9, 5, 1, dtype=torch.float64))
    steps = found.influence[1:] / found.influence[:-1]
    halves = torch.full((8,), 0.5, dtype=torch.float64)
    torch.testing.assert_close(steps.log().mean(), halves.log().mean(), rtol=0.3, atol=0)
    assert found.length in (5, 6, 7)


def linear(weight, size=1):
    layer = elman.Recurrent("rnn", 1, size, nonlinearity="identity", dtype=torch.float64)
    nn.init.eye_(layer.weight_hh_l0.data).mul_(weight)
    return layer


@pytest.mark.parametrize("threshold", [0.5, 0.3, 0.01, 1e-6])
def test_the_length_is_where_the_influence_passes_the_threshold(threshold):
    found = memory_by_gradient(linear(0.5), torch.zeros(50, 1, 1, dtype=torch.float64), threshold)
    assert found.length == math.floor(math.log(threshold) / math.log(0.5))
    assert found.seen


def test_units_have_lengths_of_their_own():
    layer = linear(1.0, size=3)
    layer.weight_hh_l0.data.copy_(torch.diag(torch.tensor([0.1, 0.5, 1.0])))
    layer.weight_ih_l0.data.fill_(1.0)
    found = memory_by_gradient(layer, torch.zeros(20, 1, 1, dtype=torch.float64))
    assert found.lengths.tolist() == [2, 6, 19]
    assert found.length == 19
    assert not found.seen


def test_no_influence_at_all_is_no_memory():
    layer = linear(1.0)
    layer.weight_ih_l0.data.zero_()
    for measure in MEASURES:
        found = measure(layer, torch.randn(20, 1, 1, dtype=torch.float64))
        assert (found.length, found.lengths.tolist()) == (0, [0])


@pytest.mark.parametrize("measure", MEASURES)
def test_an_open_forget_gate_remembers_five_times_longer(measure):
    torch.manual_seed(0)
    x = torch.randn(200, 4, 2)
    layers = {"rnn": elman.Recurrent("rnn", 2, 32), "lstm": elman.Recurrent("lstm", 2, 32, forget_bias=5.0)}
    found = {name: measure(layer, x) for name, layer in layers.items()}
    assert found["lstm"].length >= 5 * found["rnn"].length
    assert found["rnn"].length > 0


@pytest.mark.parametrize("cell", ["lstm", "cfc"])
@pytest.mark.parametrize("measure", MEASURES)
def test_chunks_give_the_same(measure, cell, monkeypatch):
    """A chunk of one step, or unit, has each row once: what is repeated for several goes to its own row."""
    case = case_of(elman.cells.get(cell), num_layers=2)
    state = case.layer(case.x, **case.given)[1]
    given = {"reset": torch.rand(7, 2) < 0.2, "state": state, **case.given}
    whole = measure(case.layer, case.x, **given)
    monkeypatch.setattr("elman.insight.memory.CHUNK", 100)
    torch.testing.assert_close(measure(case.layer, case.x, **given).units, whole.units)


@pytest.mark.parametrize("measure", MEASURES)
def test_rows_of_unlike_lengths_are_refused(measure):
    case = case_of(elman.cells.get("rnn"))
    with pytest.raises(ShapeError, match="rows of one length"):
        measure(case.layer, case.x, lengths=torch.tensor([7, 3]))
    assert measure(case.layer, case.x, lengths=torch.tensor([7, 7])).length > 0


def test_a_given_state_counts():
    case = case_of(elman.cells.get("rnn"))
    state = 3 * torch.ones(1, 2, 5, dtype=torch.float64)
    for measure in MEASURES:
        plain, given = (measure(case.layer, case.x, **more).influence for more in ({}, {"state": state}))
        assert not torch.allclose(plain, given)


# Cells at equal size


def test_equal_size():
    layers = layers_of_equal_size(["rnn", "gru", "lstm"], 3, parameters=2000)
    for name, layer in layers.items():
        assert sum(p.numel() for p in layer.parameters()) <= 2000
        larger = elman.Recurrent(name, 3, layer.hidden_size + 1)
        assert sum(p.numel() for p in larger.parameters()) > 2000
    units = layers_of_equal_size(["rnn", "gru"], 3, hidden_size=7, num_layers=2)
    assert {(layer.hidden_size, layer.num_layers) for layer in units.values()} == {(7, 2)}
    found = compare_memory(units, torch.randn(20, 2, 3))
    assert list(found) == ["rnn", "gru"]
    with pytest.raises(ElmanError, match="equal in what"):
        layers_of_equal_size(["rnn"], 3)
    with pytest.raises(ElmanError, match="more than 2 parameters"):
        layers_of_equal_size(["rnn"], 3, parameters=2)


@pytest.mark.parametrize("cell", EVERY_CELL)
def test_every_cell_has_a_size(cell):
    (layer,) = layers_of_equal_size([cell], 8, parameters=3000).values()
    assert 0 < sum(p.numel() for p in layer.parameters()) <= 3000


# Attribution


@pytest.mark.parametrize("method", ["gradient", "integrated"])
def test_a_linear_network_is_explained_exactly(method):
    layer = linear(0.5)
    layer.weight_ih_l0.data.fill_(2.0)
    x = torch.randn(6, 3, 1, dtype=torch.float64)
    found = attribution(layer, x, method=method)
    want = 2.0 * x * 0.5 ** torch.arange(5, -1, -1, dtype=torch.float64).reshape(6, 1, 1)
    torch.testing.assert_close(found.values, want)
    torch.testing.assert_close(found.mass, want.abs().squeeze(2) / want.abs().sum((0, 2)))


def test_integrated_gradients_are_complete():
    case = case_of(elman.cells.get("gru"), num_layers=2)
    head = nn.Linear(5, 1).double()

    def explained(output):
        return head(output[-1]).squeeze(-1)

    found = attribution(case.layer, case.x, explained, "integrated", points=400)
    want = explained(case.layer(case.x)[0]) - explained(case.layer(torch.zeros_like(case.x))[0])
    torch.testing.assert_close(found.values.sum((0, 2)), want, rtol=1e-4, atol=1e-5)


def test_gradient_times_input():
    case = case_of(elman.cells.get("lstm"))
    x = case.x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(case.layer(x)[0][-1].sum(), x)
    torch.testing.assert_close(attribution(case.layer, case.x).values, gradient * case.x)


def test_mass_on_marked_steps():
    layer = linear(1.0)
    found = attribution(layer, torch.tensor([[[1.0]], [[-3.0]]], dtype=torch.float64))
    marked = torch.tensor([[False], [True]])
    torch.testing.assert_close(found.on(marked), torch.tensor([0.75], dtype=torch.float64))


def test_other_forms_of_x():
    case = case_of(elman.cells.get("gru"))
    want = attribution(case.layer, case.x).values
    case.layer.batch_first = True
    torch.testing.assert_close(attribution(case.layer, case.x.transpose(0, 1)).values, want)
    case.layer.batch_first = False
    torch.testing.assert_close(attribution(case.layer, case.x[:, 0]).values, want[:, :1])
    x = case.x.clone()
    x[3:, 1] = torch.nan
    short = attribution(case.layer, x, lambda y: y.sum((0, 2)), lengths=torch.tensor([7, 3])).values
    assert short.isfinite().all()
    assert not short[3:, 1].any()


def test_what_cannot_be_attributed():
    case = case_of(elman.cells.get("rnn"))
    with pytest.raises(ElmanError, match="did you mean 'gradient'"):
        attribution(case.layer, case.x, method="gradients")
    with pytest.raises(ShapeError, match=r"one number a row: \(2,\)"):
        attribution(case.layer, case.x, lambda y: y[-1])
    with pytest.raises(ShapeError, match="want a tensor"):
        attribution(case.layer, [case.x[:, 0]])
