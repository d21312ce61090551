"""Steps between dates, dates to come, and periods: exact lengths, calendar months, business days, opening hours.

A step is exact (so many days, seconds or microseconds), a number of calendar months (a year is twelve), a
business day (Monday to Friday), or the next of the hours a day has values at. Dates are numpy
``datetime64[us]``, of one clock: see :class:`elman.data.series.series.Series`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.errors import DataError

MICROSECONDS = {"us": 1, "s": 1_000_000, "d": 86_400_000_000}
MEAN_MONTH = 2_629_746_000_000  # microseconds: a twelfth of the mean Gregorian year
MONTHS_BEFORE_1970 = 1970 * 12
FIRST_MONDAY = 4 * MICROSECONDS["d"]  # 1970-01-05, so that periods of whole weeks start on Mondays
MONTH_END = 31
LAST_BUSINESS_DAY, FIRST_BUSINESS_DAY = 32, 0  # days of the month that are none by number
MOST_HOURS = 96  # times of day that make a day of opening hours; more are no pattern

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
    """A time step of ``count`` units.

    Units: 'us', 's', 'd' (exact), 'mo' (calendar months) or 'b' (business days).

    With ``hours`` (microseconds into the day, rising) each day, or business day, has values at those times of
    day alone, and a step leads to the next of them.

    >>> str(Step(1, "mo")), str(Step(12, "mo")), str(Step(3600, "s")), str(Step(1, "b"))
    ('1mo', '1y', '1h', '1b')
    >>> str(Step(1, "b", (34_200_000_000, 37_800_000_000, 41_400_000_000)))
    '1h from 09:30 to 11:30, business days'
    """

    count: int
    unit: str
    hours: tuple[int, ...] = field(default=(), repr=False)

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
                f"`resample`: cannot read {text!r}; write a count and one of s, m (minutes), h, d, w, "
                "mo (months), q (quarters), y, such as 1mo or 15m"
            )
        size, unit = WRITTEN[match[2]]
        return cls(count * size, unit) if unit == "mo" else cls.exact(count * size * MICROSECONDS[unit])

    @property
    def microseconds(self) -> int:
        """The length in microseconds, within the opening hours.

        Months and business days count with their mean length.
        """
        if self.hours:
            return int(np.median(np.diff(self.hours)))
        mean = {"mo": MEAN_MONTH, "b": 7 * MICROSECONDS["d"] // 5}
        return self.count * (mean.get(self.unit) or MICROSECONDS[self.unit])

    @property
    def is_exact(self) -> bool:
        """Whether the step is one length of time, the same everywhere in the year."""
        return self.unit in MICROSECONDS and not self.hours

    @property
    def keeps_to_the_day(self) -> bool:
        """Whether the step is counted in days or months of a place.

        Whatever its clocks do in between.
        """
        return self.unit in ("d", "b", "mo")

    def __str__(self) -> str:
        if self.hours:
            first, last = (_clock(self.hours[i]) for i in (0, -1))
            within = Step.exact(self.microseconds)
            return f"{within} from {first} to {last}, {'business days' if self.unit == 'b' else 'every day'}"
        if self.unit == "b":
            return f"{self.count}b"
        written = ("y", "mo") if self.unit == "mo" else ("w", "d", "h", "m", "s", "ms", "us")
        here = self.count * MICROSECONDS.get(self.unit, 1)
        for name in written:
            size, unit = WRITTEN[name]
            size *= MICROSECONDS.get(unit, 1)
            if here % size == 0:
                return f"{here // size}{name}"
        raise AssertionError(f"a step of no unit: {self!r}")


def _clock(microseconds: int) -> str:
    minutes = microseconds // (60 * MICROSECONDS["s"])
    return f"{minutes // 60:02}:{minutes % 60:02}"


def month_number(times: NDArray[Any]) -> NDArray[np.int64]:
    """Months since the year 0 of ``times`` (N,)."""
    return times.astype("M8[M]").astype(np.int64) + MONTHS_BEFORE_1970


def month_length(times: NDArray[Any]) -> NDArray[np.int64]:
    """Days in the month of each of ``times`` (N,).

    >>> month_length(np.array(["2023-02", "2024-02"], "M8[us]")).tolist()
    [28, 29]
    """
    months = times.astype("M8[M]")
    return ((months + 1).astype("M8[D]") - months.astype("M8[D]")).astype(np.int64)


def anchor_day(times: NDArray[Any]) -> int | None:
    """The day of the month that all ``times`` (N,) keep to, or None; month ends are 31.

    A day that a month lacks is that month's last: 31 January, 28 February, 31 March keep to 31. The first and the
    last business day of each month are days of their own.

    >>> anchor_day(np.array(["2024-04-30", "2024-06-30"], "M8[us]"))
    31
    >>> anchor_day(np.array(["2024-02-29", "2024-03-29", "2024-04-30"], "M8[us]")) == LAST_BUSINESS_DAY
    True
    """
    dates = times.astype("M8[D]")
    days = (dates - times.astype("M8[M]").astype("M8[D]")).astype(np.int64) + 1
    lengths = month_length(times)
    anchor = MONTH_END if (days == lengths).all() else int(days.max())
    if np.unique(times - dates).size != 1:
        return None
    if (days == np.minimum(anchor, lengths)).all():
        return anchor
    for business in (LAST_BUSINESS_DAY, FIRST_BUSINESS_DAY):
        if (dates == _anchored(times.astype("M8[M]"), business)).all():
            return business
    return None


def _anchored(months: NDArray[Any], anchor: int | None) -> NDArray[Any]:
    """The day ``anchor`` of each of ``months`` (N,), or its last where it has no such day."""
    if anchor == LAST_BUSINESS_DAY:
        return np.busday_offset((months + 1).astype("M8[D]") - 1, 0, roll="backward")
    if anchor == FIRST_BUSINESS_DAY:
        return np.busday_offset(months.astype("M8[D]"), 0, roll="forward")
    return months.astype("M8[D]") + (np.minimum(MONTH_END if anchor is None else anchor, month_length(months)) - 1)


def anchor_words(anchor: int | None) -> str:
    """How a series of months keeps to its day, where that needs to be said."""
    words = {LAST_BUSINESS_DAY: "last business day", FIRST_BUSINESS_DAY: "first business day"}
    return "" if anchor is None else words.get(anchor, "")


def places(times: NDArray[Any], step: Step) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Which step each of ``times`` (N,) is, counted from the first (N,); and whether it stands on one (N,).

    >>> count, on = places(np.array(["2024-01-05", "2024-01-08", "2024-01-10"], "M8[us]"), Step(1, "b"))
    >>> count.tolist(), on.tolist()
    ([0, 1, 3], [True, True, True])
    """
    if step.unit == "mo":
        anchor = anchor_day(times)
        numbers = month_number(times)
        count = (numbers - numbers[0]) // step.count
        return count, ((numbers - numbers[0]) % step.count == 0) & (anchor is not None)
    if step.unit == "b" or step.hours:
        return _day_places(times, step)
    since = (times - times[0]).astype("m8[us]").astype(np.int64)
    return since // step.microseconds, since % step.microseconds == 0


