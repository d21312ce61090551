"""The season of a series: the lengths its dates suggest, and the one its values have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from elman.data.series.calendar import MICROSECONDS, Step

Array = NDArray[np.float64]
SURE = 2.0  # standard deviations above chance, of a length that the dates suggest
SURE_OF_ANY = 5.0  # of one picked out of many
FEWEST_SEASONS = 3
MOST_PEAKS = 8
TIE = 1.05  # errors within a twentieth of the least are as good
ROUNDING = 1e-9
DAY, WEEKDAYS, BUSINESS_DAYS, WEEKS, MONTHS = MICROSECONDS["d"], 7, 5, 52, 12


def usual_seasons(step: Step) -> tuple[int, ...]:
    """How many steps there are in an hour, a day, a week and a year, where that is a whole number above 1.

    >>> usual_seasons(Step(1800, "s")), usual_seasons(Step(1, "mo")), usual_seasons(Step(3, "mo"))
    ((48, 336), (12,), (4,))
    """
    if step.unit == "mo":
        return (MONTHS // step.count,) if MONTHS % step.count == 0 and step.count < MONTHS else ()
    if step.hours:
        days = BUSINESS_DAYS if step.unit == "b" else WEEKDAYS
        return tuple(s for s in (len(step.hours), len(step.hours) * days) if s > 1)
    if step.unit == "b":
        return (BUSINESS_DAYS,) if step.count == 1 else ()
    length = step.count * MICROSECONDS[step.unit]
    if length == WEEKDAYS * DAY:
        return (WEEKS,)
    lengths = [DAY, WEEKDAYS * DAY] + ([DAY // 24] if length < DAY // 24 / 2 else [])
    return tuple(sorted(whole // length for whole in lengths if whole % length == 0 and whole > length))


def find_season(values: Array, step: Step | None = None) -> int:
    """Find the season of ``values`` (N,), in steps; 0 if there is none.

    Only lengths that the dates suggest are tried; without dates, any length.

    A length counts where the means of its phases explain more of the changes from value to value than chance would
    (:func:`strength`); of several, the one whose seasonal naive forecast is best, and of those as good the shortest.

    >>> month = np.arange(120.0)
    >>> find_season(month + 10 * np.cos(2 * np.pi * month / 12), Step(1, "mo")), find_season(month**2)
    (12, 0)
    """
    values = np.asarray(values, dtype=np.float64)
    lengths = peaks(values) if step is None else usual_seasons(step)
    sure = SURE_OF_ANY if step is None else SURE
    candidates = [s for s in lengths if s * FEWEST_SEASONS <= len(values) and strength(values, s) > sure]
    longest = max(candidates, default=0)

    def error(season: int) -> float:
        return float(np.square(values[longest:] - values[longest - season : len(values) - season]).mean())

    errors = {season: error(season) for season in candidates}
    enough = TIE * min(errors.values(), default=0.0) + (ROUNDING * float(np.abs(values).max(initial=0.0))) ** 2
    return min((season for season in candidates if errors[season] <= enough), default=0)


def season_of_many(columns: Sequence[Array], step: Step | None = None) -> int:
    """Find the common season of several series, (N,) each.

    That of most, or a longer one that contains it.

    A week of hours, say, has the day within. It is taken where the changes over the shorter season follow it: where
    those of one long season before foretell them better than none at all do, in the geometric mean over the series.

    >>> hours = np.arange(1000)
    >>> working = (hours // 24 % 7 < 5) * (2 + np.sin(2 * np.pi * hours / 24))
    >>> season_of_many([working, working[:700] + hours[:700] / 100])
    168
    """
    seasons = [find_season(values, step) for values in columns]
    season = max(sorted(set(seasons)), key=seasons.count)
    if not season:
        return 0
    lengths = (
        range(2 * season, max(map(len, columns)) // FEWEST_SEASONS + 1, season) if step is None else usual_seasons(step)
    )
    gains = {longer: _gain(columns, season, longer) for longer in lengths if longer > season and longer % season == 0}
    best = max(gains, key=lambda longer: gains[longer], default=season)
    return best if gains.get(best, 0.0) > np.log(TIE) else season


def _gain(columns: Sequence[Array], season: int, longer: int) -> float:
    """How much smaller the changes over ``season`` are from one ``longer`` season to the next, as a mean logarithm."""
    gains = []
    for values in columns:
        if len(values) < FEWEST_SEASONS * longer:
            continue
        changes = np.asarray(values[season:] - values[:-season], dtype=np.float64)
        least = (ROUNDING * float(np.abs(values).max(initial=0.0))) ** 2 + np.finfo(float).tiny
        before = np.square(changes[longer:]).mean() + least
        gains.append(np.log(before / (np.square(changes[longer:] - changes[:-longer]).mean() + least)))
    return float(np.mean(gains)) if 2 * len(gains) > len(columns) else 0.0


def strength(values: Array, season: int) -> float:
    """How far the changes of ``values`` (N,) follow a ``season``: the F statistic of its phases' means, less the 1
    that chance gives, in its standard deviations.

    >>> strength(np.tile([1.0, 5.0, 2.0], 10), 3)
    inf
    """
    changes = np.diff(values)
    phase = np.arange(len(changes)) % season
    counts = np.bincount(phase, minlength=season)
    if (counts == 0).any() or len(changes) <= season:
        return 0.0
    means = np.bincount(phase, changes, minlength=season) / counts
    between = float(counts @ np.square(means - changes.mean())) / (season - 1)
    within = float(np.square(changes - means[phase]).sum()) / (len(changes) - season)
    # Rounding leaves a little of what repeats exactly, and of a straight line.
    least = (ROUNDING * float(np.abs(values).max(initial=0.0))) ** 2
    if between <= least:
        return 0.0
    return float("inf") if within <= least else (between / within - 1) / float(np.sqrt(2 / (season - 1)))


def autocorrelations(values: Array) -> Array:
    """The correlations of ``values`` (N,) with themselves at every lag (N,); 0 of a constant.

    >>> autocorrelations(np.array([1.0, -1.0, 1.0, -1.0])).round(9).tolist()
    [1.0, -0.75, 0.5, -0.25]
    """
    n = len(values)
    centred = values - values.mean() if n else values
    total = float(centred @ centred)
    if not np.isfinite(total) or total <= np.finfo(float).eps ** 2 * n * float(np.square(values).max(initial=0.0)):
        return np.zeros(n)
    spectrum = np.fft.rfft(centred, 2 * n)
    return np.fft.irfft(np.abs(spectrum) ** 2, 2 * n)[:n] / total


def peaks(values: Array) -> tuple[int, ...]:
    """The lags at which the changes of ``values`` (N,) are most like themselves: the highest maxima, from 2 on."""
    correlations = autocorrelations(np.diff(values))
    inner = correlations[1 : len(correlations) // FEWEST_SEASONS + 1]
    maxima = [i + 1 for i in range(1, len(inner) - 1) if inner[i - 1] < inner[i] >= inner[i + 1]]
    return tuple(sorted(maxima, key=lambda lag: -correlations[lag])[:MOST_PEAKS])
