"""Path contributions add up to autograd's gradient, for every weight of every cell, network, length and reset."""

from __future__ import annotations

import pytest
import torch

import elman
from elman.errors import ShapeError
from elman.insight import gradient_shares, paths
from insight_layers import EVERY_CELL, NETWORKS, case_of

EXACT = {"rtol": 1e-9, "atol": 1e-12}


def by_autograd(layer, loss):
    found = torch.autograd.grad(loss, list(layer.parameters()), retain_graph=True, allow_unused=True)
    zeros = [torch.zeros_like(p) if g is None else g for p, g in zip(layer.parameters(), found, strict=True)]
    return dict(zip((name for name, _ in layer.named_parameters()), zeros, strict=True))


def assert_equal(found, want):
    assert found.keys() == want.keys()
    for name in want:
        torch.testing.assert_close(found[name], want[name], **EXACT, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("cell", EVERY_CELL)
def test_paths_of_every_cell_add_up(cell):
    case = case_of(cell)
    weight = torch.randn(case.layer.output_size, dtype=torch.float64)
    output, _ = case.layer(case.x, **case.given)
    for t in (0, 3, 6):
        found = paths(case.layer, case.x, t, weight, **case.given)
        assert_equal(found.total, by_autograd(case.layer, (output[t] * weight).sum()))
        assert not any(part[t + 1 :].any() for part in found.parts.values())
    shares = gradient_shares(case.layer, case.x, weight, within=[1, 3], **case.given)
    whole = {name: part[-1] for name, part in shares.parts.items()}
    assert_equal(whole, by_autograd(case.layer, (output * weight).sum()))


@pytest.mark.parametrize("given", ["whole", "lengths", "reset", "lengths and reset"])
@pytest.mark.parametrize("options", NETWORKS.values(), ids=NETWORKS)
def test_paths_of_any_network_add_up(options, given):
    case = case_of(elman.cells.get("lstm"), B=3, **options)
    x, more = case.x.clone(), {}
    if "reset" in given:
        reset = torch.rand(7, 3) < 0.3
        reset[0, 0] = reset[5, 1] = True  # the second is past the row's end, where it says nothing
        more = {"reset": reset, "state": tuple(torch.randn_like(s) for s in case.layer(x)[1])}
    if "lengths" in given:
        more |= {"lengths": torch.tensor([7, 2, 0])}
        x[2:, 1], x[:, 2] = torch.nan, torch.nan
    case.layer.eval()
    output, _ = case.layer(x, **more)
    weight = torch.randn(output.shape[-1], dtype=torch.float64)
    assert_equal(paths(case.layer, x, 3, weight, **more).total, by_autograd(case.layer, (output[3] * weight).sum()))
    shares = gradient_shares(case.layer, x, weight, **more)
    whole = {name: part[-1] for name, part in shares.parts.items()}
    assert_equal(whole, by_autograd(case.layer, (output * weight).sum()))


def test_each_part_is_the_gradient_of_that_step_s_copy():
    """The weights unshared: a network that has one copy of them a step, differentiated by each."""
    case = case_of(elman.cells.get("gru"))
    found = paths(case.layer, case.x, 5)
    names = [name for name, _ in case.layer.named_parameters()]
    copies = [{n: p.detach().clone().requires_grad_() for n, p in case.layer.named_parameters()} for _ in range(6)]
    state = torch.zeros(1, 2, 5, dtype=torch.float64)
    for k in range(6):
        output, state = torch.func.functional_call(case.layer, copies[k], (case.x[k : k + 1], state))
    for k in range(6):
        want = torch.autograd.grad(output.sum(), list(copies[k].values()), retain_graph=True)
        assert_equal({n: found.parts[n][k] for n in names}, dict(zip(names, want, strict=True)))


class Skew(elman.Recurrent):
    """A layer that makes its recurrent weight of a parameter: W - W^T."""

    def _parameter(self, name):
        weight = super()._parameter(name)
        return weight - weight.mT if name.startswith("weight_hh") else weight


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_weights_that_are_made_of_parameters(dtype):
    torch.manual_seed(0)
    layer = Skew("rnn", 2, 5, num_layers=2, bidirectional=True, dtype=dtype)
    x = torch.randn(7, 2, 2, dtype=dtype)
    output, _ = layer(x)
    exact = EXACT if dtype == torch.float64 else {"rtol": 1e-4, "atol": 1e-5}
    for found, loss in (
        (paths(layer, x, 4).total, output[4].sum()),
        ({n: p[-1] for n, p in gradient_shares(layer, x).parts.items()}, output.sum()),
    ):
        for name, want in by_autograd(layer, loss).items():
            torch.testing.assert_close(found[name], want.double(), **exact)


def test_shares_are_the_paths_by_distance():
    case = case_of(elman.cells.get("lstm"), num_layers=2)
    every = [paths(case.layer, case.x, t).parts for t in range(7)]
    shares = gradient_shares(case.layer, case.x, within=[1, 2, 4])
    assert shares.within == [1, 2, 4, 7]
    for name, parts in shares.parts.items():
        for i, edge in enumerate(shares.within):
            want = sum(every[t][name][k] for t in range(7) for k in range(7) if t - k < edge)
            torch.testing.assert_close(parts[i], want, **EXACT)


def test_shares_against_time_count_from_the_later_step():
    case = case_of(elman.cells.get("rnn"), bidirectional=True)
    shares = gradient_shares(case.layer, case.x, within=[2])
    want = sum(
        paths(case.layer, case.x, t).parts["weight_hh_l0_reverse"][k]
        for t in range(7) for k in (t, t + 1) if k < 7
    )  # fmt: skip
    torch.testing.assert_close(shares.parts["weight_hh_l0_reverse"][0], want, **EXACT)


def test_what_a_share_is():
    case = case_of(elman.cells.get("gru"))
    shares = gradient_shares(case.layer, case.x, within=range(1, 7))
    parts = shares.parts["weight_hh_l0"].flatten(1)
    whole = parts[-1]
    torch.testing.assert_close(shares.by_norm("weight_hh_l0"), parts.norm(dim=1) / whole.norm())
    torch.testing.assert_close(shares.projected("weight_hh_l0"), parts @ whole / whole.norm() ** 2)
    assert shares.projected()[-1] == pytest.approx(1)
    assert shares.by_norm()[-1] == pytest.approx(1)
    joined = torch.cat([p.flatten(1) for p in shares.parts.values()], dim=1)
    torch.testing.assert_close(shares.by_norm(), joined.norm(dim=1) / joined[-1].norm())


def test_chunks_of_steps_give_the_same(monkeypatch):
    case = case_of(elman.cells.get("gru"), num_layers=2)
    whole = gradient_shares(case.layer, case.x).parts
    monkeypatch.setattr("elman.insight.unrolled.CHUNK", 200)
    assert_equal(gradient_shares(case.layer, case.x).parts, whole)


def test_default_distances():
    layer = elman.Recurrent("rnn", 1, 2)
    assert gradient_shares(layer, torch.randn(120, 1, 1)).within == [1, 5, 10, 20, 50, 100, 120]
    assert gradient_shares(layer, torch.randn(1, 1, 1)).within == [1]


def test_what_cannot_be_split():
    case = case_of(elman.cells.get("rnn"))
    with pytest.raises(ShapeError, match="step: got 7, and x has T=7"):
        paths(case.layer, case.x, 7)
    for within in ([5, 1], [0, 1], [2, 2]):
        with pytest.raises(ShapeError, match="ascending"):
            gradient_shares(case.layer, case.x, within=within)
