"""What covariates explain of a series: found where it is there, not where it is not, and taken out without a trace."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.errors import DataError
from elman.linear import Adjustment


def walk(n, random, scale=1.0):
    """Errors that follow the ones before them, which plain least squares is misled by."""
    return np.cumsum(random.normal(size=n)) * scale


@pytest.mark.parametrize("seed", range(5))
def test_the_effects_are_found_under_errors_that_wander(seed):
    random = np.random.default_rng(seed)
    x = random.normal(size=(200, 2))
    values = 100 + walk(200, random) + x @ [3.0, -2.0]
    found = Adjustment.choose(values, {"a": x[:, :1], "b": x[:, 1:], "noise": random.normal(size=(200, 1))})
    assert not found.multiplies or (values > 0).all()
    if not found.multiplies:
        assert found.coefficients["a"] == pytest.approx([3.0], abs=0.25)
        assert found.coefficients["b"] == pytest.approx([-2.0], abs=0.25)
    assert {"a", "b"} <= set(found.coefficients)
    assert found.gain > 0.5


def test_effects_in_proportion_are_factors():
    random = np.random.default_rng(0)
    promotion = (random.random(300) < 0.2) * 1.0
    level = np.exp(np.linspace(2, 6, 300) + walk(300, random, 0.01))
    found = Adjustment.choose(level * 1.5**promotion, {"promotion": promotion[:, None]})
    assert found.multiplies
    assert np.exp(found.coefficients["promotion"][0]) == pytest.approx(1.5, abs=0.03)
    effect = found.effect({"promotion": promotion[:, None]})
    assert found.factor(effect) == pytest.approx(np.exp(effect))


def test_a_season_does_not_hide_an_effect_nor_become_one():
    random = np.random.default_rng(1)
    t = np.arange(144)
    season, x = 10 * np.sin(2 * np.pi * t / 12), random.normal(size=144)
    found = Adjustment.choose(50 + season + x + random.normal(size=144) * 0.3, {"x": x[:, None]}, season=12)
    assert not found.multiplies or "x" in found.coefficients
    assert Adjustment.choose(50 + season, {"x": x[:, None]}, season=12).gain < 0.05


def test_what_does_not_help_is_not_used():
    used = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        used += bool(Adjustment.choose(walk(200, random), {"noise": random.normal(size=(200, 1))}))
    assert used <= 14
    constant = {"always": np.ones((200, 1)), "never": np.zeros((200, 1))}
    assert not Adjustment.choose(walk(200, np.random.default_rng(0)), constant)
    assert not Adjustment.choose(np.arange(10.0), {"x": np.arange(10.0)[:, None] ** 2})  # too few values
    many = {f"x{i}": np.random.default_rng(i).normal(size=(60, 40)) for i in range(2)}
    assert not Adjustment.choose(walk(60, np.random.default_rng(0)), many)  # more numbers than can be told


@given(st.booleans(), st.integers(0, 99))
def test_it_is_restored_as_it_was(multiplies, seed):
    random = np.random.default_rng(seed)
    x = {"a": random.normal(size=(20, 2)), "b": random.normal(size=(20, 1))}
    one = Adjustment(multiplies, {"a": [0.5, -1.0], "b": [0.25]}, {"a": [0.1, 0.0], "b": [1.0]}, 0.3)
    effect, values = one.effect(x), random.lognormal(size=20)
    assert effect == pytest.approx((x["a"] - [0.1, 0.0]) @ [0.5, -1.0] + 0.25 * (x["b"][:, 0] - 1))
    assert one.restored(one.without(values, effect), effect) == pytest.approx(values)
    assert Adjustment.from_dict(one.to_dict()) == one


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"multiplies": False, "coefficients": {"a": [1.0]}, "means": {}, "gain": 0.0, "share": 0.0},
        {"multiplies": False, "coefficients": {"a": [1.0]}, "means": {"a": [1.0, 2.0]}, "gain": 0.0, "share": 0.0},
        {"multiplies": False, "coefficients": {"a": 3}, "means": {"a": [1.0]}, "gain": 0.0, "share": 0.0},
    ],
)
def test_what_cannot_be_read_is_refused(facts):
    with pytest.raises(DataError, match="effects of covariates that cannot be read"):
        Adjustment.from_dict(facts)
