"""Series from whatever a person has: a name, a file, a dataframe, an array."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.choices.reading import ReadConfig, read_choices
from elman.data.parsing import Rows
from elman.data.series.folders import in_pieces, panel_of_files
from elman.data.series.gaps import Incomplete
from elman.data.series.panel import Panel, panel_of
from elman.data.series.reading import Survey, survey
from elman.data.series.series import Series
from elman.data.series.waves import wave
from elman.data.tables import Table, csv_table, frame_table, read_table
from elman.errors import DataError, nearest

FRED_URL = "https://fred.stlouisfed.org/graph/fredgraph.csv?id={id}"
TIMEOUT = 30  # seconds
MISSING = (None, "", ".")  # FRED writes a missing value as either
ARRAY = "values"  # the source of a series that came as an array, whose columns have no names of their own
ABOUT_ARRAYS = ("fill",)  # what can be said of an array, which has no columns to name and no dates


def read_series(data: Any, **reading: Any) -> Series:
    """The series in ``data``, as every command reads it.

    ``data`` is the path of a .csv, .tsv, .txt, .parquet or .xlsx file, packed (.gz) or not, or a pattern of several;
    'wave:sine', 'wave:combined' or 'fred:GS10'; a pandas, polars or pyarrow dataframe; an array (N,) or (N, C); or
    a :class:`Series`, which is returned. ``reading`` are the fields of
    :class:`elman.choices.reading.ReadConfig`: target, time, known, past, id, date_format, zone, decimal, separator,
    encoding, fill, resample. What is not said is found in the data, and told in the notes of the series. Raises
    DataError naming the file, the row and the value at fault.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "sales.csv"
    ...     _ = path.write_text("month;sales\\nJan 2024;3,5\\nFeb 2024;5,25\\n")
    ...     series = read_series(path)
    >>> series.names, series.values.tolist(), str(series.step)
    (('sales',), [[3.5], [5.25]], '1mo')
    """
    config = read_choices(reading)
    return data if isinstance(data, Series) and not reading else survey_series(data, config).completed(config)


def read_panel(
    data: Any, *, beside: Path | None = None, report: Callable[[str], None] = lambda words: None, **reading: Any
) -> Panel:
    """Read many series of unlike lengths from ``data``.

    ``data`` is a file or a dataframe: with ``id``, the column that tells the series apart, or names one a row; without,
    each column of values is a series. Or it is a dict of arrays (N,) by name, or a :class:`Panel`, which is returned.
    A folder of Parquet files, and one such file where ``memory`` is said, is read piece by piece into a temporary
    folder in ``beside``; ``report`` is told how far. Raises DataError as :func:`read_series`.

    >>> read_panel({"north": [1.0, 2.0, 3.0], "south": [5.0, 6.0]}).lengths.tolist()
    [3, 2]
    """
    config = read_choices(reading)
    if isinstance(data, Panel):
        return data
    if isinstance(data, Mapping):
        _refuse(config, "a dict of arrays", ())
        return Panel.of(data)
    if in_pieces(data, config):
        if config.aside:
            raise DataError(
                f"{data}: `known`, `past` and `static` are not read piece by piece; leave them out, or give one file"
            )
        return panel_of_files(data, config, beside, report)
    _check_memory(config)
    named = isinstance(data, str | os.PathLike)
    table = read_table(os.fspath(data), config.encoding, config.separator) if named else frame_table(data)
    return panel_of(table, config)


def _check_memory(config: ReadConfig) -> None:
    if config.memory is not None:
        raise DataError("`memory`: is of Parquet files of several series, told apart by `id`; leave it out")


def panel_in(
    data: Any, *, beside: Path | None = None, report: Callable[[str], None] = lambda words: None, **reading: Any
) -> Panel | None:
    """Find the panel in ``data``, if its series are not side by side; else None.

    What is read piece by piece, as :func:`read_panel` says, is always one.
    """
    config = read_choices(reading)
    if isinstance(data, Panel | Mapping) or in_pieces(data, config):
        return read_panel(data, beside=beside, report=report, **reading)
    if config.id is not None and "=" not in config.id:
        panel = read_panel(data, **reading)
        first = panel.series[0]
        alike = (len(one) == len(first) and _same(one.times, first.times) for one in panel.series)
        return None if all(alike) and not config.aside else panel
    several = config.target is not None and len(config.target) > 1 and config.fill is config.resample is None
    several = several and not config.beside
    late = several and _begins_late(survey_series(data, config).incomplete.values)
    return read_panel(data, **reading) if late else None


def _same(times: Any, others: Any) -> bool:
    return times is others is None or (times is not None and others is not None and bool((times == others).all()))


def _begins_late(values: NDArray[np.float64]) -> bool:
    """Whether columns (N, C) lack values at an end, and nowhere else."""
    empty = np.isnan(values)
    inside = empty & ~np.logical_and.accumulate(empty) & ~np.logical_and.accumulate(empty[::-1])[::-1]
    return bool(empty.any() and not inside.any() and not empty.all(axis=0).any())


def survey_series(data: Any, config: ReadConfig) -> Survey:
    """What :func:`read_series` finds in ``data`` before it fills or resamples: with its gaps."""
    _check_memory(config)
    if config.static:
        raise DataError("`static`: is of many series, told apart by `id`; leave it out")
    if isinstance(data, str | os.PathLike):
        return _by_name(os.fspath(data), config)
    if isinstance(data, Series):
        _refuse(config, data.source, ())
        return _whole(data)
    if hasattr(data, "detach"):  # a tensor
        data = data.detach().cpu().numpy()
    if isinstance(data, np.ndarray | list | tuple):
        _refuse(config, "an array", ABOUT_ARRAYS)
        return _array(data)
    return survey(frame_table(data), config)


def _refuse(config: ReadConfig, what: str, but: tuple[str, ...]) -> None:
    """Raise DataError where something is said of data that cannot be said of it."""
    said = [name for name, value in config if value is not None and name not in but]
    if said:
        names = ", ".join(f"`{name}`" for name in said)
        raise DataError(f"{names}: says how to read a file or a dataframe, and {what} is neither; leave it out")


def _whole(series: Series) -> Survey:
    """A series that has no gaps, as a survey of it."""
    incomplete = Incomplete(series.values, series.names, Rows(series.source), series.times, "", series.step)
    return Survey(incomplete, series.notes, series.zone, series.times, series.times)


def _array(data: Any) -> Survey:
    """An array (N,) or (N, C) of numbers; NaN and what is masked are cells without a value."""
    try:
        array: Any = np.ma.asarray(data)
        if array.dtype.kind in "cMm":
            raise TypeError("it holds complex numbers" if array.dtype.kind == "c" else "it holds dates or times")
        values = np.asarray(array.astype(np.float64).filled(np.nan))
    except (TypeError, ValueError) as error:
        raise DataError(f"an array to train on holds numbers, and this one does not: {error}") from error
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or not values.size:
        raise DataError(f"an array to train on is (N,) or (N, C), and this one is {values.shape}")
    rows, columns = Rows(ARRAY), values.shape[1]
    infinite = np.argwhere(np.isinf(values))
    if len(infinite):
        raise rows.error(int(infinite[0][0]), "holds infinity; give finite numbers only")
    names = ("value",) if columns == 1 else tuple(f"value{i}" for i in range(columns))
    return Survey(Incomplete(values, names, rows))


def _by_name(name: str, config: ReadConfig) -> Survey:
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", name)  # two letters at least: C: is a drive
    if scheme is None or os.path.exists(name):
        return survey(read_table(name, config.encoding, config.separator), config)
    known, rest = scheme[1].lower(), name[scheme.end() :]
    if known == "wave":
        return _wave(rest, config)
    if known == "fred":
        return _fred(rest, config)
    raise DataError(f"no source {known + ':'!r} (of {name!r}); {nearest(known + ':', ['wave:', 'fred:', 'a file'])}")


def _wave(name: str, config: ReadConfig) -> Survey:
    series = wave(name)
    if config.target not in (None, (name,)):
        raise DataError(f"wave:{name}: `target`: no column {', '.join(config.target or ())!r}; leave it out")
    said = [f"`{field}`" for field, value in config if value is not None and field not in ("target", "fill")]
    if said:
        raise DataError(f"wave:{name}: has no dates and no file; leave out {', '.join(said)}")
    return _whole(series)


def fred(series_id: str, refresh: bool = False, **reading: Any) -> Series:
    """A series of the Federal Reserve Bank of St. Louis, such as 'GS10', by download or from the cache.

    The cache is the folder ``elman/fred`` in ``$XDG_CACHE_HOME`` or ``~/.cache``; with ``refresh`` the
    download is tried first. Missing values at the ends are left out, and said so in the notes; within they
    are empty cells, to be filled or resampled as ``reading`` says. Raises DataError without network and cache.
    """
    config = read_choices(reading)
    return _fred(series_id, config, refresh).completed(config)


def _fred(series_id: str, config: ReadConfig, refresh: bool = False) -> Survey:
    series_id = series_id.upper()
    if not re.fullmatch(r"[A-Z0-9_]+", series_id):
        raise DataError(f"fred:{series_id}: FRED's names hold letters, digits and _ only, such as fred:GS10")
    raw, notes = _cached(series_id, refresh)
    table = csv_table(raw, f"fred:{series_id}", first_is_header=True)
    dates, values = _columns(table, series_id)
    own = {"time": config.time or dates, "target": config.target or (values,)}
    read = survey(_without_ends(table, values), config.model_copy(update=own))
    return replace(read, notes=notes + read.notes)


def cache_folder() -> Path:
    """Where downloads are kept: ``$XDG_CACHE_HOME/elman``, or ``~/.cache/elman``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "elman"


