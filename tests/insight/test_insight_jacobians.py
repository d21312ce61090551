"""Step Jacobians against autograd for every cell, Lyapunov exponents where they are known, and the verdict."""

from __future__ import annotations

import math

import pytest
import torch

import elman
from elman.backends import Call
from elman.backends.reference import Reference
from elman.errors import ElmanError, ShapeError
from elman.insight import Verdict, gradient_flow, jacobians, verdict
from insight_layers import EVERY_CELL, case_of


@pytest.mark.parametrize("cell", EVERY_CELL)
def test_every_step_of_every_cell(cell):
    case = case_of(cell, T=4)
    found = jacobians(case.layer, case.x, row=1, **case.given)
    (call,) = case.layer.calls(case.x, **case.given)[0][0]
    sizes = [s.shape[1] for s in call.states]
    state = torch.cat([s[1] for s in call.states]).detach()
    for t in range(4):
        extras = {n: e[t : t + 1, 1:2] for n, e in call.extras.items()}

        def step(whole, t=t, extras=extras):
            old = tuple(s.unsqueeze(0) for s in whole.split(sizes))
            one = Call(call.program, call.sizes, call.parameters, call.x[t : t + 1, 1:2], old, extras)
            return torch.cat([s[0] for s in Reference().run(one).states])

        want = torch.autograd.functional.jacobian(step, state)
        torch.testing.assert_close(found.matrices[t], want, rtol=1e-9, atol=1e-13)
        state = step(state).detach()
    assert list(found.spans) == [s.name for s in call.program.states]


def test_blocks_of_an_lstm():
    case = case_of(elman.cells.get("lstm"))
    found = jacobians(case.layer, case.x)
    whole = torch.cat([torch.cat([found.block(new, old) for old in ("h", "c")], dim=2) for new in ("h", "c")], dim=1)
    assert torch.equal(whole, found.matrices)
    forget = case.layer.record(case.x).values[0][0]["f"][:, 0]
    torch.testing.assert_close(found.block("c", "c"), torch.diag_embed(forget))


def test_products_are_the_gradient_of_the_last_step():
    case = case_of(elman.cells.get("rnn"))
    logs = jacobians(case.layer, case.x).product_log_norms()
    rows = [gradient_flow(case.layer, case.x[:, :1], w).heat for w in torch.eye(5, dtype=torch.float64)]
    for d in range(1, 7):  # Frobenius of the product by the heat maps of each unit, at least its spectral norm
        frobenius = torch.stack([heat[6, 6 - d] for heat in rows]).norm()
        assert logs[d - 1].exp() <= frobenius * (1 + 1e-9)
        assert logs[d - 1].exp() >= frobenius / 5**0.5


def test_products_of_matrices_that_leave_the_range_of_numbers():
    layer = plain("identity", 0.001 * torch.eye(3))
    logs = jacobians(layer, torch.zeros(300, 1, 1)).product_log_norms()
    torch.testing.assert_close(logs, math.log(0.001) * torch.arange(1, 301).double(), rtol=1e-6, atol=0)
    nothing = jacobians(plain("relu", -torch.eye(3), bias=-1.0), torch.zeros(5, 1, 1))
    assert torch.equal(nothing.product_log_norms(), torch.full((5,), -math.inf, dtype=torch.float64))


def plain(nonlinearity, weight, bias=0.0):
    layer = elman.Recurrent("rnn", 1, len(weight), nonlinearity=nonlinearity)
    layer.weight_hh_l0.data.copy_(weight)
    layer.bias_hh_l0.data.zero_()
    layer.bias_ih_l0.data.fill_(bias)
    return layer


@pytest.mark.parametrize(("scale", "word"), [(0.5, "vanishing"), (1.0, "healthy"), (1.5, "exploding")])
def test_a_linear_network_s_rate_is_the_logarithm_of_its_weight(scale, word):
    found = verdict(plain("identity", scale * torch.eye(4)), torch.zeros(20, 1, 1))
    assert found.rate == pytest.approx(math.log(scale), abs=1e-12)
    assert found.word == word


def test_exponents_of_unlike_directions():
    values = jacobians(plain("identity", torch.diag(torch.tensor([0.5, 1.25, 0.9]))), torch.zeros(9, 1, 1)).lyapunov()
    torch.testing.assert_close(values.exp(), torch.tensor([1.25, 0.9, 0.5], dtype=torch.float64), rtol=1e-6, atol=0)


