"""Cells to numbers and dates, with errors that name the row."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.errors import DataError

YEARS = range(1000, 3000)  # whole numbers in a column of times that are taken for years
TO_UTC = "times changed to UTC"
SHOWN = 80  # characters of a cell in a message
DATE_HELP = "write dates as 1953-04-01, 1953-04, 1953 or 1953-04-01 12:30:00"


@dataclass(frozen=True)
class Rows:
    """Where rows came from: the file, and the number that the first row of data has in it.

    >>> str(Rows("a.csv", first=2, hint="the header is row 1").error(3, "is empty"))
    'a.csv: row 5 (the header is row 1): is empty'
    """

    source: str
    first: int = 0
    hint: str = "counted from 0"

    def error(self, index: int, problem: str) -> DataError:
        """A DataError about the row of ``index`` (0: the first row of data)."""
        return DataError(f"{self.source}: row {index + self.first} ({self.hint}): {problem}")


def is_empty(cell: Any) -> bool:
    """Whether a cell holds nothing: None, blanks, or pandas' mark for a missing one."""
    return cell is None or (isinstance(cell, str) and not cell.strip()) or str(cell) in ("<NA>", "NaT")


def is_number(cell: Any) -> bool:
    """Whether a cell is or spells a number, NaN and infinity included.

    >>> is_number(" -1.5e3 "), is_number("1_000"), is_number("abc")
    (True, False, False)
    """
    try:
        float(cell)
    except (TypeError, ValueError):
        return False
    return "_" not in str(cell)


def shown(cell: Any) -> str:
    """A cell as a message shows it: as Python writes it, cut where it is long.

    >>> shown("1,5"), len(shown("9" * 1000))
    ("'1,5'", 83)
    """
    text = repr(cell)
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."


def comma_hint(cell: Any) -> str:
    """What to do where a cell looks like a number with a decimal comma; empty where it does not.

    >>> comma_hint("1.234,5")
    'a decimal comma is not read: write 1234.5'
    >>> comma_hint("1;5")
    ''
    """
    text = str(cell).strip()
    if len(text) > SHOWN or not re.fullmatch(r"[+-]?(\d*|\d{1,3}(\.\d{3})+),\d+([eE][+-]?\d+)?", text):
        return ""
    thousands = f", or {text.replace(',', '')} if it parts thousands" if re.fullmatch(r"\D?\d{1,3},\d{3}", text) else ""
    return f"a decimal comma is not read: write {text.replace('.', '').replace(',', '.')}{thousands}"


def numbers(cells: Sequence[Any], rows: Rows, column: str) -> NDArray[np.float64]:
    """Read cells (N) as finite numbers, (N,). Raises DataError naming the first row that is none.

    >>> numbers(["1", " 2.5 "], Rows("a.csv"), "x")
    array([1. , 2.5])
    """
    for index, cell in enumerate(cells):
        if is_empty(cell):
            raise rows.error(index, f"column {column!r} is empty; fill in the value or remove the row")
        if not is_number(cell):
            hint = f"; {comma_hint(cell)}" if comma_hint(cell) else ""
            raise rows.error(index, f"column {column!r} holds {shown(cell)}, which is not a number{hint}")
    values = np.array([float(cell) for cell in cells], dtype=np.float64)
    check_finite(values, rows, column)
    return values


def check_finite(values: NDArray[np.float64], rows: Rows, column: str) -> None:
    """Raise DataError naming the first row of ``values`` (N,) that is NaN or infinite."""
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        index = int(bad[0])
        word = "NaN" if np.isnan(values[index]) else "infinity"
        raise rows.error(index, f"column {column!r} holds {word}; give a finite number (or remove the row)")


def times(cells: Sequence[Any], rows: Rows, column: str) -> tuple[NDArray | None, tuple[str, ...]]:
    """Read cells (N) as dates, (N,) datetime64[us], with notes on what was changed.

    Whole numbers from 1000 to 2999 are years; other whole numbers are an index in equal steps, for which
    there are no dates (None). Dates with a zone become UTC. Raises DataError naming the row.

    >>> times(["1949-01", "1949-02"], Rows("a.csv"), "Month")[0].astype("M8[D]").astype(str).tolist()
    ['1949-01-01', '1949-02-01']
    """
    for index, cell in enumerate(cells):
        if is_empty(cell):
            raise rows.error(index, f"column {column!r} is empty; fill in the date or remove the row")
    if all(re.fullmatch(r"\s*[+-]?\d{1,1000}\s*", str(cell)) for cell in cells):  # int takes 4300
        return _whole_numbers([int(cell) for cell in cells], rows, column)
    return _instants(cells, rows, column)


def _whole_numbers(cells: list[int], rows: Rows, column: str) -> tuple[NDArray | None, tuple[str, ...]]:
    if all(cell in YEARS for cell in cells):
        return _instants([str(cell) for cell in cells], rows, column)
    if all(len(str(cell)) == 8 and _instant(str(cell)) for cell in cells):  # 20240131
        return _instants([str(cell) for cell in cells], rows, column)
    check_index(cells, rows, column)
    return None, (f"column {column!r} holds whole numbers: read as an index in equal steps, without dates",)


def check_index(cells: Sequence[int], rows: Rows, column: str) -> None:
    """Check that whole numbers (N) rise in equal steps. Raises DataError naming the row."""
    steps = [after - before for before, after in pairwise(cells)]
    common = Counter(steps).most_common(1)[0][0] if steps else 1
    for index, step in enumerate(steps, start=1):
        if step != common or step <= 0:
            raise rows.error(
                index,
                f"column {column!r} goes from {cells[index - 1]} to {cells[index]} where the step is "
                f"{common}; an index must rise in equal steps (or leave out the time column)",
            )


def _instants(cells: Sequence[Any], rows: Rows, column: str) -> tuple[NDArray, tuple[str, ...]]:
    read = [cell if isinstance(cell, datetime) else _instant(str(cell).strip()) for cell in cells]
    for index, instant in enumerate(read):
        if instant is None:
            raise rows.error(index, f"column {column!r} holds {shown(cells[index])}, which is not a date; {DATE_HELP}")
        if (instant.tzinfo is None) != (read[0] is None or read[0].tzinfo is None):
            raise rows.error(index, f"column {column!r} holds {cells[index]!r}: some dates have a zone and some not")
    zoned = any(instant.tzinfo for instant in read if instant)
    plain = [instant.astimezone(UTC).replace(tzinfo=None) if zoned else instant for instant in read if instant]
    return np.array(plain, dtype="M8[us]"), ((f"column {column!r}: {TO_UTC}",) if zoned else ())


def _instant(text: str) -> datetime | None:
    """Read one ISO 8601 date of any usual precision; None where it is none."""
    if re.fullmatch(r"\d{4}(-\d{2})?", text):
        text += "-01-01" if len(text) == 4 else "-01"
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def as_datetime(cell: Any) -> Any:
    """A date as the datetime of its midnight; anything else as it is."""
    if isinstance(cell, date) and not isinstance(cell, datetime):
        return datetime(cell.year, cell.month, cell.day)
    return cell
