"""Scores of forecasts and the plain baselines to stand beside them.

Predictions and truth are (n, horizon, C) in the data's own units: n windows, ``horizon`` steps, C columns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from elman.errors import DataError, ShapeError

Array = NDArray[np.float64]
SURE = 2.0  # standard errors: a difference of more is more than chance would give
FEWEST_WINDOWS = 8  # of fewer, a correlation says nothing


def mse(prediction: Array, truth: Array) -> float:
    """The mean squared error, in squared units.

    >>> mse(np.array([[[1.0]]]), np.array([[[3.0]]]))
    4.0
    """
    return float(np.mean(_errors(prediction, truth) ** 2))


def rmse(prediction: Array, truth: Array) -> float:
    """The root of the mean squared error, in the data's units.

    >>> rmse(np.array([[[1.0]]]), np.array([[[3.0]]]))
    2.0
    """
    return float(np.sqrt(mse(prediction, truth)))


def mae(prediction: Array, truth: Array) -> float:
    """The mean absolute error, in the data's units.

    >>> mae(np.array([[[1.0]]]), np.array([[[3.0]]]))
    2.0
    """
    return float(np.mean(np.abs(_errors(prediction, truth))))


def smape(prediction: Array, truth: Array) -> float:
    """Symmetric mean absolute percentage error, 0 to 200, as in the M4 competition.

    >>> smape(np.array([[[1.0]]]), np.array([[[3.0]]]))
    100.0
    """
    errors = np.abs(_errors(prediction, truth))
    sizes = np.abs(prediction) + np.abs(truth)
    shares = np.divide(errors, sizes, out=np.zeros_like(errors), where=sizes > 0)  # 0 for 0 is no error
    return float(200 * np.mean(shares))


def mase(prediction: Array, truth: Array, history: Array, season: int = 1) -> float:
    """The mean absolute scaled error, a mean over columns (Hyndman & Koehler 2006).

    The scale is the mean absolute error of the seasonal naive forecast within ``history`` (N, C), the
    training values. NaN where ``history`` has no such error: constant, or no longer than ``season``.

    >>> mase(np.array([[[1.0]]]), np.array([[[3.0]]]), history=np.array([[0.0], [1.0], [2.0]]))
    2.0
    """
    _check_season(season)
    if len(history) <= season:
        return float("nan")
    scale = np.mean(np.abs(history[season:] - history[:-season]), axis=0)
    if (scale == 0).any():
        return float("nan")
    return float(np.mean(np.abs(_errors(prediction, truth)).mean(axis=(0, 1)) / scale))


def scores(prediction: Array, truth: Array, history: Array | None = None, season: int = 1) -> dict[str, float]:
    """Compute every score, by name.

    "mase" only with the training values ``history`` (N, C), and where it is defined.

    >>> scores(np.array([[[1.0]]]), np.array([[[3.0]]]))
    {'mse': 4.0, 'mae': 2.0, 'rmse': 2.0, 'smape': 100.0}
    """
    named = {score.__name__: score(prediction, truth) for score in (mse, mae, rmse, smape)}
    if history is not None and np.isfinite(scaled := mase(prediction, truth, history, season)):
        named["mase"] = scaled
    return named


def persistence(last: Array, horizon: int) -> Array:
    """Forecast the last value for every step, (n, horizon, C).

    ``last`` (n, C) are the values before the targets of each window.

    >>> persistence(np.array([[5.0]]), horizon=2).tolist()
    [[[5.0], [5.0]]]
    """
    return np.repeat(np.asarray(last, dtype=np.float64)[:, None, :], horizon, axis=1)


def seasonal_naive(values: Array, first: NDArray[np.int64], horizon: int, season: int) -> Array:
    """Forecast the value one season earlier for each step.

    Or the latest such value that is known before the targets of the window.

    ``values`` (N, C) is the series, ``first`` (n,) the index in it of each window's first target; only
    values before that are read. Returns (n, horizon, C); with ``season=1`` it is persistence. Raises
    DataError where a window has less than a season before it.

    >>> seasonal_naive(np.arange(4.0)[:, None], np.array([3]), horizon=3, season=2)[0, :, 0].tolist()
    [1.0, 2.0, 1.0]
    """
    _check_season(season)
    first = np.asarray(first, dtype=np.int64)
    if first.size and first.min() < season:
        raise DataError(f"season {season}: the first window has {first.min()} values before it; want a season")
    steps = np.arange(horizon) % season - season
    return np.asarray(values, dtype=np.float64)[first[:, None] + steps[None, :]]


def drift(values: Array, first: NDArray[np.int64], horizon: int) -> Array:
    """Forecast by a straight line through the first and the last value, (n, horizon, C).

    Of the values before the targets of each window.

    ``values`` (N, C) is the series, ``first`` (n,) the index in it of each window's first target; only values before
    that are read. Raises DataError where a window has fewer than two values before it.

    >>> drift(np.array([[1.0], [2.0], [5.0]]), np.array([3]), horizon=2)[0, :, 0].tolist()
    [7.0, 9.0]
    """
    first = np.asarray(first, dtype=np.int64)
    if first.size and first.min() < 2:
        raise DataError(f"drift: the first window has {first.min()} values before it; want 2")
    values = np.asarray(values, dtype=np.float64)
    slope = (values[first - 1] - values[0]) / (first - 1)[:, None]
    return values[first - 1][:, None] + np.arange(1, horizon + 1)[:, None] * slope[:, None]


def standard_error(differences: Array, horizon: int = 1) -> float:
    """Standard error of the mean of ``differences`` (n,) between overlapping windows.

    Windows a step apart share all but one of their ``horizon`` targets, so covariances up to horizon - 1 windows apart
    count (Diebold & Mariano 1995), weighed as Newey & West 1987 do, so that the sum is never below 0.

    >>> round(standard_error(np.array([1.0, -1.0, 1.0, -1.0])), 3)
    0.5
    """
    n = len(differences)
    centred = np.asarray(differences, dtype=np.float64) - np.mean(differences)
    lags = range(min(horizon, n))
    weights = [1.0] + [2 * (1 - lag / len(lags)) for lag in lags[1:]]
    variance = sum(w * float(centred[lag:] @ centred[: n - lag]) / n for lag, w in zip(lags, weights, strict=True))
    return float(np.sqrt(max(variance, 0.0) / n))


def repeats_last_value(prediction: Array, truth: Array, last: Array) -> bool:
    """Whether a forecast merely repeats the last value.

    Whether its first step follows the last value seen, ``last`` (n, C), more than the truth.

    Correlations over the windows, a mean over the columns. False where they say nothing: fewer than eight
    windows, or constants in every column.

    >>> walk = np.cumsum(np.random.default_rng(0).normal(size=(50, 1)), axis=0)
    >>> repeats_last_value(walk[:-1, None], truth=walk[1:, None], last=walk[:-1])
    True
    >>> repeats_last_value(walk[1:, None], truth=walk[1:, None], last=walk[:-1])
    False
    """
    _errors(prediction, truth)
    if len(prediction) < FEWEST_WINDOWS:
        return False
    with_last = _correlations(prediction[:, 0], last)
    with_truth = _correlations(prediction[:, 0], truth[:, 0])
    known = np.isfinite(with_last) & np.isfinite(with_truth)
    return bool(known.any() and with_last[known].mean() > with_truth[known].mean())


def _errors(prediction: Array, truth: Array) -> Array:
    if prediction.shape != truth.shape or prediction.ndim != 3 or not prediction.size:
        raise ShapeError(f"prediction: got {prediction.shape}, want (n, horizon, C) as truth, which is {truth.shape}")
    return np.asarray(prediction, dtype=np.float64) - np.asarray(truth, dtype=np.float64)


def _correlations(a: Array, b: Array) -> Array:
    """Pearson's correlation of each column of a and b (n, C): (C,), NaN where either is constant."""
    varies = (np.ptp(a, axis=0) > 0) & (np.ptp(b, axis=0) > 0)
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    sizes = np.sqrt((a**2).sum(axis=0)) * np.sqrt((b**2).sum(axis=0))
    return np.divide((a * b).sum(axis=0), sizes, out=np.full(len(sizes), np.nan), where=varies & (sizes > 0))


def _check_season(season: int) -> None:
    if season < 1:
        raise DataError(f"season {season}: want 1 at least")
