"""Forecasting a series from beginning to end: fit, test, predict; in Python, and under the command line."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from elman import cells
from elman.data import Scaler, Series, open_source, series_from_frame
from elman.equations import Cell, Program
from elman.errors import DataError, ElmanError, RunError
from elman.layers import Recurrent
from elman.metrics import persistence, repeats_last_value, scores, seasonal_naive
from elman.tasks.forecast import Forecast, ForecastConfig, ForecastNetwork
from elman.training import History, Progress, Recipe, Run, RunConfig, checked, fit

Array = NDArray[np.float64]


class NetworkConfig(BaseModel):
    """The network: its cell's program as traced (so that the cell's file is never needed again) and its sizes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cell: str = Field("gru", description="a cell of the catalogue, or file.py:name")
    hidden: tuple[int, ...] = Field((32,), min_length=1, description="hidden size, one a layer")
    sizes: dict[str, int] = Field(default_factory=dict, description="the cell's further sizes")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout between layers")
    init: str = Field("orthogonal", description="how the weights begin: torch, glorot, orthogonal or identity")
    program: dict[str, Any]

    def recurrent(self, input_size: int) -> Recurrent:
        """The layers, with fresh weights."""
        program = Program.from_json(json.dumps(self.program))
        sizes: dict[str, Any] = dict(self.sizes)
        return Recurrent(
            program, input_size, self.hidden, len(self.hidden), dropout=self.dropout, init=self.init, **sizes
        )


class ForecastRun(RunConfig):
    """config.json of a forecasting run."""

    task: str = "forecast"
    data: dict[str, Any]
    forecast: ForecastConfig
    network: NetworkConfig
    recipe: Recipe
    scaler: dict[str, Any]


@dataclass(frozen=True)
class Continuation:
    """Values (steps, C) that follow a series, in its units, with their dates (steps,) where it has any."""

    values: Array
    names: tuple[str, ...]
    times: NDArray[np.datetime64] | None


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


