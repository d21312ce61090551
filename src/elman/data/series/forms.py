"""The forms that people write dates in, and reading one date of a form."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from elman.data.delimited import MONTHS
from elman.data.series import zones

YEARS = range(1600, 2201)  # what is taken for a year where only a number stands

# What a date is written of. Two digits of a year are of this century below 70, as POSIX has it.
PARTS = {
    "Y": r"(?P<Y>\d{4})",
    "y": r"(?P<y>\d{2})",
    "m": r"(?P<m>\d{1,2})",
    "d": r"(?P<d>\d{1,2})",
    "b": r"(?P<b>[A-Za-z]{3,9})\.?",
    "q": r"(?P<q>[1-4])",
    "V": r"(?P<V>\d{1,2})",
    "u": r"(?P<u>[1-7])",
}
CLOCK = (
    r"(?:(?:[ T,]+|(?<=日))(?P<H>\d{1,2}):(?P<M>\d{2})(?::(?P<S>\d{2})(?:[.,](?P<f>\d{1,9}))?)?"
    r"(?:\s*(?P<p>[AaPp])\.?[Mm]\.?)?(?P<z>\s*(?:Z|UTC|GMT|[+-]\d{2}:?\d{2}(?::?\d{2})?|[+-]\d{2}))?(?:\[[\w/]+\])?)?"
)
FORMATS = (
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%Y年%m月%d日",
    "%Y-%m",
    "%Y/%m",
    "%Y年%m月",
    "%d.%m.%Y",
    "%d.%m.%y",
    "%y.%m.%d",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d/%m/%y",
    "%m/%d/%y",
    "%y/%m/%d",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%d-%m-%y",
    "%m-%d-%y",
    "%y-%m-%d",
    "%m/%Y",
    "%m-%Y",
    "%d %b %Y",
    "%d-%b-%Y",
    "%d/%b/%Y",
    "%d%b%Y",
    "%d-%b-%y",
    "%d %b %y",
    "%b %d, %Y",
    "%b %d %Y",
    "%Y-%b-%d",
    "%Y %b %d",
    "%b %Y",
    "%b-%Y",
    "%b/%Y",
    "%b %y",
    "%b-%y",
    "%Y %b",
    "%Y-%b",
    "%YQ%q",
    "%Y-Q%q",
    "%Y Q%q",
    "%Y:Q%q",
    "Q%q %Y",
    "Q%q-%Y",
    "Q%q/%Y",
    "%YM%m",
    "%Y-M%m",
    "%Y:M%m",
    "%Y-W%V-%u",
    "%YW%V",
    "%Y-W%V",
)


@lru_cache
def _pattern(format: str) -> re.Pattern[str] | None:
    """A format as a pattern; None where it has parts that only ``strptime`` knows."""
    if re.search(rf"%[^{''.join(PARTS)}]", format):
        return None
    pieces = re.split(r"%(.)", format)
    body = "".join(PARTS[piece] if i % 2 else re.escape(piece) for i, piece in enumerate(pieces))
    return re.compile(r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? )?" + body + CLOCK, re.IGNORECASE)


def instant(text: str, format: str) -> datetime | None:
    """One date of a format; None where it is none.

    >>> instant("2015Q2", "%YQ%q"), instant("1/2/24 3:04 pm", "%m/%d/%y")
    (datetime.datetime(2015, 4, 1, 0, 0), datetime.datetime(2024, 1, 2, 15, 4))
    """
    pattern = _pattern(format)
    if pattern is None:
        try:
            return datetime.strptime(text, format)
        except (ValueError, re.error, IndexError):
            return None
    match = pattern.fullmatch(text)
    try:
        return _instant(match.groupdict()) if match else None
    except (ValueError, OverflowError):
        return None


def _instant(part: dict[str, str | None]) -> datetime:
    """A date of the parts found; raises ValueError where there is no such day."""
    year = int(part.get("Y") or 0)
    if short := part.get("y"):
        year = int(short) + (2000 if int(short) < 70 else 1900)
    if week := part.get("V"):
        day = datetime.fromisocalendar(year, int(week), int(part.get("u") or 1))
    else:
        month = int(part.get("m") or 1)
        if name := part.get("b"):
            month = _month(name)
        if quarter := part.get("q"):
            month = 3 * int(quarter) - 2
        day = datetime(year, month, int(part.get("d") or 1))
    return _at(day, part)


def _month(name: str) -> int:
    """The number of a month named in full, by its first three letters, or any number of them between."""
    for number, month in enumerate(MONTHS, start=1):
        if len(name) >= 3 and month.startswith(name.lower()):
            return number
    raise ValueError(f"no month {name!r}")


def _at(day: datetime, part: dict[str, str | None]) -> datetime:
    """``day`` at the time of day that was found, if one was."""
    hour_text = part.get("H")
    if hour_text is None:
        return day
    hour = int(hour_text)
    if half := part.get("p"):
        if not 1 <= hour <= 12:
            raise ValueError(f"no hour {hour} of half a day")
        hour = hour % 12 + (12 if half.lower() == "p" else 0)
    later = timedelta(days=1) if hour == 24 and int(part["M"] or 0) == int(part.get("S") or 0) == 0 else timedelta(0)
    moment = day.replace(
        hour=hour % 24 if later else hour,
        minute=int(part["M"] or 0),
        second=int(part.get("S") or 0),
        microsecond=int((part.get("f") or "0").ljust(6, "0")[:6]),
    )
    moment += later
    zone = (part.get("z") or "").strip()
    if not zone:
        return moment
    if zone in ("Z", "z", "UTC", "GMT", "utc", "gmt"):
        return moment.replace(tzinfo=UTC)
    return moment.replace(tzinfo=zones.zone_named(zone if len(zone) > 3 else f"{zone}:00"))


def iso_instant(text: str) -> datetime | None:
    """Read one ISO 8601 date of any usual precision; None where it is none."""
    if not re.match(r"\d{4}", text) or "W" in text:
        return None
    if re.fullmatch(r"\d{4}(-\d{2})?", text):
        text += "-01-01" if len(text) == 4 else "-01"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.year in YEARS else None


def is_date(text: str) -> bool:
    """Whether a text that is no plain number reads as a date in one form or another.

    >>> is_date("2015Q1"), is_date("1953"), is_date("1-01"), is_date("abc")
    (True, False, True, False)
    """
    if re.fullmatch(r"[+-]?\d*\.?\d*", text):
        return False
    return (
        iso_instant(text) is not None
        or any(instant(text, form) for form in FORMATS)
        or bool(re.fullmatch(r"\d-\d{2}", text))
    )
