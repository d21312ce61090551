"""The linear forecasts: bases against their definitions, ridge against its normal equations, and what a blend draws."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.errors import DataError
from elman.linear import Blend, Member
from elman.linear.bases import BASES, base_matrix, reach
from elman.linear.blend import CONTEXTS_A_FAMILY, STRENGTHS
from elman.linear.ridge import Ridge
from elman.metrics import persistence, seasonal_naive

STEPS = np.arange(120.0)


def following(values, horizon=12, season=0, **choices):
    """The ``horizon`` values that a blend chosen on and fitted to ``values`` draws after them."""
    return Blend.choose(values, horizon, season, **choices).fit(values)(values)


# Bases


@settings(deadline=None)
@given(horizon=st.integers(1, 30), season=st.integers(2, 9), extra=st.integers(0, 20), seed=st.integers(0, 99))
def test_bases_are_the_plain_forecasts_of_their_names(horizon, season, extra, seed):
    context = 2 * season + extra
    values = np.random.default_rng(seed).normal(size=context + season + 1)

    def drawn(name):
        return base_matrix(name, horizon, context, season) @ values[len(values) - reach(name, context, season) :]

    first = np.array([len(values)])
    assert np.allclose(drawn("zero"), 0)
    assert np.allclose(drawn("last"), persistence(values[-1:, None], horizon)[0, :, 0])
    assert np.allclose(drawn("season"), seasonal_naive(values[:, None], first, horizon, season)[0, :, 0])
    assert np.allclose(drawn("mean"), values[-context:].mean())
    slope = (values[-1] - values[-context]) / (context - 1)
    assert np.allclose(drawn("drift"), values[-1] + slope * np.arange(1, horizon + 1))
    means = values[-(context // season * season) :].reshape(-1, season).mean(0)
    assert np.allclose(drawn("mean of seasons"), means[np.arange(horizon) % season])
    gained = values[-1] - values[-1 - season]
    want = [values[len(values) - season + k % season] + gained * (1 + k // season) for k in range(horizon)]
    assert np.allclose(drawn("season and change"), want)


@pytest.mark.parametrize("name", [name for name, base in BASES.items() if base.seasons])
def test_a_base_of_seasons_needs_one(name):
    with pytest.raises(DataError, match="got season 0"):
        reach(name, 8, 0)


# Ridge


@pytest.mark.parametrize("strength", STRENGTHS)
def test_ridge_solves_its_normal_equations(strength):
    random = np.random.default_rng(1)
    x, y = random.normal(size=(40, 5)) @ np.diag([1, 2, 3, 4, 5]), random.normal(size=(40, 2))
    ridge = Ridge(x, y)
    coefficients, bias = ridge.solve(strength)
    centred = x - x.mean(0)
    gram = centred.T @ centred
    penalty = strength * np.linalg.eigvalsh(gram)[-1] * np.eye(5)
    assert np.allclose((gram + penalty) @ coefficients.T, centred.T @ (y - y.mean(0)))
    assert np.allclose(x.mean(0) @ coefficients.T + bias, y.mean(0))
    assert np.allclose(ridge.path(x, np.array([strength]))[0], x @ coefficients.T + bias)


def test_ridge_of_constant_inputs_is_the_mean():
    coefficients, bias = Ridge(np.ones((6, 3)), np.arange(6.0)[:, None]).solve(1e-8)
    assert np.allclose(coefficients, 0)
    assert np.allclose(bias, 2.5)


# Blends


def test_a_line_is_the_weighed_sum_of_its_members():
    values = 50 + STEPS + 8 * np.cos(STEPS * np.pi / 6) + np.random.default_rng(0).normal(size=120)
    blend = Blend.choose(values, 12, 12)
    assert sum(member.weight for member in blend.members) == pytest.approx(1)
    line = blend.fit(values)
    plain, logs, weight = np.zeros(12), np.zeros(12), 0.0
    for member in blend.members:
        one = Blend(12, 12, (Member(member.base, member.log, member.context, member.strength, 1.0),))
        drawn = one.fit(values)(values)
        if member.log:  # averaged as logarithms are
            logs, weight = logs + member.weight * np.log(drawn), weight + member.weight
        else:
            plain = plain + member.weight * drawn
    assert 0 < weight < 1
    assert np.allclose(line(values), plain + weight * np.exp(logs / weight))


@pytest.mark.parametrize(
    ("series", "season"),
    [
        pytest.param(lambda t: t + 1, 0, id="1, 2, 3"),
        pytest.param(lambda t: 100 + 2 * t + 20 * np.sin(2 * np.pi * t / 12), 12, id="a line with a season"),
        pytest.param(lambda t: 3 * 1.05**t, 0, id="exponential growth"),
        pytest.param(lambda t: np.where(t < 60, 10.0, 50.0), 0, id="a level that jumps"),
        pytest.param(lambda t: 0 * t + 7, 0, id="a constant"),
        pytest.param(lambda t: 0 * t, 0, id="nothing but 0"),
        pytest.param(lambda t: 5 + np.sin(t / 3), 0, id="a sine"),
    ],
)
def test_it_goes_on_as_a_person_would(series, season):
    whole = series(np.arange(132.0))
    assert np.allclose(following(whole[:120], season=season), whole[120:], rtol=0.02, atol=1e-9)


@settings(deadline=None, max_examples=60)
@given(
    length=st.integers(2, 80),
    horizon=st.integers(1, 20),
    season=st.sampled_from([0, 2, 4, 7, 12, 40]),
    kind=st.sampled_from(["normal", "positive", "steps", "constant"]),
    longest=st.sampled_from([None, 1, 5]),
    seed=st.integers(0, 999),
)
def test_any_series_has_a_finite_line_that_reads_no_more_than_it_may(length, horizon, season, kind, longest, seed):
    values = np.random.default_rng(seed).normal(size=length)
    values = {"positive": np.exp(values), "steps": np.round(values), "constant": 0 * values}.get(kind, values)
    blend = Blend.choose(values, horizon, season, longest)
    drawn = blend.fit(values)(values)
    assert drawn.shape == (horizon,)
    assert np.isfinite(drawn).all()
    assert blend.reach <= min(longest or length, length)


def test_a_value_that_has_no_logarithm_is_survived():
    values = np.exp(np.sin(STEPS / 4) + STEPS / 40)
    line = Blend.choose(values, 3).fit(values)
    assert line.share[1] > 0
    assert np.isfinite(line(np.append(values, -5.0))).all()


def test_a_blend_is_kept_to_the_last_digit():
    values = np.exp(np.random.default_rng(3).normal(size=60))
    blend = Blend.choose(values, 4, 6)
    again = Blend.from_dict(json.loads(json.dumps(blend.to_dict())))
    assert again == blend
    assert np.array_equal(again.fit(values)(values), blend.fit(values)(values))


@pytest.mark.parametrize(
    "broken",
    [{}, {"horizon": 1, "season": 0, "members": [{"base": "last"}]}, {"horizon": 1, "season": 0, "members": 3}],
)
def test_what_is_no_blend_is_refused(broken):
    with pytest.raises(DataError, match="cannot be read"):
        Blend.from_dict(broken)


def test_one_value_is_no_series():
    with pytest.raises(DataError, match="give 2 at least"):
        Blend.choose(np.ones(1), 1)


def test_a_family_has_its_best_contexts_and_what_is_surely_worse_counts_little():
    random = np.random.default_rng(0)
    noise = random.normal(size=200)
    blend = Blend.choose(noise, horizon=1, families=("zero",))
    contexts = [member.context for member in blend.members]
    assert len(contexts) == len(set(contexts)) == CONTEXTS_A_FAMILY
    assert sum(member.weight for member in blend.members) == pytest.approx(1)
    assert max(member.weight for member in blend.members) < 0.5  # none is better but by chance
    alone = Blend.choose(noise, horizon=1, families=("zero",), contexts=1)
    assert [member.context for member in alone.members] == [max(blend.members, key=lambda m: m.weight).context]
    echo = random.normal(size=3000)
    for t in range(3, len(echo)):
        echo[t] += 0.9 * echo[t - 3]
    found = Blend.choose(echo, horizon=1, families=("zero",), longest=4)
    weights = {member.context: member.weight for member in found.members}
    assert weights.get(1, 0.0) + weights.get(2, 0.0) < 1e-3
