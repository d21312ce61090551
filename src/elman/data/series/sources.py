"""Series by name: a generated wave, a FRED series, or a file."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from elman.data.parsing import Rows
from elman.data.series.reading import read_series, series_from_table
from elman.data.series.series import Series
from elman.data.series.waves import wave
from elman.data.tables import Table, csv_table
from elman.errors import DataError, nearest

FRED_URL = "https://fred.stlouisfed.org/graph/fredgraph.csv?id={id}"
TIMEOUT = 30  # seconds
MISSING = (None, "", ".")  # FRED writes a missing value as either


def open_source(
    name: str,
    *,
    target: str | Sequence[str] | None = None,
    time: str | None = None,
    resample: str | None = None,
) -> Series:
    """The series ``name``: 'wave:sine', 'fred:GS10', or the path of a file.

    ``target``, ``time`` and ``resample`` are those of :func:`elman.data.series.reading.read_series`. A wave has
    none of them, and of a FRED series the columns are known. Raises DataError.

    >>> len(open_source("wave:sine"))
    1000
    """
    name = str(name)
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", name)  # two letters at least: C: is a drive
    if scheme is None or os.path.exists(name):
        return read_series(name, target=target, time=time, resample=resample)
    known, rest = scheme[1].lower(), name[scheme.end() :]
    if known == "wave":
        return _wave(rest, target, time, resample)
    if known == "fred":
        return fred(rest, target=target, time=time, resample=resample)
    raise DataError(f"no source {known + ':'!r} (of {name!r}); {nearest(known + ':', ['wave:', 'fred:', 'a file'])}")


def _wave(name: str, target: str | Sequence[str] | None, time: str | None, resample: str | None) -> Series:
    series = wave(name)
    if time is not None or resample is not None:
        raise DataError(f"wave:{name}: has no dates; leave out --time and --resample")
    if target is not None and target not in (name, [name], (name,)):
        raise DataError(f"wave:{name}: no column {target!r}; leave out --target")
    return series


def fred(
    series_id: str,
    *,
    target: str | Sequence[str] | None = None,
    time: str | None = None,
    resample: str | None = None,
    refresh: bool = False,
) -> Series:
    """A series of the Federal Reserve Bank of St. Louis, such as 'GS10', by download or from the cache.

    The cache is the folder ``elman/fred`` in ``$XDG_CACHE_HOME`` or ``~/.cache``; with ``refresh`` the
    download is tried first. Missing values at the ends are left out, and said so in the notes; within they
    are an error, unless resampled. Raises DataError without network and cache.
    """
    series_id = series_id.upper()
    if not re.fullmatch(r"[A-Z0-9_]+", series_id):
        raise DataError(f"fred:{series_id}: FRED's names hold letters, digits and _ only, such as fred:GS10")
    raw, notes = _cached(series_id, refresh)
    table = csv_table(raw, f"fred:{series_id}")
    dates, values = _columns(table, series_id)
    table = _without_missing(table, dates, values, within=resample is not None)
    series = series_from_table(table, target=target or values, time=time or dates, resample=resample)
    return replace(series, notes=notes + series.notes)


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


def _without_missing(table: Table, dates: str, values: str, within: bool) -> Table:
    """Leave out rows without a value at the ends; ``within`` too, or raise DataError naming the first."""
    import narwhals as nw

    cells = table.frame[values].to_list()
    filled = [index for index, cell in enumerate(cells) if cell not in MISSING]
    if not filled:
        raise DataError(f"{table.rows.source}: has no value at all")
    start, stop = filled[0], filled[-1] + 1
    holes = sorted(set(range(start, stop)) - set(filled))
    if holes and not within:
        date = table.frame[dates].to_list()[holes[0]]
        raise table.rows.error(
            holes[0],
            f"FRED has no value for {date} ({len(holes)} such within the series); take means with --resample",
        )
    ends = len(cells) - (stop - start)
    notes = table.notes + ((f"left out {ends} missing value(s) at the ends",) if ends else ())
    notes += (f"left out {len(holes)} missing value(s) within",) if holes else ()
    frame = table.frame.filter(~nw.col(values).is_in([".", ""]) & ~nw.col(values).is_null())
    return Table(frame, Rows(table.rows.source, table.rows.first + start, table.rows.hint), notes)
