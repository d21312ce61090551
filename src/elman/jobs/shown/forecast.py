"""What is shown of a forecast: its test in words, its test part as a picture, the context that explains it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from elman.choices.forecast import LEVELS, ForecastConfig
from elman.data.series.calendar import date_text
from elman.data.series.seasons import autocorrelations
from elman.insight import Sample, Watched
from elman.jobs.effects import noted
from elman.metrics import mse
from elman.tasks import NetworkOnLine

if TYPE_CHECKING:
    from elman.jobs.backtest import Backtest
    from elman.jobs.forecaster import Forecaster

Array = NDArray[np.float64]
FEWEST_RESIDUALS = 8  # drawn
MOST_LAGS = 40
STEPS = 200  # that explain a network alone, unless told


def words(result: Mapping[str, Any]) -> list[str]:
    """A test's scores as a table."""
    rows = {"this network": result["test"]} | {k.replace("_", " "): v for k, v in result["baselines"].items()}
    names = list(result["test"])
    windows = f"{result['windows']} test windows" if "windows" in result else f"{result['origins']} origins"
    lines = [windows, f"{'':16}" + "".join(f"{name.upper():>12}" for name in names)]
    lines += [
        f"{row:16}" + "".join(f"{scores[name]:12.5g}" if name in scores else f"{'':>12}" for name in names)
        for row, scores in rows.items()
    ]
    return [*lines, f"this network is {result['verdict']['words']}", held(result)]


def held(result: Mapping[str, Any]) -> str:
    """How much of the truth fell into each interval, in words."""
    shares = ", ".join(
        f"{one['coverage']:.3g} % into the {level} % interval" for level, one in result["intervals"].items()
    )
    return f"of the truth fell {shares}"


def found(job: Forecaster, asked: ForecastConfig) -> Iterator[str]:
    """What was found in the data, as far as it was not ``asked`` for."""
    config, task = job.config, job.task
    if asked.season is None:
        yield f"season: {config.season} steps" if config.season else "season: none was found"
    if config.on_line and asked.context is None:
        yield f"context: {config.context} values" + (
            f", read in segments of {config.segment}" if (config.segment or 1) > 1 else ""
        )
    yield from noted(job.effects, job.series.names, job.reading.beside)
    yield from spread(config)
    if config.split[1] and not task.split.validation:
        yield (
            f"the validation part, {config.split[1]:g} % of {len(task.series)} values, is shorter than the horizon "
            f"of {config.horizon}, so nothing is validated" + (": the forecast is the line's" if config.on_line else "")
        )


def spread(config: ForecastConfig) -> Iterator[str]:
    """Where intervals come from, if not from past errors alone."""
    if config.likelihood != "none":
        yield f"intervals: as the network forecasts the spread ({config.likelihood}), calibrated by past errors"


def gain(model: Any) -> Iterator[str]:
    """How much of what a network on a line says is used."""
    if isinstance(model, NetworkOnLine):
        added, beside = (f"{100 * share:.0f} %" for share in model.shares)
        if any(model.shares):
            yield f"{added} of what the network adds to the line and {beside} of its own forecast are used"
        else:
            yield "the network adds nothing to the line that the validation part shows to help"


def pictures(job: Forecaster, folder: Path, kind: str, steps: int) -> dict[str, Path]:
    """Draw the test part where there is one, with ``steps`` after the end."""
    if not job.task.split.test:
        return {}
    drawn = {"Predictions on the test part": _draw_test(job, folder / f"predictions.{kind}", steps)}
    return drawn | _draw_residuals(job, folder / f"residuals.{kind}")


