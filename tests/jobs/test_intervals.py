"""Intervals: as wide as the errors made before, nothing of what comes later in them, and how they are scored."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.data import Series
from elman.errors import DataError, ShapeError
from elman.jobs import Forecaster
from elman.metrics import Calibration, coverage, interval_score, liveliness


def half_widths(errors, levels):
    """Half the widths (levels, K, C) of intervals around forecasts of unit spread."""
    found = Calibration.of(errors, levels).bounds(np.zeros((1, *errors.shape[1:])))
    assert all(np.array_equal(-lower, upper) for lower, upper in found.values())
    return np.concatenate([upper for _, upper in found.values()])


QUICK = {"hidden": 3, "epochs": 1}


def walk(n=300, seed=0, growth=0.0):
    random = np.random.default_rng(seed)
    return np.cumsum(random.normal(size=(n, 1)) * np.exp(growth * np.arange(n))[:, None], axis=0)


def test_one_step_errors_of_a_kind_give_their_quantiles():
    errors = np.random.default_rng(0).normal(size=(4999, 1, 1))
    low, high = half_widths(errors, [80, 95])[:, 0, 0]
    assert low == pytest.approx(1.2816, abs=0.05)
    assert high == pytest.approx(1.96, abs=0.08)
    assert np.sort(np.abs(errors).ravel())[int(np.ceil(5000 * 0.8)) - 1] == pytest.approx(low)


@settings(deadline=None)
@given(n=st.integers(1, 40), steps=st.integers(1, 8), seed=st.integers(0, 99), scale=st.floats(0.01, 100))
def test_widths_grow_with_level_and_step_and_follow_the_unit(n, steps, seed, scale):
    errors = np.random.default_rng(seed).normal(size=(n, steps, 2))
    widths = half_widths(errors, [50, 80, 95])
    assert (np.diff(widths, axis=0) >= 0).all()
    assert (np.diff(widths, axis=1) >= -1e-12).all()
    assert np.allclose(half_widths(scale * errors, [50, 80, 95]), scale * widths)
    assert (half_widths(0 * errors, [80]) == 0).all()


def test_liveliness_reads_nothing_behind_the_origin():
    values = walk()
    changed = values.copy()
    changed[200:] += 1e6
    origins = np.arange(3, 201)
    assert np.array_equal(liveliness(values, origins), liveliness(changed, origins))
    later = np.append(origins, 260)  # an origin behind the change says nothing of those before it
    assert np.array_equal(liveliness(values, later)[:-1], liveliness(changed, later)[:-1])
    assert liveliness(values, np.array([100]))[0, 0] == pytest.approx(
        np.sqrt(np.square(np.diff(values[75:100, 0])).mean())
    )


def test_scores_of_intervals():
    truth, prediction = np.array([0.0, 1.0, 5.0]).reshape(3, 1, 1), np.zeros((3, 1, 1))
    assert coverage(truth, (prediction - 1, prediction + 1)) == pytest.approx(200 / 3)
    assert interval_score(truth, (prediction - 1, prediction + 1), 80) == pytest.approx(2 + 10 * 4 / 3)
    with pytest.raises(ShapeError, match="errors"):
        half_widths(np.zeros((0, 1, 1)), [80])


@pytest.mark.parametrize(
    "choices",
    [
        {}, {"horizon": 6}, {"horizon": 6, "strategy": "recursive"}, {"scaler": "differences", "horizon": 3},
        {"stateful": True, "targets": "every", "context": 8}, {"network_alone": True, "context": 8},
    ],
)  # fmt: skip
def test_a_forecast_has_intervals_at_every_step_of_any_length(choices):
    forecaster = Forecaster("rnn", **QUICK, **choices)
    forecaster.fit(Series(walk(), ("walk",)))
    plain, found = forecaster.predict(20), forecaster.predict(20, levels=[80, 95])
    assert np.array_equal(plain.values, found.values)
    assert plain.intervals == {}
    assert list(found.intervals) == [80.0, 95.0]
    widths = {level: upper - lower for level, (lower, upper) in found.intervals.items()}
    for width in widths.values():
        assert width.shape == (20, 1)
        assert (width > 0).all()
        assert (np.diff(width[:, 0]) >= -1e-9).all()
    assert (widths[95.0] >= widths[80.0]).all()
    held = forecaster.test()["intervals"]
    assert held["80"]["coverage"] <= held["95"]["coverage"]


def test_a_walk_is_held_as_asked():
    held = []
    for seed in range(4):
        forecaster = Forecaster("rnn", **QUICK, horizon=4)
        forecaster.fit(Series(walk(600, seed, growth=0.003), ("walk",)))  # ever livelier
        held.append([forecaster.test()["intervals"][level]["coverage"] for level in ("80", "95")])
    assert np.abs(np.mean(held, 0) - [80, 95]).max() < 6


def test_intervals_of_the_test_part_know_nothing_of_it():
    values = walk()
    changed = values.copy()
    changed[240:] = changed[240:] * 5 + 3
    widths = []
    for series in (values, changed):
        forecaster = Forecaster("rnn", **QUICK, horizon=4)
        forecaster.fit(Series(series, ("walk",)))
        part = forecaster.test_part()
        known = int(part.first[0])
        widths.append(forecaster.intervals(forecaster.series, part.first[:1], part.prediction[:1], [80], known)[80.0])
    for one, other in zip(*widths, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("level", [0, 100, -5, 120])
def test_levels_are_per_cent(level):
    forecaster = Forecaster("rnn", **QUICK)
    forecaster.fit(Series(walk(80), ("walk",)))
    with pytest.raises(DataError, match=r"`levels`: got .* want per cent"):
        forecaster.predict(3, levels=[level])


def test_a_short_series_has_intervals_too():
    forecaster = Forecaster("rnn", **QUICK, horizon=12)
    forecaster.fit(Series(walk(60), ("walk",)))
    assert np.isfinite(forecaster.predict(24, levels=[95]).intervals[95.0]).all()
