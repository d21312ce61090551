"""Tables to series: the columns, the dates and their clock, the order, then gaps filled or means taken."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.choices.reading import ReadConfig
from elman.data.parsing import Rows
from elman.data.series import calendar, columns, dates, zones
from elman.data.series.calendar import Step, date_text
from elman.data.series.covariates import Beside, read_beside
from elman.data.series.dates import Dates
from elman.data.series.gaps import Incomplete, check_repeats, clock_turned_back, filled
from elman.data.series.resampling import resampled
from elman.data.series.series import Series
from elman.data.tables import Table
from elman.errors import DataError

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Survey:
    """A series as its file has it, with its gaps, and what was understood in reading it.

    ``utc`` (N,) are its times in UTC and ``wall`` (N,) those of the clocks of ``zone``; without a zone they are one.
    Its last columns may be covariates: what stands ``beside`` the series.
    """

    incomplete: Incomplete
    notes: tuple[str, ...] = ()
    zone: str | None = None
    utc: NDArray[Any] | None = None
    wall: NDArray[Any] | None = None
    beside: Beside = field(default_factory=Beside)

    def completed(self, config: ReadConfig) -> Series:
        """The series: resampled, filled, or as it is. Raises DataError where it is not whole and neither was asked."""
        if config.resample is not None:
            return self._resampled(Step.parse(config.resample))
        incomplete, source, count = self.seen, self.incomplete.rows.source, self.count
        names, rows = incomplete.names[:count], len(self.incomplete.values)
        values, times, notes = incomplete.values, incomplete.times, self.notes
        if config.fill is None:
            incomplete.check_whole()
        else:
            values, times, more = filled(incomplete, config.fill)
            notes += more
        known = past = None
        if self.beside:
            ahead = self._ahead(len(incomplete.values))
            known = self.beside.chosen(np.concatenate([values[:, count:], ahead]), ahead=True)
            past = self.beside.chosen(values[:, count:], ahead=False)
        if rows > len(incomplete.values):
            notes += (f"{rows - len(incomplete.values)} row(s) after the last value say what is known ahead",)
        return Series(values[:, :count], names, times, incomplete.step, source, notes, self.zone, known, past)

    @property
    def count(self) -> int:
        """How many of the columns are the series' own."""
        return len(self.incomplete.names) - len(self.beside)

    @cached_property
    def seen(self) -> Incomplete:
        """What stands in the rows up to the last that has a value of the series; all where nothing is known ahead."""
        if not self.beside:
            return self.incomplete
        count = self.count
        whole = self.incomplete
        there = np.flatnonzero(~np.isnan(whole.values[:, :count]).all(axis=1))
        if not there.size:
            raise DataError(f"{whole.rows.source}: column {whole.names[0]!r} has no value at all")
        end = int(there[-1]) + 1 if any(self.beside.ahead) else len(whole.values)
        values = np.concatenate([whole.values[:, :count], self._meant(end)], axis=1)[:end]
        times = None if whole.times is None else whole.times[:end]
        return replace(whole, values=values, times=times, rows=whole.rows.taken(np.arange(end)))

    def _meant(self, end: int) -> Array:
        return self.beside.meant(self.incomplete.values[:, self.count :], end)

    def _ahead(self, end: int) -> Array:
        """The covariates (F, P) of the rows after the last value; 0 where they are not known ahead.

        Raises DataError naming a date without one of those that are.
        """
        whole = self.incomplete
        values = np.where(self.beside.ahead, self._meant(end)[end:], 0.0)
        if whole.times is not None:
            last = np.arange(end - 1, len(whole.values))
            replace(
                whole, values=whole.values[last], times=whole.times[last], rows=whole.rows.taken(last)
            ).check_steps()
        self._check_told(values, end)
        return values

    def _check_told(self, values: Array, end: int) -> None:
        """Raise DataError where one of ``values`` (F, P) from row ``end`` on is not there."""
        whole = self.incomplete
        for row, column in np.argwhere(np.isnan(values))[:1].tolist():
            when = "" if whole.times is None else f" on {date_text(whole.times[end + row], whole.step)}"
            raise whole.rows.error(
                end + row,
                f"column {self.beside.of[column]!r} is empty{when}, after the last value of {whole.names[0]!r}; what "
                "is known ahead has a value at each step to come: fill it in, or leave out the rows from there on",
            )

    def _resampled(self, period: Step) -> Series:
        incomplete, source, count = self.seen, self.incomplete.rows.source, self.count
        if self.utc is None or self.wall is None:
            what = f"column {incomplete.column!r} is an index" if incomplete.column else "there are none"
            raise DataError(f"{source}: `resample` needs dates, and {what}; name their column with `time`")
        times, end = self.wall if period.keeps_to_the_day else self.utc, len(incomplete.values)
        full = ~np.isnan(incomplete.values).any(axis=1)
        left_out = (f"left out {int((~full).sum())} row(s) with empty cells",) if not full.all() else ()
        if not full.any():
            raise DataError(f"{source}: no row has a value in every column")
        starts, means, more = resampled(times[:end][full], incomplete.values[full], period, source)
        notes = self.notes + left_out + more
        past = self.beside.chosen(means[:, count:], ahead=False)
        known = None
        if any(self.beside.ahead):
            told = np.where(self.beside.ahead, self._meant(end), 0.0)
            self._check_told(told[end:], end)
            known = self.beside.chosen(_means_from(starts, times, told, period, source), ahead=True)
        names = incomplete.names[:count]
        return Series(means[:, :count], names, starts, period, source, notes, self.zone, known, past)


