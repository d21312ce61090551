"""Steps between dates, dates to come, and periods: exact lengths and calendar months.

A step is either exact (so many days, seconds or microseconds) or a number of calendar months; a year
is twelve months. Dates are numpy ``datetime64[us]``, in UTC or without a zone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elman.errors import DataError

MICROSECONDS = {"us": 1, "s": 1_000_000, "d": 86_400_000_000}
MEAN_MONTH = 2_629_746_000_000  # microseconds: a twelfth of the mean Gregorian year
MONTHS_BEFORE_1970 = 1970 * 12
FIRST_MONDAY = 4 * MICROSECONDS["d"]  # 1970-01-05, so that periods of whole weeks start on Mondays
MONTH_END = 31

# How steps are written: name -> (count, unit). 'm' is a minute and 'mo' a month.
WRITTEN = {
    "us": (1, "us"),
    "ms": (1000, "us"),
    "s": (1, "s"),
    "m": (60, "s"),
    "min": (60, "s"),
    "h": (3600, "s"),
    "d": (1, "d"),
    "w": (7, "d"),
    "mo": (1, "mo"),
    "q": (3, "mo"),
    "y": (12, "mo"),
}


@dataclass(frozen=True)
class Step:
    """A time step: ``count`` of ``unit``, where ``unit`` is 'us', 's', 'd' (exact) or 'mo' (calendar months).

    >>> str(Step(1, "mo")), str(Step(12, "mo")), str(Step(3600, "s")), str(Step(900, "s"))
    ('1mo', '1y', '1h', '15m')
    """

    count: int
    unit: str

    @classmethod
    def exact(cls, microseconds: int) -> Step:
        """Write a length in microseconds in the largest exact unit that divides it.

        >>> Step.exact(86_400_000_000)
        Step(count=1, unit='d')
        """
        unit = next(u for u in ("d", "s", "us") if microseconds % MICROSECONDS[u] == 0)
        return cls(microseconds // MICROSECONDS[unit], unit)

    @classmethod
    def parse(cls, text: str) -> Step:
        """Read a step such as '1y', '1q', '3mo', '1w', '1d', '1h', '15m'. Raises DataError.

        >>> Step.parse("1q")
        Step(count=3, unit='mo')
        """
        match = re.fullmatch(r"\s*(\d*)\s*([a-z]+)\s*", text)
        count = int(match[1] or 1) if match else 0
        if not match or match[2] not in WRITTEN or count == 0:
            raise DataError(
                f"resample: cannot read {text!r}; write a count and one of s, m (minutes), h, d, w, "
                "mo (months), q (quarters), y, such as 1mo or 15m"
            )
        size, unit = WRITTEN[match[2]]
        return cls(count * size, unit) if unit == "mo" else cls.exact(count * size * MICROSECONDS[unit])

    @property
    def microseconds(self) -> int:
        """The length in microseconds; of months, their mean length."""
        return self.count * (MEAN_MONTH if self.unit == "mo" else MICROSECONDS[self.unit])

    def __str__(self) -> str:
        written = ("y", "mo") if self.unit == "mo" else ("w", "d", "h", "m", "s", "ms", "us")
        here = self.count * MICROSECONDS.get(self.unit, 1)
        for name in written:
            size, unit = WRITTEN[name]
            size *= MICROSECONDS.get(unit, 1)
            if here % size == 0:
                return f"{here // size}{name}"
        raise AssertionError(f"a step of no unit: {self!r}")


def month_number(times: NDArray) -> NDArray[np.int64]:
    """Months since the year 0 of ``times`` (N,)."""
    return times.astype("M8[M]").astype(np.int64) + MONTHS_BEFORE_1970


def month_length(times: NDArray) -> NDArray[np.int64]:
    """Days in the month of each of ``times`` (N,).

    >>> month_length(np.array(["2023-02", "2024-02"], "M8[us]")).tolist()
    [28, 29]
    """
    months = times.astype("M8[M]")
    return ((months + 1).astype("M8[D]") - months.astype("M8[D]")).astype(np.int64)


def anchor_day(times: NDArray) -> int | None:
    """The day of the month that all ``times`` (N,) keep to, or None; month ends are 31.

    A day that a month lacks is that month's last: 31 January, 28 February, 31 March keep to 31.

    >>> anchor_day(np.array(["2024-04-30", "2024-06-30"], "M8[us]"))
    31
    """
    dates = times.astype("M8[D]")
    days = (dates - times.astype("M8[M]").astype("M8[D]")).astype(np.int64) + 1
    lengths = month_length(times)
    anchor = MONTH_END if (days == lengths).all() else int(days.max())
    same_hour = np.unique(times - dates).size == 1
    return anchor if same_hour and (days == np.minimum(anchor, lengths)).all() else None


def differences(times: NDArray) -> tuple[NDArray[np.int64], str]:
    """The steps between ``times`` (N,), (N-1,), in months where all keep to one day, else in microseconds."""
    if anchor_day(times) is not None:
        return np.diff(month_number(times)), "mo"
    return _gaps(times), "us"


def _gaps(times: NDArray) -> NDArray[np.int64]:
    instants: NDArray[np.int64] = times.astype("M8[us]").astype(np.int64)
    return np.diff(instants)


def commonest_step(times: NDArray) -> Step | None:
    """The commonest step between ``times`` (N,), or None with fewer than two.

    >>> str(commonest_step(np.array(["2024-01-31", "2024-02-29", "2024-03-31"], "M8[us]")))
    '1mo'
    """
    if len(times) < 2:
        return None
    steps, unit = differences(times)
    sizes, counts = np.unique(steps, return_counts=True)
    commonest = int(sizes[counts.argmax()])
    return Step(commonest, "mo") if unit == "mo" else Step.exact(commonest)


def typical_step(times: NDArray) -> Step | None:
    """The step of evenly spaced ``times`` (N,); of uneven ones the median one, as an exact step."""
    step = commonest_step(times)
    if step is None or first_uneven(times, step) is None:
        return step
    return Step.exact(int(np.median(_gaps(times))))


def first_uneven(times: NDArray, step: Step) -> int | None:
    """The index of the first of ``times`` (N,) that does not stand one ``step`` after the one before."""
    if step.unit == "mo":
        steps, unit = differences(times)
        uneven = np.flatnonzero((steps != step.count) | (unit != "mo"))
    else:
        uneven = np.flatnonzero(_gaps(times) != step.microseconds)
    return int(uneven[0]) + 1 if uneven.size else None


def advance(time: np.datetime64, step: Step, counts: NDArray[np.int64], anchor: int) -> NDArray:
    """The dates ``counts`` (K,) steps after ``time``, (K,); months keep to day ``anchor`` (31: their end).

    >>> dates = advance(np.datetime64("2024-01-31", "us"), Step(1, "mo"), np.array([1, 2]), anchor=31)
    >>> dates.astype("M8[D]").astype(str).tolist()
    ['2024-02-29', '2024-03-31']
    """
    if step.unit != "mo":
        return time.astype("M8[us]") + counts * np.timedelta64(step.microseconds, "us")
    months = time.astype("M8[M]") + counts * step.count
    days = months.astype("M8[D]") + (np.minimum(anchor, month_length(months)) - 1)
    return days.astype("M8[us]") + (time - time.astype("M8[D]"))


def period_number(times: NDArray, period: Step) -> NDArray[np.int64]:
    """The number of the calendar period each of ``times`` (N,) falls in; weeks start on Mondays."""
    if period.unit == "mo":
        return month_number(times) // period.count
    since = times.astype("M8[us]").astype(np.int64) - _origin(period)
    return since // period.microseconds


def period_start(numbers: NDArray[np.int64], period: Step) -> NDArray:
    """Where the periods of ``numbers`` (P,) start, (P,): the inverse of :func:`period_number`.

    >>> period_start(period_number(np.array(["1953-04-01"], "M8[us]"), Step(12, "mo")), Step(12, "mo"))
    array(['1953-01-01T00:00:00.000000'], dtype='datetime64[us]')
    """
    if period.unit == "mo":
        return (numbers * period.count - MONTHS_BEFORE_1970).astype("M8[M]").astype("M8[us]")
    return (numbers * period.microseconds + _origin(period)).astype("M8[us]")


def _origin(period: Step) -> int:
    return FIRST_MONDAY if period.microseconds % (7 * MICROSECONDS["d"]) == 0 else 0


def date_text(time: np.datetime64, step: Step | None = None) -> str:
    """Write a date as briefly as it can be read back, or as briefly as a period of ``step`` is named.

    >>> date_text(np.datetime64("1953-04-01", "us"))
    '1953-04-01'
    >>> date_text(np.datetime64("1953-01-01", "us"), Step(12, "mo"))
    '1953'
    """
    if step is not None and step.unit == "mo":
        return str(time.astype("M8[Y]" if step.count % 12 == 0 else "M8[M]"))
    if time == time.astype("M8[D]"):
        return str(time.astype("M8[D]"))
    whole = time == time.astype("M8[s]")
    return str(time.astype("M8[s]" if whole else "M8[us]")).replace("T", " ")
