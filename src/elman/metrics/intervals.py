"""Intervals around forecasts from the errors of forecasts made before, and how well they hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from elman.errors import DataError, ShapeError

Array = NDArray[np.float64]
LEAST_LIVELY = 0.1  # of the usual


def check_levels(levels: Sequence[float]) -> tuple[float, ...]:
    """Levels in per cent, between 0 and 100. Raises :class:`DataError`.

    >>> check_levels([80, 95])
    (80.0, 95.0)
    """
    percents = tuple(float(level) for level in levels)
    for level in percents:
        if not 0 < level < 100:
            raise DataError(f"`levels`: got {level:g}, want per cent between 0 and 100, such as 80,95")
    return percents


def half_widths(errors: Array, levels: Sequence[float]) -> Array:
    """Half widths of intervals, (levels, K, C), from earlier errors.

    ``errors`` (n, K, C) are those of earlier forecasts.

    Split conformal prediction (Lei et al. 2018): of n errors the k-th smallest in size, k = ceil((n + 1) level). Those
    of all K steps count together, each in units of its own step's root mean square, which never falls with the step:
    so a few origins say something of a high level, too. Raises :class:`ShapeError` for no errors.

    >>> half_widths(np.arange(1.0, 10.0)[:, None, None], [80])[0, 0, 0].item()
    8.0
    """
    if errors.ndim != 3 or not errors.size:
        raise ShapeError(f"errors: got {errors.shape}, want (n, K, C), none of them 0")
    units = np.maximum.accumulate(np.sqrt(np.square(errors).mean(axis=0)), axis=0)  # (K, C)
    scaled = np.abs(errors) / np.where(units > 0, units, 1.0)
    pooled = np.sort(scaled.reshape(-1, errors.shape[2]), axis=0)
    n = len(pooled)
    # A root mean square of few origins is too small as often as too large, and what is too small holds less.
    doubt = np.sqrt((len(errors) + 1) / len(errors))
    quantiles = [pooled[min(int(np.ceil((n + 1) * level / 100)), n) - 1] for level in check_levels(levels)]
    return np.stack(quantiles)[:, None, :] * units * (doubt if len(errors) < n else 1.0)


def liveliness(values: Array, origins: NDArray[np.int64], season: int = 0) -> Array:
    """How much ``values`` (N, C) move before each of ``origins`` (n,): (n, C).

    In the units of the values.

    The root mean square of the changes from value to value, over the last two seasons or 24 values, whichever is more,
    and never below a tenth of that of all values before the origin.

    >>> liveliness(np.array([[0.0], [1.0], [0.0], [5.0], [0.0]]), np.array([3]))[0, 0].item()
    1.0
    """
    squares = np.square(np.diff(np.asarray(values, dtype=np.float64), axis=0))
    sums = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(squares, axis=0)])
    length = max(2 * season, 24)
    stop = np.asarray(origins, dtype=np.int64) - 1  # changes that end before the origin
    start = np.maximum(stop - length, 0)
    local = (sums[stop] - sums[start]) / np.maximum(stop - start, 1)[:, None]
    usual = sums[stop] / np.maximum(stop, 1)[:, None]
    return np.sqrt(np.maximum(local, LEAST_LIVELY**2 * usual) + np.finfo(float).tiny)


def coverage(prediction: Array, truth: Array, widths: Array) -> float:
    """How much of the truth lies within the intervals, in per cent.

    ``truth`` and ``prediction`` are (n, K, C), the half ``widths`` (..., K, C).

    >>> coverage(np.zeros((4, 1, 1)), np.array([0.0, 1.0, 2.0, 3.0]).reshape(4, 1, 1), np.array([[2.0]]))
    75.0
    """
    return float(100 * np.mean(np.abs(truth - prediction) <= widths))


def interval_score(prediction: Array, truth: Array, widths: Array, level: float) -> float:
    """Mean interval score (Gneiting & Raftery 2007), in the units of the data.

    The width, plus a penalty for what falls outside.

    >>> interval_score(np.zeros((1, 1, 1)), np.full((1, 1, 1), 3.0), np.array([[2.0]]), level=50)
    8.0
    """
    outside = np.maximum(np.abs(truth - prediction) - widths, 0.0)
    return float(np.mean(2 * widths + 2 / (1 - level / 100) * outside))


def interval_scores(prediction: Array, truth: Array, widths: Mapping[float, Array]) -> dict[str, dict[str, float]]:
    """Score intervals by level: coverage, mean width and interval score.

    ``widths`` (..., K, C) of each level in per cent; a width is from bound to bound.

    >>> interval_scores(np.zeros((1, 1, 1)), np.ones((1, 1, 1)), {80.0: np.array([[2.0]])})
    {'80': {'coverage': 100.0, 'width': 4.0, 'score': 4.0}}
    """
    return {
        f"{level:g}": {
            "coverage": coverage(prediction, truth, width),
            "width": float(2 * np.mean(width)),
            "score": interval_score(prediction, truth, width, level),
        }
        for level, width in widths.items()
    }


def pinball(prediction: Array, truth: Array, quantile: float) -> float:
    """Mean pinball loss of a forecast of ``quantile`` (Koenker & Bassett 1978).

    ``quantile`` is between 0 and 1.

    >>> pinball(np.zeros((1, 1, 1)), np.full((1, 1, 1), 2.0), 0.9)
    1.8
    """
    errors = truth - prediction
    return float(np.mean(np.maximum(quantile * errors, (quantile - 1) * errors)))
