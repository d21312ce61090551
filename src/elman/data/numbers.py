"""Columns of numbers as people write them: decimal commas, thousands, per cent, money.

A column is read whole: its cells must all fit one way of writing. Where two ways fit and give other numbers,
the person is asked.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.data.parsing import MISSING, Rows, is_missing, shown
from elman.errors import DataError

DECIMALS = {"point": ".", "comma": ","}
LONGEST = 80  # characters of a number; longer ones are read as Python reads them
CURRENCY = "$€£¥￥₹₩₽฿₺"
CODES = "USD|EUR|GBP|JPY|CNY|RMB|CHF|CAD|AUD|HKD|INR|SEK|NOK|DKK|PLN|BRL"
SPACES = "' ’\u00a0\u2009\u202f"
DRESSED = re.compile(
    rf"(?P<open>\()?\s*(?P<sign>[+-])?\s*(?P<before>[{CURRENCY}]|(?:{CODES})\b)?\s*(?P<late>[+-])?\s*"
    rf"(?P<body>[0-9.,{SPACES}]*[0-9][0-9.,]*(?:[eE][+-]?\d+)?)"
    rf"\s*(?P<after>%|[{CURRENCY}]|(?:{CODES}))?\s*(?P<close>\))?"
)


class Column:
    """The cells (N) of one column, and what each is under either decimal mark: None where it cannot be."""

    def __init__(self, cells: Sequence[Any]):
        self.missing: NDArray[Any] = np.array([is_missing(cell) for cell in cells], dtype=bool)
        self.units: set[str] = set()
        self.read: dict[str, list[float | None]] = {mark: [] for mark in DECIMALS}
        self.commas: bool = any("," in cell for cell in cells if isinstance(cell, str))
        for cell, missing in zip(cells, self.missing.tolist(), strict=True):
            both = (math.nan, math.nan) if missing else self._cell(cell)
            for mark, value in zip(DECIMALS, both, strict=True):
                self.read[mark].append(value)

    def _cell(self, cell: Any) -> tuple[float | None, float | None]:
        if not isinstance(cell, str):
            value = _plain(cell)
            return value, value
        text = cell.strip().replace("−", "-")
        match = DRESSED.fullmatch(text) if len(text) <= LONGEST else None
        if match is None or bool(match["open"]) != bool(match["close"]) or (match["sign"] and match["late"]):
            value = _plain(text)
            return value, value
        self.units.add(match["before"] or match["after"] or "")
        negative = "-" in (match["sign"], match["late"]) or match["open"]
        return tuple(_signed(_written(match["body"], mark), bool(negative)) for mark in DECIMALS.values())  # type: ignore[return-value]

    def marks(self) -> list[str]:
        """The decimal marks under which every cell is a number."""
        return [mark for mark, values in self.read.items() if None not in values]

    def differs(self) -> int | None:
        """The first cell that is one number with a point and another with a comma."""
        pairs = zip(self.read["point"], self.read["comma"], strict=True)
        return next((i for i, (a, b) in enumerate(pairs) if a != b and not (a != a and b != b)), None)


def looks_numeric(cell: Any) -> bool:
    """Whether a cell is a number, or spells one under either decimal mark.

    >>> [looks_numeric(cell) for cell in ("1,5", "$2", "n/a", "a", True, None)]
    [True, True, False, False, False, False]
    """
    return not is_missing(cell) and bool(Column([cell]).marks())


def numbers(
    cells: Sequence[Any],
    rows: Rows,
    column: str,
    decimal: str | None = None,
    beside: Iterable[Sequence[Any]] = (),
    semicolons: bool = False,
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Read cells (N) as numbers, (N,), NaN where there is none, with notes on how.

    ``decimal`` is "point" or "comma"; None finds it from the column, and where two fit from the columns
    ``beside`` it. 1.234 is a little more than one, but in a file whose cells ``semicolons`` part it may as well be
    a thousand. Raises DataError naming the first row that is no number, and both readings where two fit.

    >>> numbers(["1.234,5", " 12 ", ""], Rows("a.csv"), "x")
    (array([1234.5,   12. ,    nan]), ("column 'x': read with a decimal comma",))
    """
    if decimal in (None, "point") and not semicolons and (values := _read_at_once(cells)) is not None:
        return values, ()
    text_column = Column(cells)
    marks = text_column.marks()
    wanted = [decimal] if decimal is not None else marks
    if "point" in wanted and not text_column.commas and not semicolons:
        wanted = ["point"]
    if not wanted or wanted[0] not in marks:
        raise _not_a_number(text_column, cells, rows, column, decimal)
    where = text_column.differs()
    if where is not None and len(wanted) > 1:
        wanted = _settled(beside) or wanted
        if len(wanted) > 1:
            point, comma = (text_column.read[mark][where] for mark in DECIMALS)
            raise rows.error(
                where,
                f"column {column!r} holds {shown(cells[where])}, which is {point:g} with a decimal point and "
                f"{comma:g} with a decimal comma; say which: `decimal=point` or `decimal=comma`",
            )
    values = np.array(text_column.read[wanted[0]], dtype=np.float64)
    infinite = np.flatnonzero(np.isinf(values))
    if infinite.size:
        raise rows.error(int(infinite[0]), f"column {column!r} holds infinity; give a finite number")
    return values, _notes(text_column, wanted[0], where, cells, rows, column)


