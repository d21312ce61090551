"""The plain forecasts that a line starts from: each a matrix over the last values, exact and with nothing to fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elman.errors import DataError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Base:
    """What is forecast before anything is fitted, and what the values are measured from when more is.

    ``level`` says from what: "none" (zero), "last" (the last value) or "mean" (of the context). With ``seasons`` the
    base needs that many whole seasons.
    """

    name: str
    level: str
    seasons: int = 0


BASES = {
    base.name: base
    for base in (
        Base("zero", "none"),
        Base("last", "last"),
        Base("drift", "last"),
        Base("mean", "mean"),
        Base("season", "last", 1),
        Base("season and change", "last", 1),
        Base("mean of seasons", "mean", 2),
    )
}


def reach(name: str, context: int, season: int) -> int:
    """How many of the last values the base ``name`` reads.

    >>> reach("season", context=3, season=12)
    12
    """
    if BASES[name].seasons and season < 2:
        raise DataError(f"base {name!r}: got season {season}, want 2 at least")
    return {
        "zero": 0,
        "last": 1,
        "drift": context,
        "mean": context,
        "season": season,
        "season and change": season + 1,
        "mean of seasons": context // season * season if season else 0,
    }[name]


def base_matrix(name: str, horizon: int, context: int, season: int) -> Array:
    """The base as a matrix (horizon, reach) over the last values.

    >>> base_matrix("season and change", horizon=1, context=4, season=2) @ [10.0, 20.0, 11.0]
    array([21.])
    """
    size = reach(name, context, season)
    matrix, steps = np.zeros((horizon, size)), np.arange(horizon)
    if name == "last":
        matrix[:] = 1
    elif name == "drift":  # the line through the first and the last value of the context
        along = (steps + 1) / max(size - 1, 1)
        matrix[:, -1] = 1 + along
        matrix[:, 0] -= along
    elif name == "mean":
        matrix[:] = 1 / size
    elif name == "season":
        matrix[steps, steps % season] = 1
    elif name == "season and change":  # what the last value has gained in a season, once more with each season
        matrix[steps, 1 + steps % season] = 1
        matrix[:, -1] += 1 + steps // season
        matrix[:, 0] -= 1 + steps // season
    elif name == "mean of seasons":
        for step in steps:
            matrix[step, step % season :: season] = season / size
    return matrix


def level_vector(level: str, context: int) -> Array:
    """What the values of a context are measured from, as weights (context,) over them."""
    weights = np.zeros(context)
    if level == "last":
        weights[-1] = 1
    elif level == "mean":
        weights[:] = 1 / context
    return weights
