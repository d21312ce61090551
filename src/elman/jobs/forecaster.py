"""Forecasting a series from beginning to end: fit, test, predict; in Python, and under the command line."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from elman.choices.forecast import LEVELS, USUAL, ForecastConfig
from elman.choices.reading import ReadConfig, read_choices
from elman.data import Scaler, Series, read_series, split_windows
from elman.data.series.sources import ARRAY
from elman.equations import Cell
from elman.errors import DataError, ExportError
from elman.insight import Sample
from elman.jobs.baselines import baselines, rounding_of, verdict
from elman.jobs.config import NetworkConfig, picked
from elman.jobs.continuations import Continuation
from elman.jobs.effects import Effects, as_trained
from elman.jobs.job import Job, JobRun, begin_at, begun_at
from elman.jobs.paths import LEVELS as LEVELS_OF_PATHS
from elman.jobs.paths import check_paths, drawn
from elman.jobs.settling import percents, settled, warnings_of, whole_steps
from elman.jobs.shown import forecast as shown
from elman.jobs.spreads import bounded, past_errors, spread_of
from elman.linear import Adjustment, Blend
from elman.metrics import Bounds, Calibration, check_levels, interval_scores, repeats_last_value, scores
from elman.stepping.model import Model
from elman.tasks.forecast import ForecastTask
from elman.tasks.forecast_networks import ForecastNetwork, NetworkOnLine, inputs_of
from elman.tasks.likelihoods import LIKELIHOODS
from elman.training import History, Progress, Recipe, Run, checked

Array = NDArray[np.float64]
STEPS = 10  # forecast unless told
OF_TEXT = ("encoding", "separator", "decimal")  # what is said of files of text alone
NAMED_SOURCE = re.compile(r"(wave|fred):", re.IGNORECASE)


class ForecastRun(JobRun):
    """config.json of a forecasting run.

    ``lines`` are the linear forecasts of its columns, none of a network alone; ``effects`` what covariates and the
    calendar explain of them; ``reading`` what was said of how its series is read, so that newer data is read alike.
    """

    task: str = "forecast"
    forecast: ForecastConfig
    scaler: dict[str, Any]
    lines: list[dict[str, Any]]
    effects: list[dict[str, Any]] = Field(default_factory=list)
    reading: ReadConfig = Field(default_factory=lambda: read_choices({}))

    @model_validator(mode="before")
    @classmethod
    def _of_an_older_elman(cls, values: Any) -> Any:
        """A run from before there were lines is of a network alone."""
        if isinstance(values, dict) and "lines" not in values and isinstance(values.get("forecast"), dict):
            return values | {"lines": [], "forecast": values["forecast"] | {"network_alone": True}}
        return values


@dataclass(frozen=True)
class TestPart:
    """What was forecast on the test windows: (n, horizon, C) each, in the series' units.

    ``first`` (n,) is the index in the series of each window's first target, ``last`` (n, C) the value before it.
    """

    __test__ = False  # pytest: this is no test

    prediction: Array
    truth: Array
    last: Array
    first: NDArray[np.int64]


class Forecaster(Job[ForecastTask]):
    """A recurrent network that forecasts a series.

    It builds on a linear forecast or, with ``network_alone``, works by itself.

    What is not told is found in the training and the validation part: the season, the context, the lines.

    ``choices`` are the fields of :class:`ForecastConfig` (context, horizon, split, ...), of :class:`Recipe`
    (epochs, batch, lr, ...), and the options of the cell; ``options`` those of the cell again, where a name is one of
    the others'. ``dropout`` acts between layers. Raises :class:`ElmanError` for what is none of these.

    >>> forecaster = Forecaster("rnn", hidden=8, context=20, epochs=2)
    >>> history = forecaster.fit("wave:sine")
    >>> forecaster.predict(5).values.shape
    (5, 1)
    """

    kept_as = ForecastRun
    config: ForecastConfig
    reading: ReadConfig  # what was said of how the series is read
    effects: Effects
    _series: Series

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
        self.reading = read_choices({})
        usual = USUAL if self.config.on_line else {}
        if not self.config.split[1]:  # the training loss is no sign that it is enough
            usual = {name: value for name, value in usual.items() if name != "patience"}
        self.recipe = checked(Recipe, {**usual, **recipe})
        self.network = NetworkConfig.of(cell, hidden, layers, {**rest, **(options or {})}, dropout=dropout)

    def fit(
        self, data: Any, run: str | os.PathLike[str] | None = None, report: Progress | None = None, **reading: Any
    ) -> History:
        """Train on ``data``, read by :func:`elman.read_series` as ``reading`` says.

        With ``run`` everything is kept in that folder.
        Raises :class:`DataError` for data that cannot be read, :class:`RunError` where ``run`` exists.
        """
        self.recipe.torch_device()  # refuses a device that is not there before anything is written
        series = read_series(data, **reading)
        with self._undone_on_failure():
            self.config, self.effects, blends = settled(self._asked, series)
            self._series, self.reading = series, read_choices(reading)
            scaler = ForecastTask.fit_scaler(self.effects.without(series), self.config)
            self._begin(self._build(scaler, blends), run)
        return self._trained(report)

    def _begin(self, task: ForecastTask, run: str | os.PathLike[str] | None, **weights: Tensor) -> None:
        """Take ``task``, and keep it in the folder ``run`` if there is to be one, with the ``weights`` it begins at."""
        self.run = None if run is None else self._create(run, task, **weights)
        self._task = task

    def _create(self, run: str | os.PathLike[str], task: ForecastTask, **weights: Tensor) -> Run[Any]:
        """A folder for a training that begins; at ``weights``, where they are not those of the seed."""
        arrays, facts = self._series.to_arrays()
        lines = [blend.to_dict() for blend in task.blends]
        effects = [one.to_dict() for one in self.effects.adjustments]
        kept = self._kept(data=facts, scaler=task.scaler.to_dict(), lines=lines, effects=effects, reading=self.reading)
        return Run.create(run, kept, arrays | begun_at(weights))

    def update(
        self,
        data: Any,
        run: str | os.PathLike[str] | None = None,
        report: Progress | None = None,
        *,
        recipe: Mapping[str, Any] | None = None,
        **reading: Any,
    ) -> History:
        """Continue training on newer data.

        ``data`` has the same columns and step, and contains the older values too.

        It is read as the first was, and as ``reading`` says. The network begins at its weights; what was chosen (the
        context, the season, the lines' members, the scaler) stays; the parts are cut anew. ``recipe`` changes fields of
        the :class:`Recipe`; what is trained is kept in the folder ``run``, a new one. Raises as :meth:`fit`.

        >>> forecaster = Forecaster("rnn", hidden=4, context=20, epochs=1)
        >>> history = forecaster.fit(np.sin(np.arange(100.0) / 5))
        >>> forecaster.update(np.sin(np.arange(140.0) / 5), recipe={"epochs": 2}).epochs
        2
        """
        changed = checked(Recipe, self.recipe.model_dump() | dict(recipe or {}))
        changed.torch_device()
        old, series = self.task, self._continued(data, reading)
        split_windows(len(series), old.context, self.config.horizon, self.config.split)
        weights = old.model.state_dict()
        with self._undone_on_failure():
            self.recipe, self._series = changed, series
            task = self._build(old.scaler, old.blends)
            task.model.load_state_dict(weights)
            self._begin(task, run, **weights)
        return self._trained(report)

    def portable(self) -> Model:
        """The network in a form that can leave Python.

        Raises :class:`ExportError` where it counts what covariates or the calendar say, which nothing exported reads.
        """
        if self.effects:
            used = sorted({name for column in range(len(self.series.names)) for name in self.effects.used(column)})
            way = "`known` and `past`" if any(one in self.reading.beside for one in used) else "`calendar=none`"
            raise ExportError(
                f"a forecast that counts {', '.join(used)} cannot be exported, as what is exported reads values alone; "
                f"train {'without' if 'known' in way else 'with'} {way} for that"
            )
        return super().portable()

    def _conclude(self) -> bool:
        self.task.judge()
        return True

    def _restored(self, run: Run[ForecastRun]) -> ForecastTask:
        self._asked = self.config
        self._series = Series.from_arrays(run.arrays(), run.config.data)
        blends = [Blend.from_dict(facts) for facts in run.config.lines]
        effects = [Adjustment.from_dict(facts) for facts in run.config.effects]
        self.effects = Effects(tuple(effects) or (Adjustment(),) * len(self._series.names), self.config.horizon)
        if len(self.effects.adjustments) != len(self._series.names):
            raise DataError(f"effects on {len(effects)} of {len(self._series.names)} columns; want one each")
        self.reading = run.config.reading
        task = self._build(Scaler.from_dict(run.config.scaler), blends)
        begin_at(task.model, run.arrays())
        return task

    def _build(self, scaler: Scaler, blends: Sequence[Blend]) -> ForecastTask:
        config, series = self.config, self.effects.without(self._series)
        horizon = config.trained_horizon
        model: ForecastNetwork | NetworkOnLine
        with self._seeded():
            if config.on_line:
                if len(blends) != series.values.shape[1]:
                    raise DataError(
                        f"{len(blends)} linear forecasts for {series.values.shape[1]} columns; want one each"
                    )
                segment = config.segment or 1
                first, *others = (self.network.recurrent(inputs_of(segment)) for _ in range(config.ensemble))
                model = NetworkOnLine(first, horizon, segment, others, LIKELIHOODS.get(config.likelihood))
            else:
                model = ForecastNetwork(self.network.recurrent(series.values.shape[1]), horizon)
        return ForecastTask(model, series, config, self.recipe.batch, scaler, blends)

    @property
    def model(self) -> ForecastNetwork | NetworkOnLine:
        """The network. Raises :class:`ElmanError` before :meth:`fit`."""
        return self.task.model

    @property
    def notes(self) -> tuple[str, ...]:
        """What reading the series did, and what was found in it, that its user should know."""
        return (*self.series.notes, *shown.found(self, self._asked), *shown.gain(self.model))

    @property
    def series(self) -> Series:
        """The series it was trained on. Raises :class:`ElmanError` before :meth:`fit`."""
        self.task  # noqa: B018 : raises
        return self._series

    def test_part(self) -> TestPart:
        """Forecast the test windows, for comparison with the truth.

        Raises :class:`DataError` if there is no test part.
        """
        task = self.task
        part, config = task.split.test, self.config
        if not part:
            raise DataError(f"the split {percents(config.split)} leaves no test part; train with one, such as 70,10,20")
        first = np.arange(part.start, part.stop) + task.context
        rest = task.scaler.invert(task.predict(part).cpu().double().numpy(), task.series.values[first - 1])
        values = self.series.values
        truth = values[first[:, None] + np.arange(config.horizon)]
        return TestPart(self.effects.restored(rest, self.series, first), truth, values[first - 1], first)

    def test(self, more: bool = False) -> dict[str, Any]:
        """Score the test windows, beside the plain baselines on the same windows.

        Scores are in the units of the series. With ``more``, AutoETS and AutoTheta stand beside them too.

        >>> forecaster = Forecaster("rnn", hidden=4, context=20, epochs=1)
        >>> history = forecaster.fit("wave:sine")
        >>> sorted(forecaster.test()["baselines"])
        ['autoregression', 'drift', 'persistence', 'seasonal_naive']
        """
        task, config, part = self.task, self.config, self.test_part()
        values, season = self.series.values, config.season or 1
        history = values[: task.split.last_training_value]

        def score(prediction: Array, columns: slice = slice(None)) -> dict[str, float]:
            return scores(prediction[..., columns], part.truth[..., columns], history[:, columns], season)

        plain = baselines(values, part.first, config.horizon, config.season or 0, more)
        beside = {name: score(prediction) for name, prediction in plain.items()}
        test_scores = score(part.prediction)
        by_column = {name: score(part.prediction, slice(c, c + 1)) for c, name in enumerate(task.series.names)}
        return {
            "task": "forecast",
            "test": test_scores,
            **({"columns": by_column} if len(by_column) > 1 else {}),
            "windows": len(part.first),
            "season": config.season or 0,
            "baselines": beside,
            "verdict": verdict(part.prediction, part.truth, plain),
            "intervals": interval_scores(
                part.truth, self.intervals(self.series, part.first, part.prediction, LEVELS, int(part.first[0]))
            ),
            "warnings": warnings_of(
                test_scores, beside, repeats_last_value(part.prediction, part.truth, part.last), rounding_of(part.truth)
            ),
        }

    @staticmethod
    def words(result: Mapping[str, Any]) -> list[str]:
        """What :meth:`test` gave, as a table."""
        return shown.words(result)

    def _pictures(self, folder: Path, kind: str, steps: int) -> dict[str, Path]:
        return shown.pictures(self, folder, kind, steps)

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
    ) -> Continuation:
        """Forecast the next ``steps`` values, each prediction fed back.

        They follow ``data`` if given, else the series that the network was trained on; 10 steps unless told.

        With ``levels``, in per cent, intervals that so much of the truth should fall into, as wide as errors of
        forecasts within the series say. With ``paths``, so many ways that the series may take, drawn from them.
        Raises :class:`DataError` where ``data`` has other columns, another step, or fewer values than the context.
        """
        task = self.task
        steps = STEPS if steps is None else whole_steps(steps)
        series = self.series if data is None else self._continued(data, reading)
        known, end = self.effects.without(series), np.array([len(series)])
        z = task.continue_series(known, steps).cpu().double().numpy()
        values = self.effects.restored(task.scaler.invert(z, known.values[-1])[None], series, end)[0]
        times = series.later(steps)
        dates = None if times is None else series.written(times)
        wanted = [*levels, *(LEVELS_OF_PATHS if check_paths(paths, values.size) else ())]
        around = self.intervals(series, end, values[None], wanted)
        bounds = {level: (lower[0], upper[0]) for level, (lower, upper) in around.items()}
        ways = None
        if paths:
            errors, _ = past_errors(self.task, steps)
            ways = drawn(errors, bounds, paths, np.random.default_rng(self.recipe.seed))
        return Continuation(values, series.names, times, dates, {float(k): bounds[float(k)] for k in levels}, ways)

    def intervals(
        self,
        series: Series,
        origins: NDArray[np.int64],
        forecast: Array,
        levels: Sequence[float],
        before: int | None = None,
    ) -> dict[float, Bounds]:
        """Return the bounds of intervals around a forecast, by level.

        The ``forecast`` (n, steps, C) of ``series`` is from ``origins`` (n,). The errors of forecasts made within the
        series, before its value ``before`` where that is given, say how wide: each in units of how lively the values
        before it were or, with a likelihood, of the spread that the network forecast.
        """
        if not check_levels(levels):
            return {}
        errors, offsets = past_errors(self.task, forecast.shape[1], levels, before)
        spread, own = spread_of(self.task, self.effects.without(series), origins, forecast, levels)
        factors = self.effects.factors(series, origins, forecast.shape[1])
        return bounded(self.config, Calibration.of(errors, levels, offsets).bounds(forecast, spread * factors, own))

    def _continued(self, data: Any, reading: dict[str, Any]) -> Series:
        """``data`` read as the series trained on was, and like it."""
        trained = self.series
        named = trained.source != ARRAY and not isinstance(data, Series | np.ndarray | torch.Tensor | list)
        series = read_series(data, **(self._reading_of(data) | reading if named else reading))
        both_named = ARRAY not in (trained.source, series.source)
        if series.values.shape[1] != trained.values.shape[1] or (both_named and series.names != trained.names):
            raise DataError(f"{series.source}: has columns {', '.join(series.names)}; want {', '.join(trained.names)}")
        if series.step and trained.step and series.step != trained.step:
            raise DataError(
                f"{series.source}: is in steps of {series.step}, and the network was trained on steps of "
                f"{trained.step}; take means with `resample`"
            )
        return as_trained(series, trained)

    def _reading_of(self, data: Any) -> dict[str, Any]:
        """How ``data`` is read unless told: as the series trained on was, as far as its kind can be told so."""
        said = self.reading.model_dump(exclude_none=True)
        if not isinstance(data, str | os.PathLike):
            said = {name: value for name, value in said.items() if name not in OF_TEXT}
        elif NAMED_SOURCE.match(os.fspath(data)):
            said = {}
        return said | {"target": list(self.series.names)}
