"""Which columns of a table are what: the dates, the values, and the names of several series."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.choices.reading import NO_TIME, ReadConfig
from elman.data import numbers
from elman.data.parsing import is_empty, is_missing, is_whole, shown
from elman.data.series import dates, forms
from elman.data.tables import Table
from elman.errors import DataError, nearest

TIMES = re.compile(
    r"t|ds|.*(date|time|datum|zeit|fecha|timestamp).*|day|week|month|quarter|year|period|jahr|monat|tag|index|idx|"
    r".*(日期|时间|年|月|日)|unnamed: 0",
    re.IGNORECASE,
)
NAMED = 10  # columns, or series, that a message lists


def check_named(table: Table, config: ReadConfig) -> None:
    """Raise DataError where a column that was named is not there, or named twice."""
    columns, source = table.frame.columns, table.rows.source
    beside = {name: getattr(config, name) or () for name in ("known", "past", "static")}
    named = {
        "target": config.target or (),
        **beside,
        "time": (config.time,) if config.time not in (None, NO_TIME) else (),
    }
    if config.id is not None:
        named["id"] = (config.id if config.id in columns else config.id.partition("=")[0],)
    for option, names in named.items():
        for name in names:
            if name not in columns:
                raise DataError(f"{source}: `{option}`: no column {name!r}; {nearest(str(name), columns)}")
    every = [name for names in named.values() for name in names]
    for name in every:
        if every.count(name) > 1:
            raise DataError(f"{source}: column {name!r} is asked for twice; name each once")


def time_column(table: Table, config: ReadConfig) -> str | None:
    """The column of dates, or of an index: the one named, else the only one that reads so; None where there is none.

    Raises DataError where two do.
    """
    if config.time is not None:
        return config.time if config.time in table.frame.columns or config.time != NO_TIME else None
    free = [name for name in table.frame.columns if name not in {*(config.target or ()), *config.aside}]
    dated = [name for name in free if _is_dated(table.frame[name])]
    named = [name for name in free if TIMES.fullmatch(name)]
    if len(dated) > 1:
        dated = [name for name in dated if name in named] if sum(n in named for n in dated) == 1 else dated
    if len(dated) > 1:
        listed = " or ".join(f"`time={name}`" for name in dated)
        raise DataError(f"{table.rows.source}: {len(dated)} columns hold dates; say which: {listed}")
    if dated:
        return dated[0]
    counted = [name for name in named if _is_counted(table.frame[name]) and len(free) > 1]
    if not counted:
        _check_readable(table, named)
    return counted[0] if counted else None


def _check_readable(table: Table, named: Sequence[str]) -> None:
    """Raise DataError for a column that is called a date or a time and cannot be read as one."""
    for name in named:
        cell = _first(table.frame[name], is_empty)
        clear = re.search(r"date|time|datum|日期|时间", name, re.IGNORECASE)
        if clear and isinstance(cell, str) and not numbers.looks_numeric(cell):
            raise DataError(
                f"{table.rows.source}: column {name!r} holds {shown(cell)}, which is not a date that is known; "
                "give its `date_format`, such as %d/%m/%Y, or say `time=none` to take the rows as they stand"
            )


def _is_dated(column: Any) -> bool:
    """Whether a column holds dates: by its kind, or by its first and last cells."""
    import narwhals as nw

    if column.dtype in (nw.Datetime, nw.Date):
        return True
    if column.dtype.is_numeric():
        return False
    ends = (_first(column, is_empty), _first(column[::-1], is_empty))
    return None not in ends and all(forms.is_date(str(cell).strip()) for cell in ends)


def _first(column: Any, skipped: Callable[[Any], bool]) -> Any:
    """The first cell that is not to be skipped; None where all are."""
    return next((cell for cell in column if not skipped(cell)), None)


def _is_counted(column: Any) -> bool:
    """Whether a column holds whole numbers that only rise or only fall: days, years, seconds, places."""
    cells = column.to_list()
    if not all(is_whole(cell) for cell in cells):
        return False
    steps = np.diff(np.array([float(cell) for cell in cells]))
    return len(cells) > 1 and bool((steps > 0).all() or (steps < 0).all())


def is_falling(cells: Sequence[Any]) -> bool:
    """Whether an index runs from the highest to the lowest."""
    try:
        return float(cells[0]) > float(cells[-1])
    except ValueError:  # an index of two parts, which only rises
        return False


def target_columns(table: Table, config: ReadConfig, time: str | None) -> tuple[str, ...]:
    """The columns of values: those named, else the only one of numbers. Raises DataError where that is not one."""
    if config.target:
        return config.target
    taken = {time, *config.aside}
    numeric = [name for name in table.frame.columns if name not in taken and is_numeric(table.frame[name])]
    if len(numeric) == 1:
        return (numeric[0],)
    count = f"{len(numeric)} columns of numbers" if numeric else "no column of numbers"
    names = numeric or list(table.frame.columns)
    listed = ", ".join(names[:NAMED]) + (f", ... ({len(names)})" if len(names) > NAMED else "")
    raise DataError(f"{table.rows.source}: has {count}; name one with `target`: {listed}")


def is_numeric(column: Any) -> bool:
    """Whether a column holds numbers: by its kind, or by its first cell."""
    if column.dtype.is_numeric():
        return True
    return numbers.looks_numeric(_first(column, is_missing))


def values_of(table: Table, name: str, config: ReadConfig) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """A column (N,) as numbers, NaN where there is none, and notes. Raises DataError naming the row."""
    import narwhals as nw

    column = table.frame[name]
    if column.dtype in (nw.Datetime, nw.Date, nw.Boolean):
        raise DataError(f"{table.rows.source}: `target`: column {name!r} holds no numbers, but {column.dtype}")
    if column.dtype.is_numeric():
        values = np.asarray(column.cast(nw.Float64).to_numpy(), dtype=np.float64).copy()
        values[np.asarray(column.is_null().to_numpy(), dtype=bool)] = np.nan
        infinite = np.flatnonzero(np.isinf(values))
        if infinite.size:
            raise table.rows.error(int(infinite[0]), f"column {name!r} holds infinity; give a finite number")
        return values, ()
    beside = (
        table.frame[other].to_list()
        for other in table.frame.columns
        if other != name and not table.frame[other].dtype.is_numeric() and is_numeric(table.frame[other])
    )
    return numbers.numbers(column.to_list(), table.rows, name, config.decimal, beside, table.semicolons)


def cells_of_dates(table: Table, name: str) -> list[Any]:
    """The cells of a column of dates; floats that are whole numbers, as pandas makes of years, as such."""
    cells = [dates.as_datetime(cell) for cell in table.frame[name].to_list()]
    if table.frame[name].dtype.is_float():
        cells = [int(cell) if cell is not None and float(cell).is_integer() else cell for cell in cells]
    return cells


def series_column(table: Table, times: NDArray[Any], time: str, targets: Sequence[str]) -> str | None:
    """The column that would tell several series apart whose dates stand several times: the fewest names that do."""
    candidates: list[tuple[int, str]] = []
    for name in table.frame.columns:
        if name == time or name in targets:
            continue
        cells = [str(cell) for cell in table.frame[name].to_list()]
        pairs = set(zip(cells, times.tolist(), strict=True))
        if len(pairs) == len(times) and 1 < len(set(cells)) < len(times):
            candidates.append((len(set(cells)), name))
    return min(candidates)[1] if candidates else None


def series_names(table: Table, name: str) -> list[str]:
    """The names of the series that a column tells apart, in the order they come."""
    return list(dict.fromkeys(str(cell) for cell in table.frame[name].to_list()))
