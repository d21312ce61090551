"""What a network may learn of the spread: each distribution's density, quantiles and how it is learned."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from elman.tasks.likelihoods import LEAST_FREEDOM, LIKELIHOODS, USUAL_FREEDOM, Place

WANTED = np.array([0.005, 0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975, 0.995])


def place(mean=0.0, base=1.0, shift=0.0, scale=1.0):
    return Place(*(torch.tensor(value, dtype=torch.float64) for value in (mean, base, shift, scale)))


def numbers(name, *values):
    told = torch.zeros(LIKELIHOODS[name].size, dtype=torch.float64)
    told[: len(values)] = torch.tensor(values)
    return told


def for_freedom(freedom):
    """What Student's t is told for so many degrees of freedom."""
    return math.log(math.expm1((freedom - LEAST_FREEDOM) / USUAL_FREEDOM))


@pytest.mark.parametrize(("name", "told", "constant"), [
    ("gaussian", (0.7,), 0.5 * math.log(2 * math.pi)), ("student-t", (-0.4, 0.3), 0.0), ("student-t", (0.0, -9.0), 0.0),
])  # fmt: skip
def test_a_density_has_the_area_1(name, told, constant):
    truth = torch.linspace(-400, 400, 800_001, dtype=torch.float64)
    likelihood, at = LIKELIHOODS[name], place(mean=0.3, base=1.7)
    density = (-likelihood.loss(numbers(name, *told), at, truth) - constant).exp() / 1.7
    assert torch.trapezoid(density, truth).item() == pytest.approx(1, abs=2e-3)


def test_counts_have_a_probability_of_1_in_all_and_the_mean_and_variance_that_are_told():
    likelihood, at = LIKELIHOODS["negative-binomial"], place(mean=1.5, shift=4.0, scale=2.0)  # 7 is expected
    counts = torch.arange(0, 4000, dtype=torch.float64)
    chance = (-likelihood.loss(numbers("negative-binomial", 0.2), at, (counts - 4) / 2)).exp()
    mean = (chance * counts).sum()
    deviation = (chance * (counts - mean).square()).sum().sqrt()
    assert chance.sum().item() == pytest.approx(1)
    assert mean.item() == pytest.approx(7)
    assert 2 * likelihood.spread(numbers("negative-binomial", 0.2), at).item() == pytest.approx(deviation.item())


def test_quantiles_of_students_t_are_those_of_its_tables():
    t = LIKELIHOODS["student-t"]
    found = t.quantiles(numbers("student-t", 0.0, for_freedom(10)), place(), np.array([0.9, 0.95, 0.975, 0.995]))
    assert found.numpy() == pytest.approx([1.372, 1.812, 2.228, 3.169], abs=2e-3)
    found = t.quantiles(numbers("student-t", 0.0, for_freedom(3)), place(), np.array([0.05, 0.975, 0.995]))
    assert found.numpy() == pytest.approx([-2.353, 3.182, 5.841], abs=1e-2)


def test_quantiles_of_the_normal_distribution_are_those_of_its_tables():
    found = LIKELIHOODS["gaussian"].quantiles(numbers("gaussian", 2.0), place(base=3.0), np.array([0.1, 0.975]))
    assert found.numpy() == pytest.approx([-1.2816, 1.95996], abs=1e-4)
    assert LIKELIHOODS["quantiles"].quantiles(numbers("quantiles"), place(), WANTED).numpy() == pytest.approx(
        LIKELIHOODS["gaussian"].quantiles(numbers("gaussian"), place(), WANTED).numpy(), abs=1e-6
    )


@pytest.mark.parametrize("mean", [0.2, 3.0, 40.0, 1e6])
def test_quantiles_of_counts_are_those_of_draws(mean):
    likelihood, told = LIKELIHOODS["negative-binomial"], numbers("negative-binomial", -0.5)
    shape = 4 * math.exp(7 * math.tanh(-0.5 / 7))
    draws = np.random.default_rng(0).negative_binomial(shape, shape / (shape + mean), size=400_000)
    at = place(mean=mean)
    found = likelihood.quantiles(told, at, WANTED).numpy() * likelihood.spread(told, at).numpy() + mean
    wanted = np.quantile(draws, WANTED, method="inverted_cdf")
    assert np.abs(found - wanted).max() <= max(1.0, 0.02 * wanted.max())


@given(
    name=st.sampled_from(sorted(LIKELIHOODS)), seed=st.integers(0, 999), mean=st.floats(-5, 50), scale=st.floats(0.1, 9)
)
def test_quantiles_rise_and_losses_have_gradients(name, seed, mean, scale):
    likelihood, random = LIKELIHOODS[name], np.random.default_rng(seed)
    told = torch.from_numpy(random.normal(size=(3, likelihood.size)) * 3).requires_grad_()
    at = place(mean=mean, base=0.5, shift=1.0, scale=scale)
    found = likelihood.quantiles(told, at, WANTED)
    assert found.shape == (len(WANTED), 3)
    assert torch.isfinite(found).all()
    assert (found.diff(dim=0) >= 0).all()
    assert (likelihood.spread(told, at) > 0).all()
    likelihood.loss(told, at, torch.from_numpy(random.normal(size=3) * 20)).sum().backward()
    assert torch.isfinite(told.grad).all()


def learned(name, truth, at):
    """The numbers of least loss on ``truth``."""
    told = torch.zeros(LIKELIHOODS[name].size, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([told], max_iter=200, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        total = LIKELIHOODS[name].loss(told, at, truth).mean()
        total.backward()
        return total

    optimizer.step(loss)
    return told.detach()


def test_what_is_learned_from_draws_is_what_they_were_drawn_with():
    random, n = np.random.default_rng(1), 40_000
    at = place(mean=2.0, base=0.5)
    normal = torch.from_numpy(2 + 3 * random.normal(size=n))
    assert LIKELIHOODS["gaussian"].spread(learned("gaussian", normal, at), at).item() == pytest.approx(3, rel=0.02)
    heavy = torch.from_numpy(2 + 3 * random.standard_t(5, size=n))
    told = learned("student-t", heavy, at)
    assert LIKELIHOODS["student-t"].spread(told, at).item() == pytest.approx(3, rel=0.03)
    assert LEAST_FREEDOM + USUAL_FREEDOM * math.log1p(math.exp(told[1])) == pytest.approx(5, rel=0.15)
    counts = torch.from_numpy(random.negative_binomial(2, 2 / (2 + 6), size=n).astype(float))
    of_counts = place(mean=6.0)
    told = learned("negative-binomial", counts, of_counts)
    assert LIKELIHOODS["negative-binomial"].spread(told, of_counts).item() == pytest.approx(math.sqrt(6 + 18), rel=0.02)


def test_learned_quantiles_of_a_skewed_distribution_are_its_own():
    truth = torch.from_numpy(np.random.default_rng(2).exponential(size=40_000))
    at, quantiles = place(mean=1.0, base=0.7), LIKELIHOODS["quantiles"]
    told = learned("quantiles", truth, at)
    found = quantiles.quantiles(told, at, np.array([0.05, 0.25, 0.5, 0.9, 0.975])) * quantiles.spread(told, at) + 1
    assert found.numpy() == pytest.approx(-np.log1p(-np.array([0.05, 0.25, 0.5, 0.9, 0.975])), abs=0.06)
