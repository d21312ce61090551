"""Files and dataframes to a table whose rows can be named."""

from __future__ import annotations

import csv
import io
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elman.data.parsing import Rows, is_number
from elman.errors import DataError

if TYPE_CHECKING:
    import narwhals as nw
    import polars as pl

KINDS = ".csv, .tsv, .parquet"


@dataclass(frozen=True)
class Table:
    """A dataframe (cells of text, when it came from CSV), where its rows came from, and what was changed."""

    frame: nw.DataFrame[Any]
    rows: Rows
    notes: tuple[str, ...] = ()


def read_table(path: str | Path) -> Table:
    """Read a .csv, .tsv or .parquet file. Raises DataError naming the file."""
    kind, raw = read_file(path, KINDS)
    if kind == ".parquet":
        return parquet_table(raw, str(path))
    return csv_table(raw, str(path), "\t" if kind == ".tsv" else None)


def read_file(path: str | Path, kinds: str) -> tuple[str, bytes]:
    """A file's ending, one of ``kinds``, and its bytes. Raises DataError naming the file."""
    path = Path(path)
    kind = path.suffix.lower()
    if os.path.isdir(path):  # os.path answers where pathlib raises: no permission, a name too long
        raise DataError(f"{path}: is a folder; give a file of kind {kinds}")
    if not os.path.exists(path):
        raise DataError(f"{path}: no such file; give the path of a file of kind {kinds}")
    if kind not in kinds.split(", "):
        raise DataError(f"{path}: unknown kind of file {kind!r}; known kinds: {kinds}")
    try:
        return kind, path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def frame_table(frame: Any, source: str = "dataframe") -> Table:
    """Take a pandas, polars or pyarrow dataframe, or any that narwhals knows. Raises DataError otherwise."""
    import narwhals as nw

    try:
        table = nw.from_native(frame, eager_only=True)
        return Table(table.rename({name: str(name) for name in table.columns}), Rows(source))
    except nw.exceptions.DuplicateError as error:
        raise DataError(f"{source}: two columns have one name; give each its own") from error
    except TypeError as error:
        raise DataError(
            f"{source}: got {type(frame).__name__}, want a dataframe of pandas, polars or pyarrow "
            "(collect a lazy one first)"
        ) from error


def parquet_table(raw: bytes, source: str) -> Table:
    """Read the bytes of a Parquet file. Raises DataError."""
    import polars as pl

    try:
        frame = pl.read_parquet(io.BytesIO(raw))
    except Exception as error:  # polars has many errors for a damaged file, some without a common base
        raise DataError(f"{source}: is no Parquet file that can be read: {_first_line(error)}") from error
    return frame_table(frame, source)


def csv_table(raw: bytes, source: str, separator: str | None = None) -> Table:
    """Read the bytes of a CSV file as cells of text; its lines may end in any way.

    Raises DataError, naming the row at fault.
    """
    import polars as pl

    if b"\r" in raw:
        raw = re.sub(rb"\r+\n|\r", b"\n", raw)
    text = decoded(raw, source)
    body = text.lstrip("\n")
    header_row = 1 + len(text) - len(body)
    if not body.strip():
        raise DataError(f"{source}: is empty; want a header and rows of values")
    separator = separator or _separator(body)
    _check_header(body, source, separator, header_row)
    rows = Rows(source, first=header_row + 1, hint=f"the header is row {header_row}")
    try:
        frame = pl.read_csv(body.encode(), infer_schema=False, separator=separator)
    except pl.exceptions.PolarsError as error:
        raise _ragged(body, rows, separator) or DataError(
            f"{source}: is no CSV file that can be read: {_first_line(error)}"
        ) from error
    frame = frame.rename({name: name.strip() for name in frame.columns})
    count = _filled_rows(frame, source)
    notes = (f"left out {len(frame) - count} blank row(s) at the end",) if count < len(frame) else ()
    return Table(frame_table(frame.head(count), source).frame, rows, notes)


def decoded(raw: bytes, source: str) -> str:
    """The text of a file. Raises DataError naming the row and the offset of what is no UTF-8."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{source}: row {row} is not UTF-8 text (byte {error.start}); save the file in UTF-8"
        ) from error
    if "\0" in text:
        raise DataError(f"{source}: holds NUL bytes, so it is no text; give a file in UTF-8")
    return text


def _separator(body: str) -> str:
    """A comma, or the semicolon that spreadsheets write where a comma is the decimal point."""
    header = body.split("\n", 1)[0]
    return ";" if ";" in header and "," not in header else ","


def _check_header(body: str, source: str, separator: str, row: int) -> None:
    try:
        names = [name.strip() for name in next(csv.reader(io.StringIO(body), delimiter=separator))]
    except csv.Error as error:
        raise DataError(
            f"{source}: row {row}: the header cannot be read: {error}; look for a quote that is not closed"
        ) from error
    if all(is_number(name) for name in names):
        raise DataError(f"{source}: the first row holds numbers ({', '.join(names[:3])}); add a header of names")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise DataError(f"{source}: two columns are named {twice[0]!r}; give each its own name")


def _ragged(body: str, rows: Rows, separator: str) -> DataError | None:
    """The error for the first row that has more cells than the header, or cannot be read, if there is one."""
    reader = csv.reader(io.StringIO(body), delimiter=separator)
    width = len(next(reader))
    try:
        for cells in reader:
            if len(cells) > width:
                return rows.error(reader.line_num - 2, f"has {len(cells)} cells where the header has {width}")
    except csv.Error as error:
        return rows.error(reader.line_num - 2, f"cannot be read: {error}; look for a quote that is not closed")
    return None


def _filled_rows(frame: pl.DataFrame, source: str) -> int:
    """How many rows there are up to the last with anything in it: files often end with blank ones."""
    import polars as pl

    filled = frame.select(pl.any_horizontal(pl.all().str.strip_chars().fill_null("") != "")).to_series()
    if not filled.any():
        raise DataError(f"{source}: has a header and no rows of values")
    return len(filled) - int(filled.reverse().arg_max() or 0)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