def _day_places(times: NDArray[Any], step: Step) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """:func:`places` for days with hours, and business days."""
    dates = times.astype("M8[D]")
    clock = (times - dates).astype("m8[us]").astype(np.int64)
    if step.unit == "b":
        days, on = np.busday_count(dates[0], dates), np.is_busday(dates)
    else:
        days, on = (dates - dates[0]).astype(np.int64), np.ones(len(dates), dtype=bool)
    if not step.hours:
        return days // step.count, on & (clock == clock[0]) & (days % step.count == 0)
    hours = np.array(step.hours)
    hour = np.searchsorted(hours, clock).clip(max=len(hours) - 1)
    on &= hours[hour] == clock
    count = days * len(hours) + hour
    return count - count[0], on


def _gaps(times: NDArray[Any]) -> NDArray[np.int64]:
    instants: NDArray[np.int64] = times.astype("M8[us]").astype(np.int64)
    return np.diff(instants)


def commonest_step(times: NDArray[Any]) -> Step | None:
    """The step that ``times`` (N,) keep to, or None with fewer than two.

    It is the commonest difference, in months where all keep to one day of them. Days that leave out every
    Saturday and Sunday are business days; the same times of each day, with a longer night between, are hours.

    >>> str(commonest_step(np.array(["2024-01-31", "2024-02-29", "2024-03-31"], "M8[us]")))
    '1mo'
    >>> str(commonest_step(np.array(["2024-01-04", "2024-01-05", "2024-01-08", "2024-01-09"], "M8[us]")))
    '1b'
    """
    if len(times) < 2:
        return None
    if anchor_day(times) is not None:
        return Step(_commonest(np.diff(month_number(times))), "mo")
    step = Step.exact(_commonest(_gaps(times)))
    return _business(times, step) or _opening_hours(times, step) or step


def _commonest(sizes: NDArray[np.int64]) -> int:
    values, counts = np.unique(sizes, return_counts=True)
    return int(values[counts.argmax()])