def test_a_rotation_neither_fades_nor_grows():
    found = jacobians(plain("identity", torch.tensor([[0.0, -1.0], [1.0, 0.0]])), torch.zeros(40, 1, 1))
    assert found.lyapunov().abs().max() < 1e-12
    torch.testing.assert_close(found.spectrum()[0].imag.abs(), torch.ones(2, dtype=torch.float64))


def test_a_settled_tanh_network_is_not_called_exploding():
    """Weight 1.5: at rest it explodes; settled at h = tanh(1.5 h) = 0.859 each step multiplies by 1.5 (1 - h^2)."""
    layer, x = plain("tanh", 1.5 * torch.eye(4)), torch.zeros(200, 1, 1)
    settled = verdict(layer, x, state=torch.full((1, 1, 4), 0.1))
    assert layer(x, torch.full((1, 1, 4), 0.1))[0][-1, 0, 0].item() == pytest.approx(0.859, abs=1e-3)
    assert settled.word == "vanishing"
    assert settled.rate == pytest.approx(-0.93, abs=0.005)
    at_rest = verdict(layer, x)
    assert at_rest.word == "exploding"
    assert at_rest.rate == pytest.approx(math.log(1.5), rel=1e-6)


def test_an_lstm_that_keeps_its_memory_is_healthy():
    torch.manual_seed(0)
    x = torch.randn(100, 1, 2)
    keeps = verdict(elman.Recurrent("lstm", 2, 16, forget_bias=5.0), x)
    assert keeps.word == "healthy"
    assert abs(keeps.rate) < 0.02
    assert verdict(elman.Recurrent("rnn", 2, 16), x).word == "vanishing"


def test_a_network_that_loses_everything_at_once():
    found = verdict(plain("relu", -torch.eye(3), bias=-1.0), torch.zeros(5, 1, 1))
    assert (found.word, found.rate, found.distance) == ("vanishing", -math.inf, 1)
    assert str(found).endswith("below 1/100 after 1 step")


def test_a_short_row_has_its_own_steps_and_a_reset_cuts():
    case = case_of(elman.cells.get("gru"), B=2)
    whole, lengths = jacobians(case.layer, case.x, row=1), torch.tensor([7, 3])
    short = jacobians(case.layer, case.x, row=1, lengths=lengths)
    torch.testing.assert_close(short.matrices, whole.matrices[:3])
    reset = torch.zeros(7, 2, dtype=torch.bool)
    reset[2, 1] = True
    assert not jacobians(case.layer, case.x, row=1, reset=reset).matrices[2].any()


def test_the_other_direction_runs_from_the_end():
    case = case_of(elman.cells.get("rnn"), bidirectional=True)
    there = jacobians(case.layer, case.x, (0, 1)).matrices
    one = elman.Recurrent("rnn", 2, 5, dtype=torch.float64)
    one.load_state_dict({n: case.layer.state_dict()[n + "_reverse"] for n in one.state_dict()})
    torch.testing.assert_close(there, jacobians(one, case.x.flip(0)).matrices)


def test_what_cannot_be_looked_at():
    case = case_of(elman.cells.get("rnn"))
    with pytest.raises(ShapeError, match="row: got 2, want 0 to 1"):
        jacobians(case.layer, case.x, row=2)
    with pytest.raises(ShapeError, match="has no step"):
        jacobians(case.layer, case.x, row=1, lengths=torch.tensor([7, 0]))
    with pytest.raises(ShapeError, match="settle: got 7"):
        verdict(case.layer, case.x, settle=7)
    case.x[3] = torch.nan
    with pytest.raises(ElmanError, match="not finite at step 3"):
        jacobians(case.layer, case.x)


def test_words():
    assert str(Verdict.of(0.0)) == "healthy: a gradient is multiplied by 1 at each step (rate 0.000)"
    assert Verdict.of(0.05, horizon=100).word == "exploding"
    assert Verdict.of(0.05, horizon=90).word == "healthy"
    assert "forget_bias" in Verdict.of(-1.0).healing
    assert "clip" in Verdict.of(1.0).healing
    assert Verdict.of(0.0).healing == ""
