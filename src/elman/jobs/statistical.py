"""AutoETS and AutoTheta, the statistical forecasts that are hardest to beat, by statsforecast.

They are asked for, as they take their time.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.errors import ElmanError

Array = NDArray[np.float64]
READ = 1000  # the last values that a model is fitted to, and goes on from
MODELS = {"auto_ets": "AutoETS", "auto_theta": "AutoTheta"}


def statistical(values: Array, first: NDArray[np.int64], horizon: int, season: int) -> dict[str, Array]:
    """Forecasts (n, horizon, C) of windows of ``values`` (N, C), whose first targets are at ``first`` (n,).

    Each model is chosen and fitted (Hyndman et al. 2002; Fiorucci et al. 2016) on what stands before the first window,
    and goes on from what stands before each. One that cannot be fitted to a column is left out. Raises
    :class:`ElmanError` without statsforecast.
    """
    forecasts: dict[str, Array] = {}
    for name, made in _models(max(season, 1)).items():
        with contextlib.suppress(_Unfitted):
            columns = [_forecasts(made, values[:, c], first, horizon) for c in range(values.shape[1])]
            forecasts[name] = np.stack(columns, axis=-1)
    return forecasts


class _Unfitted(Exception):
    """A model says that it cannot be fitted."""


def _models(season: int) -> Mapping[str, Any]:
    try:
        from statsforecast import models
    except ImportError as error:
        raise ElmanError("AutoETS and AutoTheta need statsforecast: pip install 'elman[stats]'") from error
    return {name: lambda kind=kind: getattr(models, kind)(season_length=season) for name, kind in MODELS.items()}


def _forecasts(made: Any, values: Array, first: NDArray[np.int64], horizon: int) -> Array:
    """One model's forecasts (n, horizon) of a column (N,)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a season too long for a model, which goes without
            model = made().fit(_before(values, first[0]))
            rows = [model.forward(_before(values, origin), h=horizon)["mean"] for origin in first]
    except Exception as error:  # each model has its own for series too short or too even
        raise _Unfitted from error
    forecasts = np.array(rows, dtype=np.float64)
    if not np.isfinite(forecasts).all():
        raise _Unfitted
    return forecasts


def _before(values: Array, origin: np.int64) -> Array:
    return np.ascontiguousarray(values[max(0, int(origin) - READ) : origin])
