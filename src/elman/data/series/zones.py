"""Time zones: from the clocks of a place to UTC and back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from elman.data.parsing import Rows
from elman.errors import DataError


def zone_named(name: str) -> tzinfo:
    """The zone ``name``: 'Europe/Berlin', 'UTC' or an offset such as '+02:00'. Raises DataError.

    >>> zone_named("+05:30").utcoffset(None)
    datetime.timedelta(seconds=19800)
    """
    if match := re.fullmatch(r"([+-])(\d{2}):?(\d{2})(?::?(\d{2}))?", name):
        sign = -1 if match[1] == "-" else 1
        offset = timedelta(hours=int(match[2]), minutes=int(match[3]), seconds=int(match[4] or 0))
        if offset < timedelta(days=1):
            return timezone(sign * offset)
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise DataError(
            f"`zone`: there is no zone {name!r}; give a place such as Europe/Berlin, UTC, or an offset such as +02:00"
        ) from error


def offset_name(instant: datetime) -> str:
    """The offset of an instant that has one, as '+02:00'.

    >>> offset_name(datetime(2024, 1, 1, tzinfo=UTC))
    '+00:00'
    """
    return instant.isoformat()[len(instant.replace(tzinfo=None).isoformat()) :]


def wall(times: NDArray[Any], zone: str) -> NDArray[Any]:
    """What the clocks of ``zone`` show at ``times`` (N,) of UTC.

    >>> wall(np.array(["2024-07-01T12:00"], "M8[us]"), "Europe/Berlin").astype(str).tolist()
    ['2024-07-01T14:00:00.000000']
    """
    clock = zone_named(zone)
    if isinstance(clock, timezone):
        return times + np.timedelta64(clock.utcoffset(None))
    return np.array([t.replace(tzinfo=UTC).astimezone(clock).replace(tzinfo=None) for t in times.tolist()], "M8[us]")


def written(times: NDArray[Any], zone: str, local: bool) -> list[str]:
    """``times`` (N,), of the clocks of ``zone`` where ``local``, else of UTC, as ISO 8601 with the zone's offset."""
    clock = zone_named(zone)
    if local:
        return [t.replace(tzinfo=clock).isoformat() for t in times.tolist()]
    return [t.replace(tzinfo=UTC).astimezone(clock).isoformat() for t in times.tolist()]


def to_utc(times: NDArray[Any], zone: str, rows: Rows, column: str) -> NDArray[Any]:
    """``times`` (N,) of the clocks of ``zone``, in their order, as UTC.

    Of an hour that stands twice, when summer time ends, the first comes first. Raises DataError for a time that
    the clocks of the place never show.
    """
    clock = zone_named(zone)
    instants: list[datetime] = []
    for index, naive in enumerate(times.tolist()):
        early = naive.replace(tzinfo=clock, fold=0)
        instant = early.astimezone(UTC)
        if instant.astimezone(clock).replace(tzinfo=None) != naive:
            raise rows.error(
                index, f"column {column!r} holds {naive}, which the clocks of {zone} skip when summer time begins"
            )
        late = naive.replace(tzinfo=clock, fold=1).astimezone(UTC)
        instants.append(late if late != instant and _comes_late(instants, instant, late) else instant)
    return np.array([instant.replace(tzinfo=None) for instant in instants], dtype="M8[us]")


def _comes_late(before: Sequence[datetime], early: datetime, late: datetime) -> bool:
    """Whether an hour that the clocks show twice is the second: the first is over, or is out of step."""
    if not before:
        return False
    if early <= before[-1]:
        return True
    step = before[-1] - before[-2] if len(before) > 1 else None
    return step is not None and early - before[-1] != step and late - before[-1] == step


def stands_twice(before: np.datetime64, after: np.datetime64) -> bool:
    """Whether clocks put back could have shown ``after`` following ``before``: on a Sunday night, by an hour at most.

    >>> stands_twice(np.datetime64("2024-10-27T02:30", "us"), np.datetime64("2024-10-27T02:00", "us"))
    True
    """
    late, early = before.astype("M8[us]").item(), after.astype("M8[us]").item()
    turned = late.weekday() == 6 and late.month in (3, 4, 9, 10, 11) and early.hour <= 3
    return turned and timedelta(0) <= late - early <= timedelta(hours=1) and early != early.replace(hour=0, minute=0)
