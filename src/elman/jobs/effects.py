"""What covariates and the calendar explain of a series: taken out before a network sees it, restored in forecasts."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.data import Panel, Series
from elman.data.series.calendar import Step, date_text
from elman.data.series.days import calendar_columns, hidden_by
from elman.errors import DataError
from elman.linear import Adjustment, adjust_many, fit_many

Array = NDArray[np.float64]
KEPT = 64  # calendars
LAGS = 3  # of a covariate known up to now: as many steps before as are forecast, and two more
CALENDAR = "calendar: "  # before the names of what the dates say


@dataclass(frozen=True)
class Effects:
    """The ``adjustments`` of a series' columns; what is known up to now counts ``lag`` steps later and more.

    What is (N, C) here is in the columns of the series; forecasts are (n, K, C), their first steps at ``first`` (n,).
    """

    adjustments: tuple[Adjustment, ...]
    lag: int

    @classmethod
    def choose(cls, series: Series, end: int, season: int, lag: int, calendar: bool) -> Effects:
        """Those that help to forecast the values before ``end``, of all covariates and, if wanted, of the calendar."""
        columns = _tried(series, end, lag, calendar)
        return cls(tuple(Adjustment.choose(values, columns, season) for values in series.values[:end].T), lag)

    def __bool__(self) -> bool:
        return any(self.adjustments)

    def used(self, column: int) -> list[str]:
        """What is used of a column, in words."""
        return [name.removeprefix(CALENDAR) for name in self.adjustments[column].coefficients]

    def without(self, series: Series) -> Series:
        """The series without the effects."""
        if not self:
            return series
        pairs = zip(self.adjustments, series.values.T, self._of(series).T, strict=True)
        left = np.stack([one.without(values, effect) for one, values, effect in pairs], axis=1)
        return replace(series, values=left)

    def restored(self, rest: Array, series: Series, first: NDArray[np.int64]) -> Array:
        """Forecasts of ``series`` from those of the rest."""
        if not self:
            return rest
        effect = self._at(series, first, rest.shape[1])
        return np.stack([one.restored(rest[..., c], effect[..., c]) for c, one in enumerate(self.adjustments)], axis=-1)

    def factors(self, series: Series, first: NDArray[np.int64], steps: int) -> Array:
        """By how much the effects stretch the distances between values, (n, steps, C)."""
        if not self:
            return np.ones((len(first), steps, series.values.shape[1]))
        effect = self._at(series, first, steps)
        return np.stack([one.factor(effect[..., c]) for c, one in enumerate(self.adjustments)], axis=-1)

    def _at(self, series: Series, first: NDArray[np.int64], steps: int) -> Array:
        at = first[:, None] + np.arange(steps)
        return self._of(series, max(0, int(at.max()) + 1 - len(series)))[at]

    def _of(self, series: Series, steps: int = 0) -> Array:
        """The effects (N + steps, C) on ``series`` and on the steps after it."""
        names = {name for one in self.adjustments for name in one.coefficients}
        columns, size = _columns(series, self.lag, steps, names), len(series) + steps
        if missing := names - columns.keys():
            of_dates = ", ".join(sorted(name.removeprefix(CALENDAR) for name in missing))
            raise DataError(
                f"{series.source}: {of_dates} are told by dates, and here are none; give a series with dates "
                "(`begin`, to a server), or train with `calendar=none`"
            )
        effects = [one.effect(columns) if one else np.zeros(size) for one in self.adjustments]
        return np.stack(effects, axis=1)


@dataclass(frozen=True)
class PanelEffects:
    """The effects on each series of a panel, none where there are none on any.

    Windows are by ``series`` (n,) and the ``first`` (n,) of their steps; forecasts of them are (n, K).
    """

    each: tuple[Effects, ...] = ()

    @classmethod
    def choose(cls, panel: Panel, ends: NDArray[np.int64], season: int, lag: int, calendar: bool) -> PanelEffects:
        """Those that help to forecast the values before the ``ends`` (S,), the same of all series."""
        pairs = [(one, int(end)) for one, end in zip(panel.series, ends, strict=True)]
        tried = [_tried(one, end, lag, calendar) for one, end in pairs]
        everywhere = set.intersection(*(set(columns) for columns in tried))
        tried = [{name: x for name, x in columns.items() if name in everywhere} for columns in tried]
        return cls.of(adjust_many([one.values[:end, 0] for one, end in pairs], tried, season), lag)

    @classmethod
    def of(cls, adjustments: Sequence[Adjustment], lag: int) -> PanelEffects:
        """Effects with these ``adjustments``, one a series."""
        return cls(tuple(Effects((one,), lag) for one in adjustments) if any(adjustments) else ())

    def fitted(self, panel: Panel, ends: NDArray[np.int64], season: int) -> PanelEffects:
        """The effects of the same covariates on another ``panel``, found in the values before the ``ends`` (S,)."""
        if not self:
            return self
        like, lag = self.each[0].adjustments[0], self.each[0].lag
        pairs = [(one, int(end)) for one, end in zip(panel.series, ends, strict=True)]
        columns = [{name: x[:end] for name, x in _columns(one, lag).items()} for one, end in pairs]
        return self.of(fit_many([one.values[:end, 0] for one, end in pairs], columns, season, like), lag)

    def __bool__(self) -> bool:
        return bool(self.each)

    @property
    def adjustments(self) -> list[Adjustment]:
        """The adjustment of each series."""
        return [one.adjustments[0] for one in self.each]

    def of_series(self, numbers: NDArray[np.int64]) -> PanelEffects:
        """The effects on the series of these ``numbers``."""
        return PanelEffects(tuple(self.each[i] for i in numbers.tolist()) if self else ())

    def without(self, panel: Panel) -> Panel:
        """The panel without the effects."""
        if not self:
            return panel
        pairs = zip(self.each, panel.series, strict=True)
        return replace(panel, series=tuple(one.without(series) for one, series in pairs))

    def restored(self, rest: Array, panel: Panel, series: NDArray[np.int64], first: NDArray[np.int64]) -> Array:
        """Forecasts of the windows from those of the rest."""
        made = rest.copy()
        for i, rows in self._rows(series):
            with _named(panel.names[i]):
                made[rows] = self.each[i].restored(rest[rows, :, None], panel.series[i], first[rows])[..., 0]
        return made

    def factors(self, panel: Panel, series: NDArray[np.int64], first: NDArray[np.int64], steps: int) -> Array:
        """By how much the effects stretch the distances between values, (n, steps)."""
        found = np.ones((len(series), steps))
        for i, rows in self._rows(series):
            with _named(panel.names[i]):
                found[rows] = self.each[i].factors(panel.series[i], first[rows], steps)[..., 0]
        return found

    def _rows(self, series: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Each series that has windows, and which."""
        if self:
            order = np.argsort(series, kind="stable")
            numbers, starts = np.unique(series[order], return_index=True)
            yield from zip(numbers.tolist(), np.split(order, starts[1:]), strict=True)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """What is wrong inside is said of the series ``name``."""
    try:
        yield
    except DataError as error:
        raise DataError(f"series {name!r} of {error}") from error


