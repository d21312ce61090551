"""What a forecast of many series finds in them before it is trained, and what it says meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from elman.choices.forecast import ForecastConfig
from elman.data import Panel, season_of_many
from elman.data.mapped import Columns
from elman.data.series.stored import StoredPanel
from elman.errors import DataError
from elman.jobs.settling import percents
from elman.linear.many import MOST_LOOKED_AT
from elman.tasks.panel import ends
from elman.training import Progress

LOOKED_AT = 64  # series that the season is found in
TOLD = 50  # series whose lines take so long that it is said how far they are


def long_enough(panel: Panel, asked: ForecastConfig) -> tuple[Panel, tuple[str, ...]]:
    """The series that a window of training fits into, and the names of those that are left out.

    Raises :class:`DataError` unless ``short`` is "skip".
    """
    training, known = ends(panel.lengths, asked)
    short = (training - asked.horizon < 1) | (known < 2)
    if not short.any():
        return panel, ()
    names = [panel.names[i] for i in np.flatnonzero(short)]
    listed = ", ".join(names[:5]) + (f", ... ({len(names)})" if len(names) > 5 else "")
    if short.all() or asked.short == "refuse":
        i = int(np.flatnonzero(short)[0])
        raise DataError(
            f"{panel.source}: too short for a horizon of {asked.horizon} and the split "
            f"{percents(asked.split)}: {listed}; {names[0]} has {panel.lengths[i]} values; give more, a "
            "shorter horizon" + ("" if short.all() else ", or `short=skip` to leave such series out")
        )
    return panel.taken(np.flatnonzero(~short).tolist()), tuple(names)


def season_in(panel: Panel, columns: Columns, asked: ForecastConfig) -> int:
    """The season of the series, as far as they are ``columns``, unless it was ``asked`` for."""
    if asked.season is not None:
        return asked.season
    looked = np.linspace(0, len(panel) - 1, min(len(panel), LOOKED_AT)).round().astype(int)
    return season_of_many([columns[i][-MOST_LOOKED_AT:] for i in looked.tolist()], panel.step)


def columns_of(panel: Panel) -> tuple[Iterator[tuple[str, Any]], bool]:
    """The values of each series with its name, one after the other; and whether the series have covariates."""
    beside = not isinstance(panel, StoredPanel) and any(not one.known is one.past is None for one in panel.series)
    return ((name, np.asarray(panel.columns()[i])) for i, name in enumerate(panel.names)), beside


def as_told(panel: Panel, trained: Panel) -> Panel:
    """``panel`` with what is static of its series in the columns of those of ``trained``.

    Raises :class:`DataError` where it has not all of them.
    """
    if trained.static is None:
        return replace(panel, static=None) if panel.static is not None else panel
    if panel.static is None:
        listed = ", ".join(trained.static.columns)
        raise DataError(
            f"{panel.source}: says nothing of {listed}; give a long table, and them with `static`, as before"
        )
    return replace(panel, static=panel.static.like(trained.static, panel.source))


def said(report: Progress | None) -> Callable[[str], None]:
    """What tells ``report`` how far reading is."""
    return (lambda words: None) if report is None else report.say


def saying(report: Progress | None) -> Callable[[int, int], None]:
    """What tells ``report`` about every tenth of the series how many have their line."""

    def say(done: int, total: int) -> None:
        if report is not None and total >= TOLD and done % max(1, total // 10) == 0:
            report.say(f"linear forecasts: {done} of {total}")

    return say
