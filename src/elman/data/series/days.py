"""What the calendar says of each step ahead of time: days of work, leap years, Easter, the time of the year."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from elman.data.series.calendar import LAST_BUSINESS_DAY, MICROSECONDS, MONTH_END, Step, anchor_day, month_number

Array = NDArray[np.float64]
Days = NDArray[np.datetime64]
WORKED = 2.5  # days of work for each of a weekend
BEFORE_EASTER = 8  # days whose sales Easter changes
HARMONICS = 3  # of a year
YEAR = 365.25  # days
FEWEST_YEARS = 2  # that show what a year does
MONTHS, FEBRUARY = 12, 1
SEASON = "time of the year"


def calendar_columns(times: NDArray[np.datetime64], step: Step) -> dict[str, Array]:
    """Columns (N, P) by name that the dates ``times`` (N,) alone determine, as far as they may matter for a ``step``.

    Of months and quarters how many of their days are days of work (weekdays less 2.5 times the days of weekends, as
    X-13ARIMA-SEATS counts trading days), whether they have a leap day, and how much of the week before Easter falls
    into them. Of days, business days and weeks the time of the year, as three sines and cosines.

    >>> months = np.array(["2024-02-01", "2024-03-01", "2024-04-01"], "M8[us]")
    >>> {name: column.ravel().tolist() for name, column in calendar_columns(months, Step(1, "mo")).items()}
    {'weekdays': [1.0, -4.0, 2.0], 'leap days': [0.75, 0.0, 0.0], 'Easter': [0.0, 1.0, 0.0]}
    """
    if step.unit == "mo" and step.count < MONTHS and MONTHS % step.count == 0:
        return _of_months(times, step.count)
    whole_days = step.unit in ("d", "b") and not step.hours and step.microseconds <= 7 * MICROSECONDS["d"]
    return {SEASON: _of_a_year(times)} if whole_days else {}


def hidden_by(times: NDArray[np.datetime64]) -> set[str]:
    """The columns whose effect ``times`` (N,) are too few years to show."""
    return {SEASON} if times[-1] - times[0] < np.timedelta64(round(FEWEST_YEARS * YEAR), "D") else set()


def _of_months(times: NDArray[np.datetime64], count: int) -> dict[str, Array]:
    """Of periods of ``count`` months: dates at the ends of months end them, others begin them."""
    months = times.astype("M8[M]")
    starts = months - (count - 1) if anchor_day(times) in (MONTH_END, LAST_BUSINESS_DAY) else months
    first, after = starts.astype("M8[D]"), (starts + count).astype("M8[D]")
    days = (after - first).astype(np.int64)
    work = np.busday_count(first, after)
    february = starts + (FEBRUARY - month_number(starts)) % MONTHS  # the next one, which may lie behind the period
    length = (february + 1).astype("M8[D]") - february.astype("M8[D]")
    leap = np.where(february < starts + count, length.astype(np.int64) - 28 - 0.25, 0.0)
    easter = np.zeros(len(times))
    years = starts.astype("M8[Y]")
    for sunday in (easter_sundays(years), easter_sundays(years + 1)):
        for before in range(1, BEFORE_EASTER + 1):
            easter += (sunday - before >= first) & (sunday - before < after)
    columns = {"weekdays": work - WORKED * (days - work), "leap days": leap, "Easter": easter / BEFORE_EASTER}
    return {name: column[:, None].astype(np.float64) for name, column in columns.items()}


def _of_a_year(times: NDArray[np.datetime64]) -> Array:
    angle = 2 * np.pi * (times.astype("M8[D]").astype(np.int64) % YEAR) / YEAR
    return np.stack([wave(k * angle) for k in range(1, HARMONICS + 1) for wave in (np.sin, np.cos)], axis=1)


def easter_sundays(years: Days) -> Days:
    """Easter Sunday of each of ``years`` (N,), datetime64[Y], in the Gregorian calendar (Meeus, Jones & Butcher).

    >>> easter_sundays(np.array(["1961", "2024"], "M8[Y]")).astype(str).tolist()
    ['1961-04-02', '2024-03-31']
    """
    year = years.astype(np.int64) + 1970
    golden, century, within = year % 19, year // 100, year % 100
    corrected = century - century // 4 - (century - (century + 8) // 25 + 1) // 3
    moon = (19 * golden + corrected + 15) % 30
    weekday = (32 + 2 * (century % 4) + 2 * (within // 4) - moon - within % 4) % 7
    late = (golden + 11 * moon + 22 * weekday) // 451
    day = moon + weekday - 7 * late + 114
    return (years.astype("M8[M]") + (day // 31 - 1)).astype("M8[D]") + day % 31