def _cached(series_id: str, refresh: bool) -> tuple[bytes, tuple[str, ...]]:
    """The CSV file of a series and notes: from the cache when it is there, else by download."""
    path = cache_folder() / "fred" / f"{series_id}.csv"
    if path.exists() and not refresh:
        return path.read_bytes(), ()
    url = FRED_URL.format(id=series_id)
    try:
        raw = _download(url, series_id)
    except OSError as error:  # URLError and time-outs are OSErrors
        if path.exists():
            return path.read_bytes(), (f"FRED cannot be reached ({error}): read from the cache {path}",)
        raise DataError(
            f"fred:{series_id}: FRED cannot be reached ({error}), and there is no copy in {path.parent}; "
            f"download {url} in a browser and give the file instead"
        ) from error
    return raw, _keep(raw, path)


def _download(url: str, series_id: str) -> bytes:
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    try:
        with urlopen(Request(url, headers={"User-Agent": "elman"}), timeout=TIMEOUT) as reply:
            raw: bytes = reply.read()
    except HTTPException as error:  # cut off in the middle
        raise OSError(f"the download broke off: {error!r}") from error
    except HTTPError as error:
        if error.code not in (400, 404):
            raise
        raise DataError(f"fred:{series_id}: FRED has no such series; look it up at fred.stlouisfed.org") from error
    if not re.match(rb"(\xef\xbb\xbf)?\"?(observation_)?date\"?,", raw[:40], re.IGNORECASE):
        raise DataError(f"fred:{series_id}: FRED answered with something other than the series: {raw[:60]!r}")
    return raw


def _keep(raw: bytes, path: Path) -> tuple[str, ...]:
    """Write the cache whole or not at all; a cache that cannot be written costs a note, not the series."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(raw)
        os.replace(file.name, path)
    except OSError as error:
        return (f"could not keep the download in {path}: {error.strerror}",)
    return ()


def _columns(table: Table, series_id: str) -> tuple[str, str]:
    names = table.frame.columns
    if len(names) != 2 or names[1].upper() != series_id:
        raise DataError(f"fred:{series_id}: has columns {', '.join(names)}; want dates and {series_id}")
    return names[0], names[1]


def _without_ends(table: Table, values: str) -> Table:
    """Leave out rows without a value at the ends."""
    cells = table.frame[values].to_list()
    filled = [index for index, cell in enumerate(cells) if cell not in MISSING]
    if not filled:
        raise DataError(f"{table.rows.source}: has no value at all")
    start, stop = filled[0], filled[-1] + 1
    ends = len(cells) - (stop - start)
    notes = (f"left out {ends} missing value(s) at the ends",) if ends else ()
    kept = np.arange(start, stop)
    return replace(table, frame=table.frame[start:stop], rows=table.rows.taken(kept), notes=table.notes + notes)
