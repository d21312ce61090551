"""Gaps and empty cells of a series: found, named, and filled as asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.choices.reading import FILLS
from elman.data.parsing import Rows
from elman.data.series import calendar, zones
from elman.data.series.calendar import Step, date_text
from elman.errors import DataError

Array = NDArray[np.float64]
WAYS = f"`fill` ({', '.join(FILLS)})"
MOST = 10  # values filled for each one that is there
LISTED = 3  # places that a note names


@dataclass(frozen=True)
class Gap:
    """Dates that are missing between two of a series: after row ``row``, so many ``steps`` of it."""

    row: int
    before: np.datetime64
    after: np.datetime64
    steps: int


@dataclass(frozen=True, eq=False)
class Incomplete:
    """A series as its file has it: ``values`` (N, C), NaN where a cell is empty, at rising ``times`` (N,), if any.

    ``column`` is that of the dates; ``step`` the one they keep to but for their gaps.
    """

    values: Array
    names: tuple[str, ...]
    rows: Rows
    times: NDArray[Any] | None = None
    column: str = ""
    step: Step | None = None

    def gaps(self) -> list[Gap]:
        """The gaps between dates that stand on the step. Raises DataError naming a date that does not."""
        if self.times is None or self.step is None:
            return []
        position, on = calendar.places(self.times, self.step)
        if not on.all():
            raise self._uneven(int(np.flatnonzero(~on)[0]))
        steps = np.diff(position)
        if (steps < 1).any():
            raise self._uneven(int(np.flatnonzero(steps < 1)[0]) + 1)
        return [Gap(int(i), self.times[i], self.times[i + 1], int(steps[i]) - 1) for i in np.flatnonzero(steps > 1)]

    def _uneven(self, index: int) -> DataError:
        assert self.times is not None
        index = max(index, 1)
        before, after = (date_text(time) for time in self.times[index - 1 : index + 1])
        way = "take means with `resample`"
        return self.rows.error(
            index,
            f"column {self.column!r} has uneven dates between {before} and {after}, where the commonest step is "
            f"{self.step}; {way}",
        )

    def empties(self) -> list[tuple[int, int]]:
        """The rows and columns of the cells without a value."""
        return [(int(row), int(column)) for row, column in np.argwhere(np.isnan(self.values))]

    def check_whole(self) -> None:
        """Raise DataError naming the first gap or empty cell and how many there are."""
        if empty := self.empties():
            row, column = empty[0]
            more = f" ({len(empty)} cells are, the last in row {self.rows.number(empty[-1][0])})" if empty[1:] else ""
            raise self.rows.error(row, f"column {self.names[column]!r} is empty{more}; give {WAYS}, or fill it in")
        self.check_steps()

    def check_steps(self) -> None:
        """Raise DataError naming the first gap between the dates, and how many there are."""
        gaps = self.gaps()
        if gaps:
            gap = gaps[0]
            missing = sum(gap.steps for gap in gaps)
            more = f" ({missing} in {len(gaps)} gaps)" if gaps[1:] else ""
            raise self.rows.error(
                gap.row + 1,
                f"column {self.column!r} has a gap between {date_text(gap.before)} and {date_text(gap.after)}: "
                f"{gap.steps} missing at a step of {self.step}{more}; {self._clocks(gap)}give {WAYS}, "
                "or take means with `resample`",
            )

    def _clocks(self, gap: Gap) -> str:
        """What to try where the hour is missing that clocks skip when summer time begins."""
        hour = np.timedelta64(1, "h")
        night = gap.before.astype("M8[us]").item()
        skipped = gap.after - gap.before - hour <= hour and night.weekday() == 6 and night.month in (3, 4, 9, 10)
        short = self.step is not None and self.step.is_exact and self.step.microseconds <= 3_600_000_000
        return "the hour may be the one that clocks skip: give the dates' `zone`, or " if skipped and short else ""


def filled(series: Incomplete, fill: str) -> tuple[Array, NDArray[Any] | None, tuple[str, ...]]:
    """The values (M, C) of every step and their times (M,), and notes on what was filled.

    "interpolate" draws a line between the values around a gap (and repeats the nearest at the ends), "previous" repeats
    the value before, "zero" takes 0 and "mean" the mean of the column. The first and the last look ahead of the gap.
    Raises DataError where a column has nothing to fill from, or the gaps are larger than all that is there.
    """
    gaps = series.gaps()
    values, times, missing = series.values, series.times, sum(gap.steps for gap in gaps)
    if missing > MOST * (len(values) + MOST):
        raise series.rows.error(
            gaps[0].row + 1,
            f"column {series.column!r} has {missing} dates missing at a step of {series.step}, and {len(values)} "
            "are there; take means with `resample`",
        )
    notes = []
    if empty := series.empties():
        places = [f"row {series.rows.number(row)}" for row, _ in empty]
        notes.append(f"filled {len(empty)} empty cell(s) ({fill}): {_listed(places)}")
    if gaps and times is not None and series.step is not None:
        position, _ = calendar.places(times, series.step)
        wide = np.full((int(position[-1]) + 1, values.shape[1]), np.nan)
        wide[position] = values
        times = calendar.advance(times[0], series.step, np.arange(len(wide)), calendar.anchor_day(times))
        values = wide
        places = [f"{gap.steps} after {date_text(gap.before)}" for gap in gaps]
        notes.append(f"filled {missing} missing date(s) ({fill}): {_listed(places)}")
    columns = [_column(values[:, c], fill, series, c) for c in range(values.shape[1])]
    return np.stack(columns, axis=1), times, tuple(notes)


def _listed(places: list[str]) -> str:
    more = f" and {len(places) - LISTED} more" if len(places) > LISTED else ""
    return ", ".join(places[:LISTED]) + more


def _column(values: Array, fill: str, series: Incomplete, column: int) -> Array:
    known = np.flatnonzero(~np.isnan(values))
    if len(known) == len(values):
        return values
    name = series.names[column]
    if not known.size:
        raise DataError(f"{series.rows.source}: column {name!r} has no value at all")
    if fill == "interpolate":
        return np.interp(np.arange(len(values)), known, values[known])
    if fill == "previous":
        if known[0] > 0:
            first = int(np.flatnonzero(~np.isnan(series.values[:, column]))[0])
            raise series.rows.error(
                0,
                f"column {name!r} has no value before row {series.rows.number(first)} to repeat; "
                "give `fill=interpolate`, or leave out the rows before it",
            )
        return values[known[np.searchsorted(known, np.arange(len(values)), side="right") - 1]]
    return np.where(np.isnan(values), 0.0 if fill == "zero" else values[known].mean(), values)


def check_repeats(times: NDArray[Any], values: Array, rows: Rows, column: str, names: tuple[str, ...]) -> None:
    """Raise DataError naming a date of rising ``times`` (N,) that stands twice, and where its rows differ."""
    twice = np.flatnonzero(np.diff(times).astype(np.int64) == 0)
    if not twice.size:
        return
    index = int(twice[0]) + 1
    first, second = rows.number(index - 1), rows.number(index)
    differing = [
        f"{name} is {a:g} and {b:g}"
        for name, a, b in zip(names, values[index - 1], values[index], strict=True)
        if a != b and not (np.isnan(a) and np.isnan(b))
    ]
    what = f"and differ: {', '.join(differing)}" if differing else "and are alike"
    more = f" ({len(twice)} dates stand so)" if len(twice) > 1 else ""
    raise rows.error(
        index,
        f"column {column!r} has {date_text(times[index])} twice, in rows {first} and {second}, {what}{more}; "
        "leave one of them out, or take the mean with `resample`",
    )


def clock_turned_back(times: NDArray[Any]) -> int | None:
    """The first of ``times`` (N,), in the order of the file, that stands twice as when clocks are put back."""
    back = np.flatnonzero(np.diff(times).astype(np.int64) <= 0)
    return next((int(i) + 1 for i in back if zones.stands_twice(times[i], times[i + 1])), None)