def _means_from(wanted: NDArray[Any], times: NDArray[Any], values: Array, period: Step, source: str) -> Array:
    """The means of the whole rows over the periods ``wanted``, and over all that follow."""
    whole = ~np.isnan(values).any(axis=1)
    starts, means, _ = resampled(times[whole], values[whole], period, source)
    first = int(np.searchsorted(starts, wanted[0]))
    if not np.array_equal(starts[first : first + len(wanted)], wanted):
        raise DataError(
            f"{source}: `resample={period}`: what is known ahead has not the periods of the values; fill it in, or "
            "take a longer period"
        )
    return means[first:]


def survey(table: Table, config: ReadConfig) -> Survey:
    """Read columns of a table as a series that may have gaps. Raises DataError naming the row at fault."""
    source = table.rows.source
    if len(table.frame) == 0:
        raise DataError(f"{source}: has no rows")
    columns.check_named(table, config)
    if config.id is not None:
        return _one_of_several(table, config)
    time = columns.time_column(table, config)
    names = columns.target_columns(table, config, time)
    read = [columns.values_of(table, name, config) for name in names]
    more, beside, about = read_beside(table, config)
    values = np.concatenate([np.stack([values for values, _ in read], axis=1), more], axis=1)
    names += beside.names()
    notes = table.notes + tuple(note for _, said in read for note in said) + about
    if time is None:
        return Survey(Incomplete(values, names, table.rows), notes, beside=beside)
    dates_of = dates.dates(columns.cells_of_dates(table, time), table.rows, time, config.date_format)
    if config.time is None and dates_of.times is not None:
        notes += (f"the dates are in column {time!r}",)
    notes += dates_of.notes
    if dates_of.times is None:
        by_index = _by_index(table, Incomplete(values, names, table.rows, column=time), notes, time)
        return replace(by_index, beside=beside)
    return replace(dated(table, values, names, time, dates_of, config, notes), beside=beside)


def _by_index(table: Table, incomplete: Incomplete, notes: tuple[str, ...], time: str) -> Survey:
    """Rows by an index: turned round where it falls."""
    cells = columns.cells_of_dates(table, time)
    if len(cells) > 1 and columns.is_falling(cells):
        order = np.arange(len(cells))[::-1]
        incomplete = replace(incomplete, values=incomplete.values[order], rows=incomplete.rows.taken(order))
        notes += (f"turned round: column {time!r} runs from the highest to the lowest",)
    return Survey(incomplete, notes)