def _tried(series: Series, end: int, lag: int, calendar: bool) -> dict[str, Array]:
    """What may explain the values before ``end``, as far as these can show it: of the calendar if that is wanted."""
    hidden = set() if series.times is None else {CALENDAR + name for name in hidden_by(series.times[:end])}
    return {
        name: x[:end]
        for name, x in _columns(series, lag).items()
        if name not in hidden and (calendar or not name.startswith(CALENDAR))
    }


@functools.lru_cache(KEPT)
def _calendar(times: bytes, step: Step) -> dict[str, Array]:
    """What the calendar says of ``times`` (N,); kept, as many series have the same."""
    return calendar_columns(np.frombuffer(times, "M8[us]"), step)


def _columns(series: Series, lag: int, steps: int = 0, wanted: Collection[str] | None = None) -> dict[str, Array]:
    """What may explain the values and ``steps`` more, (N + steps, P) each; of those that are not ``wanted`` not all.

    Raises :class:`DataError` where one that is wanted is not known so far ahead.
    """
    size = len(series) + steps
    found: dict[str, Array] = {}
    if series.times is not None and series.step is not None:
        later = series.later(steps)
        assert later is not None
        times = np.concatenate([series.times, later])
        found |= {CALENDAR + name: x for name, x in _calendar(times.tobytes(), series.step).items()}
    for name, x in series.known.by_column().items() if series.known is not None else ():
        if len(x) < size and (wanted is None or name in wanted):
            raise DataError(
                f"{series.source}: column {name!r} is known {len(x) - len(series)} steps ahead"
                f"{_until(series, len(x) - len(series))}, and {steps} are forecast; give rows with its values to come"
            )
        found[name] = x[:size]
    for name, x in series.past.by_column().items() if series.past is not None else ():
        if steps > lag and (wanted is None or name in wanted):
            raise DataError(
                f"{series.source}: column {name!r} is known up to now and foretells {lag} steps, and {steps} are "
                "forecast; train with that `horizon`"
            )
        before = np.arange(size)[:, None] - np.arange(lag, lag + LAGS)
        found[name] = x[before.clip(0, len(x) - 1)].reshape(size, -1)
    return found


def _until(series: Series, steps: int) -> str:
    dates = series.later(steps) if steps else series.times
    return "" if dates is None else f" (to {date_text(dates[-1], series.step)})"


def as_trained(series: Series, trained: Series) -> Series:
    """``series`` with its covariates in the columns of those of ``trained``, by their names.

    Raises :class:`DataError` where it has not all of them.
    """
    pairs = {name: (getattr(series, name), getattr(trained, name)) for name in ("known", "past")}
    changed: dict[str, Any] = {}
    for name, (own, other) in pairs.items():
        if other is not None and own is None:
            raise DataError(
                f"{series.source}: has no covariates {', '.join(other.columns)}; give them with `{name}`, as before"
            )
        changed[name] = None if other is None else own.like(other, series.source)
    return replace(series, **changed)


def noted(effects: Effects, names: Sequence[str], asked: Collection[str]) -> list[str]:
    """What was found of effects on the columns ``names``, and which covariates that were ``asked`` for help none."""
    lines = []
    for column, (name, one) in enumerate(zip(names, effects.adjustments, strict=True)):
        if used := effects.used(column):
            how = "as factors" if one.multiplies else "as summands"
            beside = f"{name}: " if len(names) > 1 else ""
            lines.append(
                f"{beside}effects of {', '.join(used)} are taken out first, {how}; "
                f"the squared error one step ahead falls by {100 * one.gain:.0f} %"
            )
    idle = [one for one in asked if not any(one in each.coefficients for each in effects.adjustments)]
    if idle:
        lines.append(f"{', '.join(idle)}: no help to the forecast, and not used")
    return lines
