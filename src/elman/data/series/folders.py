"""Parquet files of many series, read piece by piece into one file: a folder of more than memory holds.

Rows come in the order of the files' names; those of a series may stand in many files. They are counted first, which
says where each series will stand; then each piece's rows go to their places; then each series is put in order by its
dates, checked and filled on its own. In memory are a piece, one series, and the names.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from elman.choices.reading import MEMORY, ReadConfig
from elman.data.mapped import Mapped, written_once
from elman.data.parsing import Rows, shown
from elman.data.series import calendar, columns, dates, forms
from elman.data.series.calendar import Step
from elman.data.series.gaps import Incomplete
from elman.data.series.panel import unlike_steps
from elman.data.series.reading import Survey, dated
from elman.data.series.series import Series
from elman.data.series.stored import NO_ANCHOR, Places, StoredPanel
from elman.data.tables import PATTERN, Table, first_line, frame_table
from elman.errors import DataError

if TYPE_CHECKING:
    import polars as pl

Report = Callable[[str], None]
A_ROW = 128  # bytes that a row takes while it is sorted to its place
SAMPLED = 10_000  # rows from which the columns are told apart
ENDING = ".parquet"
INDEX = "index"  # in place of a zone, where whole numbers take the place of dates
NOTED = 20  # notes on single series
TOLD = 10  # of how many files it is said how far reading is


def in_pieces(source: Any, config: ReadConfig) -> bool:
    """Whether ``source`` is read piece by piece: a folder of Parquet, or files of it where ``memory`` is said."""
    if not isinstance(source, str | os.PathLike) or config.id is None or "=" in config.id:
        return False
    if os.path.isdir(source):
        return True
    return config.memory is not None and os.fspath(source).lower().endswith(ENDING)


def panel_of_files(
    source: str | os.PathLike[str],
    config: ReadConfig,
    beside: Path | None = None,
    report: Report = lambda words: None,
) -> StoredPanel:
    """The series of the Parquet files of a folder, or of a pattern, which column ``id`` tells apart.

    They are written to a temporary folder in ``beside``, or where the system has such. ``report`` is told how far
    reading is. Raises :class:`DataError` naming the file, or the series, at fault.

    >>> import tempfile
    >>> import polars as pl
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for month in (1, 2):
    ...         day = [f"2024-{month:02}-01"] * 2
    ...         frame = pl.DataFrame({"shop": ["a", "b"], "month": day, "sales": [1.0 * month, 2.0 * month]})
    ...         frame.write_parquet(Path(folder, f"{month}.parquet"))
    ...     panel = panel_of_files(folder, ReadConfig(id="shop"))
    >>> [series.values[:, 0].tolist() for series in panel.series], str(panel.step)
    ([[1.0, 2.0], [2.0, 4.0]], '1mo')
    """
    name = os.fspath(source)
    path, facts, folder = written_once(name, beside, lambda path: Pieces(name, config, report).write(path))
    return StoredPanel(path, facts, folder)


@dataclass(frozen=True, eq=False)
class Whole:
    """A series without gaps: its ``values`` (N,), the date it starts on and that date's anchor, step and zone."""

    values: NDArray[np.float64]
    start: int
    anchor: int
    step: Step | None
    zone: str | None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, series: Series) -> Whole:
        """What of ``series`` is kept."""
        times, values = series.times, series.values[:, 0]
        if times is None:
            return cls(values, 0, NO_ANCHOR, None, None, series.notes)
        anchor = calendar.anchor_day(times)
        start = int(times[0].astype(np.int64))
        return cls(values, start, NO_ANCHOR if anchor is None else anchor, series.step, series.zone, series.notes)


