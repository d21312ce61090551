"""Columns of dates as people write them: which way of writing a whole column admits, and its instants.

A column is read whole. Where two ways fit and give other dates (03/04/2021 throughout), the person is asked.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.data.parsing import Rows, is_empty, is_whole, shown
from elman.data.series import zones
from elman.data.series.forms import FORMATS, YEARS, instant, iso_instant
from elman.errors import DataError

EXCEL_DAYS = range(20_000, 80_000)  # 1954 to 2119
EXCEL_ZERO = datetime(1899, 12, 30)
EPOCHS = {"unix": 1, "unix_ms": 10**3, "unix_us": 10**6, "unix_ns": 10**9}  # a second, in each's unit
SECONDS = range(10**8, 4_200_000_000)  # of unix times that are taken for such: 1973 to 2103

SPECIAL = ("index", "year", "excel", *EPOCHS)
PLAIN = ("%Y-%m-%d", "%Y-%m", "%Y")  # what nobody needs to be told of
HELP = "write dates as 1953-04-01, 1953-04, 1953 or 1953-04-01 12:30:00, or give their `date_format`"


@dataclass(frozen=True)
class Dates:
    """A column of dates read: ``times`` (N,) datetime64[us], in UTC where ``zone`` names the offset they came with.

    ``times`` is None for an index in equal steps. ``offsets`` are all that were seen, ``notes`` what was understood.
    """

    times: NDArray[Any] | None
    zone: str | None = None
    offsets: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def dates(
    cells: Sequence[Any],
    rows: Rows,
    column: str,
    date_format: str | None = None,
    series: Sequence[Sequence[int]] | None = None,
) -> Dates:
    """Read cells (N) as dates, or as an index, of one series or of several.

    ``series`` are the places of the cells of each, where there are several; the index of each is checked alone.

    ``date_format`` is one of strptime's, or "unix", "unix_ms", "unix_us", "unix_ns" (seconds and their parts since
    1970), "excel" (days since 1899-12-30), "year" or "index"; None finds the one that the whole column admits.
    Raises DataError naming the row, and all readings where several give other dates.

    >>> found = dates(["Jan 2024", "Feb 2024"], Rows("a.csv"), "t")
    >>> found.times.astype("M8[D]").astype(str).tolist(), found.notes
    (['2024-01-01', '2024-02-01'], ("column 't': read as dates of the form %b %Y",))
    """
    for index, cell in enumerate(cells):
        if is_empty(cell):
            raise rows.error(index, f"column {column!r} is empty; fill in the date or remove the row")
    if date_format is not None:
        return _as_told(cells, rows, column, date_format, series)
    if all(isinstance(cell, datetime) for cell in cells):
        return _gathered(list(cells), rows, column, "%Y-%m-%d", cells)
    if all(is_whole(cell) for cell in cells):
        numbers = [int(str(cell)) if isinstance(cell, str) else int(cell) for cell in cells]
        return _whole_numbers(numbers, rows, column, series)
    texts = [str(cell).strip() for cell in cells]
    if (fractions := _fractions_of_seconds(texts, rows, column)) is not None:
        return fractions
    return _texts(texts, cells, rows, column)


def _as_told(
    cells: Sequence[Any], rows: Rows, column: str, date_format: str, series: Sequence[Sequence[int]] | None
) -> Dates:
    if "%" not in date_format and date_format not in SPECIAL:
        raise DataError(
            f"`date_format`: got {date_format!r}, want one of {', '.join(SPECIAL)}, or a form such as %d/%m/%Y"
        )
    if date_format == "index":
        if not all(is_whole(cell) for cell in cells):
            bad = next(i for i, cell in enumerate(cells) if not is_whole(cell))
            raise rows.error(bad, f"column {column!r} holds {shown(cells[bad])}, and an index is of whole numbers")
        return _index([int(float(cell)) for cell in cells], rows, column, series)
    read: list[datetime | None] = [_told(cell, date_format) for cell in cells]
    for index, one in enumerate(read):
        if one is None:
            raise rows.error(
                index, f"column {column!r} holds {shown(cells[index])}, which is no date of `date_format={date_format}`"
            )
    return _gathered(read, rows, column, "%Y-%m-%d", cells)


def _told(cell: Any, date_format: str) -> datetime | None:
    text = str(cell).strip()
    if "%" in date_format:
        return cell if isinstance(cell, datetime) else instant(text, date_format)
    try:
        number = float(text)
        if date_format == "year":
            return datetime(int(number), 1, 1) if number.is_integer() else None
        if date_format == "excel":
            return EXCEL_ZERO + timedelta(days=number)
        return _since_1970(int(text) if is_whole(text) else number, EPOCHS[date_format])
    except (ValueError, OverflowError):
        return None


def _since_1970(number: float, a_second: int) -> datetime:
    """A unix time; whole numbers are exact."""
    micro = number * 10**6 // a_second if isinstance(number, int) else round(number / a_second * 10**6)
    return datetime(1970, 1, 1) + timedelta(microseconds=micro)


def _whole_numbers(cells: list[int], rows: Rows, column: str, series: Sequence[Sequence[int]] | None) -> Dates:
    """Whole numbers as what they are by their size: days, months, years, unix times; else an index."""
    for form, digits in (("%Y%m%d", 8), ("%Y%m", 6)):
        texts = [str(cell) for cell in cells]
        read = [_compact(text, digits) for text in texts]
        if None not in read and not (digits == 6 and _steps_evenly(cells)):
            return _gathered(read, rows, column, form, cells)
        if None not in read:
            raise rows.error(
                0,
                f"column {column!r} holds {cells[0]}, which is a month ({texts[0][:4]}-{texts[0][4:]}) or a place in "
                "an index; say which: `date_format=%Y%m` or `date_format=index`",
            )
    for name, a_second in EPOCHS.items():
        if all(SECONDS[0] * a_second <= cell <= SECONDS[-1] * a_second for cell in cells):
            instants = _gathered([_since_1970(cell, a_second) for cell in cells], rows, column, "%Y-%m-%d", cells)
            unit = {"unix": "seconds", "unix_ms": "milliseconds", "unix_us": "microseconds", "unix_ns": "nanoseconds"}
            return Dates(
                instants.times, "UTC", ("+00:00",), (f"column {column!r}: read as {unit[name]} since 1970, UTC",)
            )
    if all(cell in YEARS for cell in cells):
        return _gathered([datetime(cell, 1, 1) for cell in cells], rows, column, "%Y", cells)
    if len(cells) > 1 and all(cell in EXCEL_DAYS for cell in cells):
        day = (EXCEL_ZERO + timedelta(days=cells[0])).date()
        raise rows.error(
            0,
            f"column {column!r} holds {cells[0]}, which is a day as Excel counts them ({day}) or a place in an index; "
            "say which: `date_format=excel` or `date_format=index`",
        )
    return _index(cells, rows, column, series)


def _compact(text: str, digits: int) -> datetime | None:
    if len(text) != digits or int(text[:4]) not in YEARS:
        return None
    try:
        return datetime(int(text[:4]), int(text[4:6]), int(text[6:] or 1))
    except ValueError:
        return None


def _steps_evenly(cells: Sequence[int]) -> bool:
    return len({after - before for before, after in pairwise(cells)}) <= 1


def _fractions_of_seconds(texts: Sequence[str], rows: Rows, column: str) -> Dates | None:
    """Unix times in seconds with a fraction, where the column is of such."""
    if not all(re.fullmatch(r"\d{9,10}\.\d+", text) and SECONDS[0] <= float(text) <= SECONDS[-1] for text in texts):
        return None
    read = [_since_1970(float(text), 1) for text in texts]
    instants = _gathered(read, rows, column, "%Y-%m-%d", texts)
    return Dates(instants.times, "UTC", ("+00:00",), (f"column {column!r}: read as seconds since 1970, UTC",))


def _index(cells: Sequence[int], rows: Rows, column: str, series: Sequence[Sequence[int]] | None) -> Dates:
    for own in series or [range(len(cells))]:
        check_index([cells[i] for i in own], rows.taken(np.array(own, dtype=np.int64)), column)
    said = f"column {column!r} holds whole numbers: read as an index in equal steps, without dates"
    return Dates(None, notes=(said,))


def check_index(cells: Sequence[int], rows: Rows, column: str) -> None:
    """Check that whole numbers (N) rise, or fall, in equal steps. Raises DataError naming the row."""
    steps = [after - before for before, after in pairwise(cells)]
    common = Counter(steps).most_common(1)[0][0] if steps else 1
    for index, step in enumerate(steps, start=1):
        if step != common or step == 0:
            raise rows.error(
                index,
                f"column {column!r} goes from {cells[index - 1]} to {cells[index]} where the step is "
                f"{common}; an index must rise in equal steps (or say `time=none` to take the rows as they stand)",
            )


def _texts(texts: list[str], cells: Sequence[Any], rows: Rows, column: str) -> Dates:
    """Read dates by the one form that the whole column admits."""
    distinct: dict[tuple[datetime, ...], str] = {}
    for form, read in _readings(texts):
        distinct.setdefault(tuple(read), form)
    if len(distinct) > 1:
        raise _two_readings(distinct, texts, rows, column)
    for only, form in distinct.items():
        return _gathered(list(only), rows, column, form, cells)
    if (index := _without_year(texts, rows, column)) is not None:
        return index
    raise _unread(texts, cells, rows, column)


def _readings(texts: Sequence[str]) -> Iterator[tuple[str, list[datetime]]]:
    """Every form that reads the whole column, with what it reads."""
    iso = [iso_instant(text) for text in texts]
    if None not in iso:
        yield "%Y-%m-%d", [one for one in iso if one is not None]
        return
    for form in FORMATS:
        if instant(texts[0], form) is None or instant(texts[-1], form) is None:
            continue
        read = [instant(text, form) for text in texts]
        if None not in read and (not form.startswith("%y") or _goes_one_way(read)):
            yield form, [one for one in read if one is not None]


def _goes_one_way(read: Sequence[datetime | None]) -> bool:
    """Whether dates rise or fall throughout: a year of two digits that comes first is believed only then."""
    steps = [after > before for before, after in pairwise(read) if before is not None and after is not None]
    return len(read) > 1 and len(set(steps)) == 1 and None not in read and len(set(read)) == len(read)


def _two_readings(
    distinct: dict[tuple[datetime, ...], str], texts: Sequence[str], rows: Rows, column: str
) -> DataError:
    reads = list(distinct)
    where = next(i for i in range(len(texts)) if len({read[i] for read in reads}) > 1)
    said = " or ".join(f"{read[where].date()}" for read in reads)
    options = " or ".join(f"`date_format={form}`" for form in distinct.values())
    return rows.error(where, f"column {column!r} holds {shown(texts[where])}, which is {said}; say which: {options}")


def _without_year(texts: Sequence[str], rows: Rows, column: str) -> Dates | None:
    """An index of two parts, such as year and month by number (1-01, 1-02, ...), where the column is one."""
    matches = [re.fullmatch(r"(\d{1,3})-(\d{2})", text) for text in texts]
    if not all(match and 1 <= int(match[2]) <= 12 for match in matches):
        return None
    cells = [int(match[1]) * 12 + int(match[2]) for match in matches if match]
    if not _steps_evenly(cells) or (len(cells) > 1 and cells[1] == cells[0]):
        return None
    return Dates(
        None, notes=(f"column {column!r} holds {texts[0]}, {texts[-1]}: no years, so read as an index, without dates",)
    )


def _unread(texts: Sequence[str], cells: Sequence[Any], rows: Rows, column: str) -> DataError:
    """The first date that does not fit the form of those before it."""
    forms = [form for form in FORMATS if instant(texts[0], form) is not None]
    for index, text in enumerate(texts):
        if iso_instant(text) is None and not any(instant(text, form) is not None for form in (forms or FORMATS)):
            like = f" as {shown(texts[0])} in row {rows.number(0)} is" if forms and index else ""
            return rows.error(
                index, f"column {column!r} holds {shown(cells[index])}, which is not a date{like}; {HELP}"
            )
    for index in range(1, len(texts)):
        if (
            all(None in (instant(texts[i], form) for i in (0, index)) for form in forms)
            and iso_instant(texts[index]) is None
        ):
            break
    else:
        index = len(texts) - 1
    return rows.error(
        index, f"column {column!r} holds {shown(cells[index])}, and no one form of date fits all its cells; {HELP}"
    )


def _shares_a_form(text: str, other: str) -> bool:
    return any(instant(text, form) is not None and instant(other, form) is not None for form in FORMATS)


def _gathered(read: Sequence[datetime | None], rows: Rows, column: str, form: str, cells: Sequence[Any]) -> Dates:
    """Dates as an array, in UTC where they have a zone; either all have one or none."""
    instants = [each for each in read if each is not None]
    zoned = [each.tzinfo is not None for each in instants]
    if any(zoned) and not all(zoned):
        other = zoned.index(not zoned[0])
        kinds = [f"{shown(cells[i])} in row {rows.number(i)} has {'a' if zoned[i] else 'no'} zone" for i in (0, other)]
        raise rows.error(other, f"column {column!r}: {' and '.join(kinds)}; write all with one or all without")
    notes = () if form in PLAIN else (f"column {column!r}: read as dates of the form {form}",)
    if not any(zoned):
        return Dates(np.array(instants, dtype="M8[us]"), notes=notes)
    offsets = Counter(zones.offset_name(each) for each in instants)
    plain = [each.astimezone(UTC).replace(tzinfo=None) for each in instants]
    places = {getattr(each.tzinfo, "key", None) for each in instants}  # a dataframe's column knows the place
    zone = next(iter(places)) or (next(iter(offsets)) if len(offsets) == 1 else None) if len(places) == 1 else None
    return Dates(np.array(plain, dtype="M8[us]"), zone, (zone,) if zone else tuple(offsets), notes)


def as_datetime(cell: Any) -> Any:
    """A date as the datetime of its midnight; anything else as it is."""
    if isinstance(cell, date) and not isinstance(cell, datetime):
        return datetime(cell.year, cell.month, cell.day)
    return cell
