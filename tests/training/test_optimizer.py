"""The optimizer: torch's own AdamW to the bit, without the second that importing torch's compiler takes."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from elman import internals
from elman.training import Recipe
from elman.training.optimizer import BETA_HIGH, BETA_SQUARES, adamw, clipping


def trained(make, steps=5, resume_at=3):
    """The weights after some steps, half way with the optimizer's state taken over by a new one."""
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizer = make(list(model.parameters()))
    for step in range(steps):
        if step == resume_at:
            state = copy.deepcopy(optimizer.state_dict())
            optimizer = make(list(model.parameters()))
            optimizer.load_state_dict(state)
        optimizer.zero_grad()
        model(torch.randn(4, 3)).square().mean().backward()
        optimizer.step()
    return [p.detach().clone() for p in model.parameters()]


def test_it_is_torchs_adamw_to_the_bit():
    recipe = Recipe(lr=0.05, weight_decay=0.1)
    settings = {"betas": (BETA_HIGH, BETA_SQUARES), "weight_decay": 0.1, "fused": True}
    ours = trained(lambda parameters: adamw(parameters, recipe))
    torchs = trained(lambda parameters: torch.optim.AdamW(parameters, 0.05, **settings))
    for a, b in zip(ours, torchs, strict=True):
        assert torch.equal(a, b)


def test_a_parameter_without_a_gradient_waits():
    def weights(make):
        a, b = (nn.Parameter(torch.ones(3)) for _ in range(2))
        optimizer = make([a, b])
        for step in range(6):
            optimizer.zero_grad()
            (a.square().sum() + (b.exp().sum() if step % 3 else 0)).backward()
            optimizer.step()
        return torch.cat([a, b]).detach()

    recipe = Recipe(lr=0.05, weight_decay=0.1)
    settings = {"betas": (BETA_HIGH, BETA_SQUARES), "weight_decay": 0.1, "fused": True}
    assert torch.equal(weights(lambda p: adamw(p, recipe)), weights(lambda p: torch.optim.AdamW(p, 0.05, **settings)))


def test_parameters_that_come_later_are_trained_too():
    first, second = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    optimizer = adamw([first], Recipe(lr=0.05))
    for step in range(4):
        if step == 2:
            optimizer.add_param_group({"params": [second]})
        optimizer.zero_grad()
        (first.square().sum() + second.square().sum()).backward()
        optimizer.step()
    assert (second < 1).all()


@pytest.mark.parametrize("name", ["_fused_adamw_", "_foreach_add_"])
def test_where_torch_has_no_such_kernel_nothing_is_taken_from_it(monkeypatch, name):
    weights = nn.Parameter(torch.ones(3))
    optimizer = adamw([weights], Recipe())
    weights.sum().backward()
    optimizer.step()
    assert internals.moments(optimizer) is not None
    monkeypatch.delattr(torch, name)
    assert internals.moments(optimizer) is None


@given(st.floats(1e-3, 1e3), st.floats(1e-6, 1e6))
def test_it_clips_as_torch_does_to_the_bit(clip, norm):
    assert clipping(clip, norm) == float(clip / (torch.tensor(norm) + 1e-6))


def test_a_step_is_no_part_of_the_graph():
    weights = torch.ones(2, requires_grad=True)
    optimizer = internals.light(torch.optim.AdamW)([weights], lr=0.1)
    weights.sum().backward()
    optimizer.step()
    assert weights.is_leaf
    assert torch.is_grad_enabled()
    optimizer.zero_grad()
    assert weights.grad is None


@pytest.mark.parametrize("missing", [False, True], ids=["torch's own", "one by one"])
def test_scaling_is_a_product_of_each(monkeypatch, missing):
    if missing:
        monkeypatch.delattr(torch, "_foreach_mul_")
    tensors = [torch.tensor([3.0, 4.0]), torch.tensor([[0.5]])]
    internals.scale(tensors, 0.1)
    assert torch.equal(tensors[0], torch.tensor([3.0, 4.0]) * 0.1)
    assert torch.equal(tensors[1], torch.tensor([[0.5]]) * 0.1)


@pytest.mark.full
def test_training_does_not_load_torchs_compiler(tmp_path):
    code = """import sys
from elman.jobs import Forecaster
job = Forecaster("gru", hidden=4, context=8, epochs=2)
job.fit("wave:sine")
job.test()
sys.exit("torch._dynamo" in sys.modules)"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
