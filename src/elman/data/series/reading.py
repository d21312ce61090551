"""Tables to series: choose the columns, read the dates, check or resample the steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.data import parsing
from elman.data.parsing import Rows
from elman.data.series import calendar
from elman.data.series.calendar import Step, date_text
from elman.data.series.resampling import resampled
from elman.data.series.series import Series
from elman.data.tables import Table, frame_table, read_table
from elman.errors import DataError, nearest


def read_series(
    source: str | Path,
    *,
    target: str | Sequence[str] | None = None,
    time: str | None = None,
    resample: str | None = None,
) -> Series:
    """Read columns of a .csv, .tsv or .parquet file as a :class:`Series`.

    ``target`` names a column or several (None: the only column of numbers), ``time`` the column of dates
    (None: no dates), ``resample`` a period such as '1y' or '15m' whose means to take. Raises DataError
    naming the file, the row and the value at fault.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "sales.csv"
    ...     _ = path.write_text("month,sales\\n2024-01,3\\n2024-02,5\\n")
    ...     series = read_series(path, time="month")
    >>> series.names, series.values.tolist(), str(series.step)
    (('sales',), [[3.0], [5.0]], '1mo')
    """
    return series_from_table(read_table(source), target=target, time=time, resample=resample)


def series_from_frame(
    frame: Any,
    *,
    target: str | Sequence[str] | None = None,
    time: str | None = None,
    resample: str | None = None,
    source: str = "dataframe",
) -> Series:
    """Take columns of a pandas, polars or pyarrow dataframe as a :class:`Series`; see :func:`read_series`.

    >>> import polars
    >>> series_from_frame(polars.DataFrame({"x": [1, 2, 3]})).values.shape
    (3, 1)
    """
    return series_from_table(frame_table(frame, source), target=target, time=time, resample=resample)


def series_from_table(
    table: Table,
    *,
    target: str | Sequence[str] | None = None,
    time: str | None = None,
    resample: str | None = None,
) -> Series:
    """Take columns of a table as a :class:`Series`; see :func:`read_series`."""
    source = table.rows.source
    if len(table.frame) == 0:
        raise DataError(f"{source}: has no rows")
    names = _targets(table, target, time)
    values = np.stack([_values(table, name) for name in names], axis=1)
    if time is None:
        if resample is not None:
            raise DataError(f"{source}: resample needs dates; name their column with --time")
        return Series(values, names, source=source, notes=table.notes)
    times, notes = _times(table, time)
    notes = table.notes + notes
    if times is None:
        if resample is not None:
            raise DataError(f"{source}: resample needs dates, and column {time!r} is an index")
        return Series(values, names, source=source, notes=notes)
    _check_order(times, table.rows, time)
    if resample is not None:
        times, values, more = resampled(times, values, Step.parse(resample), source)
        return Series(values, names, times, Step.parse(resample), source, notes + more)
    return Series(values, names, times, _even_step(times, table.rows, time, notes), source, notes)


def _targets(table: Table, target: str | Sequence[str] | None, time: str | None) -> tuple[str, ...]:
    columns = table.frame.columns
    wanted = (target,) if isinstance(target, str) else tuple(target or ())
    for name in (*wanted, *((time,) if time is not None else ())):
        if name not in columns:
            raise DataError(f"{table.rows.source}: no column {name!r}; {nearest(name, columns)}")
    for name in wanted:
        if name == time or wanted.count(name) > 1:
            raise DataError(f"{table.rows.source}: column {name!r} is asked for twice; name each once")
    return wanted or (_only_numeric(table, time),)


def _only_numeric(table: Table, time: str | None) -> str:
    numeric = [name for name in table.frame.columns if name != time and _looks_numeric(table.frame[name])]
    if len(numeric) == 1:
        return numeric[0]
    if not numeric:
        _check_commas(table, time)
    count = f"{len(numeric)} columns of numbers" if numeric else "no column of numbers"
    listed = ", ".join(numeric or table.frame.columns)
    raise DataError(f"{table.rows.source}: has {count}; name one with --target: {listed}")


def _looks_numeric(column: Any) -> bool:
    """Whether a column has numbers, or text whose first filled cell spells one."""
    if column.dtype.is_numeric():
        return True
    _, first = _first_filled(column)
    return isinstance(first, str) and parsing.is_number(first)


def _first_filled(column: Any) -> tuple[int, Any]:
    """The first cell that holds anything, with its row's index; (0, None) where none does."""
    return next(((index, cell) for index, cell in enumerate(column) if not parsing.is_empty(cell)), (0, None))