def dated(
    table: Table,
    values: Array,
    names: tuple[str, ...],
    time: str,
    dates_of: Dates,
    config: ReadConfig,
    notes: tuple[str, ...],
) -> Survey:
    """The survey of ``values`` (N, C) at the dates ``dates_of``: turned round, sorted, on their clock."""
    rows, times = table.rows, dates_of.times
    assert times is not None
    in_file = times
    if len(times) > 1 and times[0] > times[-1]:  # from the newest to the oldest
        times, values, rows = _taken(np.arange(len(times))[::-1], times, values, rows)
        if not (np.diff(times).astype(np.int64) < 0).any():
            notes += ("turned round: the file runs from the newest to the oldest",)
    utc, zone, more = _instants(times, dates_of, config, rows, time)
    notes += more
    if (np.diff(utc).astype(np.int64) <= 0).any():
        several = columns.series_column(table, in_file, time, names)
        twice = len(np.unique(utc)) < len(utc)
        if several is not None and twice:
            raise _several(table, several)
        if zone is None and (index := clock_turned_back(utc)) is not None:
            raise rows.error(
                index,
                f"column {time!r} has {date_text(utc[index])} a second time, as when clocks are put back; "
                "say whose clocks they are: `zone=Europe/Berlin`, say",
            )
        order = np.argsort(utc, kind="stable")
        if (order != np.arange(len(order))).any():
            utc, values, rows = _taken(order, utc, values, rows)
            notes += ("sorted by date: the rows were not in their order",)
        if config.resample is None:
            utc, values, rows, notes = _without_repeats(utc, values, rows, time, names, notes)
    wall = utc if zone is None else zones.wall(utc, zone)
    step = _step(wall)
    clock = wall if zone is None or step is None or step.keeps_to_the_day else utc
    if clock is utc:
        step = _step(utc)
    if len(dates_of.offsets) > 1 and config.zone is None and config.resample is None:
        _check_offsets(utc, step, dates_of, rows, time)
    return Survey(Incomplete(values, names, rows, clock, time, step), notes, zone, utc, wall)


def _step(times: NDArray[Any]) -> Step | None:
    """The step of rising times; where some stand twice, as they may to be resampled, that of the distinct ones."""
    return calendar.commonest_step(np.unique(times))


def _taken(chosen: NDArray[Any], times: NDArray[Any], values: Array, rows: Rows) -> tuple[NDArray[Any], Array, Rows]:
    """The rows of these indices, in their order."""
    return times[chosen], values[chosen], rows.taken(chosen)


def _without_repeats(
    times: NDArray[Any], values: Array, rows: Rows, time: str, names: tuple[str, ...], notes: tuple[str, ...]
) -> tuple[NDArray[Any], Array, Rows, tuple[str, ...]]:
    """Without rows that say again what the row before says; raises where a date stands twice and its rows differ."""
    same = np.zeros(len(times), dtype=bool)
    with np.errstate(invalid="ignore"):
        alike = (values[1:] == values[:-1]) | (np.isnan(values[1:]) & np.isnan(values[:-1]))
    same[1:] = (np.diff(times).astype(np.int64) == 0) & alike.all(axis=1)
    kept = np.flatnonzero(~same)
    if same.any():
        notes = (*notes, f"left out {int(same.sum())} row(s) that repeat the row before, date and values")
    times, values, rows = _taken(kept, times, values, rows)
    check_repeats(times, values, rows, time, names)
    return times, values, rows, notes


