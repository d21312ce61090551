"""Gradient norms of every part, spikes, and a number that is none traced to where it first appeared."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import elman
from elman.equations import log, sqrt, tanh
from elman.errors import ElmanError
from elman.insight import Health
from elman.insight.faults import trace_backward, trace_layer
from elman.insight.health import gradient_norms, part_of, spikes
from elman.training import Recipe, fit
from training_tasks import LineTask, RecallTask


class Network(nn.Module):
    def __init__(self, cell="rnn", *, head=None, **options):
        super().__init__()
        self.recurrent = elman.Recurrent(cell, 1, 4, **options)
        self.head = head or nn.Linear(self.recurrent.output_size, 1)

    def forward(self, x, *more, **given):
        return self.head(self.recurrent(x, *more, **given)[0])


class Task(LineTask):
    """Any network on one batch of random sequences; ``spoil`` changes it from a step of its own on."""

    def __init__(self, model, spoil=None, at=2, steps=3):
        torch.manual_seed(0)
        self.model, self.spoil, self.at, self.steps = model, spoil, at, steps
        self.x, self.done = torch.randn(7, 2, 1), 0

    def batch_count(self):
        return self.steps

    def batches(self, generator):
        return iter([self.x] * self.steps)

    def loss(self, batch, state):
        self.done += 1
        if self.spoil and self.done >= self.at:
            batch = self.spoil(self.model, batch.clone())
        return self.model(batch).square().mean(), None

    def validate(self):
        return None


def message_of(task):
    with pytest.raises(ElmanError, match="training diverged") as caught:
        fit(task, Recipe(epochs=1))
    return str(caught.value)


# What is noted


def test_parts():
    model = Network("lstm", num_layers=2, bidirectional=True, learn_state=True)
    assert {part_of(name) for name, _ in model.named_parameters()} == {
        "recurrent.l0", "recurrent.l0_reverse", "recurrent.l1", "recurrent.l1_reverse", "head",
    }  # fmt: skip


def test_norms_of_every_part_at_every_step():
    torch.manual_seed(0)
    model = Network("lstm", num_layers=2)
    health = Health(model)
    for scale in (1.0, 100.0):
        model.zero_grad()
        (scale * model(torch.ones(5, 2, 1)).sum()).backward()
        health.step(0.0)
    found = health.epoch()["gradients"]
    assert list(found) == ["recurrent.l0", "recurrent.l1", "head"]
    of_head = torch.cat([p.grad.flatten() for p in model.head.parameters()]).norm().item()
    assert found["head"][1] == pytest.approx(of_head, rel=1e-3)
    assert found["recurrent.l0"][1] == pytest.approx(100 * found["recurrent.l0"][0], rel=1e-3)
    assert health.epoch() == {"gradients": {"recurrent.l0": [], "recurrent.l1": [], "head": []}, "spikes": []}


def test_a_part_without_a_gradient_has_the_norm_0():
    frozen, used = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))
    used.sum().backward()
    assert gradient_norms([frozen, used]) == [0.0, pytest.approx(3**0.5)]
    assert gradient_norms([]) == []


def test_the_rows_of_a_training_hold_it():
    history = fit(RecallTask(), Recipe(epochs=2))
    for row in history.rows:
        assert set(row["gradients"]) == {"lstm.l0", "lstm.l1", "head"}
        assert all(len(norms) == 3 and min(norms) > 0 for norms in row["gradients"].values())
        whole = [sum(n**2 for n in step) ** 0.5 for step in zip(*row["gradients"].values(), strict=True)]
        assert sum(whole) / 3 == pytest.approx(row["grad_norm"], rel=1e-3)
        assert row["spikes"] == []


def test_spikes():
    calm = [1.0 + 0.1 * (i % 3) for i in range(20)]
    assert spikes(calm) == []
    assert spikes([*calm, 4.0, 1.0, 3.0]) == [21]
    assert spikes([9.0, 1.0, 9.0]) == []  # nothing to compare with yet
    falling = [2.0**-i for i in range(60)]
    assert spikes(falling) == []


# Where a number is none


def set_recurrent(value):
    def spoil(model, x):
        model.recurrent.weight_hh_l0.data.copy_(value * torch.eye(4))
        return x

    return spoil


def test_an_explosion_is_traced_to_its_step_layer_and_operation():
    told = message_of(Task(Network(nonlinearity="identity", bias=False), set_recurrent(1e15)))
    assert "the loss at epoch 1, step 2 of 3 is" in told
    assert "first not finite: product, on the way to h, at t=3 of T=7, layer 0 of 'recurrent'" in told
    for option in ("clip", "orthogonal", "identity", "forget_bias"):
        assert option in told


@pytest.mark.parametrize("place", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_every_layer_and_direction(place):
    layer = elman.Recurrent("rnn", 1, 4, num_layers=2, bidirectional=True, nonlinearity="identity", bias=False)
    suffix = f"_l{place[0]}" + "_reverse" * place[1]
    getattr(layer, "weight_hh" + suffix).data.copy_(1e15 * torch.eye(4))
    found = trace_layer(layer, torch.ones(7, 2, 1))
    assert f"layer {place[0]}" in found
    assert ("backwards" in found) == bool(place[1])
    assert "t=3 of T=7" in found


def test_the_row_and_the_padding():
    layer = elman.Recurrent("rnn", 1, 4, nonlinearity="identity", bias=False)
    layer.weight_hh_l0.data.copy_(1e15 * torch.eye(4))
    assert trace_layer(layer, torch.ones(7, 2, 1), lengths=torch.tensor([1, 2])) is None
    x = torch.ones(7, 2, 1)
    x[2:, 0] = torch.nan
    assert "t=3" in trace_layer(layer, x, lengths=torch.tensor([2, 7]))
    reset = torch.zeros(7, 2, dtype=torch.bool)
    reset[[2, 4, 6]] = True
    assert trace_layer(layer, torch.ones(7, 2, 1), reset=reset) is None


@elman.cell
def logarithmic(x, h, p):
    inner = log(p.a(x, h) - 100.0)
    return tanh(inner)


def test_the_value_is_named_as_in_the_equations():
    assert trace_layer(elman.Recurrent(logarithmic, 1, 3), torch.ones(4, 1, 1)) == "inner (log) at t=0 of T=4, layer 0"


def test_input_parameter_state_and_other_modules():
    def nan_input(model, x):
        x[4] = torch.nan
        return x

    def nan_weight(model, x):
        model.head.weight.data[0, 0] = torch.nan
        return x

    class Root(nn.Module):
        def forward(self, h):
            return torch.sqrt(h - 5).sum(-1, keepdim=True)

    assert "first not finite: what 'recurrent' is given: x at t=4 of T=7" in message_of(Task(Network(), nan_input))
    assert "first not finite: the parameter head.weight itself" in message_of(Task(Network(), nan_weight))
    assert "first not finite: the output of 'head'" in message_of(Task(Network(head=Root())))

    state = torch.full((1, 2, 4), torch.nan)
    health = Health(model := Network())
    told = health.explain(lambda: model(torch.ones(7, 2, 1), state).sum())
    assert told.startswith("first not finite: what 'recurrent' is")
    assert not model.recurrent._forward_pre_hooks


def test_what_does_not_come_again_is_said():
    class Once(Task):
        def loss(self, batch, state):
            self.done += 1
            return self.model(batch).square().mean() + (math.nan if self.done == 2 else 0), None

    assert "first not finite: something that is drawn at random" in message_of(Once(Network()))


def test_a_loss_that_is_to_blame_itself():
    class Logarithm(Task):
        def loss(self, batch, state):
            return super().loss(batch, state)[0] + torch.log(-torch.ones(())).sum(), None

    assert "first not finite: the loss, of a finite output" in message_of(Logarithm(Network()))


@elman.cell
def root(x, h, p):
    inner = p.a(x, h)
    square = inner * inner * 0.0
    return tanh(sqrt(square) + p.b(x))


def test_a_gradient_is_traced_to_its_step_layer_and_operation():
    told = message_of(Task(Network(root)))
    assert "the norm of the gradient at epoch 1, step 1 of 3 is nan" in told
    assert "first not finite: the gradient of " in told
    assert "at t=6 of T=7, layer 0 of 'recurrent'" in told
    assert "square" in told


def test_a_gradient_that_overflows_at_one_step():
    """Each step back multiplies by 1e15: with float32's range of 3e38, three steps from the end are too many."""
    network = Network(nonlinearity="identity", bias=False)
    network.recurrent.weight_hh_l0.data.copy_(1e15 * torch.eye(4))
    found = trace_backward(network, lambda: network(torch.zeros(7, 2, 1)).sum())
    assert found == "the gradient of the old h at t=4 of T=7, layer 0 of 'recurrent'"


def test_a_gradient_that_comes_in_from_above():
    network = Network()
    found = trace_backward(network, lambda: torch.sqrt(0 * network(torch.ones(5, 2, 1)).sum()))
    assert found == "the gradient that reaches the output of 'recurrent'"
