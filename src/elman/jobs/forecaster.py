"""Forecasting a series from beginning to end: fit, test, predict; in Python, and under the command line."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from elman.data import Scaler, Series, read_series
from elman.data.series.sources import ARRAY
from elman.equations import Cell
from elman.errors import DataError, ElmanError
from elman.jobs.config import NetworkConfig, picked
from elman.jobs.job import Job, JobRun
from elman.metrics import persistence, repeats_last_value, scores, seasonal_naive
from elman.tasks.forecast import Forecast, ForecastConfig, ForecastNetwork
from elman.training import History, Progress, Recipe, Run, checked

Array = NDArray[np.float64]


class ForecastRun(JobRun):
    """config.json of a forecasting run."""

    task: str = "forecast"
    forecast: ForecastConfig
    scaler: dict[str, Any]


@dataclass(frozen=True)
class Continuation:
    """Values (steps, C) that follow a series, in its units.

    Where it has dates, ``times`` (steps,) are on its clock, and ``dates`` as text, with the offset of its zone.
    """

    values: Array
    names: tuple[str, ...]
    times: NDArray[np.datetime64] | None
    dates: list[str] | None = None


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


class Forecaster(Job[Forecast]):
    """A recurrent network that forecasts a series.

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
        self.config = checked(ForecastConfig, forecast)
        self.recipe = checked(Recipe, recipe)
        self.network = NetworkConfig.of(cell, hidden, layers, {**rest, **(options or {})}, dropout=dropout)

    def fit(
        self, data: Any, run: str | os.PathLike | None = None, report: Progress | None = None, **reading: Any
    ) -> History:
        """Train on ``data``, read by :func:`elman.read_series` as ``reading`` says.

        With ``run`` everything is kept in that folder.
        Raises :class:`DataError` for data that cannot be read, :class:`RunError` where ``run`` exists.
        """
        self.recipe.torch_device()  # refuses a device that is not there before anything is written
        series = read_series(data, **reading)
        scaler = Forecast.fit_scaler(series, self.config)
        task = self._build(series, scaler)
        self._check_season(task)
        if run is None:
            self.run = None
        else:
            arrays, facts = series.to_arrays()
            self.run = Run.create(run, self._kept(data=facts, scaler=scaler.to_dict()), arrays)
        self._task = task
        return self._trained(report)

    def _check_season(self, task: Forecast) -> None:
        first = task.split.test.start + self.config.context
        if task.split.test and self.config.season > first:
            raise DataError(
                f"--season: got {self.config.season}, and the first test window has {first} values before it; "
                "want a season that is over by then"
            )

    def _restored(self, run: Run[ForecastRun]) -> Forecast:
        series = Series.from_arrays(run.arrays(), run.config.data)
        return self._build(series, Scaler.from_dict(run.config.scaler))

    def _build(self, series: Series, scaler: Scaler) -> Forecast:
        with self._seeded():
            model = ForecastNetwork(self.network.recurrent(series.values.shape[1]), self.config.horizon)
        return Forecast(model, series, self.config, self.recipe.batch, scaler)

    @property
    def model(self) -> ForecastNetwork:
        """The network. Raises :class:`ElmanError` before :meth:`fit`."""
        return self.task.model

    @property
    def notes(self) -> tuple[str, ...]:
        """What reading the series did that its user should know."""
        return tuple(self.series.notes)

    @property
    def series(self) -> Series:
        """The series it was trained on."""
        return self.task.series

    def test_part(self) -> TestPart:
        """Forecasts of the test windows beside the truth. Raises :class:`DataError` where there is no test part."""
        task = self.task
        part, config = task.split.test, self.config
        if not part:
            raise DataError(
                f"the split {_percents(config.split)} leaves no test part; train with one, such as 70,10,20"
            )
        first = np.arange(part.start, part.stop) + config.context
        last = task.series.values[first - 1]
        truth = task.series.values[first[:, None] + np.arange(config.horizon)]
        return TestPart(task.scaler.invert(task.predict(part).cpu().double().numpy(), last), truth, last, first)

    def test(self) -> dict[str, Any]:
        """Scores on the test windows, in the series' units, beside the plain baselines on the same windows.

        >>> forecaster = Forecaster("rnn", hidden=4, context=20, epochs=1, season=63)
        >>> history = forecaster.fit("wave:sine")
        >>> sorted(forecaster.test()["baselines"])
        ['persistence', 'seasonal_naive']
        """
        task, config, part = self.task, self.config, self.test_part()
        history = task.series.values[: task.split.last_training_value]

        def score(prediction: Array) -> dict[str, float]:
            return scores(prediction, part.truth, history, config.season or 1)

        baselines = {"persistence": score(persistence(part.last, config.horizon))}
        if config.season:
            naive = seasonal_naive(task.series.values, part.first, config.horizon, config.season)
            baselines["seasonal_naive"] = score(naive)
        found = score(part.prediction)
        season = config.season or 1
        by_column = {
            name: scores(part.prediction[..., [c]], part.truth[..., [c]], history[:, [c]], season)
            for c, name in enumerate(task.series.names)
        }
        return {
            "task": "forecast",
            "test": found,
            **({"columns": by_column} if len(by_column) > 1 else {}),
            "windows": len(part.first),
            "baselines": baselines,
            "warnings": _warnings(found, baselines, repeats_last_value(part.prediction, part.truth, part.last)),
        }

    def predict(self, steps: int, data: Any = None, **reading: Any) -> Continuation:
        """The next ``steps`` values, each prediction fed back; after ``data`` where given, else after the series.

        Raises :class:`DataError` where ``data`` has other columns, another step, or fewer values than the context.
        """
        task = self.task
        try:
            steps = operator.index(steps)
        except TypeError:
            raise ElmanError(f"`steps`: got {steps!r}, want a whole number") from None
        if steps < 1:
            raise ElmanError(f"`steps`: got {steps}, want 1 at least")
        series = task.series if data is None else self._continued(data, reading)
        z = task.continue_series(series, steps).cpu().double().numpy()
        times = series.later(steps)
        dates = None if times is None else series.written(times)
        return Continuation(task.scaler.invert(z, series.values[-1]), series.names, times, dates)

    def _continued(self, data: Any, reading: dict[str, Any]) -> Series:
        """``data`` read as the series trained on was, and like it."""
        trained = self.series
        named = trained.source != ARRAY and not isinstance(data, Series | np.ndarray | torch.Tensor | list)
        series = read_series(data, **({"target": list(trained.names)} if named else {}) | reading)
        both_named = ARRAY not in (trained.source, series.source)
        if series.values.shape[1] != trained.values.shape[1] or (both_named and series.names != trained.names):
            raise DataError(f"{series.source}: has columns {', '.join(series.names)}; want {', '.join(trained.names)}")
        if series.step and trained.step and series.step != trained.step:
            raise DataError(
                f"{series.source}: is in steps of {series.step}, and the network was trained on steps of "
                f"{trained.step}; take means with `resample`"
            )
        return series


def _percents(split: Sequence[float]) -> str:
    return ",".join(f"{percent:g}" for percent in split)


def _warnings(found: Mapping[str, float], baselines: Mapping[str, Mapping[str, float]], repeats: bool) -> list[str]:
    warnings = []
    # A network that beats persistence has learned something, however slowly its series changes.
    if repeats and found["mse"] >= baselines["persistence"]["mse"]:
        warnings.append("the forecast follows the last value seen more than the truth: it repeats the last value")
    for name, score in baselines.items():
        if found["mse"] >= score["mse"]:
            warnings.append(
                f"{name.replace('_', ' ')} does as well or better: MSE {score['mse']:.6g} against {found['mse']:.6g}"
            )
    return warnings