def _business(times: NDArray[Any], step: Step) -> Step | None:
    """A business day, where that is what ``times`` keep to: daily, over weekends, and on none of their days."""
    dates = times.astype("M8[D]")
    daily = step == Step(1, "d") and np.unique(times - dates).size == 1
    if not daily or not np.is_busday(dates).all():
        return None
    over_a_weekend = np.busday_count(dates[0], dates[-1]) < (dates[-1] - dates[0]).astype(np.int64)
    return Step(1, "b") if over_a_weekend else None


def _opening_hours(times: NDArray[Any], step: Step) -> Step | None:
    """Hours of a day, where ``times`` fall on the same few each day and stop between the days.

    Each of the hours must be there on most days, and the day must have a break, or the days a weekend.
    """
    if step.unit == "d" or step.microseconds >= MICROSECONDS["d"] or (_gaps(times) == step.microseconds).all():
        return None
    dates = times.astype("M8[D]")
    clock = (times - dates).astype("m8[us]").astype(np.int64)
    hours, counts = np.unique(clock, return_counts=True)
    days = np.unique(dates)
    if not 2 <= len(hours) <= MOST_HOURS or len(days) < 3 or counts.min() * 2 < len(days):
        return None
    weekdays = bool(np.is_busday(days).all()) and (
        len(days) >= 5 or bool(np.busday_count(days[0], days[-1]) < (days[-1] - days[0]).astype(np.int64))
    )
    whole_day = len(hours) * step.microseconds == MICROSECONDS["d"]
    if _commonest(np.diff(hours)) != step.microseconds or (whole_day and not weekdays):
        return None
    return Step(1, "b" if weekdays else "d", tuple(map(int, hours)))


def typical_step(times: NDArray[Any]) -> Step | None:
    """The step of evenly spaced ``times`` (N,), all distinct; of uneven ones the median one, as an exact step."""
    step = commonest_step(times)
    if step is None or first_uneven(times, step) is None:
        return step
    return Step.exact(int(np.median(_gaps(times))))


def first_uneven(times: NDArray[Any], step: Step) -> int | None:
    """The index of the first of ``times`` (N,) that does not stand one ``step`` after the one before."""
    if len(times) < 2:
        return None
    count, on = places(times, step)
    uneven = np.flatnonzero((np.diff(count) != 1) | ~on[1:] | ~on[:-1])
    return int(uneven[0]) + 1 if uneven.size else None


def advance(time: np.datetime64, step: Step, counts: NDArray[np.int64], anchor: int | None) -> NDArray[Any]:
    """The dates ``counts`` (K,) steps after ``time``, (K,); months keep to day ``anchor`` (31, or None: their end).

    >>> dates = advance(np.datetime64("2024-01-31", "us"), Step(1, "mo"), np.array([1, 2]), anchor=31)
    >>> dates.astype("M8[D]").astype(str).tolist()
    ['2024-02-29', '2024-03-31']
    """
    day = time.astype("M8[D]")
    if step.unit == "mo":
        return _anchored(time.astype("M8[M]") + counts * step.count, anchor).astype("M8[us]") + (time - day)
    if step.hours:
        hours = np.array(step.hours)
        position = int(np.searchsorted(hours, (time - day).astype("m8[us]").astype(np.int64))) + counts
        days, hour = position // len(hours), position % len(hours)
        dates = np.busday_offset(day, days, roll="backward") if step.unit == "b" else day + days
        return dates.astype("M8[us]") + hours[hour].astype("m8[us]")
    if step.unit == "b":
        return np.busday_offset(day, counts * step.count, roll="backward").astype("M8[us]") + (time - day)
    return time.astype("M8[us]") + counts * np.timedelta64(step.microseconds, "us")


def period_number(times: NDArray[Any], period: Step) -> NDArray[np.int64]:
    """The number of the calendar period each of ``times`` (N,) falls in; weeks start on Mondays."""
    if period.unit == "mo":
        return month_number(times) // period.count
    since = times.astype("M8[us]").astype(np.int64) - _origin(period)
    return since // period.microseconds


def period_start(numbers: NDArray[np.int64], period: Step) -> NDArray[Any]:
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


def date_texts(times: NDArray[Any]) -> list[str]:
    """Write dates (N,) as short as all of them can be: days where all are midnights.

    >>> date_texts(np.array(["2024-01-01T06:30", "2024-01-02"], "M8[us]"))
    ['2024-01-01T06:30', '2024-01-02T00:00']
    """
    for unit in ("D", "m", "s", "us"):
        short = times.astype(f"M8[{unit}]")
        if (short == times).all():
            break
    return [str(text) for text in np.datetime_as_string(short)]
