"""The sequence that a run is explained on, chosen from its own data: of each task the one that shows most."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from elman.data.series.calendar import date_text
from elman.data.text.vocabulary import LEVELS
from elman.errors import ElmanError
from elman.jobs import Classifier, Forecaster, Generator
from elman.metrics import softmax
from elman.report.sample import Sample, Watched
from elman.tasks import NetworkOnLine

STEPS = 200  # unless told
WRITTEN = 200  # symbols of a text's sample
SHOWN = 10  # classes, the likeliest


def sample(job: Any, steps: int | None = None) -> Sample:
    """The sequence of at most ``steps`` steps (200, or a forecast's context) from the test part of a job's data.

    Where there is no test part it is from the validation part, else from training. Raises :class:`ElmanError` for
    fewer steps than 1.

    >>> from elman.jobs import Forecaster
    >>> forecaster = Forecaster("rnn", hidden=4, context=20, epochs=1)
    >>> history = forecaster.fit("wave:sine")
    >>> sample(forecaster).x.shape
    torch.Size([20, 1, 3])
    """
    if steps is not None and steps < 1:
        raise ElmanError(f"`steps`: got {steps}, want 1 or more")
    job.model.eval()
    if isinstance(job, Forecaster):
        return _of_series(job, steps)
    return _of_text(job, steps) if isinstance(job, Generator) else _of_labelled(job, steps)


def _of_job(job: Any) -> dict[str, Any]:
    """What of a sample is the job's and not the sequence's."""
    return {
        "task": job.task.name,
        "layer": job.model.recurrent,
        "cell": job.network.cell,
        "parameters": sum(p.numel() for p in job.model.parameters()),
        "training": job.run.metrics() if job.run is not None else (),
        "epochs": job.recipe.epochs,
    }


def _of_series(job: Forecaster, steps: int | None) -> Sample:
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
    values = task.scaler.invert(forecast.cpu().double().numpy()[None], series.values[end - 1 : end])[0]
    name, size = series.names[0], model.segment
    read = f", read in segments of {size}" if size > 1 else ""
    times = None if series.times is None else series.local(series.times[first:end])
    what = f"{end - first} value{'s' * (end - first > 1)} of {Path(series.source).name}, {name}, {first} to {end - 1}"
    return Sample(
        **_of_job(job),
        what=f"{what} counted from 0{read}",
        x=watched.x[:, column],
        loss=loss,
        trained=loss,
        explained=watched.gradient(own[0, :, 0].sum())[:, column],
        question="the network's own part of the forecast"
        + ("" if model.horizon == 1 else f", the sum of {model.horizon} steps"),
        result={
            "names": [name],
            "inputs": series.values[first:end, :1].tolist(),
            "forecast": [[float(values[0, 0])]],
            "truth": [[float(series.values[end, 0])]],
        },
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
        **_of_job(job),
        what=f"{length} value{'s' * (length > 1)} of {Path(series.source).name}, {span} counted from 0{beyond}",
        x=watched.x,
        given={} if before is None else {"state": before},
        loss=watched.gradient(losses.sum()),
        trained=watched.gradient(losses.sum() if config.targets == "every" else losses[-1]),
        explained=watched.gradient(prediction[-1].sum()),
        question=f"{'the forecast' if forecasts == 1 else f'the sum of the {forecasts} forecasts'} after the last step",
        result={
            "names": list(series.names),
            "inputs": last.tolist(),
            "forecast": values[:, 0].tolist(),
            "truth": series.values[first + 1 : end + 1].tolist(),
        },
        labels=() if times is None else tuple(date_text(t, series.step) for t in times),
    )


def _of_text(job: Generator, steps: int | None) -> Sample:
    task, tokens = job.task, job.task.alphabet.tokens
    name, part = next((name, part) for name in ("test", "validation", "train") if len(part := getattr(task, name)) > 1)
    length = min(len(part) - 1, steps or STEPS)
    ids = torch.from_numpy(task.ids.block(part.start, part.start + length + 1)).to(task.device)
    watched, scores = Watched.of(job.model.recurrent, lambda: job.model(ids[:-1, None])[0])
    loss = cross_entropy(scores[:, 0], ids[1:], reduction="sum")
    gradient = watched.gradient(loss)
    likeliest = [_written(tokens, i) for i in scores[:, 0].argmax(1).tolist()]
    return Sample(
        **_of_job(job),
        what=f"the first {length} symbol{'s' * (length > 1)} of the {name} part",
        x=watched.x,
        loss=gradient,
        trained=gradient,
        explained=watched.gradient(scores[-1, 0].max()),
        question=f"the score of what is likeliest after the last step, {likeliest[-1]!r}",
        result={
            "nats": float(loss.detach()) / length,
            "likeliest": likeliest,
            "sample": job.generate(length=WRITTEN, seed=0)[0],
        },
        labels=tuple(_written(tokens, i) for i in ids[:-1].tolist()),
        text=True,
    )


def _written(tokens: Sequence[str], symbol: int) -> str:
    """A symbol as a token, or a byte as its ASCII letter; what has none as it is escaped, ``\\xe4``."""
    if len(tokens):
        return tokens[symbol]
    letter = chr(symbol)
    return letter if letter in "\n\t" or " " <= letter <= "~" else f"\\x{symbol:02x}"


def _of_labelled(job: Classifier, steps: int | None) -> Sample:
    task, data = job.task, job.task.parts.data
    name = next(name for name in ("test", "validation", "train") if len(getattr(task.parts, name)))
    index = _longest_within(task.inputs, getattr(task.parts, name), steps or STEPS)
    inputs = task.inputs[index][: steps or STEPS]
    batch = task.collated([inputs], task.truth[[index]])
    watched, logits = Watched.of(job.model.recurrent, lambda: job.model(batch.inputs, batch.lengths))
    weighed = job.weighing.weighed(logits.detach().cpu().double().numpy(), [data.sequences[index]])
    odds = softmax(weighed / job.weighing.temperature)[0]
    best = int(odds.argmax())
    gradient = watched.gradient(cross_entropy(logits, batch.labels))
    tokens = LEVELS[job.config.level](str(data.sequences[index]))[: len(inputs)] if data.is_text else []
    tokens += ["end"] * (len(inputs) - len(tokens)) if data.is_text else []  # runs of tokens have a step for the end
    beside = "" if job.model.bag is None else "what the recurrent network adds to "
    cut = (
        f", the first {len(inputs)} of its {len(task.inputs[index])} steps"
        if len(inputs) < len(task.inputs[index])
        else ""
    )
    return Sample(
        **_of_job(job),
        what=f"sequence {index} of the {name} part{cut}",
        x=watched.x,
        loss=gradient,
        trained=gradient,
        explained=watched.gradient(logits[0, best]),
        question=f"{beside}the score of the class {job.classes[best]!r}",
        result={
            "predicted": job.classes[best],
            "truth": data.labels[index],
            "probabilities": {job.classes[i]: float(odds[i]) for i in np.argsort(-odds)[:SHOWN]},
        },
        labels=tuple(tokens),
        text=data.is_text and bool(tokens),
    )


def _longest_within(inputs: Sequence[Tensor], part: Sequence[int], steps: int) -> int:
    """Of the sequences of ``part`` the longest of at most ``steps`` steps; the shortest where all are longer."""
    within = [i for i in part if len(inputs[i]) <= steps]
    return int(max(within, key=lambda i: len(inputs[i])) if within else min(part, key=lambda i: len(inputs[i])))
