"""Gradient flow: every entry of the heat map is autograd's, for every cell, depth, direction, length and reset."""

from __future__ import annotations

import pytest
import torch

import elman
from elman.backends import Call
from elman.backends.reference import Reference
from elman.errors import ShapeError
from elman.insight import gradient_flow
from elman.insight.unrolled import Unrolled
from insight_layers import EVERY_CELL, NETWORKS, case_of

EXACT = {"rtol": 1e-9, "atol": 1e-13}


def step_by_step(call: Call):
    """A plain loop of one-step runs that keeps every state and output, as anyone would write it for autograd."""
    states, after, outputs = call.states, [], []
    for t in range(len(call.x)):
        extras = {n: e[t : t + 1] for n, e in call.extras.items()}
        ran = Reference().run(Call(call.program, call.sizes, call.parameters, call.x[t : t + 1], states, extras))
        states = ran.states
        after.append(states)
        outputs.append(ran.output[0])
    return after, outputs


@pytest.mark.parametrize("cell", EVERY_CELL)
def test_heat_map_is_autograd_s(cell):
    case = case_of(cell)
    weight = torch.randn(case.layer.output_size, dtype=torch.float64)
    flow = gradient_flow(case.layer, case.x, weight, **case.given)
    calls, _ = case.layer.calls(case.x, **case.given)
    after, outputs = step_by_step(calls[0][0])
    for k, state in enumerate(case.layer.program.states):
        want = torch.zeros(7, 7, dtype=torch.float64)
        for t, output in enumerate(outputs):
            wanted = [after[j][k] for j in range(t + 1)]
            found = torch.autograd.grad(
                (output * weight).sum(), wanted, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            want[t, : t + 1] = torch.stack([g.norm() for g in found])
        torch.testing.assert_close(flow.norms[0][0][state.name], want, **EXACT)


@pytest.mark.parametrize("given", ["whole", "lengths", "reset"])
@pytest.mark.parametrize("options", NETWORKS.values(), ids=NETWORKS)
def test_the_way_back_to_x_through_any_network(options, given):
    """One query a step through all layers: its gradient to x is autograd's, and padding (NaN) reaches nothing."""
    case = case_of(elman.cells.get("lstm"), B=3, **options)
    x, more = case.x.clone(), {}
    if given == "lengths":
        more = {"lengths": torch.tensor([7, 2, 0])}
        x[2:, 1], x[:, 2] = torch.nan, torch.nan
    if given == "reset":
        more = {"reset": torch.rand(7, 3) < 0.3, "state": tuple(torch.randn_like(s) for s in case.layer(x)[1])}
    case.layer.eval()
    x.requires_grad_()
    output, _ = case.layer(x, **more)
    weight = torch.randn(output.shape[-1], dtype=torch.float64)
    unrolled = Unrolled.of(case.layer, x, **more)
    found = unrolled.back(unrolled.seeds(unrolled.gradient(weight), range(7)), last=range(7))
    for t in range(7):
        (want,) = torch.autograd.grad((output[t] * weight).sum(), x, retain_graph=True)
        torch.testing.assert_close(found[t], want, **EXACT)


def test_padding_gets_nothing_round_a_layer_either():
    torch.manual_seed(0)
    layer = elman.Recurrent("gru", 4, 4, residual=True, dtype=torch.float64)
    unrolled = Unrolled.of(layer, torch.randn(5, 2, 4, dtype=torch.float64), lengths=torch.tensor([5, 2]))
    found = unrolled.back(torch.ones(1, 5, 2, 4, dtype=torch.float64))[0]
    assert found[:2].all()
    assert found[2:, 0].all()
    assert not found[2:, 1].any()


def test_chunks_of_steps_give_the_same(monkeypatch):
    case = case_of(elman.cells.get("gru"), num_layers=2)
    whole = gradient_flow(case.layer, case.x).norms
    monkeypatch.setattr("elman.insight.unrolled.CHUNK", 200)
    parts = gradient_flow(case.layer, case.x).norms
    for layer in range(2):
        torch.testing.assert_close(parts[layer][0]["h"], whole[layer][0]["h"], rtol=1e-12, atol=0)


def test_a_layer_of_both_directions_has_a_flow_of_each():
    case = case_of(elman.cells.get("rnn"), bidirectional=True)
    flow = gradient_flow(case.layer, case.x)
    forwards, backwards = (flow.norms[0][d]["h"] for d in (0, 1))
    assert torch.equal(forwards, forwards.tril())
    assert torch.equal(backwards, backwards.triu())
    assert (flow.by_distance(direction=1) > 0).all()


def test_a_loss_may_be_a_function_or_a_weight():
    case = case_of(elman.cells.get("gru"))
    target = torch.randn(7, 2, 5, dtype=torch.float64)
    output = case.layer(case.x)[0].detach()
    by_function = gradient_flow(case.layer, case.x, lambda y: ((y - target) ** 2).sum(-1))
    by_weight = gradient_flow(case.layer, case.x, 2 * (output - target))
    torch.testing.assert_close(by_function.heat, by_weight.heat)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda y: y.sum(), "one number a step"),
        (lambda y: y.sum((1, 2)).cumsum(0), "step t alone"),
        (lambda y: y.sum((1, 2)).flip(0).cumsum(0).flip(0), "step t alone"),
        (lambda y: y.sum((1, 2)).flip(0), "step t alone"),
        (lambda y: torch.zeros(7), "does not depend"),
        (torch.ones(3), "weight"),
    ],
)
def test_losses_that_are_none(loss, message):
    case = case_of(elman.cells.get("rnn"))
    with pytest.raises(ShapeError, match=message):
        gradient_flow(case.layer, case.x, loss)


def test_nothing_to_look_at():
    case = case_of(elman.cells.get("rnn"))
    with pytest.raises(ShapeError, match="nothing to look at"):
        gradient_flow(case.layer, case.x[:0])


def test_gradients_far_below_float32_keep_their_size():
    layer = elman.Recurrent("rnn", 1, 4, nonlinearity="identity")
    torch.nn.init.eye_(layer.weight_hh_l0.data).mul_(0.5)
    heat = gradient_flow(layer, torch.zeros(800, 1, 1)).heat
    assert heat[799, 0] == pytest.approx(2 * 0.5**799, rel=1e-12, abs=0)
    assert heat.dtype == torch.float64


def test_the_layer_is_left_as_it_was():
    case = case_of(elman.cells.get("lstm"), num_layers=2, dropout=0.5, recurrent_dropout=0.3)
    assert torch.equal(gradient_flow(case.layer, case.x).heat, gradient_flow(case.layer, case.x).heat)
    assert case.layer.training
    assert all(p.grad is None for p in case.layer.parameters())