class Pieces:
    """The files of ``source`` and what their columns are."""

    def __init__(self, source: str, config: ReadConfig, report: Report = lambda words: None):
        self.source = source
        self.config = config
        self.report = report
        self.files = _files(source)
        self.size = max(1000, ((config.memory or MEMORY) << 20) // A_ROW)
        counted = [(file, self._scanned(file, _count)) for file in self.files]
        full = [(file, count) for file, count in counted if count]
        if not full:
            raise DataError(f"{source}: has no rows")
        self.files, self.lengths = ([file for file, _ in full], [count for _, count in full])
        self.id = str(config.id)
        self.alone = config.model_copy(update={"id": None})
        self.time, self.target, self.notes = self._columns()
        self.numbers: dict[str, int] = {}  # of the series, by name
        self.zones: set[str | None] = set()

    def write(self, path: Path) -> dict[str, Any]:
        """Write the values of all series and their places to ``path``; return what else is known of them."""
        counts = self._counted()
        raw, times = path.with_name("raw"), path.with_name("times")
        self._sort(counts, raw, times)
        lengths, starts, anchors = [], [], []
        step = zone = None
        notes: dict[str, None] = {}
        with open(path, "xb") as file:
            for one in self._each(counts, raw, times):
                step, zone = one.step or step, one.zone
                lengths.append(len(one.values))
                starts.append(one.start)
                anchors.append(one.anchor)
                notes |= dict.fromkeys(one.notes)
                file.write(one.values.astype("<f8").tobytes())
            Places(*(np.array(array, dtype=np.int64) for array in (lengths, starts, anchors))).write(file)
            file.flush()
            os.fsync(file.fileno())
        for temporary in (raw, times):
            temporary.unlink(missing_ok=True)
        return {
            "names": list(self.numbers),
            "count": int(sum(lengths)),
            "step": [step.count, step.unit, list(step.hours)] if step else None,
            "zone": zone,
            "source": self.source,
            "notes": [
                *self.notes,
                f"{len(lengths)} series, told apart by column {self.id!r}",
                *list(notes)[:NOTED],
                *(
                    [f"as much was done to more series: {len(notes) - NOTED} notes are left out"]
                    if len(notes) > NOTED
                    else []
                ),
            ],
        }

    def _columns(self) -> tuple[str | None, str, tuple[str, ...]]:
        """The columns of dates and of values, by the first rows of the first series."""
        head = self._scanned(self.files[0], lambda scan: scan.head(SAMPLED).collect())
        table = frame_table(head, self.files[0])
        columns.check_named(table, self.config)
        own = head.filter(head[self.id] == head[self.id][0]).drop(self.id)
        first = Table(frame_table(own, self.files[0]).frame, Rows(self.files[0]))
        time = columns.time_column(first, self.alone)
        targets = columns.target_columns(first, self.alone, time)
        if len(targets) != 1:
            raise DataError(f"{self.source}: `target`: got {', '.join(targets)}; of several series want one column")
        said = (f"the dates are in column {time!r}",) if time is not None and self.config.time is None else ()
        return time, targets[0], (f"read {len(self.files)} file(s) piece by piece", *said)

    def _scanned(self, file: str, look: Callable[[pl.LazyFrame], Any]) -> Any:
        import polars as pl

        try:
            return look(pl.scan_parquet(file, hive_partitioning=True))
        except pl.exceptions.ColumnNotFoundError as error:
            raise DataError(f"{file}: lacks a column that {self.files[0]} has: {first_line(error)}") from error
        except (pl.exceptions.PolarsError, OSError) as error:
            raise DataError(f"{file}: is no Parquet file that can be read: {first_line(error)}") from error

    def _pieces(self, names: Sequence[str], words: str) -> Iterator[tuple[str, int, pl.DataFrame]]:
        """The rows of all files, at most ``size`` at once: the file, the number of the first, the columns ``names``."""
        for done, (file, length) in enumerate(zip(self.files, self.lengths, strict=True)):
            if len(self.files) >= TOLD and done % max(1, len(self.files) // TOLD) == 0:
                self.report(f"{words} {done} of {len(self.files)} files")
            for start in range(0, length, self.size):
                yield file, start, self._scanned(file, partial(_piece, names=names, start=start, size=self.size))

    def _codes(self, file: str, start: int, names: pl.Series) -> NDArray[np.int64]:
        """The number of the series of each row (n,); one that is new gets the next."""
        import polars as pl

        if names.null_count():
            row = start + int(names.is_null().arg_max() or 0)
            raise DataError(f"{file}: row {row} (counted from 0): column {self.id!r} is empty; fill in the name")
        if isinstance(names.dtype, pl.Categorical | pl.Enum):
            names = names.cast(pl.String)
        kinds = names.unique(maintain_order=True)
        for name in kinds.to_list():
            self.numbers.setdefault(str(name), len(self.numbers))
        numbers = pl.Series([self.numbers[str(name)] for name in kinds.to_list()], dtype=pl.Int64)
        return names.replace_strict(kinds, numbers, return_dtype=pl.Int64).to_numpy()

    def _counted(self) -> NDArray[np.int64]:
        """How many rows each series has, (S,)."""
        counts = np.zeros(0, dtype=np.int64)
        for file, start, piece in self._pieces([self.id], "counting:"):
            own = np.bincount(self._codes(file, start, piece[self.id]), minlength=len(self.numbers))
            own[: len(counts)] += counts
            counts = own
        return counts

    def _sort(self, counts: NDArray[np.int64], raw: Path, times: Path) -> None:
        """Write the values, and the dates, of each series to its place in the order they come."""
        names = [self.id, self.target] + ([self.time] if self.time is not None else [])
        free = np.cumsum(counts) - counts  # where the next row of each series goes
        with open(raw, "xb", buffering=0) as values_file, open(times, "xb", buffering=0) as times_file:
            for file, start, piece in self._pieces(names, "reading:"):
                codes = self._codes(file, start, piece[self.id])
                rows = Rows(file, start, hint="counted from 0")
                table = Table(frame_table(piece, file).frame, rows)
                order = np.argsort(codes, kind="stable")
                numbers, begins = np.unique(codes[order], return_index=True)
                values = columns.values_of(table, self.target, self.config)[0][order]
                _put(values_file, values, free[numbers], begins)
                if self.time is not None:
                    _put(times_file, self._instants(piece[self.time], rows)[order], free[numbers], begins)
                free[numbers] += np.diff(begins, append=len(codes))

    def _instants(self, column: pl.Series, rows: Rows) -> NDArray[np.int64]:
        """Dates (n,) in microseconds since 1970, in UTC where they have a zone; of an index its numbers."""
        import polars as pl

        name, told = str(self.time), self.config.date_format
        if column.null_count():
            raise rows.error(int(column.is_null().arg_max() or 0), f"column {name!r} is empty; fill in the date")
        if isinstance(column.dtype, pl.Date | pl.Datetime):
            self.zones.add(getattr(column.dtype, "time_zone", None))
            return column.cast(pl.Datetime("us", getattr(column.dtype, "time_zone", None))).to_physical().to_numpy()
        kinds = column.unique(maintain_order=True)
        cells = kinds.to_list()
        if told in (None, "index") and column.dtype.is_integer():
            if told is None and (read := _as_dates(cells)):
                raise rows.error(
                    0,
                    f"column {name!r} holds {cells[0]}, which may be {read}; say which with `date_format`: index, "
                    "%Y%m%d, unix, ...",
                )
            self.zones.add(INDEX)
            return column.cast(pl.Int64).to_numpy()
        if told is None and (odd := next((c for c in cells if forms.iso_instant(str(c).strip()) is None), None)):
            raise rows.error(
                int((column == odd).arg_max() or 0),
                f"column {name!r} holds {shown(odd)}; of many files give the `date_format`, such as %d/%m/%Y",
            )
        read_dates = dates.dates(cells, rows, name, told)
        self.zones.add(read_dates.zone)
        assert read_dates.times is not None
        instants = pl.Series(read_dates.times.astype("M8[us]").astype(np.int64))
        return column.replace_strict(kinds, instants, return_dtype=pl.Int64).to_numpy()

    def _each(self, counts: NDArray[np.int64], raw: Path, times: Path) -> Iterator[Whole]:
        """Every series, whole and in order, as its rows give it."""
        if len(self.zones) > 1:
            raise DataError(
                f"{self.source}: column {self.time!r} has {' and '.join(str(zone or 'no zone') for zone in self.zones)}"
                "; write all dates alike"
            )
        total = int(counts.sum())
        values, instants = Mapped(raw, total), None if self.time is None else Mapped(times, total, "<i8")
        every = max(1, len(counts) // TOLD)
        ends = np.cumsum(counts).tolist()
        step: Step | None = None
        for number, (name, end, count) in enumerate(zip(self.numbers, ends, counts.tolist(), strict=True)):
            if len(counts) >= 100 * TOLD and number % every == 0:
                self.report(f"ordering: {number} of {len(counts)} series")
            place = slice(end - count, end)
            own, when = values[place], None if instants is None else instants[place]
            whole = self._even(own, when, step) or self._ordered(own, when, name)
            if number and whole.step != step and None not in (whole.step, step):
                raise unlike_steps(self.source, name, whole.step, step)
            if number and (whole.step is None) != (step is None):
                raise DataError(f"{self.source}: series {name!r} or the first has one date only; leave it out")
            step = whole.step
            yield whole

    def _even(self, values: NDArray[Any], instants: NDArray[np.int64] | None, step: Step | None) -> Whole | None:
        """A series that needs nothing done, as most do; None where it may."""
        zone = next(iter(self.zones), None)
        if instants is None or step is None or len(instants) < 2 or self.config.resample or not step.is_exact:
            return None
        if zone is not None and step.keeps_to_the_day:
            return None
        if np.isnan(values).any() or (np.diff(instants) != step.microseconds).any():
            return None
        return Whole(values, int(instants[0]), NO_ANCHOR, step, zone)

    def _ordered(self, values: NDArray[Any], instants: NDArray[np.int64] | None, name: str) -> Whole:
        """A series put in order by its dates, checked, and filled as was asked."""
        import polars as pl

        zone = next(iter(self.zones), None)
        rows = Rows(f"{self.source}, series {name!r}", hint="value, counted from 0")
        column = values[:, None]
        if instants is None:
            survey = Survey(Incomplete(column, (name,), rows))
        elif zone == INDEX:
            survey = self._by_index(column, instants, name, rows)
        else:
            said = dates.Dates(instants.astype("M8[us]"), zone, (zone,) if zone else ())
            part = Table(frame_table(pl.DataFrame(), self.source).frame, rows)
            survey = dated(part, column, (name,), str(self.time), said, self.alone, ())
        return Whole.of(survey.completed(self.alone))

    def _by_index(self, values: NDArray[Any], index: NDArray[np.int64], name: str, rows: Rows) -> Survey:
        order = np.argsort(index, kind="stable")
        dates.check_index(index[order].tolist(), rows, str(self.time))
        return Survey(Incomplete(values[order], (name,), rows, column=str(self.time)))


def _count(scan: pl.LazyFrame) -> int:
    import polars as pl

    return int(scan.select(pl.len()).collect().item())


def _piece(scan: pl.LazyFrame, names: Sequence[str], start: int, size: int) -> pl.DataFrame:
    return scan.select(names).slice(start, size).collect()


def _files(source: str) -> list[str]:
    """The Parquet files of a folder and the folders in it, or those that a pattern matches, by name."""
    if os.path.isdir(source):
        found = sorted(str(path) for path in Path(source).rglob(f"*{ENDING}") if path.is_file())
        if not found:
            raise DataError(f"{source}: is a folder without {ENDING} files; give a file, or a folder of such")
        return found
    matched = any(sign in source for sign in PATTERN) and not os.path.exists(source)
    found = sorted(glob.glob(source, recursive=True)) if matched else [source]
    if not found or not os.path.exists(found[0]):
        raise DataError(f"{source}: no such file; give a {ENDING} file, a pattern or a folder of such")
    return found


def _as_dates(cells: Sequence[int]) -> str:
    """What whole numbers may be besides an index; empty where nothing."""
    try:
        read = dates.dates(sorted(cells)[:2], Rows(""), "")
    except DataError:
        return "dates or an index"
    return "" if read.times is None else f"{dates_text(read)} or an index"


def dates_text(read: dates.Dates) -> str:
    """The first date, as text."""
    assert read.times is not None
    return calendar.date_text(read.times[0])


def _put(file: BinaryIO, numbers: NDArray[Any], places: NDArray[np.int64], begins: NDArray[np.int64]) -> None:
    """Write runs of ``numbers``, which begin at ``begins``, to their ``places`` in ``file``, counted in numbers."""
    bytes_of = np.ascontiguousarray(numbers).view(np.uint8)
    stops = [*begins[1:].tolist(), len(numbers)]
    for place, begin, stop in zip(places.tolist(), begins.tolist(), stops, strict=True):
        file.seek(8 * place)
        file.write(bytes_of[8 * begin : 8 * stop].data)