def _check_commas(table: Table, time: str | None) -> None:
    """Raise DataError where a column would be one of numbers but for its decimal commas."""
    for name in table.frame.columns:
        index, cell = _first_filled(table.frame[name])
        if name != time and isinstance(cell, str) and (hint := parsing.comma_hint(cell)):
            found = f"column {name!r} holds {parsing.shown(cell)}"
            raise table.rows.error(index, f"there is no column of numbers; {found}: {hint}")


def _values(table: Table, name: str) -> NDArray[np.float64]:
    import narwhals as nw

    column, rows = table.frame[name], table.rows
    if not column.dtype.is_numeric():
        return parsing.numbers(column.to_list(), rows, name)
    empty = np.flatnonzero(np.asarray(column.is_null().to_numpy(), dtype=bool))
    if empty.size:  # pandas holds NaN and an empty cell to be the same
        raise rows.error(int(empty[0]), f"column {name!r} is empty or NaN; fill in the value or remove the row")
    values = np.asarray(column.cast(nw.Float64).to_numpy(), dtype=np.float64)
    parsing.check_finite(values, rows, name)
    return values


def _times(table: Table, name: str) -> tuple[NDArray | None, tuple[str, ...]]:
    cells = [parsing.as_datetime(cell) for cell in table.frame[name].to_list()]
    if table.frame[name].dtype.is_float():
        cells = [int(cell) if cell is not None and float(cell).is_integer() else cell for cell in cells]
    return parsing.times(cells, table.rows, name)


def _check_order(times: NDArray, rows: Rows, column: str) -> None:
    steps = np.diff(times).astype(np.int64)
    wrong = np.flatnonzero(steps <= 0)
    if not wrong.size:
        return
    index = int(wrong[0]) + 1
    if steps[index - 1] == 0:
        raise rows.error(index, f"column {column!r} has {date_text(times[index])} twice; remove the duplicate")
    raise rows.error(
        index,
        f"column {column!r} goes back from {date_text(times[index - 1])} to {date_text(times[index])}; "
        "sort the rows by date (and look for duplicates)",
    )


def _even_step(times: NDArray, rows: Rows, column: str, notes: tuple[str, ...]) -> Step | None:
    step = calendar.commonest_step(times)
    index = calendar.first_uneven(times, step) if step else None
    if step is None or index is None:
        return step
    steps, _ = calendar.differences(times)
    size = step.count if step.unit == "mo" else step.microseconds
    between = f"between {date_text(times[index - 1])} and {date_text(times[index])}"
    whole = steps[index - 1] % size == 0
    if whole:
        problem = f"a gap {between}: {steps[index - 1] // size - 1} missing at a step of {step}; fill it in"
    else:
        problem = f"uneven dates {between}, where the commonest step is {step}; {_cure(notes)}"
    raise rows.error(index, f"column {column!r} has {problem}, or take means with --resample")


def _cure(notes: tuple[str, ...]) -> str:
    """What to do about uneven dates: days and months of a place are uneven in UTC, and look even in its own time."""
    if not any(note.endswith(parsing.TO_UTC) for note in notes):
        return "fill it in"
    return (
        "the times were taken to UTC, where local days are uneven when summer time begins or ends; "
        "give the dates without their zone"
    )