def _draw_residuals(job: Forecaster, path: Path) -> dict[str, Path]:
    """Draw what one step ahead leaves of the test part, where there is enough of it to say anything."""
    from elman import pictures as drawing

    part, series = job.test_part(), job.series
    left = part.truth[:, 0] - part.prediction[:, 0]
    if len(left) < FEWEST_RESIDUALS:
        return {}
    lags = min(MOST_LAGS, len(left) // 4)
    correlations = np.stack([autocorrelations(column)[1 : lags + 1] for column in left.T], axis=1)
    where = np.arange(len(series)) if series.times is None else series.local(series.times)
    title = f"{Path(series.source).name}, {job.network.cell}: residuals of the test part, one step ahead"
    return {
        "Residuals on the test part": drawing.draw_residuals(
            path, left, series.names, where[part.first], correlations, title
        )
    }


def _draw_test(job: Forecaster, path: Path, steps: int) -> Path:
    from elman import pictures as drawing

    part, series = job.test_part(), job.series
    where = np.arange(len(series)) if series.times is None else series.local(series.times)
    truth, prediction = part.truth[:, :1], part.prediction[:, :1]
    scores = [mse(prediction[..., c : c + 1], truth[..., c : c + 1]) for c in range(len(series.names))]
    labels = [f"{name} (MSE {score:.4g})" for name, score in zip(series.names, scores, strict=True)]
    continuation = None
    if steps:
        ahead = job.predict(steps, levels=LEVELS)
        after = np.arange(len(series), len(series) + steps) if ahead.times is None else series.local(ahead.times)
        continuation = (ahead.values, after, ahead.intervals)
    title = f"{Path(series.source).name}, {job.network.cell}: test part, one step ahead"
    return drawing.draw_predictions(path, truth[:, 0], prediction[:, 0], labels, where[part.first], title, continuation)


def draw_backtest(backtest: Backtest, path: Path) -> Path:
    """Draw the forecasts of a backtest that do not overlap, beside the truth."""
    from elman import pictures as drawing

    series, horizon = backtest.series, backtest.truth.shape[1]
    begin = max(0, int(backtest.origins[0]) - (len(series) - int(backtest.origins[0])) // 2)
    where = np.arange(len(series)) if series.times is None else series.local(series.times)
    drawn, last = [], -horizon
    for i, origin in enumerate(backtest.origins.tolist()):
        if origin >= last + horizon:  # forecasts that overlap hide each other
            part = slice(origin - begin, origin - begin + horizon)
            around = {level: (lower[i], upper[i]) for level, (lower, upper) in backtest.intervals.items()}
            drawn.append((part, backtest.prediction[i], {level: around[level] for level in LEVELS}))
            last = origin
    title = f"{Path(series.source).name}: {horizon} step{'s' * (horizon > 1)} ahead from each origin"
    return drawing.draw_backtest(path, series.values[begin:], where[begin:], drawn, series.names, title)


def sample(job: Forecaster, steps: int | None) -> Sample:
    """The last context of the test part, or of the validation part or training where there is none."""
    model = job.model
    return _on_line(job, model, steps) if isinstance(model, NetworkOnLine) else _of_network_alone(job, steps)


def _on_line(job: Forecaster, model: NetworkOnLine, steps: int | None) -> Sample:
    """The last context of the part, of the first column: what the network adds to the linear forecast."""
    task, series = job.task, job.series
    part = task.split.test or task.split.validation or task.split.train
    end = part[-1] + task.context
    segments = min(steps or STEPS, task.context // model.segment)
    first, column = end - segments * model.segment, slice(0, 1)
    z = task.z.to(next(model.parameters()).device)
    task.use_line_before(part.start + task.context)  # as the part is scored
    with torch.no_grad():
        forecast = model(z[part[-1] : end, None])[0][-1, 0]
        line = model.line(z[part[-1] : end, None])[0]
    watched, own = Watched.of(model.recurrent, lambda: model.used(z[first:end, None]))
    left = z[end : end + model.horizon] - (1 - model.gain[1]) * line - own[0]
    loss = watched.gradient((left / model.units[0])[:, 0].square().mean())[:, column]
    rest = task.scaler.invert(forecast.cpu().double().numpy()[None], task.series.values[end - 1 : end])
    values = job.effects.restored(rest, series, np.array([end]))[0]
    name, size = series.names[0], model.segment
    read = f", read in segments of {size}" if size > 1 else ""
    times = None if series.times is None else series.local(series.times[first:end])
    what = f"{end - first} value{'s' * (end - first > 1)} of {Path(series.source).name}, {name}, {first} to {end - 1}"
    return Sample(
        **job.about(),
        what=f"{what} counted from 0{read}",
        x=watched.x[:, column],
        loss=loss,
        trained=loss,
        explained=watched.gradient(own[0, :, 0].sum())[:, column],
        question="the network's own part of the forecast"
        + ("" if model.horizon == 1 else f", the sum of {model.horizon} steps"),
        result=result_of([name], series.values[first:end, :1], values[:1, :1], series.values[end : end + 1, :1]),
        labels=() if times is None else tuple(date_text(t, series.step) for t in times[size - 1 :: size]),
    )


def _of_network_alone(job: Forecaster, steps: int | None) -> Sample:
    task, config, series = job.task, job.config, job.series
    part = task.split.test or task.split.validation or task.split.train
    end = part[-1] + task.context  # of what is read; the horizon follows it
    length = min(end, STEPS if config.stateful else min(task.context, STEPS)) if steps is None else min(end, steps)
    first = end - length
    z = task.z.to(next(job.model.parameters()).device)
    with torch.no_grad():  # a stateful network has read all that lies before
        before = job.model(z[:first, None])[1] if config.stateful and first else None
    watched, prediction = Watched.of(job.model.recurrent, lambda: job.model(z[first:end, None], before)[0])
    targets = z[first + 1 :].unfold(0, config.horizon, 1)[:length].mT
    losses = (prediction[:, 0] - targets).square().mean((1, 2))
    last = series.values[first:end]
    values = task.scaler.invert(prediction[:, 0].detach().cpu().double().numpy(), last)
    times = None if series.times is None else series.local(series.times[first:end])
    forecasts = prediction[-1].numel()  # of all columns, of the whole horizon
    beyond = f", more than the context of {task.context}" if length > task.context and not config.stateful else ""
    span = f"{first} to {end - 1}" if length > 1 else f"{first}"
    return Sample(
        **job.about(),
        what=f"{length} value{'s' * (length > 1)} of {Path(series.source).name}, {span} counted from 0{beyond}",
        x=watched.x,
        given={} if before is None else {"state": before},
        loss=watched.gradient(losses.sum()),
        trained=watched.gradient(losses.sum() if config.targets == "every" else losses[-1]),
        explained=watched.gradient(prediction[-1].sum()),
        question=f"{'the forecast' if forecasts == 1 else f'the sum of the {forecasts} forecasts'} after the last step",
        result=result_of(list(series.names), last, values[:, 0], series.values[first + 1 : end + 1]),
        labels=() if times is None else tuple(date_text(t, series.step) for t in times),
    )


def result_of(names: list[str], inputs: Array, forecast: Array, truth: Array) -> dict[str, Any]:
    """What was forecast, as JSON can hold it, and as a page says it of the first column."""
    said = f"After the last step {names[0]} is forecast at {forecast[-1, 0]:.4g}; it was {truth[-1, 0]:.4g}"
    numbers = {"inputs": inputs.tolist(), "forecast": forecast.tolist(), "truth": truth.tolist()}
    return {"names": names, **numbers, "shown": {"title": "What it forecasts", "said": said}}
