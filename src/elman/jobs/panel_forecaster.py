"""Forecasting many series by one network, from beginning to end: fit, test, predict."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from elman.choices.forecast import LEVELS, USUAL_OF_MANY, ForecastConfig
from elman.choices.reading import ReadConfig, read_choices
from elman.data import Panel, read_panel
from elman.data.series.stored import StoredPanel
from elman.equations import Cell
from elman.errors import DataError, ElmanError
from elman.insight import Sample
from elman.jobs.config import NetworkConfig, picked
from elman.jobs.continuations import Continuations
from elman.jobs.effects import PanelEffects, as_trained
from elman.jobs.job import Job, JobRun, begin_at, begun_at
from elman.jobs.panel_scores import plain_forecasts, score_of_panel
from elman.jobs.panel_settling import as_told, columns_of, long_enough, said, saying, season_in
from elman.jobs.panel_spreads import calibrated, in_order, paths_of
from elman.jobs.paths import LEVELS as LEVELS_OF_PATHS
from elman.jobs.paths import check_paths
from elman.jobs.settling import MOST_STEPS, percents, whole_steps
from elman.jobs.shown import panel as shown
from elman.jobs.spreads import COUNTS, bounded, check_counts
from elman.linear import Adjustment, Blend, choose_many
from elman.metrics import Bounds, check_levels
from elman.tasks.forecast_networks import NetworkOnLine, inputs_of
from elman.tasks.likelihoods import LIKELIHOODS
from elman.tasks.panel import PanelTask, ends
from elman.tasks.panel_windows import Part
from elman.training import History, Progress, Recipe, Run, checked
from elman.training.run import DATA, LARGE

Array = NDArray[np.float64]
ALONE = {  # what networks of many series have not, and what they have instead
    "network_alone": False,
    "stateful": False,
    "targets": "last",
    "scaler": "standard",
    "strategy": "direct",
}


class PanelRun(JobRun):
    """config.json of a run that forecasts many series.

    ``lines`` are their blends, ``line_of`` the number of each's; ``effects`` those of each, none where there are none.
    """

    task: str = "forecasts"
    forecasts: ForecastConfig
    lines: list[dict[str, Any]]
    line_of: list[int]
    effects: list[dict[str, Any]] = Field(default_factory=list)
    reading: ReadConfig


class PanelForecaster(Job[PanelTask]):
    """A recurrent network that forecasts many series of unlike lengths.

    Each stands on a linear forecast of its own.

    ``choices`` are fields of :class:`ForecastConfig` (context, horizon, split, season, segment, short), of
    :class:`Recipe`, and the options of the cell. Raises :class:`ElmanError` for what is none of these.

    >>> panel = {name: np.sin(np.arange(n) / 3 + n) for name, n in (("a", 60), ("b", 80), ("c", 50))}
    >>> forecaster = PanelForecaster("rnn", hidden=4, horizon=3, epochs=1)
    >>> history = forecaster.fit(panel)
    >>> forecaster.predict(3).values.shape
    (3, 3)
    """

    kept_as = PanelRun
    command = "forecast"
    config: ForecastConfig
    reading: ReadConfig
    effects: PanelEffects
    _panel: Panel
    _skipped: tuple[str, ...] = ()

    def __init__(
        self,
        cell: str | Cell = "gru",
        hidden: int | Sequence[int] = 32,
        layers: int = 1,
        *,
        dropout: float = 0.0,
        options: Mapping[str, Any] | None = None,
        **choices: Any,
    ) -> None:
        forecast, recipe = picked(choices, ForecastConfig), picked(choices, Recipe)
        rest = {k: v for k, v in choices.items() if k not in forecast and k not in recipe}
        self.config = self._asked = checked(ForecastConfig, forecast)
        for name, value in ALONE.items():
            if getattr(self.config, name) != value:
                raise ElmanError(f"`{name}`: one network for many series is {value!r} here; leave it out")
        self.reading = read_choices({})
        self.recipe = checked(Recipe, {**USUAL_OF_MANY, **recipe})
        self.network = NetworkConfig.of(cell, hidden, layers, {**rest, **(options or {})}, dropout=dropout)

    def fit(
        self,
        data: Any,
        run: str | os.PathLike[str] | None = None,
        report: Progress | None = None,
        **reading: Any,
    ) -> History:
        """Train on ``data``, read by :func:`elman.data.read_panel` as ``reading`` says: see there.

        With ``run`` everything is kept in that folder. Raises :class:`DataError` for data that cannot be read and,
        unless ``short`` is "skip", series too short; :class:`RunError` where ``run`` exists.
        """
        self.recipe.torch_device()
        with self._undone_on_failure():
            beside = None if run is None else Path(run).absolute().parent
            panel = read_panel(data, beside=beside, report=said(report), **reading)
            self._panel, self._skipped = long_enough(panel, self._asked)
            # How much is read at once is of this call; newer data may be of another kind.
            self.reading = read_choices({name: value for name, value in reading.items() if name != "memory"})
            check_counts(self._asked, self._panel.source, *columns_of(self._panel))
            training, known = ends(self._panel.lengths, self._asked)
            season = season_in(self._panel, self._panel.columns().until(known), self._asked)
            self.effects = self._effects(known, season)
            columns = self.effects.without(self._panel).columns().until(known)
            longest = np.minimum(training - self._asked.horizon, self._asked.context or training)
            blends = choose_many(columns, self._asked.horizon, season, longest.tolist(), report=saying(report))
            context = self._asked.context or max(blend.reach for blend in blends)
            segment = self._asked.segment or -(-context // MOST_STEPS)
            if segment > context:
                raise DataError(f"`segment`: got {segment}, more than the context of {context}; want fewer")
            self.config = self._asked.model_copy(update={"season": season, "context": context, "segment": segment})
            self._begin(self._build(blends), run)
        return self._trained(report)

    def _effects(self, known: NDArray[np.int64], season: int) -> PanelEffects:
        """What covariates and the calendar explain of the values before ``known`` (S,); of a large panel nothing."""
        if isinstance(self._panel, StoredPanel) or self._asked.likelihood == COUNTS:
            return PanelEffects()
        return PanelEffects.choose(self._panel, known, season, self._asked.horizon, self._asked.calendar == "auto")

    def update(
        self,
        data: Any,
        run: str | os.PathLike[str] | None = None,
        report: Progress | None = None,
        *,
        recipe: Mapping[str, Any] | None = None,
        **reading: Any,
    ) -> History:
        """Continue training on newer data, which contains the older values of its series too.

        It is read as the first was, and as ``reading`` says. The network begins at its weights; the context, the season
        and the members of each line stay, and series that are new get a line of their own. Series that are no longer
        there are left out. ``recipe`` changes fields of the :class:`Recipe`; what is trained is kept in the folder
        ``run``, a new one. Raises as :meth:`fit`.

        >>> panel = {name: np.sin(np.arange(60.0) / 3 + ord(name)) for name in "ab"}
        >>> forecaster = PanelForecaster("rnn", hidden=4, epochs=1)
        >>> history = forecaster.fit(panel)
        >>> forecaster.update(panel | {"c": np.sin(np.arange(70.0) / 3)}, recipe={"epochs": 2}).epochs
        2
        """
        changed = checked(Recipe, self.recipe.model_dump() | dict(recipe or {}))
        changed.torch_device()
        weights, old = self.task.model.state_dict(), self.task
        with self._undone_on_failure():
            newer = as_told(self._newer(data, reading, run, report), old.panel)
            self._panel, self._skipped = long_enough(newer, self.config)
            self.recipe = changed
            _, known = ends(self._panel.lengths, self.config)
            self.effects = self.effects.fitted(self._panel, known, self.config.season or 0)
            number = {name: i for i, name in enumerate(old.panel.names)}
            without = self.effects.without(self._panel)
            task = self._build(self._lines_of(without, [number.get(name) for name in without.names]))
            task.model.load_state_dict(weights)
            self._begin(task, run, weights)
        return self._trained(report)

    def _lines_of(self, panel: Panel, places: Sequence[int | None]) -> list[Blend]:
        """The lines of series that were trained on at these ``places``; of the others new ones."""
        new = np.array([i for i, place in enumerate(places) if place is None], dtype=np.int64)
        training, known = ends(panel.lengths, self.config)
        longest = np.minimum(training - self.config.horizon, self.config.settled_context)[new]
        columns = panel.columns().until(known).taken(new)
        season = self.config.season or 0
        chosen = iter(choose_many(columns, self.config.horizon, season, longest.tolist()) if len(new) else ())
        return [next(chosen) if place is None else self.task.blends[place] for place in places]

    def _newer(
        self,
        data: Any,
        reading: Mapping[str, Any],
        run: str | os.PathLike[str] | None = None,
        report: Progress | None = None,
    ) -> Panel:
        """Newer ``data``, read as the first was."""
        if isinstance(data, Panel | Mapping):
            return read_panel(data, **reading)
        beside = None if run is None else Path(run).absolute().parent
        told = self.reading.model_dump(exclude_none=True) | dict(reading)
        return read_panel(data, beside=beside, report=said(report), **told)

    def _begin(
        self, task: PanelTask, run: str | os.PathLike[str] | None, weights: Mapping[str, Tensor] | None = None
    ) -> None:
        """Take ``task``, and keep it in the folder ``run`` if there is to be one, with the ``weights`` it begins at."""
        self.run = None if run is None else self._create(run, task, begun_at(weights or {}))
        if self.run is not None and isinstance(self._panel, StoredPanel):
            self._panel = StoredPanel(self.run.path / LARGE, self._panel.facts())
            task.moved(self._panel)
        self._task = task

    def _create(self, run: str | os.PathLike[str], task: PanelTask, begun: dict[str, NDArray[Any]]) -> Run[Any]:
        unique = list({id(blend): blend for blend in task.blends}.values())
        number = {id(blend): i for i, blend in enumerate(unique)}
        lines = [blend.to_dict() for blend in unique]
        line_of = [number[id(blend)] for blend in task.blends]
        effects = [one.to_dict() for one in self.effects.adjustments]
        own = {"lines": lines, "line_of": line_of, "effects": effects, "reading": self.reading}
        if isinstance(self._panel, StoredPanel):
            return Run.create(run, self._kept(data=self._panel.facts(), **own), begun or None, self._panel.link)
        arrays, facts = self._panel.to_arrays()
        return Run.create(run, self._kept(data=facts, **own), arrays | begun)

    def _restored(self, run: Run[PanelRun]) -> PanelTask:
        self._asked, self.reading = self.config, run.config.reading
        blends = [Blend.from_dict(facts) for facts in run.config.lines]
        facts = run.config.data
        self._panel = StoredPanel(run.large(), facts) if "count" in facts else Panel.from_arrays(run.arrays(), facts)
        adjustments = [Adjustment.from_dict(facts) for facts in run.config.effects]
        self.effects = PanelEffects.of(adjustments, self.config.horizon)
        task = self._build([blends[i] for i in run.config.line_of])
        if (run.path / DATA).exists():
            begin_at(task.model, run.arrays())
        return task

    def _build(self, blends: Sequence[Blend]) -> PanelTask:
        segment, own = self.config.segment or 1, self._panel.static
        static = 0 if own is None else own.values.shape[1]
        with self._seeded():
            first, *others = (self.network.recurrent(inputs_of(segment, static)) for _ in range(self.config.ensemble))
            model = NetworkOnLine(first, self.config.horizon, segment, others, LIKELIHOODS.get(self.config.likelihood))
        return PanelTask(model, self.effects.without(self._panel), self.config, self.recipe.batch, blends)

    def _conclude(self) -> bool:
        self.task.judge()
        return True

    @property
    def model(self) -> NetworkOnLine:
        """The network. Raises :class:`ElmanError` before :meth:`fit`."""
        return self.task.model

    @property
    def panel(self) -> Panel:
        """The series it was trained on. Raises :class:`ElmanError` before :meth:`fit`."""
        self.task  # noqa: B018 : raises
        return self._panel

    @property
    def notes(self) -> tuple[str, ...]:
        """What reading the series did, and what was found in them, that its user should know."""
        short = f"left out as too short: {', '.join(self._skipped[:5])}, {len(self._skipped)} in all"
        own = (short,) if self._skipped else ()
        return (*self.panel.notes, *own, *shown.found(self, self._asked), *shown.gain(self.model))

    def test_part(self) -> tuple[Part, Array, Array]:
        """Forecast the test windows: the windows, the forecasts and the truth (n, K).

        Raises :class:`DataError` if there are none.
        """
        task = self.task
        if not len(task.test):
            raise DataError(
                f"the split {percents(self.config.split)} leaves no test part; train with one, such as 70,10,20"
            )
        forecast = self.forecast(self.panel, task.test, "known")
        return task.test, forecast, self.panel.columns().stretches(task.test.series, task.test.origin, task.horizon)

    def forecast(self, panel: Panel, part: Part, before: str = "all") -> Array:
        """Forecast the windows of ``part`` of a ``panel`` of the series trained on, (n, K).

        By lines fitted to what stands ``before`` the end of a part: "training", "known" or "all".
        """
        columns = self.effects.without(panel).columns()
        made = self.task.going_on(columns).predict(part, before)
        return self.effects.restored(made, panel, part.series, part.origin)

    def test(self, more: bool = False) -> dict[str, Any]:
        """Score the test windows: means over the series, and each series.

        Beside the plain baselines; with ``more``, AutoETS and AutoTheta too.

        >>> panel = {name: np.sin(np.arange(n) / 3 + n) for name, n in (("a", 60), ("b", 80))}
        >>> forecaster = PanelForecaster("rnn", hidden=4, epochs=1)
        >>> history = forecaster.fit(panel)
        >>> sorted(forecaster.test()["test"])
        ['mase', 'smape']
        """
        part, prediction, truth = self.test_part()
        around = self.intervals(self.panel, part, prediction, LEVELS)
        task = self.task.going_on(self.panel.columns())
        return score_of_panel(task, part, prediction, truth, around, plain_forecasts(task, part, more))

    @staticmethod
    def words(result: Mapping[str, Any]) -> list[str]:
        """What :meth:`test` gave, as a table."""
        return shown.words(result)

    def _pictures(self, folder: Path, kind: str, steps: int) -> dict[str, Path]:
        if steps:
            raise ElmanError("`steps`: of many series the last test windows are drawn, and nothing after; leave it out")
        return shown.pictures(self, folder, kind)

    def _sample(self, steps: int | None) -> Sample:
        return shown.sample(self, steps)

    def predict(
        self,
        steps: int | None = None,
        data: Any = None,
        *,
        levels: Sequence[float] = (),
        paths: int = 0,
        **reading: Any,
    ) -> Continuations:
        """Forecast the next ``steps`` values of every series.

        Of those in ``data``, if given: newer ones of the same names.

        As many as the horizon unless told; more are made by feeding forecasts back. With ``levels``, in per cent,
        intervals; with ``paths``, so many ways that each may take, drawn from them. Raises :class:`DataError` for a
        series that was not trained on, and one shorter than its line reads.
        """
        steps = self.config.horizon if steps is None else whole_steps(steps)
        task, panel = self.task, self.panel
        if data is not None:
            panel = self._newer(data, {"static": None} | reading)  # what is static of them is known
        chosen = self._numbers(panel)
        effects = self.effects.of_series(chosen)
        if effects:
            pairs = zip(chosen.tolist(), panel.series, strict=True)
            panel = replace(panel, series=tuple(as_trained(one, self.panel.series[i]) for i, one in pairs))
        rest = effects.without(panel)
        read = np.maximum(task.reach, task.context)
        ends: dict[int, Array] = {}  # of each series as much as is read
        for k, i in enumerate(chosen.tolist()):
            if panel.lengths[k] < task.reach[i]:
                raise DataError(
                    f"{panel.source}: series {self.panel.names[i]!r} has {panel.lengths[k]} values, fewer than the "
                    f"{task.reach[i]} that its linear forecast reads; give more"
                )
            ends[i] = rest.columns().last(k, read[i])
        followed, after = task.fed_back(ends, steps), np.arange(len(panel))
        made = np.stack([followed[i] for i in chosen.tolist()])
        values = effects.restored(made, panel, after, panel.lengths)
        wanted = [*levels, *(LEVELS_OF_PATHS if check_paths(paths, values.size) else ())]
        around = self.intervals(panel, Part(after, panel.lengths), values, wanted)
        ways = paths_of(task, around, paths, self.recipe.seed) if paths else None
        later = [one.later(steps) for one in panel.series]
        dates = None
        if all(times is not None for times in later):
            dates = [one.written(times) for one, times in zip(panel.series, later, strict=True) if times is not None]
        return Continuations(panel.names, values, dates, {float(k): around[float(k)] for k in levels}, ways)

    def _numbers(self, panel: Panel) -> NDArray[np.int64]:
        """Which of the series trained on those of ``panel`` are, by name."""
        number = {name: i for i, name in enumerate(self.panel.names)}
        for name in panel.names:
            if name not in number:
                listed = ", ".join(self.panel.names[:5])
                raise DataError(f"{panel.source}: series {name!r} was not trained on; trained were {listed}")
        return np.array([number[name] for name in panel.names])

    def intervals(self, panel: Panel, part: Part, forecast: Array, levels: Sequence[float]) -> dict[float, Bounds]:
        """Return the bounds of intervals around a forecast, by level.

        The ``forecast`` (n, steps) is of the windows ``part``; the ``panel`` is of series trained on. The errors of
        forecasts of the validation part say how wide.
        """
        if not check_levels(levels):
            return {}
        chosen = self._numbers(panel)
        effects = self.effects.of_series(chosen)
        columns = in_order(effects.without(panel).columns(), chosen, len(self.panel))
        factors = effects.factors(panel, part.series, part.origin, forecast.shape[1])
        windows = Part(chosen[part.series], part.origin)
        return bounded(self.config, calibrated(self.task.going_on(columns), windows, forecast, levels, factors))