class Forecaster:
    """A recurrent network that forecasts a series.

    ``choices`` are the fields of :class:`ForecastConfig` (context, horizon, split, ...), of :class:`Recipe`
    (epochs, batch, lr, ...), ``dropout``, and the options of the cell. Raises :class:`ElmanError`
    for what is none of these.

    >>> forecaster = Forecaster("rnn", hidden=8, context=20, epochs=2)
    >>> history = forecaster.fit("wave:sine")
    >>> forecaster.predict(5).values.shape
    (5, 1)
    """

    def __init__(
        self, cell: str | Cell = "gru", hidden: int | Sequence[int] = 32, layers: int = 1, **choices: Any
    ) -> None:
        known = _pick(choices, ForecastConfig), _pick(choices, Recipe)
        self.config = checked(ForecastConfig, known[0])
        self.recipe = checked(Recipe, known[1])
        named = cell if isinstance(cell, str) else cell.name
        rest = {k: v for k, v in choices.items() if k not in known[0] and k not in known[1] and k != "dropout"}
        self.network = _network(named, cells.get(cell), hidden, layers, choices.get("dropout", 0.0), rest)
        self.task: Forecast | None = None
        self.run: Run[ForecastRun] | None = None

    def fit(
        self, data: Any, run: str | os.PathLike | None = None, report: Progress | None = None, **reading: Any
    ) -> History:
        """Train on ``data``: a Series, a source ("wave:sine", a file), an array (N,) or (N, C), or a dataframe.

        ``reading`` (target, time, resample) says how to read it. With ``run`` everything is kept in that folder.
        Raises :class:`DataError` for data that cannot be read, :class:`RunError` where ``run`` exists.
        """
        self.recipe.torch_device()  # refuses a device that is not there before anything is written
        series = as_series(data, **reading)
        scaler = Forecast.fit_scaler(series, self.config)
        self.task = self._build(series, scaler)
        if run is not None:
            arrays, facts = series.to_arrays()
            config = ForecastRun(
                data=facts,
                forecast=self.config,
                network=self.network,
                recipe=self.recipe,
                scaler=scaler.to_dict(),
            )
            self.run = Run.create(run, config, arrays)
        return fit(self.task, self.recipe, self.run, report=report)

    @classmethod
    def load(cls, run: str | os.PathLike) -> Forecaster:
        """The forecaster of a run folder, with its best weights. Raises :class:`RunError` where it cannot be read."""
        forecaster = cls._open(run, trained=True)
        assert forecaster.task is not None
        assert forecaster.run is not None
        try:
            forecaster.task.model.load_state_dict(forecaster.run.weights())
        except RuntimeError as error:
            raise RunError(f"{forecaster.run.path}: model.safetensors does not fit config.json: {error}") from error
        return forecaster

    @classmethod
    def resume(
        cls, run: str | os.PathLike, report: Progress | None = None, choices: Mapping[str, Any] | None = None
    ) -> tuple[Forecaster, History]:
        """Go on with an interrupted training, to the same bits as if it had never stopped.

        ``choices`` that were given again must be those of the run; raises :class:`RunError` where they are not.
        """
        forecaster = cls._open(run, trained=False)
        forecaster._refuse_changes(choices or {})
        assert forecaster.task is not None
        return forecaster, fit(forecaster.task, forecaster.recipe, forecaster.run, resume=True, report=report)

    @classmethod
    def _open(cls, path: str | os.PathLike, trained: bool) -> Forecaster:
        run = Run.open(path, ForecastRun, trained=trained)
        forecaster = cls.__new__(cls)
        forecaster.run = run
        forecaster.config = run.config.forecast
        forecaster.recipe = run.config.recipe
        forecaster.network = run.config.network
        try:
            series = Series.from_arrays(run.arrays(), run.config.data)
            forecaster.task = forecaster._build(series, Scaler.from_dict(run.config.scaler))
        except (ElmanError, KeyError, TypeError) as error:
            raise error if isinstance(error, RunError) else RunError(f"{run.path}: {error}") from error
        return forecaster

    def _build(self, series: Series, scaler: Scaler) -> Forecast:
        # A network begins at the same weights whatever was drawn before, and disturbs nothing drawn after.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.recipe.seed)
            model = ForecastNetwork(self.network.recurrent(series.values.shape[1]), self.config.horizon)
        return Forecast(model, series, self.config, self.recipe.batch, scaler)

    def _refuse_changes(self, choices: Mapping[str, Any]) -> None:
        begun: dict[str, Any] = {**self.config.model_dump(), **self.recipe.model_dump()}
        begun |= {"cell": self.network.cell, "dropout": self.network.dropout}
        begun |= {"hidden": list(self.network.hidden), "layers": len(self.network.hidden)}
        for name, value in choices.items():
            if name == "hidden":
                value = _per_layer(value, len(self.network.hidden))
            if name in begun and _plain(value) != _plain(begun[name]):
                raise RunError(
                    f"--{name}: a resumed training goes on with {begun[name]!r} and cannot change to {value!r}"
                )

    def _ready(self) -> Forecast:
        if self.task is None:
            raise ElmanError("this forecaster is not trained yet: call fit, or Forecaster.load(run)")
        return self.task

    @property
    def model(self) -> ForecastNetwork:
        """The network. Raises :class:`ElmanError` before :meth:`fit`."""
        return self._ready().model

    @property
    def series(self) -> Series:
        """The series it was trained on."""
        return self._ready().series

    def test_part(self) -> TestPart:
        """Forecasts of the test windows beside the truth. Raises :class:`DataError` where there is no test part."""
        task = self._ready()
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
        task, config, part = self._ready(), self.config, self.test_part()
        history = task.series.values[: task.split.last_training_value]

        def score(prediction: Array) -> dict[str, float]:
            return scores(prediction, part.truth, history, config.season or 1)

        baselines = {"persistence": score(persistence(part.last, config.horizon))}
        if config.season:
            naive = seasonal_naive(task.series.values, part.first, config.horizon, config.season)
            baselines["seasonal_naive"] = score(naive)
        found = score(part.prediction)
        return {
            "task": "forecast",
            "test": found,
            "windows": len(part.first),
            "baselines": baselines,
            "warnings": _warnings(found, baselines, repeats_last_value(part.prediction, part.truth, part.last)),
        }

    def predict(self, steps: int, data: Any = None, **reading: Any) -> Continuation:
        """The next ``steps`` values, each prediction fed back; after ``data`` where given, else after the series.

        Raises :class:`DataError` where ``data`` has other columns or fewer values than the context.
        """
        task = self._ready()
        if steps < 1:
            raise ElmanError(f"steps: got {steps}, want 1 at least")
        series = task.series if data is None else as_series(data, **reading)
        if series.values.shape[1] != task.series.values.shape[1]:
            raise DataError(
                f"{series.source}: has columns {', '.join(series.names)}; want {', '.join(task.series.names)}"
            )
        z = task.continue_series(series, steps).cpu().double().numpy()
        return Continuation(task.scaler.invert(z, series.values[-1]), series.names, series.later(steps))


