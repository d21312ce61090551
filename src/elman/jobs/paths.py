"""Paths that a series may take: drawn from the intervals around a forecast, moving as past errors moved."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from elman.errors import DataError
from elman.metrics import Bounds

Array = NDArray[np.float64]
LEVELS = (99.8, 99.0, 98.0, 95.0, *(float(level) for level in range(90, 0, -10)), 1.0)  # whose bounds paths lie between
MOST = 50_000_000  # values in all paths


def check_paths(paths: int, numbers: int) -> int:
    """A count of paths of so many ``numbers`` each. Raises :class:`DataError` for one that is none, or too many."""
    if paths < 0:
        raise DataError(f"`paths`: got {paths}, want 1 or more")
    if paths * numbers > MOST:
        raise DataError(
            f"`paths`: {paths} of {numbers} values each are more than {MOST:,}; want {MOST // numbers} at most"
        )
    return paths


def drawn(errors: Array, intervals: Mapping[float, Bounds], count: int, random: np.random.Generator) -> Array:
    """Draw ``count`` paths, (count, steps, C), from the ``intervals`` (steps, C) by level.

    ``errors`` (n, K, C) are those of n past forecasts, step by step, in units of their spread. A path takes at each
    step the quantile that one of them had among all, so that paths rise, fall and stay together as errors did (the
    Schaake shuffle, Clark et al. 2004). Steps beyond K have the quantile of the last one.

    >>> errors = np.random.default_rng(0).normal(size=(500, 3, 1)).cumsum(1)
    >>> bounds = {level: (np.full((3, 1), -level), np.full((3, 1), level)) for level in LEVELS}
    >>> drawn(errors, bounds, 4, np.random.default_rng(0)).shape
    (4, 3, 1)
    """
    n, seen, _ = errors.shape
    levels = sorted(intervals, reverse=True)
    at = np.array([0.5 - level / 200 for level in levels] + [0.5 + level / 200 for level in reversed(levels)])
    ends = [intervals[level][0] for level in levels] + [intervals[level][1] for level in reversed(levels)]
    values = np.maximum.accumulate(np.stack(ends), axis=0)
    order = errors.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable")
    chosen = np.concatenate([random.permutation(n) for _ in range(-(-count // n))])[:count]
    quantiles = (order[chosen] + random.random((count, 1, 1))) / n
    paths = np.empty((count, *values.shape[1:]))
    for k in range(paths.shape[1]):
        for c in range(paths.shape[2]):
            paths[:, k, c] = np.interp(quantiles[:, min(k, seen - 1), c], at, values[:, k, c])
    return paths