def _settled(beside: Iterable[Sequence[Any]]) -> list[str] | None:
    """The mark that another column of the file admits alone; None where no column does."""
    for cells in beside:
        other = Column(cells)
        if len(other.marks()) == 1 and other.differs() is not None:
            return other.marks()
    return None


def _notes(
    text_column: Column, mark: str, differs: int | None, cells: Sequence[Any], rows: Rows, column: str
) -> tuple[str, ...]:
    if len(text_column.units) > 1:
        unit = _unit(cells[int(np.flatnonzero(~text_column.missing)[0])])
        other = next(i for i, cell in enumerate(cells) if not text_column.missing[i] and _unit(cell) != unit)
        raise rows.error(
            other,
            f"column {column!r} holds {shown(cells[other])}, and in the rows before "
            f"{f'values in {unit}' if unit else 'values without a unit'}; give all in one unit",
        )
    notes = []
    if mark == "comma" and differs is not None:
        notes.append(f"column {column!r}: read with a decimal comma")
    if unit := next(iter(text_column.units), ""):
        notes.append(f"column {column!r} is in {unit}: 12{unit} is read as 12")
    return tuple(notes)


def _unit(cell: Any) -> str:
    match = DRESSED.fullmatch(str(cell).strip())
    return (match["before"] or match["after"] or "") if match else ""


def _read_at_once(cells: Sequence[Any]) -> NDArray[np.float64] | None:
    """The values of cells that are all plain numbers or empty; None where one is not."""
    import polars as pl

    if not all(isinstance(cell, str) for cell in cells):
        return None
    text = pl.Series(cells, dtype=pl.String).str.strip_chars()
    read = text.cast(pl.Float64, strict=False)
    odd = text.filter(read.is_null())
    if read.is_infinite().any() or not odd.is_in(["", *MISSING]).all():
        return None
    return np.asarray(read.fill_null(math.nan).to_numpy(), dtype=np.float64)


def _not_a_number(text_column: Column, cells: Sequence[Any], rows: Rows, column: str, decimal: str | None) -> DataError:
    """The first cell that is no number at all; else the first at odds with the mark of the cells before it."""
    pairs = list(zip(text_column.read["point"], text_column.read["comma"], strict=True))
    for index, pair in enumerate(pairs):
        asked = pair[list(DECIMALS).index(decimal)] if decimal else None
        if pair == (None, None) or (decimal and asked is None):
            return rows.error(index, f"column {column!r} holds {shown(cells[index])}, which is not a number")
    one = next(i for i, pair in enumerate(pairs) if None in pair)
    other = next(i for i, pair in enumerate(pairs) if None in pair and pair.index(None) != pairs[one].index(None))
    return rows.error(
        other,
        f"column {column!r} holds {shown(cells[other])}, and {shown(cells[one])} in row {rows.number(one)}: "
        "one is written with a decimal point and one with a comma; write all alike",
    )


def _plain(cell: Any) -> float | None:
    """A number as Python reads it."""
    try:
        return None if "_" in str(cell) or isinstance(cell, bool) else float(cell)
    except (TypeError, ValueError, OverflowError):
        return None


def _written(body: str, mark: str) -> float | None:
    """A number without sign or unit, under a decimal mark; thousands may be parted by the other, or by spaces."""
    other = "." if mark == "," else ","
    whole, sign, rest = body.partition(mark)
    exponent = re.search(r"[eE].*$", rest if sign else whole)
    fraction = rest[: len(rest) - len(exponent[0])] if sign and exponent else rest
    whole = whole if sign or not exponent else whole[: len(whole) - len(exponent[0])]
    grouped = re.fullmatch(rf"[1-9]\d{{0,2}}([{re.escape(other)}{SPACES}])\d{{3}}(?:\1\d{{3}})*", whole)
    digits = re.sub(rf"[{re.escape(other)}{SPACES}]", "", whole) if grouped else whole
    if sign == "," and not fraction:
        return None
    if not re.fullmatch(r"\d*", digits) or not re.fullmatch(r"\d*", fraction) or not digits + fraction:
        return None
    return float(f"{digits or '0'}.{fraction or '0'}{exponent[0] if exponent else ''}")


def _signed(value: float | None, negative: bool) -> float | None:
    return -value if value is not None and negative else value