def as_series(data: Any, **reading: Any) -> Series:
    """``data`` as a Series: as it is, from a source's name, an array (N,) or (N, C), or a dataframe."""
    if isinstance(data, Series):
        return data
    if isinstance(data, str | os.PathLike):
        return open_source(os.fspath(data), **reading)
    if isinstance(data, torch.Tensor):
        data = data.detach().cpu().numpy()
    if isinstance(data, np.ndarray | list):
        values = np.asarray(data, dtype=np.float64)
        values = values[:, None] if values.ndim == 1 else values
        return Series(values, tuple(f"value{i}" if values.ndim > 1 and values.shape[1] > 1 else "value"
                                    for i in range(values.shape[-1])))  # fmt: skip
    return series_from_frame(data, **reading)


def _pick(choices: Mapping[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    return {k: v for k, v in choices.items() if k in model.model_fields}


def _per_layer(hidden: int | Sequence[int], layers: int) -> list[int]:
    sizes = [hidden] if isinstance(hidden, int) else list(hidden)
    return sizes * layers if len(sizes) == 1 else sizes


def _network(
    name: str, cell: Cell, hidden: int | Sequence[int], layers: int, dropout: float, options: dict[str, Any]
) -> NetworkConfig:
    if layers < 1:
        raise ElmanError(f"--layers: got {layers}, want 1 at least")
    sizes = _per_layer(hidden, layers)
    if layers not in (1, len(sizes)):
        raise ElmanError(f"--hidden: got {len(sizes)} sizes for --layers {layers}; want one, or one a layer")
    # A layer of its own, to check the sizes and options where they are given and not when training begins.
    trial = Recurrent(cell, 1, sizes, len(sizes), device="meta", **options)
    return checked(
        NetworkConfig,
        {
            "cell": str(Path(name).name) if ".py" in name else name,
            "hidden": sizes,
            "sizes": {k: v for k, v in options.items() if k in trial.program.size_names},
            "dropout": dropout,
            "program": json.loads(trial.program.to_json()),
        },
    )


def _plain(value: Any) -> Any:
    return (
        [_plain(v) for v in value]
        if isinstance(value, list | tuple)
        else float(value)
        if isinstance(value, int)
        else value
    )


def _percents(split: Sequence[float]) -> str:
    return ",".join(f"{percent:g}" for percent in split)


def _warnings(found: Mapping[str, float], baselines: Mapping[str, Mapping[str, float]], repeats: bool) -> list[str]:
    warnings = []
    if repeats:
        warnings.append("the forecast follows the last value seen more than the truth: it repeats the last value")
    for name, score in baselines.items():
        if found["mse"] >= score["mse"]:
            warnings.append(
                f"{name.replace('_', ' ')} does as well or better: MSE {score['mse']:.6g} against {found['mse']:.6g}"
            )
    return warnings
