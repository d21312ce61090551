"""Files and dataframes to a table whose rows can be named."""

from __future__ import annotations

import glob
import gzip
import io
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from elman.data.delimited import Grid, decoded, grid, grid_of_rows
from elman.data.parsing import Rows, joined_rows
from elman.errors import DataError

if TYPE_CHECKING:
    import narwhals as nw

DELIMITED = (".csv", ".tsv", ".txt")
KINDS = ".csv, .tsv, .txt, .parquet, .xlsx"
PARQUET = b"PAR1"  # what such a file begins and ends with
YEARS = (-719_162, 2_932_897)  # days from 1970 to the beginning of the year 1 and of the year 10000
UNITS = {"ms": 10**3, "us": 10**6, "ns": 10**9}  # in a second
LARGEST = 4 << 30  # bytes that a packed file may hold
PATTERN = "*?["


@dataclass(frozen=True)
class Table:
    """A dataframe (cells of text, when it came from text), where its rows came from, and what was changed.

    ``semicolons`` says that they part the cells of its file, as they do where a comma is the decimal mark.
    """

    frame: nw.DataFrame[Any]
    rows: Rows
    notes: tuple[str, ...] = ()
    semicolons: bool = False


def read_table(path: str | Path, encoding: str | None = None, separator: str | None = None) -> Table:
    """Read a .csv, .tsv, .txt, .parquet or .xlsx file, packed (.gz) or not, or all files of a pattern (2024-*.csv).

    Raises DataError naming the file.
    """
    if not os.path.exists(path) and any(sign in str(path) for sign in PATTERN):
        return _matching(str(path), encoding, separator)
    if os.path.isdir(path):
        raise DataError(
            f"{path}: is a folder; give a file of kind {KINDS}, or say with `id` which column tells the series in its "
            "Parquet files apart"
        )
    kind, raw = read_file(path, KINDS)
    if kind == ".parquet":
        return parquet_table(raw, str(path))
    if kind == ".xlsx":
        return _grid_table(_sheet(raw, str(path)), str(path))
    return csv_table(raw, str(path), separator or ("tab" if kind == ".tsv" else None), encoding)


def _matching(pattern: str, encoding: str | None, separator: str | None) -> Table:
    """The rows of all the files that a pattern matches, in the order of their names."""
    paths = sorted(glob.glob(pattern, recursive=True))
    if not paths:
        raise DataError(f"{pattern}: no file is named so; give a file, or a pattern such as data/2024-*.csv")
    return joined([read_table(path, encoding, separator) for path in paths], pattern)


def joined(tables: Sequence[Table], source: str) -> Table:
    """Tables of the same columns, one after the other. Raises DataError naming one that has others."""
    import narwhals as nw

    first = tables[0]
    for table in tables[1:]:
        if table.frame.columns != first.frame.columns:
            raise DataError(
                f"{table.rows.source}: has columns {', '.join(table.frame.columns)}, and {first.rows.source} has "
                f"{', '.join(first.frame.columns)}; join files of the same columns"
            )
    try:
        frame = nw.concat([table.frame for table in tables])
    except Exception as error:  # each kind of dataframe has an error of its own for columns of other kinds
        raise DataError(f"{source}: its files cannot be joined: {first_line(error)}") from error
    notes = tuple(f"{table.rows.source}: {note}" for table in tables for note in table.notes)
    rows = joined_rows(source, [(table.rows, len(table.frame)) for table in tables])
    return Table(frame, rows, (f"joined {len(tables)} files", *notes), first.semicolons)


def read_file(path: str | Path, kinds: str) -> tuple[str, bytes]:
    """A file's ending, one of ``kinds``, and its bytes, unpacked where it ends in .gz. Raises DataError."""
    path = Path(path)
    packed = path.suffix.lower() == ".gz"
    kind = (path.with_suffix("") if packed else path).suffix.lower()
    if os.path.isdir(path):  # os.path answers where pathlib raises: no permission, a name too long
        raise DataError(f"{path}: is a folder; give a file of kind {kinds}")
    if not os.path.exists(path):
        raise DataError(f"{path}: no such file; give the path of a file of kind {kinds}")
    if kind not in kinds.split(", "):
        raise DataError(f"{path}: unknown kind of file {kind!r}; known kinds: {kinds}")
    try:
        return kind, _unpacked(path) if packed else path.read_bytes()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: is no gzip file that can be read: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def _unpacked(path: Path) -> bytes:
    with gzip.open(path) as file:
        raw = file.read(LARGEST + 1)
    if len(raw) > LARGEST:
        raise DataError(f"{path}: holds more than {LARGEST >> 30} GiB; unpack it and give a part")
    return raw


