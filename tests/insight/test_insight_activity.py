"""States and gates over time: the recorded values, what bounds them, and units that do nothing."""

from __future__ import annotations

import math

import pytest
import torch

import elman
from elman.equations import clamp, hardsigmoid, relu, sigmoid, tanh
from elman.insight import activity
from elman.insight.activity import bounds
from insight_layers import EVERY_CELL, NETWORKS, case_of

INF = math.inf


@pytest.mark.parametrize("cell", EVERY_CELL)
def test_every_named_value_of_every_cell(cell):
    case = case_of(cell)
    found = activity(case.layer, case.x, **case.given)[0][0]
    recorded = case.layer.record(case.x, **case.given).values[0][0]
    assert found.keys() == recorded.keys()
    assert {s.name for s in case.layer.program.states} <= found.keys()
    for name, value in found.items():
        torch.testing.assert_close(value.values, recorded[name], rtol=0, atol=0)
        low, high = value.bounds
        assert ((value.values >= low) & (value.values <= high)).all(), name
        assert 0 <= value.saturated <= 1
        assert value.squashed or not value.stuck


@elman.cell
def many(x, h, p, *, dt=0.5):
    a, b, c = sigmoid(p.a(x, h)), tanh(p.b(x)), relu(p.c(x))
    keep = 1 - a
    slow = dt * sigmoid(p.s(x))
    hard = hardsigmoid(p.d(x))
    clipped = clamp(p.e(x), -2.0, 3.0)
    shifted = 2 * b - 1
    both = a * b
    free = p.f(x)
    return tanh(keep * h + slow + hard * clipped * c + shifted * both + free)


def test_bounds_come_from_the_operation_that_made_the_value():
    program = many.program()
    found = {name: bounds(program, index) for name, index in program.values.items()}
    assert found == {
        "a": (0, 1), "b": (-1, 1), "c": (0, INF), "keep": (0, 1), "slow": (0, 0.5), "hard": (0, 1), "clipped": (-2, 3),
        "shifted": (-3, 1), "both": (-INF, INF), "free": (-INF, INF), "h": (-1, 1),
    }  # fmt: skip


def gate(values, name="i"):
    """An LSTM whose gate takes the given values, one a unit, at every step."""
    layer = elman.Recurrent("lstm", 1, len(values))
    for parameter in layer.parameters():
        parameter.data.zero_()
    layer.rows(name)["bias_ih"].data.copy_(
        torch.tensor(values).logit() if name != "g" else torch.tensor(values).atanh()
    )
    return activity(layer, torch.zeros(4, 2, 1))[0][0][name]


def test_a_gate_below_a_tenth_or_above_nine_tenths_is_saturated():
    found = gate([0.05, 0.15, 0.5, 0.85, 0.95])
    assert found.low.tolist() == [1, 0, 0, 0, 0]
    assert found.high.tolist() == [0, 0, 0, 0, 1]
    assert found.saturated == pytest.approx(2 / 5)
    assert found.stuck == [0, 4]


def test_a_tanh_beyond_nine_tenths_is_saturated():
    found = gate([-0.95, -0.85, 0.0, 0.85, 0.95], "g")
    assert found.low.tolist() == [1, 0, 0, 0, 0]
    assert found.high.tolist() == [0, 0, 0, 0, 1]


def test_shares_count_steps_and_rows():
    layer = elman.Recurrent("rnn", 1, 1)
    layer.weight_hh_l0.data.zero_()
    layer.weight_ih_l0.data.fill_(1.0)
    layer.bias_ih_l0.data.zero_()
    layer.bias_hh_l0.data.zero_()
    x = torch.tensor([[5.0, 0.0], [-5.0, 0.0], [5.0, 0.0], [0.0, 9.0]]).unsqueeze(-1)
    found = activity(layer, x)[0][0]["h"]
    assert (found.high.item(), found.low.item()) == (3 / 8, 1 / 8)
    assert found.stuck == []
    short = activity(layer, x, lengths=torch.tensor([3, 1]))[0][0]["h"]
    assert (short.high.item(), short.low.item()) == (2 / 4, 1 / 4)
    swings = activity(layer, x[:3, :1])[0][0]["h"]
    assert (swings.high.item(), swings.low.item()) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert swings.stuck == []  # at an end at every step, but not at the same


def test_dead_units_never_move():
    layer = elman.Recurrent("rnn", 1, 3, nonlinearity="relu")
    for parameter in layer.parameters():
        parameter.data.zero_()
    layer.bias_ih_l0.data.copy_(torch.tensor([-1.0, 1.0, 0.0]))
    layer.weight_ih_l0.data[2] = 1.0
    found = activity(layer, torch.randn(9, 2, 1))[0][0]["h"]
    assert found.dead == [0, 1]
    assert activity(layer, torch.randn(9, 2, 1), lengths=torch.tensor([9, 4]))[0][0]["h"].dead == [0, 1]
    assert found.stuck == []
    assert found.saturated == 0


@pytest.mark.parametrize("options", NETWORKS.values(), ids=NETWORKS)
def test_every_layer_and_direction(options):
    case = case_of(elman.cells.get("lstm"), **options)
    found = activity(case.layer, case.x, lengths=torch.tensor([7, 3]))
    assert len(found) == case.layer.num_layers
    assert {len(row) for row in found} == {case.layer.stack.directions}
    assert found[-1][-1]["f"].values.shape == (7, 2, 5)
    assert found[-1][-1]["f"].running.sum() == 10
    assert case.layer.training


def test_noise_of_training_is_left_out():
    case = case_of(elman.cells.get("lstm"), recurrent_dropout=0.5, zoneout=0.3)
    first, second = (activity(case.layer, case.x)[0][0]["h"].values for _ in range(2))
    assert torch.equal(first, second)
