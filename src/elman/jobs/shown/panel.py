"""What is shown of a forecast of many series: its test in words, a picture, the context that explains it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from elman.choices.forecast import LEVELS, ForecastConfig
from elman.insight import Sample, Watched
from elman.jobs.effects import Effects, noted
from elman.jobs.shown.forecast import gain, held, result_of, spread
from elman.linear import Adjustment

if TYPE_CHECKING:
    from elman.data import Panel
    from elman.jobs.panel_forecaster import PanelForecaster
    from elman.metrics import Bounds
from elman.tasks.panel_windows import Part

Array = NDArray[np.float64]
__all__ = ["draw", "found", "gain", "pictures", "sample", "words"]
DRAWN = 6  # series of a picture: from the best to the worst
BEFORE = 3  # horizons drawn before a forecast


def words(result: Mapping[str, Any], windows: str = "test windows") -> list[str]:
    """A test's scores as a table: means over the series."""
    rows = {"this network": result["test"]} | {k.replace("_", " "): v for k, v in result["baselines"].items()}
    lines = [f"{result['series']} series, {result['windows']} {windows}", f"{'':16}{'MASE':>12}{'SMAPE':>12}"]
    lines += [f"{name:16}{row['mase']:12.5g}{row['smape']:12.5g}" for name, row in rows.items()]
    best = result["verdict"]["best"]
    worst = ", ".join(f"{one['series']} (MASE {one['mase']:.3g}, {one[best]:.3g})" for one in result["worst"])
    return [
        *lines,
        f"this network is {result['verdict']['words']}",
        f"worst beside {best.replace('_', ' ')}: {worst}",
        held(result),
    ]


def found(job: PanelForecaster, asked: ForecastConfig) -> Iterator[str]:
    """What was found in the data, as far as it was not ``asked`` for."""
    config, task = job.config, job.task
    yield f"{len(task.columns)} series of {task.panel.lengths.min()} to {task.panel.lengths.max()} values"
    if asked.season is None:
        yield f"season: {config.season} steps" if config.season else "season: none was found"
    if asked.context is None:
        segments = f", read in segments of {config.segment}" if (config.segment or 1) > 1 else ""
        yield f"context: {config.context} values{segments}"
    first = job.effects.each[0] if job.effects else Effects((Adjustment(),), config.horizon)
    yield from noted(first, job.panel.names[:1], job.reading.beside)
    if job.panel.static is not None:
        yield f"static: {', '.join(job.panel.static.columns)}, read by the network beside each series"
    yield from spread(config)
    if config.split[1] and not len(task.validation):
        yield "no series is long enough for validation, so the forecast is the lines'"


def pictures(job: PanelForecaster, folder: Path, kind: str) -> dict[str, Path]:
    """Draw the last test window of some series, from the best to the worst."""
    if not len(job.task.test):
        return {}
    part, prediction, truth = job.test_part()
    errors = np.abs(prediction - truth).mean(1) / (job.task.units[0] * job.task.scale)[part.series]
    around = job.intervals(job.panel, part, prediction, LEVELS)
    title = (
        f"{Path(job.panel.source).name}, {job.network.cell}: the last test window, from the best series to the worst"
    )
    path = folder / f"predictions.{kind}"
    return {"Forecasts of some series": draw(path, job.panel, part, prediction, around, errors, title)}


def draw(
    path: Path, panel: Panel, part: Part, prediction: Array, around: Mapping[float, Bounds], errors: Array, title: str
) -> Path:
    """Draw the last window of some series of ``part``, from that of the least of ``errors`` (n,) to the most."""
    from elman import pictures as drawing

    last = np.flatnonzero(np.diff(part.series, append=-1))  # the last window of each series
    order = last[np.argsort(errors[last])]
    chosen = order[np.unique(np.linspace(0, len(order) - 1, DRAWN).round().astype(int))]
    panels, horizon = [], prediction.shape[1]
    for i in chosen.tolist():
        s, origin = int(part.series[i]), int(part.origin[i])
        series, stretch = panel.series[s], slice(max(0, origin - BEFORE * horizon), origin + horizon)
        where = np.arange(stretch.start, stretch.stop) if series.times is None else series.local(series.times[stretch])
        own = {level: (lower[i], upper[i]) for level, (lower, upper) in around.items()}
        panels.append((panel.names[s], where, panel.columns()[s][stretch], prediction[i], own))
    return drawing.draw_panel(path, panels, title)


def sample(job: PanelForecaster, steps: int | None) -> Sample:
    """The last context of the first series' test part: what the network adds to the linear forecast."""
    task, model = job.task, job.task.model
    part, before = next(
        (p, b) for p, b in ((task.test, "known"), (task.validation, "training"), (task.train, "training")) if len(p)
    )
    chosen = part.taken([int(np.flatnonzero(part.series == part.series[0])[-1])])
    s, end = int(chosen.series[0]), int(chosen.origin[0])
    segments = min(steps or job.config.settled_context, task.context // model.segment)
    read = segments * model.segment
    task.measured(np.array([s]))
    x = task.contexts(chosen).unsqueeze(1)[-read:]
    watched, own = Watched.of(model.recurrent, lambda: model.used(x))
    line = task.forecast_by_lines(chosen, before)
    left = task.targets(chosen)[0] - (1 - model.gain[1]) * torch.from_numpy(line[0]).to(x) - own[0, :, 0]
    loss = watched.gradient((left / model.units[0]).square().mean())
    forecast, whole = float(job.forecast(job.panel, chosen, before)[0, 0]), job.panel.columns()[s]
    truth, values = float(whole[end]), whole[max(0, end - read) : end]
    name = task.panel.names[s]
    return Sample(
        **job.about(),
        what=f"{len(values)} values of series {name} of {Path(task.panel.source).name}"
        + (f", read in segments of {model.segment}" if model.segment > 1 else ""),
        x=watched.x,
        loss=loss,
        trained=loss,
        explained=watched.gradient(own[0].sum()),
        question="the network's own part of the forecast"
        + ("" if model.horizon == 1 else f", the sum of {model.horizon} steps"),
        result=result_of([name], values[:, None], np.array([[forecast]]), np.array([[truth]])),
    )
