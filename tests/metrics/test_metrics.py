"""Scores of forecasts and plain baselines, against figures worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from elman.errors import DataError, ShapeError
from elman.metrics import mae, mase, mse, persistence, repeats_last_value, rmse, scores, seasonal_naive, smape

TRUTH = np.array([[[1.0, 10.0], [2.0, 20.0]], [[3.0, 30.0], [0.0, 40.0]]])
PREDICTION = np.array([[[2.0, 10.0], [2.0, 22.0]], [[0.0, 30.0], [0.0, 44.0]]])


def test_scores_by_hand():
    assert mse(PREDICTION, TRUTH) == (1 + 4 + 9 + 16) / 8
    assert rmse(PREDICTION, TRUTH) == math.sqrt(30 / 8)
    assert mae(PREDICTION, TRUTH) == (1 + 2 + 3 + 4) / 8
    assert smape(PREDICTION, TRUTH) == pytest.approx(200 * (1 / 3 + 2 / 42 + 3 / 3 + 4 / 84) / 8)


def test_mase_scales_each_column_by_its_own_naive_error():
    history = np.array([[0.0, 0.0], [1.0, 10.0], [0.0, 40.0]])
    assert mase(PREDICTION, TRUTH, history) == pytest.approx((1.0 / 1 + 1.5 / 20) / 2)
    assert mase(PREDICTION, TRUTH, history + np.array([[0, 0], [0, 0], [2, 0]]), season=2) == pytest.approx(
        (1 / 2 + 1.5 / 40) / 2
    )


@pytest.mark.parametrize("history", [np.ones((9, 2)), np.ones((1, 2))])
def test_mase_is_left_out_where_it_is_not_defined(history):
    assert math.isnan(mase(PREDICTION, TRUTH, history))
    assert "mase" not in scores(PREDICTION, TRUTH, history)


def test_scores_are_plain_numbers_by_name():
    found = scores(PREDICTION, TRUTH, history=np.arange(8.0).reshape(4, 2))
    assert list(found) == ["mse", "mae", "rmse", "smape", "mase"]
    assert all(type(value) is float for value in found.values())
    assert set(scores(TRUTH, TRUTH).values()) == {0.0}


@pytest.mark.parametrize("shape", [(2, 2), (2, 2, 1), (0, 2, 2)])
def test_shapes_that_do_not_meet(shape):
    truth = np.zeros(shape) if shape[0] != 2 or len(shape) == 2 else TRUTH
    with pytest.raises(ShapeError, match="prediction"):
        mse(np.zeros(shape), truth)


def test_persistence_is_seasonal_naive_of_season_one():
    values = np.random.default_rng(0).normal(size=(20, 3))
    first = np.array([4, 7, 19])
    assert (persistence(values[first - 1], 5) == seasonal_naive(values, first, 5, season=1)).all()


def test_seasonal_naive_reads_nothing_from_the_horizon():
    values = np.arange(24.0)[:, None]
    forecast = seasonal_naive(values, np.array([12, 13]), horizon=30, season=12)
    assert forecast[0, :, 0].tolist() == [k % 12 for k in range(30)]
    assert forecast[1, :13, 0].tolist() == [*range(1, 13), 1]
    with pytest.raises(DataError, match="season 12: the first window has 11"):
        seasonal_naive(values, np.array([15, 11]), 1, season=12)
    with pytest.raises(DataError, match="season 0"):
        seasonal_naive(values, np.array([15]), 1, season=0)


def walks(columns: int = 2) -> tuple[np.ndarray, np.ndarray]:
    walk = np.cumsum(np.random.default_rng(1).normal(size=(101, columns)), axis=0) * [1.0, 1000.0][:columns]
    return walk[:-1], walk[1:, None]


def test_a_forecast_that_repeats_the_last_value_is_seen():
    last, truth = walks()
    noise = np.random.default_rng(2).normal(size=truth.shape) * 0.1
    assert repeats_last_value(persistence(last, 1), truth, last) is True
    assert repeats_last_value(persistence(0.9 * last, 1) + noise + 3, truth, last) is True
    assert repeats_last_value(truth + noise, truth, last) is False


def test_only_the_first_step_of_the_horizon_is_looked_at():
    last, truth = walks()
    longer = np.concatenate([truth, np.zeros_like(truth)], axis=1)
    assert repeats_last_value(np.concatenate([persistence(last, 1), -truth], axis=1), longer, last)


def test_where_a_correlation_says_nothing():
    last, truth = walks()
    assert repeats_last_value(np.full_like(truth, 0.1), truth, last) is False
    assert repeats_last_value(persistence(last, 1), np.full_like(truth, 0.1), last) is False
    assert repeats_last_value(persistence(last, 1), truth, np.full_like(last, 0.1)) is False
    assert repeats_last_value(persistence(last, 1)[:3], truth[:3], last[:3]) is False
    half = truth.copy()
    half[..., 0] = 5.0
    assert repeats_last_value(persistence(last, 1), half, last) is True
