"""Cells and the rows they stand in, with errors that name the row."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.errors import DataError

SHOWN = 80  # characters of a cell in a message
MISSING = {"", "na", "n/a", "nan", "nat", "null", "none", "<na>", "#n/a", "-", "--", ".", "?"}  # of numbers


@dataclass(frozen=True)
class Rows:
    """Where rows came from: the file, and the number that each row of data has in it.

    Rows follow one another from ``first``, unless ``numbers`` (N,) gives them one by one; ``sources`` (N,) are the
    files of rows that came from several.

    >>> str(Rows("a.csv", first=2, hint="the header is row 1").error(3, "is empty"))
    'a.csv: row 5 (the header is row 1): is empty'
    """

    source: str
    first: int = 0
    hint: str = "counted from 0"
    numbers: NDArray[np.int64] | None = None
    sources: Sequence[str] | None = None

    def error(self, index: int, problem: str) -> DataError:
        """A DataError about the row of ``index`` (0: the first row of data)."""
        source = self.sources[index] if self.sources is not None else self.source
        return DataError(f"{source}: row {self.number(index)} ({self.hint}): {problem}")

    def number(self, index: int) -> int:
        """The number in its file of the row of ``index``."""
        return index + self.first if self.numbers is None else int(self.numbers[index])

    def taken(self, chosen: NDArray[np.int64]) -> Rows:
        """The rows of these indices (M,), in their order.

        >>> Rows("a.csv", first=2).taken(np.array([3, 1])).number(0)
        5
        """
        numbers = chosen + self.first if self.numbers is None else self.numbers[chosen]
        sources = None if self.sources is None else [self.sources[i] for i in chosen]
        return replace(self, numbers=numbers, sources=sources)


def joined_rows(source: str, parts: Sequence[tuple[Rows, int]]) -> Rows:
    """The rows of several files, one after the other; each part says how many it has."""
    numbers = [rows.number(i) for rows, count in parts for i in range(count)]
    sources = [rows.source for rows, count in parts for _ in range(count)]
    return Rows(source, hint=parts[0][0].hint, numbers=np.array(numbers, dtype=np.int64), sources=sources)


def is_empty(cell: Any) -> bool:
    """Whether a cell holds nothing: None, blanks, or pandas' mark for a missing one."""
    return cell is None or (isinstance(cell, str) and not cell.strip()) or str(cell) in ("<NA>", "NaT")


def is_missing(cell: Any) -> bool:
    """Whether a cell of a column of numbers says that there is none: empty, NaN, NA, null, a dash or a dot.

    >>> is_missing("n/a"), is_missing(float("nan")), is_missing("0")
    (True, True, False)
    """
    return cell is None or str(cell).strip().lower() in MISSING


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


def is_whole(cell: Any) -> bool:
    """Whether a cell is or spells a whole number that fits 64 bits.

    >>> is_whole("+12"), is_whole("1.5"), is_whole(3.0)
    (True, False, True)
    """
    if isinstance(cell, float):
        return cell.is_integer() and abs(cell) < 2**53
    return re.fullmatch(r"\s*[+-]?\d{1,18}\s*", str(cell)) is not None
