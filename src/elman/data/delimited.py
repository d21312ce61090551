"""Delimited text to a header and rows of cells: the encoding, the separator, and what is no row of values.

The separator is the one that gives the rows the same number of cells, quotes respected, and the cells that read as
numbers or dates. What stands before the header and after the last row is left out and said.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from elman.data.numbers import looks_numeric
from elman.data.parsing import is_number
from elman.errors import DataError

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
NAMES = {sign: name for name, sign in SEPARATORS.items()}
LOOKED_AT = 200  # rows from which the separator is found
BEFORE = 30  # rows in which the header is looked for
BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))

MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
SHORT = "|".join(month[:3] for month in MONTHS)
WORDS = re.compile(rf"T|Z|W|Q|M|H|AM|PM|UTC|GMT|年|月|日|({SHORT})[a-z]*", re.IGNORECASE)  # of dates


@dataclass(frozen=True)
class Grid:
    """Names of columns, rows of cells (all as long as the names), and the row of the file each begins in."""

    names: list[str]
    cells: list[list[str]]
    numbers: list[int]
    header_row: int | None  # None: the file has no header
    separator: str = ","
    notes: tuple[str, ...] = ()


def decoded(raw: bytes, source: str, encoding: str | None = None) -> str:
    """The text of a file in ``encoding``; None takes UTF-8, or UTF-16 where its first bytes say so.

    Line ends become newlines. Raises DataError naming the row and the offset of what cannot be read.

    >>> decoded("é".encode("utf-16"), "a.csv")
    'é'
    """
    codec = encoding or next((name for mark, name in BOMS if raw.startswith(mark)), None) or _unmarked(raw)
    try:
        text = codecs.decode(raw, codec)
    except LookupError as error:
        raise DataError(f"{source}: `encoding`: there is no encoding {encoding!r}; try utf-8, cp1252 or gbk") from error
    except (UnicodeError, ValueError, TypeError) as error:  # a codec that reads no bytes is no encoding
        start = getattr(error, "start", 0)
        row = len(re.findall(rb"\r+\n|\r|\n", raw[:start])) + 1
        named = encoding or ("UTF-8" if "8" in codec else "UTF-16")
        way = "give its `encoding`, such as cp1252 or gbk, or save the file in UTF-8"
        raise DataError(f"{source}: row {row} is not {named} text (byte {start}); {way}") from error
    if not isinstance(text, str):
        raise DataError(f"{source}: `encoding`: {encoding!r} makes no text; try utf-8, cp1252 or gbk")
    if "\0" in text:
        raise DataError(f"{source}: holds NUL bytes, so it is no text; give a file of text, or its `encoding`")
    return re.sub(r"\r+\n|\r", "\n", text.removeprefix("\ufeff"))


def _unmarked(raw: bytes) -> str:
    """UTF-16 without its mark shows by NULs at every other byte, and none between."""
    start = raw[: 200 - len(raw) % 2]
    for offset, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        if start[offset::2].count(0) * 3 > len(start[offset::2]) and 0 not in start[1 - offset :: 2]:
            return name
    return "utf-8"


def grid(text: str, source: str, separator: str | None = None, first_is_header: bool = False) -> Grid:
    """The cells of a delimited text. Raises DataError where it is none, naming the row.

    ``separator`` is "comma", "semicolon", "tab", "pipe" or a sign; None finds it. With ``first_is_header`` the
    first row that is not blank is the header, whatever stands in it.

    >>> found = grid("date;price (EUR, net)\\n2024-01-01;12,5\\n2024-01-02;13,7\\n", "a.csv")
    >>> found.names, found.cells[0]
    (['date', 'price (EUR, net)'], ['2024-01-01', '12,5'])
    """
    text, skipped, said = _without_sepline(text)
    if not text.strip():
        raise DataError(f"{source}: is empty; want a header and rows of values")
    sign = SEPARATORS.get(separator, separator) if separator else said
    if sign is not None and (len(sign) != 1 or sign in '"\n'):
        raise DataError(f"`separator`: got {separator!r}, want {', '.join(SEPARATORS)}, or a sign")
    sign = sign or _separator(text, source, first_is_header)
    rows = _rows(text, source, sign, skipped)
    return _grid(rows, source, sign, first_is_header)


def grid_of_rows(rows: Sequence[Sequence[str]], source: str) -> Grid:
    """The cells of rows that are parted already, those of a sheet say. Raises DataError where there are none."""
    numbered = [(number, [cell.strip() for cell in row]) for number, row in enumerate(rows, start=1)]
    filled = [(number, row) for number, row in numbered if any(row)]
    if not filled:
        raise DataError(f"{source}: is empty; want a header and rows of values")
    return _grid(filled, source, "", first_is_header=False)


def _without_sepline(text: str) -> tuple[str, int, str | None]:
    """The text after a first line such as ``sep=;``, how many lines that left out, and the separator it names."""
    match = re.match(r'"?sep=(.)"?[ \t]*\n', text, re.IGNORECASE)
    return (text[match.end() :], 1, match[1]) if match else (text, 0, None)


def _rows(text: str, source: str, sign: str, skipped: int = 0) -> list[tuple[int, list[str]]]:
    """The rows: the number each begins at, and its cells without blanks around them.

    Blank rows are left out, but for those within a single column, where they are cells without a value.
    """
    rows: list[tuple[int, list[str]]] = []
    blank: list[tuple[int, list[str]]] = []
    reader = csv.reader(io.StringIO(text), delimiter=sign, skipinitialspace=True)
    number = 1 + skipped
    try:
        for cells in reader:
            kept = [cell.strip() for cell in cells]
            (rows if any(kept) else blank).append((number, kept))
            number = 1 + skipped + reader.line_num
    except csv.Error as error:
        where = "the header cannot be read" if not rows else "cannot be read"
        hint = f"the header is row {rows[0][0]}" if rows else "the header"
        row = f"row {number} ({hint})" if rows else f"row {number}"
        raise DataError(f"{source}: {row}: {where}: {error}; look for a quote that is not closed") from error
    if not rows:
        raise DataError(f"{source}: is empty; want a header and rows of values")
    if all(len(cells) == 1 for _, cells in rows):
        rows = sorted([*rows, *((n, [""]) for n, _ in blank if rows[0][0] < n < rows[-1][0])])
    return rows


def _separator(text: str, source: str, first_is_header: bool) -> str:
    """The sign that parts the rows evenly and leaves cells that read; raises where two do so equally."""
    scores = {sign: _score(text, sign, first_is_header) for sign in NAMES}
    best = max(scores.values())
    if best == (0.0, 0.0):
        return ","
    likely = [sign for sign, score in scores.items() if score == best]
    if len(likely) > 1:
        names = " or ".join(f"`separator={NAMES[sign]}`" for sign in likely)
        raise DataError(f"{source}: two signs part its rows equally well; say which: {names}")
    return likely[0]


def _score(text: str, sign: str, first_is_header: bool) -> tuple[float, float]:
    """How evenly a sign parts the first rows, and how many of the cells read as a number or a date."""
    head: list[list[str]] = []
    with contextlib.suppress(csv.Error):  # the rows before it speak; _rows raises, for the sign that is chosen
        for row in csv.reader(io.StringIO(text), delimiter=sign, skipinitialspace=True):
            if any(cell.strip() for cell in row):
                head.append([cell.strip() for cell in row])
            if len(head) == LOOKED_AT:
                break
    counted = Counter(len(row) for row in head if len(row) > 1)
    if not counted:
        return 0.0, 0.0
    (width, count) = max(counted.items(), key=lambda item: (item[1], item[0]))
    cells = [cell for row in head[1:] if len(row) == width for cell in row if cell]
    readable = sum(map(reads_as_value, cells)) / len(cells) if cells else 0.0
    return (count / len(head), readable) if first_is_header else (readable * count / len(head), count / len(head))


def reads_as_value(cell: str) -> bool:
    """Whether a cell reads as a number or a date, and not as a name.

    >>> [reads_as_value(cell) for cell in ("12,5", "2024-01-01", "Jan 2024", "2015Q1", "price")]
    [True, True, True, True, False]
    """
    return looks_numeric(cell) or looks_dated(cell)


def looks_dated(cell: str) -> bool:
    """Whether a cell that is no plain number looks like a date or a time: digits, signs between, names of months."""
    if len(cell) > 40 or is_number(cell) or not re.search(r"\d", cell):
        return False
    words = re.findall(r"[^\W\d_]+", cell)
    numbers = re.findall(r"\d+", cell)
    enough = len(numbers) > 1 or len(numbers[0]) >= 4 or any(len(word) > 2 for word in words)
    return enough and all(WORDS.fullmatch(word) for word in words) and not re.search(r"[;|\t]", cell)


def _grid(rows: list[tuple[int, list[str]]], source: str, sign: str, first_is_header: bool) -> Grid:
    rows, trailing = _without_trailing(rows)
    width = len(rows[0][1]) if first_is_header else _width(rows)
    header = 0 if first_is_header else _header_place(rows, width)
    notes = list(trailing)
    if header is None:
        names, header_row, body = [f"column{i + 1}" for i in range(width)], None, rows
        notes.append(f"the first row holds values, so there is no header: the columns are named {', '.join(names)}")
    else:
        names, header_row, body = _names(rows[: header + 1], width), rows[header][0], rows[header + 1 :]
        if header:
            notes.append(f"left out {header} row(s) before the header in row {header_row}")
    if not first_is_header:
        body, footer = _without_footer(body, width)
        if footer:
            notes.append(f"left out {len(footer)} row(s) at the end: {' '.join(filter(None, footer[0][1]))[:60]!r}")
    if not body:
        raise DataError(f"{source}: has a header and no rows of values")
    if header_row is not None and all(is_number(name) for name in names):
        raise DataError(f"{source}: the first row holds numbers ({', '.join(names[:3])}); add a header of names")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise DataError(f"{source}: two columns are named {twice[0]!r}; give each its own name")
    hint = f"the header is row {header_row}" if header_row is not None else "there is no header"
    for number, cells in body:
        if len(cells) > width:
            what = f"the header has {width}" if header_row is not None else f"others have {width}"
            raise DataError(f"{source}: row {number} ({hint}): has {len(cells)} cells where {what}")
        cells.extend([""] * (width - len(cells)))
    return Grid(names, [cells for _, cells in body], [number for number, _ in body], header_row, sign, tuple(notes))


def _without_trailing(rows: list[tuple[int, list[str]]]) -> tuple[list[tuple[int, list[str]]], list[str]]:
    """The rows without the empty cells that every one of them ends with."""
    width = max(max((i + 1 for i, cell in enumerate(cells) if cell), default=0) for _, cells in rows)
    if not any(len(cells) > width for _, cells in rows):
        return rows, []
    return [(number, cells[:width]) for number, cells in rows], ["left out empty cells at the end of the rows"]


def _width(rows: list[tuple[int, list[str]]]) -> int:
    """How many cells a row has: as many as most of the first have; of equal numbers the larger."""
    counted = Counter(len(cells) for _, cells in rows[:LOOKED_AT])
    return max(counted.items(), key=lambda item: (item[1], item[0]))[0]


def _header_place(rows: list[tuple[int, list[str]]], width: int) -> int | None:
    """Which row is the header: the last of names alone before the first of values. None where there is none."""
    for index, (_, cells) in enumerate(rows[:BEFORE]):
        if len(cells) == width and _holds_values(cells, rows[index + 1][1] if index + 1 < len(rows) else []):
            return index - 1 if index else None
    return 0


def _holds_values(cells: Sequence[str], below: Sequence[str]) -> bool:
    """Whether a row is one of values: all its cells read so; or one is a date, and the row below has one there."""
    filled = [cell for cell in cells if cell]
    if filled and all(map(reads_as_value, filled)):
        return True
    return any(looks_dated(a) and looks_dated(b) for a, b in zip(cells, below, strict=False))


def _names(header: list[tuple[int, list[str]]], width: int) -> list[str]:
    """The names of the columns: those of the last row of ``header``, and where it has none of the rows above."""
    names = [*header[-1][1], *[""] * width][:width]
    for _, above in reversed(header[:-1]):
        if len(above) == width:
            names = [name or other for name, other in zip(names, above, strict=True)]
    return [name or f"column{i + 1}" for i, name in enumerate(names)]


def _without_footer(
    rows: list[tuple[int, list[str]]], width: int
) -> tuple[list[tuple[int, list[str]]], list[tuple[int, list[str]]]]:
    """The rows, and those at the end that are words alone: a source, a remark."""
    stop = len(rows)
    while stop > 1 and _is_remark(rows[stop - 1][1], width):
        stop -= 1
    return rows[:stop], rows[stop:]


def _is_remark(cells: Sequence[str], width: int) -> bool:
    filled = [cell for cell in cells if cell]
    return width > 1 and len(filled) < width and len(filled) <= 1 and not any(map(reads_as_value, filled))
