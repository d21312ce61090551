"""Several series of unlike lengths: a long table, a table with a series a row, or columns that begin late."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.choices.reading import ReadConfig
from elman.data.mapped import Columns
from elman.data.parsing import Rows
from elman.data.series import columns, dates
from elman.data.series.calendar import Step
from elman.data.series.covariates import Covariates, members_of, read_beside, read_static
from elman.data.series.gaps import Incomplete
from elman.data.series.reading import Survey, dated
from elman.data.series.series import Series
from elman.data.tables import Table
from elman.errors import DataError

COVARIATES = ("known", "past")


@dataclass(frozen=True, eq=False)
class Panel:
    """Many series with the same time step, of any lengths.

    Each of ``series`` has one column, named by what tells it apart; ``static`` has a row for each.

    Raises DataError for no series, two of one name, several columns in one, or unlike steps.

    >>> panel = Panel.of({"north": [1.0, 2.0, 3.0], "south": [5.0, 6.0]})
    >>> panel.names, panel.lengths.tolist()
    (('north', 'south'), [3, 2])
    """

    series: tuple[Series, ...]
    source: str = "values"
    notes: tuple[str, ...] = ()
    static: Covariates | None = None

    def __post_init__(self) -> None:
        if not self.series:
            raise DataError(f"{self.source}: holds no series")
        if self.static is not None and len(self.static) != len(self.series):
            raise DataError(f"{self.source}: {len(self.static)} rows of static columns for {len(self.series)} series")
        if len(set(self.names)) < len(self.names):
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise DataError(f"{self.source}: two series are called {twice!r}; give each a name of its own")
        steps = [one.step for one in self.series if one.step is not None]
        usual = max(set(steps), key=steps.count) if steps else None
        for one in self.series:
            if one.values.shape[1] != 1:
                raise DataError(f"{self.source}: series {one.names[0]!r} has {one.values.shape[1]} columns; want one")
            if one.step is not None and one.step != usual:
                raise unlike_steps(self.source, one.names[0], one.step, usual)

    @classmethod
    def of(cls, series: Mapping[str, Any], source: str = "values") -> Panel:
        """A panel of arrays (N,) by name."""
        made = [
            Series(np.asarray(values, dtype=np.float64)[:, None], (name,), source=source)
            for name, values in series.items()
        ]
        return cls(tuple(made), source)

    def __len__(self) -> int:
        return len(self.series)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What the series are called."""
        return tuple(one.names[0] for one in self.series)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """How many values each series has, (S,)."""
        return np.array([len(one) for one in self.series])

    @property
    def step(self) -> Step | None:
        """The step of the series, where they have dates."""
        return next((one.step for one in self.series if one.step is not None), None)

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """The values of all series, one after the other."""
        return np.concatenate([one.values[:, 0] for one in self.series])

    def columns(self) -> Columns:
        """The values of each series, (N,)."""
        return Columns(self.values, self.lengths)

    def taken(self, chosen: Sequence[int]) -> Panel:
        """The series of these indices."""
        static = None if self.static is None else self.static.rows(chosen)
        return replace(self, series=tuple(self.series[i] for i in chosen), static=static)

    def to_arrays(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Split into numpy arrays and facts that JSON can hold: the series one after the other."""
        each = [one.to_arrays() for one in self.series]
        arrays = {"values": self.values, "lengths": self.lengths}
        if all("times" in own for own, _ in each):
            arrays["times"] = np.concatenate([own["times"] for own, _ in each])
        for name in COVARIATES:
            if all(name in own for own, _ in each):
                arrays[name] = np.concatenate([own[name] for own, _ in each])
                arrays[f"{name}_lengths"] = np.array([len(own[name]) for own, _ in each])
        more: dict[str, Any] = {}
        if self.static is not None:
            own, more = self.static.to_arrays("static")
            arrays |= own
        facts = each[0][1] | more | {"names": list(self.names), "source": self.source, "notes": list(self.notes)}
        return arrays, facts | {"step": next((own["step"] for _, own in each if own["step"]), None)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> Panel:
        """Join what :meth:`to_arrays` split.

        Raises DataError if the parts do not fit.
        """
        ends = np.cumsum(arrays["lengths"])
        if len(facts["names"]) != len(ends) or not len(ends) or ends[-1] != len(arrays["values"]):
            raise DataError("a panel that cannot be read: its lengths are not those of its values")
        made = []
        beside = {
            name: np.split(arrays[name], np.cumsum(arrays[f"{name}_lengths"])[:-1])
            for name in COVARIATES
            if name in arrays
        }
        for i, (name, end) in enumerate(zip(facts["names"], ends.tolist(), strict=True)):
            start = end - int(arrays["lengths"][i])
            own = {"values": arrays["values"][start:end, None]} | {what: rows[i] for what, rows in beside.items()}
            if "times" in arrays:
                own["times"] = arrays["times"][start:end]
            made.append(Series.from_arrays(own, {**facts, "names": [name], "notes": []}))
        static = Covariates.from_arrays("static", arrays, facts)
        return cls(tuple(made), facts["source"], tuple(facts["notes"]), static)


def unlike_steps(source: str, name: str, step: Step | None, usual: Step | None) -> DataError:
    """Say that a series is in other steps than the others."""
    return DataError(
        f"{source}: series {name!r} is in steps of {step}, the others of {usual}; take means with `resample`"
    )


def panel_of(table: Table, config: ReadConfig) -> Panel:
    """The series of a table that column ``id`` tells apart, or that its columns are where they begin or end apart.

    Where the column names every row anew and the others hold numbers alone, each row is a series. Raises DataError.
    """
    columns.check_named(table, config)
    if config.aside and (config.id is None or _a_series_a_row(table, config.id)):
        raise DataError(
            f"{table.rows.source}: `known`, `past` and `static` are columns beside one of values, and here each "
            f"{'column' if config.id is None else 'row'} is a series; give a long table with a column `id`"
        )
    static = None
    if config.id is None:
        surveys, notes = _side_by_side(table, config)
    elif _a_series_a_row(table, config.id):
        surveys, notes = _by_row(table, config.id, config)
    else:
        surveys, notes = _by_name(table, config.id, config)
        static = read_static(table, config)
    source, said = table.rows.source, tuple(dict.fromkeys((*table.notes, *notes)))
    return Panel(tuple(_whole(one, config) for one in surveys), source, said, static)


def _whole(read: Survey, config: ReadConfig) -> Series:
    made = read.completed(config)
    return replace(made, notes=())


def _a_series_a_row(table: Table, name: str) -> bool:
    cells = [str(cell) for cell in table.frame[name].to_list()]
    others = [other for other in table.frame.columns if other != name]
    return len(set(cells)) == len(cells) and len(others) > 1 and all(columns.is_numeric(table.frame[o]) for o in others)


def _by_row(table: Table, name: str, config: ReadConfig) -> tuple[list[Survey], tuple[str, ...]]:
    """Each row a series, to its last cell that holds a value."""
    others = [other for other in table.frame.columns if other != name]
    values = np.stack([columns.values_of(table, other, config)[0] for other in others], axis=1)
    names = [str(cell) for cell in table.frame[name].to_list()]
    surveys = []
    for i, (own, row) in enumerate(zip(names, values, strict=True)):
        there = np.flatnonzero(~np.isnan(row))
        if not there.size:
            raise table.rows.error(i, f"series {own!r} has no value at all; leave it out")
        if np.isnan(row[: there[-1] + 1]).any() and config.fill is None:
            first = int(np.flatnonzero(np.isnan(row))[0])
            raise table.rows.error(
                i, f"series {own!r} has an empty cell in column {others[first]!r}; give `fill`, or fill it in"
            )
        rows = Rows(f"{table.rows.source}, series {own!r}", hint="value, counted from 0")
        surveys.append(Survey(Incomplete(row[: there[-1] + 1, None], (own,), rows)))
    return surveys, (f"each row is a series of its own, {len(surveys)} of them, named in column {name!r}",)


def _by_name(table: Table, name: str, config: ReadConfig) -> tuple[list[Survey], tuple[str, ...]]:
    """Rows that one name stands in are one series."""
    members = members_of(table, name)
    rest, alone = replace(table, frame=table.frame.drop(name)), config.model_copy(update={"id": None})
    time = columns.time_column(rest, alone)
    targets = columns.target_columns(rest, alone, time)
    if len(targets) != 1:
        raise DataError(f"{table.rows.source}: `target`: got {', '.join(targets)}; of several series want one column")
    values, notes = columns.values_of(rest, targets[0], config)
    more, beside, about = read_beside(rest, config)
    values = np.concatenate([values[:, None], more], axis=1)
    notes += (
        *about,
        f"{len(members)} series, told apart by column {name!r}",
    )
    dates_of = None
    if time is not None:
        cells = columns.cells_of_dates(rest, time)
        dates_of = dates.dates(cells, table.rows, time, config.date_format, [*members.values()])
    if dates_of is not None:
        notes += dates_of.notes + ((f"the dates are in column {time!r}",) if config.time is None else ())
    surveys = []
    for own, rows in members.items():
        chosen = np.array(rows)
        part = replace(rest, frame=rest.frame[rows], rows=table.rows.taken(chosen))
        names = (own, *beside.names())
        if dates_of is None or dates_of.times is None:
            read = Survey(Incomplete(values[chosen], names, part.rows, column=time or ""))
        else:
            own_dates = replace(dates_of, times=dates_of.times[chosen])
            read = dated(part, values[chosen], names, str(time), own_dates, alone, ())
        surveys.append(replace(read, beside=beside))
    return surveys, notes + tuple(note for one in surveys for note in one.notes)


def _side_by_side(table: Table, config: ReadConfig) -> tuple[list[Survey], tuple[str, ...]]:
    """Each column of values a series, from the first row that it has a value in to the last."""
    time = columns.time_column(table, config)
    surveys: list[Survey] = []
    notes: tuple[str, ...] = ()
    dates_of = (
        None if time is None else dates.dates(columns.cells_of_dates(table, time), table.rows, time, config.date_format)
    )
    for name in columns.target_columns(table, config, time):
        values, said = columns.values_of(table, name, config)
        there = np.flatnonzero(~np.isnan(values))
        if not there.size:
            raise DataError(f"{table.rows.source}: series {name!r} has no value at all; leave it out")
        chosen = np.arange(there[0], there[-1] + 1)
        notes += said
        part = replace(table, frame=table.frame[chosen.tolist()], rows=table.rows.taken(chosen))
        if dates_of is None or dates_of.times is None:
            surveys.append(Survey(Incomplete(values[chosen, None], (name,), part.rows, column=time or "")))
        else:
            own = replace(dates_of, times=dates_of.times[chosen])
            surveys.append(dated(part, values[chosen, None], (name,), str(time), own, config, ()))
    return surveys, (*notes, *(note for one in surveys for note in one.notes))