def _instants(
    times: NDArray[Any], dates_of: Dates, config: ReadConfig, rows: Rows, time: str
) -> tuple[NDArray[Any], str | None, tuple[str, ...]]:
    """The times in UTC, the zone they are written in, and what to say of it."""
    if config.zone is not None:
        zones.zone_named(config.zone)
        if not dates_of.offsets:
            return zones.to_utc(times, config.zone, rows, time), config.zone, ()
        return times, config.zone, ()
    if len(dates_of.offsets) > 1:
        return (
            times,
            "UTC",
            (
                f"column {time!r}: times changed to UTC, as their offsets differ ({', '.join(dates_of.offsets[:4])}); "
                "with `zone` they stay those of a place",
            ),
        )
    return times, dates_of.zone, ()


def _check_offsets(utc: NDArray[Any], step: Step | None, dates_of: Dates, rows: Rows, time: str) -> None:
    """Raise DataError where dates of several offsets are uneven in UTC, as the days of a place are."""
    index = calendar.first_uneven(utc, step) if step is not None else None
    if index is not None and step is not None and step.microseconds >= calendar.MICROSECONDS["d"]:
        raise rows.error(
            index,
            f"column {time!r} has uneven dates in UTC, where local days are uneven when summer time begins or ends; "
            f"its offsets are {', '.join(dates_of.offsets[:4])}: say whose clocks they are, "
            "such as `zone=Europe/Berlin`",
        )


def _several(table: Table, name: str) -> DataError:
    names = columns.series_names(table, name)
    listed = ", ".join(names[: columns.NAMED]) + (", ..." if len(names) > columns.NAMED else "")
    return DataError(
        f"{table.rows.source}: holds {len(names)} series, told apart by column {name!r} ({listed}); take one with "
        f"`id={name}={names[0]}`, or all side by side with `id={name}`"
    )


def _one_of_several(table: Table, config: ReadConfig) -> Survey:
    """The series of one name, or those of all names as columns of one series."""
    assert config.id is not None
    column, sign, name = config.id.partition("=")
    if config.id in table.frame.columns:
        column, sign = config.id, ""
    names, alone = columns.series_names(table, column), config.model_copy(update={"id": None})
    if sign and name not in names:
        listed = ", ".join(names[: columns.NAMED])
        raise DataError(f"{table.rows.source}: column {column!r} has no series {name!r}; it has {listed}")
    surveys = [survey(_rows_of(table, column, each), alone) for each in ([name] if sign else names)]
    if sign or len(surveys) == 1:
        return surveys[0]
    if surveys[0].beside:
        raise DataError(
            f"{table.rows.source}: `known` and `past` are of one series; take one with `id={column}={names[0]}`"
        )
    return _side_by_side(surveys, names, column, table.rows.source)


def _rows_of(table: Table, column: str, name: str) -> Table:
    chosen = [str(cell) == name for cell in table.frame[column].to_list()]
    frame = table.frame.filter(chosen).drop(column)
    return replace(table, frame=frame, rows=table.rows.taken(np.flatnonzero(chosen)))


def _side_by_side(surveys: list[Survey], names: list[str], column: str, source: str) -> Survey:
    """Series of the same dates as columns of one; raises DataError naming one that has others."""
    first = surveys[0]
    for other, name in zip(surveys[1:], names[1:], strict=True):
        alike = len(other.incomplete.values) == len(first.incomplete.values) and (
            other.utc is None or first.utc is None or (other.utc == first.utc).all()
        )
        if not alike:
            raise DataError(
                f"{source}: series {name!r} of column {column!r} has other dates than {names[0]!r}; take one with "
                f"`id={column}={name}`"
            )
    one = len(first.incomplete.names) == 1
    titles = [
        name if one else f"{name} {title}"
        for each, name in zip(surveys, names, strict=True)
        for title in each.incomplete.names
    ]
    values = np.concatenate([each.incomplete.values for each in surveys], axis=1)
    notes = tuple(dict.fromkeys(note for each in surveys for note in each.notes))
    return replace(first, incomplete=replace(first.incomplete, values=values, names=tuple(titles)), notes=notes)
