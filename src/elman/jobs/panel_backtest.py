"""Backtesting many series: forecasts from one origin after another in each, and how good they were over all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.choices.forecast import LEVELS
from elman.data import Panel, read_panel
from elman.errors import DataError, ElmanError
from elman.jobs.backtest import VALIDATED, check_steps, first_origin, joined_bounds
from elman.jobs.panel_forecaster import PanelForecaster
from elman.jobs.panel_scores import plain_forecasts, score_of_panel
from elman.jobs.shown import panel as shown
from elman.metrics import Bounds
from elman.tasks.panel import PanelTask
from elman.tasks.panel_windows import Part

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PanelBacktest:
    """Forecasts of many series from their origins, beside the truth, (n, K).

    They are of the windows ``part`` of ``panel``. ``intervals`` hold the bounds (n, K) of each level,
    ``plain`` the plain forecasts (n, K); ``task`` is what knew the values before the first origins alone.
    """

    panel: Panel
    part: Part
    prediction: Array
    truth: Array
    intervals: Mapping[float, Bounds]
    plain: Mapping[str, Array]
    task: PanelTask
    refitted: bool

    def scores(self) -> dict[str, Any]:
        """Score the network and every plain forecast, with a verdict.

        The scores are of each series, and their means. Errors are scaled, for MASE, by what stands before the first
        origin of each series.
        """
        scored = score_of_panel(self.task, self.part, self.prediction, self.truth, self.intervals, self.plain)
        own = {"task": "backtests", "horizon": self.truth.shape[1], "refitted": self.refitted}
        return scored | own

    @staticmethod
    def words(result: Mapping[str, Any]) -> list[str]:
        """What :meth:`scores` gave, as a table."""
        return shown.words(result, "origins")

    def draw(self, path: str | Path) -> Path:
        """Draw the last forecast of some series, best to worst; return the .png or .svg file."""
        title = f"{Path(self.panel.source).name}: the last origin, from the best series to the worst"
        errors = np.abs(self.prediction - self.truth).mean(1) / self.task.scale[self.part.series]
        return shown.draw(Path(path), self.panel, self.part, self.prediction, self.intervals, errors, title)

    def table(self, levels: tuple[float, ...] = LEVELS) -> dict[str, list[Any]]:
        """Return every forecast as columns of a table.

        Id, origin, step, date (if there are dates), truth, mean, bounds.
        """
        n, steps = self.truth.shape
        names = [self.panel.names[s] for s in self.part.series.tolist()]
        columns: dict[str, list[Any]] = {
            "id": [name for name in names for _ in range(steps)],
            "origin": np.repeat(self.part.origin, steps).tolist(),
            "step": list(range(1, steps + 1)) * n,
        }
        if all(one.times is not None for one in self.panel.series):
            columns["date"] = [
                text
                for s, origin in zip(self.part.series.tolist(), self.part.origin.tolist(), strict=True)
                for text in _dates(self.panel, s, origin, steps)
            ]
        columns |= {"truth": self.truth.ravel().tolist(), "mean": self.prediction.ravel().tolist()}
        for level in levels:
            for end, bound in zip(("lower", "upper"), self.intervals[level], strict=True):
                columns[f"{end}_{level:g}"] = bound.ravel().tolist()
        return columns


def _dates(panel: Panel, number: int, origin: int, steps: int) -> list[str]:
    series = panel.series[number]
    assert series.times is not None
    return series.written(series.times[origin : origin + steps])


def backtest_panel(
    data: Any,
    horizon: int = 1,
    *,
    first: int | None = None,
    every: int = 1,
    refit: bool = False,
    more: bool = False,
    report: Callable[[int, int], None] | None = None,
    reading: Mapping[str, Any] | None = None,
    **choices: Any,
) -> PanelBacktest:
    """Forecast each of many series from many past origins, each from its own past.

    From value ``first`` of each series on (unless told, its last fifth), then from every ``every``-th. ``data`` is read
    by :func:`elman.data.read_panel`; ``choices`` are those of :class:`PanelForecaster`. The network, the lines and
    whatever is found in the data know only what stands before the first origin of each series, or with ``refit``,
    before each: then all is trained anew at every one. Raises :class:`DataError` for a series that has no origin,
    unless ``short`` is "skip".

    >>> panel = {name: np.sin(np.arange(60.0) / 3 + ord(name)) for name in "ab"}
    >>> backtest_panel(panel, 3, every=5, hidden=4, epochs=1).prediction.shape
    (4, 3)
    """
    if "split" in choices:
        raise ElmanError("`split`: a backtest has no split, each origin has its past; leave it out")
    check_steps(horizon=horizon, every=every)
    panel = _with_origins(read_panel(data, **(reading or {})), horizon, first, choices.get("short", "refuse"))
    begin = np.array([first_origin(int(n), first) for n in panel.lengths])
    rounds = int(((panel.lengths - horizon - begin) // every).max()) + 1
    origins = [begin + every * k for k in range(rounds)]
    found: list[tuple[Part, Array, dict[float, Bounds], dict[str, Array]]] = []
    known: PanelTask | None = None
    last = panel.lengths - horizon
    total = len(_windows(origins, last))
    for group in [[one] for one in origins] if refit else [origins]:
        part = _windows(group, last)
        forecaster = PanelForecaster(horizon=horizon, split=(100 - VALIDATED, VALIDATED, 0), **choices)
        forecaster.fit(_before(panel, np.minimum(group[0], panel.lengths)))
        task = forecaster.task.going_on(panel.columns())
        known = known or task
        plain = plain_forecasts(task, part, more, known.config.season or 0)
        made = forecaster.forecast(panel, part)
        found.append((part, made, forecaster.intervals(panel, part, made, LEVELS), plain))
        if report is not None:
            report(sum(len(one) for one, *_ in found), total)
    assert known is not None
    parts, predictions, around, others = zip(*found, strict=True)
    series, at = (np.concatenate([getattr(part, name) for part in parts]) for name in ("series", "origin"))
    order = np.lexsort((at, series))
    names = [name for name in others[0] if all(name in one for one in others)]
    return PanelBacktest(
        panel,
        Part(series[order], at[order]),
        np.concatenate(predictions)[order],
        known.truth(Part(series[order], at[order])),
        {level: (low[order], high[order]) for level in LEVELS for low, high in [joined_bounds(around, level)]},
        {name: np.concatenate([one[name] for one in others])[order] for name in names},
        known,
        refit,
    )


def _windows(origins: list[NDArray[np.int64]], last: NDArray[np.int64]) -> Part:
    """The windows at these ``origins`` (S,), as far as each is at most the ``last`` (S,) of its series."""
    pairs = sorted((s, int(o)) for each in origins for s, o in enumerate(each) if o <= last[s])
    series, at = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return Part(series, at)


def _before(panel: Panel, ends: NDArray[np.int64]) -> Panel:
    """Each series up to its end in ``ends`` (S,)."""
    series = (one.before(int(end)) for one, end in zip(panel.series, ends, strict=True))
    return replace(panel, series=tuple(series), notes=())


def _with_origins(panel: Panel, horizon: int, first: int | None, short: str) -> Panel:
    """The series that have an origin."""
    begin = np.array([first_origin(int(n), first) for n in panel.lengths])
    there = (begin >= 2) & (begin + horizon <= panel.lengths)
    if there.all():
        return panel
    if short == "refuse" or not there.any():
        i = int(np.flatnonzero(~there)[0])
        raise DataError(
            f"{panel.source}: series {panel.names[i]!r} has {panel.lengths[i]} values, and the first origin has "
            f"{begin[i]} before it and {horizon} after; give an earlier `first`, a shorter horizon, or `short=skip`"
        )
    return panel.taken(np.flatnonzero(there).tolist())