def frame_table(frame: Any, source: str = "dataframe") -> Table:
    """Take a pandas, polars or pyarrow dataframe, or any that narwhals knows. Raises DataError otherwise.

    An index of dates, periods or names becomes a column; names of several levels become one.
    """
    import narwhals as nw

    try:
        table = nw.from_native(_flat(frame), eager_only=True)
        return Table(table.rename({name: str(name) for name in table.columns}), Rows(source))
    except nw.exceptions.DuplicateError as error:
        raise DataError(f"{source}: two columns have one name; give each its own") from error
    except TypeError as error:
        raise DataError(
            f"{source}: got {type(frame).__name__}, want a dataframe of pandas, polars or pyarrow "
            "(collect a lazy one first)"
        ) from error


def _flat(frame: Any) -> Any:
    """A pandas dataframe with one level of names, and its index as a column where it says anything."""
    import narwhals as nw

    pandas = nw.dependencies.get_pandas()
    if pandas is None or not isinstance(frame, pandas.DataFrame | pandas.Series):
        return frame
    frame = frame.to_frame() if isinstance(frame, pandas.Series) else frame
    if isinstance(frame.columns, pandas.MultiIndex):
        levels = [i for i in range(frame.columns.nlevels) if frame.columns.get_level_values(i).nunique() > 1] or [0]
        names = [" ".join(str(name[i]) for i in levels if str(name[i])) for name in frame.columns]
        frame = frame.set_axis(names, axis=1)
    index = frame.index
    if isinstance(index, pandas.DatetimeIndex | pandas.PeriodIndex | pandas.MultiIndex) or index.name is not None:
        if isinstance(index, pandas.DatetimeIndex | pandas.PeriodIndex) and index.name is None:
            frame = frame.rename_axis("date" if "date" not in frame.columns else "index")
        frame = frame.reset_index()
    periods = [name for name in frame.columns if isinstance(getattr(frame[name], "dtype", None), pandas.PeriodDtype)]
    return frame.assign(**{name: frame[name].dt.to_timestamp() for name in periods}) if periods else frame


def parquet_table(raw: bytes, source: str) -> Table:
    """Read the bytes of a Parquet file. Raises DataError."""
    import polars as pl

    if not (raw.startswith(PARQUET) and raw.endswith(PARQUET)):
        raise DataError(f"{source}: is no Parquet file: it does not begin and end with {PARQUET.decode()}")
    try:
        frame = pl.read_parquet(io.BytesIO(raw))
    except BaseException as error:  # polars has many errors for a damaged file, some without a common base
        if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        raise DataError(f"{source}: is no Parquet file that can be read: {first_line(error)}") from error
    for series in frame.iter_columns():
        _check_years(series, source)
    return frame_table(frame, source)


def _check_years(series: Any, source: str) -> None:
    """Refuse times of no year of the calendar, which polars holds and can do nothing with."""
    import polars as pl

    if not isinstance(series.dtype, pl.Date | pl.Datetime):
        return
    a_day = 1 if isinstance(series.dtype, pl.Date) else 86_400 * UNITS[series.dtype.time_unit]
    numbers = series.to_physical()
    wrong = ((numbers < YEARS[0] * a_day) | (numbers >= YEARS[1] * a_day)).arg_true()
    if len(wrong):
        raise DataError(
            f"{source}: column {series.name!r}, row {wrong[0] + 1} of {len(series)}, is no time of the years 1 to 9999"
        )


def csv_table(
    raw: bytes,
    source: str,
    separator: str | None = None,
    encoding: str | None = None,
    first_is_header: bool = False,
) -> Table:
    """Read the bytes of delimited text as cells of text; its lines may end in any way.

    See :func:`elman.data.delimited.grid`. Raises DataError, naming the row at fault.
    """
    return _grid_table(grid(decoded(raw, source, encoding), source, separator, first_is_header), source)


def _grid_table(sheet: Grid, source: str) -> Table:
    import polars as pl

    columns = list(zip(*sheet.cells, strict=True))
    frame = pl.DataFrame({n: pl.Series(n, c, pl.String) for n, c in zip(sheet.names, columns, strict=True)})
    hint = f"the header is row {sheet.header_row}" if sheet.header_row is not None else "there is no header"
    rows = Rows(source, sheet.numbers[0], hint, np.array(sheet.numbers, dtype=np.int64))
    return Table(frame_table(frame, source).frame, rows, sheet.notes, sheet.separator == ";")


def _sheet(raw: bytes, source: str) -> Grid:
    """The first sheet of a workbook, as cells of text."""
    try:
        import fastexcel
    except ImportError as error:
        raise DataError(
            f"{source}: reading .xlsx needs fastexcel: pip install 'elman[excel]', or save the sheet as .csv"
        ) from error
    try:
        sheet = fastexcel.read_excel(raw).load_sheet(0, header_row=None, dtypes="string")
        columns = [series.to_list() for series in sheet.to_polars().iter_columns()]
    except Exception as error:  # a damaged workbook, in whatever way
        raise DataError(f"{source}: is no workbook that can be read: {first_line(error)}") from error
    rows = [[cell or "" for cell in row] for row in zip(*columns, strict=True)]
    return grid_of_rows(rows, source)


def first_line(error: BaseException) -> str:
    """What an error says, as far as its first line goes."""
    return str(error).strip().split("\n")[0]
