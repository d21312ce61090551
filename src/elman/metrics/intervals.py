"""Intervals around forecasts from the errors of forecasts made before, and how well they hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elman.errors import DataError, ShapeError

Array = NDArray[np.float64]
Bounds = tuple[Array, Array]  # the lower and the upper ends of intervals
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


def sides(levels: Sequence[float]) -> Array:
    """Return the two quantiles (2 * levels,) that an interval of each level lies between.

    >>> sides([80, 90]).round(3).tolist()
    [0.1, 0.9, 0.05, 0.95]
    """
    return np.array([0.5 + sign * level / 200 for level in check_levels(levels) for sign in (-1, 1)])


@dataclass(frozen=True)
class Calibration:
    """What earlier errors say of the spread that was forecast with them.

    ``units`` (K, C) are as many times the spread as the errors had, step by step; ``beyond`` (levels, C) is how much
    further than the offsets, in these units, an interval of each level has to reach.
    """

    levels: tuple[float, ...]
    units: Array
    beyond: Array

    @classmethod
    def of(cls, errors: Array, levels: Sequence[float], offsets: Array | None = None) -> Calibration:
        """Calibrate intervals by the errors (n, K, C) of earlier forecasts, in units of the spread forecast with them.

        ``offsets`` (levels, 2, n, K, C) are where, in the same units, each interval would end without calibration; 0
        unless given. Split conformal prediction (Lei et al. 2018, Romano et al. 2019): of n errors the k-th furthest
        outside, k = ceil((n + 1) level). Those of all K steps count together, each in units of its own step's root mean
        square, which never falls with the step: so a few origins say something of a high level, too. Raises
        :class:`ShapeError` for no errors.

        >>> Calibration.of(np.arange(1.0, 10.0)[:, None, None], [80]).bounds(np.zeros((1, 1, 1)))[80.0][1].item()
        8.0
        """
        if errors.ndim != 3 or not errors.size:
            raise ShapeError(f"errors: got {errors.shape}, want (n, K, C), none of them 0")
        levels = check_levels(levels)
        units = np.maximum.accumulate(np.sqrt(np.square(errors).mean(axis=0)), axis=0)
        scaled = errors / np.where(units > 0, units, 1.0)
        count = scaled[..., 0].size
        # A root mean square of few origins is too small as often as too large, and what is too small holds less.
        doubt = np.sqrt((len(errors) + 1) / len(errors)) if len(errors) < count else 1.0
        beyond = []
        for i, level in enumerate(levels):
            lower, upper = (0.0, 0.0) if offsets is None else offsets[i]
            outside = np.sort(np.maximum(lower - scaled, scaled - upper).reshape(-1, errors.shape[2]), axis=0)
            beyond.append(outside[min(int(np.ceil((count + 1) * level / 100)), count) - 1])
        return cls(levels, units * doubt, np.stack(beyond))

    def bounds(self, forecast: Array, spread: Array | float = 1.0, offsets: Array | None = None) -> dict[float, Bounds]:
        """Bounds, by level, around forecasts (n, steps, C) that were made with this ``spread``.

        ``offsets`` as in :meth:`of`. Steps further ahead than any error was seen at are as those of a random walk.
        """
        steps, seen = forecast.shape[1], len(self.units)
        further = np.sqrt(np.maximum(np.arange(1, steps + 1) / seen, 1.0))
        unit = spread * self.units[np.minimum(np.arange(steps), seen - 1)] * further[:, None]
        found = {}
        for i, level in enumerate(self.levels):
            lower, upper = (0.0, 0.0) if offsets is None else offsets[i]
            reach = np.maximum(self.beyond[i], (lower - upper) / 2)  # an interval ends no sooner than it begins
            found[level] = forecast + unit * (lower - reach), forecast + unit * (upper + reach)
        return found


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


def coverage(truth: Array, bounds: Bounds) -> float:
    """How much of the ``truth`` (n, K, C) lies within the ``bounds``, in per cent.

    >>> coverage(np.array([0.0, 1.0, 2.0, 3.0]).reshape(4, 1, 1), (np.array([[-2.0]]), np.array([[2.0]])))
    75.0
    """
    lower, upper = bounds
    return float(100 * np.mean((lower <= truth) & (truth <= upper)))


def interval_score(truth: Array, bounds: Bounds, level: float) -> float:
    """Mean interval score (Gneiting & Raftery 2007), in the units of the data.

    The width, plus a penalty for what falls outside.

    >>> interval_score(np.full((1, 1, 1), 3.0), (np.array([[-2.0]]), np.array([[2.0]])), level=50)
    8.0
    """
    lower, upper = bounds
    outside = np.maximum(lower - truth, 0.0) + np.maximum(truth - upper, 0.0)
    return float(np.mean(upper - lower + 2 / (1 - level / 100) * outside))


def interval_scores(truth: Array, intervals: Mapping[float, Bounds]) -> dict[str, dict[str, float]]:
    """Score intervals by level: coverage, mean width and interval score.

    The bounds (n, K, C) are of each level in per cent; a width is from bound to bound.

    >>> interval_scores(np.ones((1, 1, 1)), {80.0: (np.array([[-2.0]]), np.array([[2.0]]))})
    {'80': {'coverage': 100.0, 'width': 4.0, 'score': 4.0}}
    """
    return {
        f"{level:g}": {
            "coverage": coverage(truth, bounds),
            "width": float(np.mean(bounds[1] - bounds[0])),
            "score": interval_score(truth, bounds, level),
        }
        for level, bounds in intervals.items()
    }


def pinball(prediction: Array, truth: Array, quantile: float) -> float:
    """Mean pinball loss of a forecast of ``quantile`` (Koenker & Bassett 1978).

    ``quantile`` is between 0 and 1.

    >>> pinball(np.zeros((1, 1, 1)), np.full((1, 1, 1), 2.0), 0.9)
    1.8
    """
    errors = truth - prediction
    return float(np.mean(np.maximum(quantile * errors, (quantile - 1) * errors)))
