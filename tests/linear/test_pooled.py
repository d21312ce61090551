"""Effects on many series: what they have in common steadies what a short one shows, and what differs stays."""

from __future__ import annotations

import numpy as np
import pytest

from elman.linear import Adjustment, adjust_many, fit_many


def shops(count, n, own=0.05, seed=0, size=1):
    """Sales in proportion to a level that wanders, a promotion of about half again, and a price."""
    random = np.random.default_rng(seed)
    lifts = 0.4 + own * random.normal(size=count)
    columns, covariates = [], []
    for lift in lifts:
        promotion = (random.random(n) < 0.15) * 1.0
        price = random.normal(size=n)
        level = 3 + np.cumsum(random.normal(size=n)) * 0.05 + random.normal(size=n) * 0.2
        columns.append(size * np.exp(level + lift * promotion - 0.1 * price))
        covariates.append({"promotion": promotion[:, None], "price": price[:, None]})
    return columns, covariates, lifts


def errors(found, lifts):
    return np.sqrt(
        np.mean([(one.coefficients["promotion"][0] - lift) ** 2 for one, lift in zip(found, lifts, strict=True)])
    )


def test_short_series_learn_from_each_other():
    columns, covariates, lifts = shops(40, 50, seed=1)
    together = adjust_many(columns, covariates)
    assert all(one.multiplies for one in together)
    assert set(together[0].coefficients) == {"promotion", "price"}
    alone = [Adjustment(True, dict.fromkeys(covariates[0], ()), {}, 0.0) for _ in columns]
    own = [fit_many([y], [x], 0, one, 0.0)[0] for y, x, one in zip(columns, covariates, alone, strict=True)]
    assert errors(together, lifts) < 0.6 * errors(own, lifts)
    assert together[0].share >= 1


def test_long_series_keep_what_is_their_own():
    columns, covariates, lifts = shops(12, 600, own=0.3)
    found = adjust_many(columns, covariates)
    own = np.array([one.coefficients["promotion"][0] for one in found])
    assert np.corrcoef(own, lifts)[0, 1] > 0.95
    assert found[0].share < 10


def test_what_is_twice_as_large_has_effects_twice_as_large():
    columns, covariates, _ = shops(8, 80)
    columns = [values - 15 for values in columns]  # below 0 now and then, so effects are summands
    assert min(values.min() for values in columns) < 0
    one = adjust_many(columns, covariates)
    two = adjust_many([values * (1 + 9 * (i == 0)) for i, values in enumerate(columns)], covariates)
    for name, row in one[0].coefficients.items():
        assert two[0].coefficients[name] == pytest.approx([10 * b for b in row], rel=1e-6)
    for a, b in zip(one[1:], two[1:], strict=True):
        assert a.coefficients["price"] == pytest.approx(b.coefficients["price"], rel=1e-6)


def test_what_does_not_help_any_is_not_used():
    columns, _, _ = shops(20, 80)
    used = 0
    for seed in range(10):
        random = np.random.default_rng(seed)
        noise = [{"noise": random.normal(size=(80, 1)), "never": np.zeros((80, 1))} for _ in columns]
        used += any(adjust_many(columns, noise))
    assert used <= 3
    assert not any(adjust_many(columns, [{}] * 20))
    assert not any(adjust_many([values[:20] for values in columns], [{k: x[:20] for k, x in c.items()} for c in noise]))


def test_a_short_series_among_long_ones_has_the_effects_of_the_others():
    columns, covariates, lifts = shops(10, 200, own=0.0)
    columns[3], covariates[3] = columns[3][:9], {name: x[:9] for name, x in covariates[3].items()}
    found = adjust_many(columns, covariates)
    assert found[3].coefficients["promotion"][0] == pytest.approx(0.4, abs=0.1)
    assert lifts[3] == pytest.approx(0.4)
