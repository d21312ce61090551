"""What stands beside every forecast: plain forecasts that are hard to beat, on the same windows, and the verdict."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.errors import DataError
from elman.jobs.statistical import statistical
from elman.linear import Blend
from elman.metrics import SURE, drift, persistence, seasonal_naive, standard_error

Array = NDArray[np.float64]
LEAST_DIFFERENCE = 0.0005  # of the mean squared errors, below which two forecasts are as good
ROUNDING = 1e-11  # of the mean square of the truth: a network's inputs are rounded to float32


def baselines(
    values: Array, first: NDArray[np.int64], horizon: int, season: int, more: bool = False
) -> dict[str, Array]:
    """Plain forecasts (n, horizon, C) of windows of ``values`` (N, C), whose first targets are at ``first`` (n,).

    Each reads what stands before a window's targets; the autoregression (ridge regression, its order and strength by
    rolling origins) is fitted to what stands before the first window. The seasonal naive needs a ``season`` above 1.
    With ``more`` those of :func:`~elman.jobs.statistical.statistical` too.

    >>> sorted(baselines(np.arange(40.0)[:, None], np.array([30]), horizon=2, season=4))
    ['autoregression', 'drift', 'persistence', 'seasonal_naive']
    """
    forecasts = {"persistence": persistence(values[first - 1], horizon)}
    if season > 1:
        forecasts["seasonal_naive"] = seasonal_naive(values, first, horizon, season)
    if first[0] >= 2:
        forecasts["drift"] = drift(values, first, horizon)
        with contextlib.suppress(DataError):  # too few values for any
            columns = [_autoregression(values[:, c], first, horizon, season) for c in range(values.shape[1])]
            forecasts["autoregression"] = np.stack(columns, axis=-1)
    return forecasts | (statistical(values, first, horizon, season) if more else {})


def _autoregression(values: Array, first: NDArray[np.int64], horizon: int, season: int) -> Array:
    known = values[: first[0]]
    line = Blend.choose(known, horizon, season, families=("zero",), contexts=1).fit(known)
    return line(values[first[:, None] + np.arange(-line.weights.shape[2], 0)])


def verdict(prediction: Array, truth: Array, others: Mapping[str, Array], every: int = 1) -> dict[str, Any]:
    """Which of ``others`` (n, horizon, C) is best by mean squared error, and how ``prediction`` compares with it.

    ``ratio`` is of the mean squared errors, ``standard_errors`` the mean difference in its own (Diebold & Mariano
    1995), above 0 where the prediction is better; None of fewer than two windows. Windows are ``every`` steps apart.

    >>> truth = np.zeros((4, 1, 1))
    >>> verdict(truth + 1, truth, {"persistence": truth + 2})["words"]
    'better than persistence, the best of the plain forecasts: MSE 25 % of its; the same in every window'
    """
    errors = {name: np.square(other - truth).mean(axis=(1, 2)) for name, other in others.items()}
    best = min(errors, key=lambda name: errors[name].mean())
    own = np.square(prediction - truth).mean(axis=(1, 2))
    gained = errors[best] - own
    error = standard_error(gained, -(-truth.shape[1] // every))
    rounding = rounding_of(truth)
    ratio = float((own.mean() + rounding) / (errors[best].mean() + rounding))
    facts = {"best": best, "ratio": ratio, "standard_errors": float(gained.mean() / error) if error else None}
    return facts | {"words": _words(facts, len(gained))}


def rounding_of(truth: Array) -> float:
    """The mean squared error that rounding alone gives a forecast of ``truth``."""
    return ROUNDING * float(np.square(truth).mean()) + float(np.finfo(float).tiny)


def _words(facts: Mapping[str, Any], windows: int) -> str:
    name, ratio, distance = facts["best"].replace("_", " "), facts["ratio"], facts["standard_errors"]
    if abs(ratio - 1) < LEAST_DIFFERENCE:
        return f"as good as {name}, the best of the plain forecasts"
    than = "better" if ratio < 1 else "worse"
    said = f"{than} than {name}, the best of the plain forecasts: MSE {100 * ratio:.3g} % of its"
    if windows < 2:
        return f"{said}; one window cannot say whether that is chance"
    if distance is None:
        return f"{said}; the same in every window"
    return f"{said}; {beside_chance(distance)}"


def beside_chance(distance: float) -> str:
    """Say whether a difference of so many of its standard errors is more than chance.

    >>> beside_chance(-0.5)
    'the difference is 0.5 of its standard errors, no more than chance would give'
    """
    sure = "more than" if abs(distance) > SURE else "no more than"
    return f"the difference is {abs(distance):.2g} of its standard errors, {sure} chance would give"
