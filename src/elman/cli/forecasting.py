"""The commands of forecasting: train forecast, test, plot, forecast, demo."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from elman.cli import console, options
from elman.cli.console import Json
from elman.errors import ElmanError, RunError

Source = Annotated[
    str | None, typer.Argument(help="A file, wave:sine, wave:combined, or fred:GS10.", show_default=False)
]
RunFolder = Annotated[Path, typer.Argument(help="A run folder.", show_default=False)]
Text: TypeAlias = str | None
Number: TypeAlias = float | None
Whole: TypeAlias = int | None


def _option(help: str, *names: str) -> Any:
    return typer.Option(*names, help=help, show_default=False)


def train(
    data: Source = None,
    out: Annotated[Path | None, _option("Where the run goes. [runs/DATA-CELL]", "-o", "--out")] = None,
    cell: Annotated[Text, _option("A cell of `elman cells`, or file.py:name. [gru]")] = None,
    hidden: Annotated[Text, _option("Hidden size, or one a layer: 64,32. [32]")] = None,
    layers: Annotated[Whole, _option("Layers. [1]")] = None,
    dropout: Annotated[Number, _option("Dropout between layers. [0]")] = None,
    set_: Annotated[list[str] | None, _option("An option of the cell: nonlinearity=relu.", "--set")] = None,
    time: Annotated[Text, _option("Column of the dates.")] = None,
    target: Annotated[list[str] | None, _option("Column to forecast; give several for several.")] = None,
    resample: Annotated[Text, _option("Take means over periods: 1y, 1mo, 1w, 1d, 1h.")] = None,
    context: Annotated[Whole, _option("Values read before a forecast. [24]")] = None,
    horizon: Annotated[Whole, _option("Values forecast at once. [1]")] = None,
    split: Annotated[Text, _option("Per cent for training, validation, test. [70,10,20]")] = None,
    scaler: Annotated[Text, _option("standard, minmax, none or differences. [standard]")] = None,
    targets: Annotated[Text, _option("last: after the context. every: after each step. [last]")] = None,
    stateful: Annotated[bool | None, _option("Carry the state from window to window.", "--stateful")] = None,
    season: Annotated[Whole, _option("Steps in a season, for the seasonal naive baseline.")] = None,
    epochs: Annotated[Whole, _option("Passes over the training part. [100]")] = None,
    batch: Annotated[Whole, _option("Windows in a step. [32]")] = None,
    lr: Annotated[Number, _option("Peak of the one-cycle learning rate. [0.015]")] = None,
    clip: Annotated[Number, _option("Largest norm of the gradient; 0: no bound. [0.1]")] = None,
    seed: Annotated[Whole, _option("Seed of everything random. [0]")] = None,
    device: Annotated[Text, _option("cpu, cuda, ... [cpu]")] = None,
    patience: Annotated[Whole, _option("Stop after so many epochs without improvement; 0: never. [0]")] = None,
    weight_decay: Annotated[Number, _option("AdamW's decay of the weights. [0]")] = None,
    resume: Annotated[bool, _option("Go on with the run -o, which was interrupted.", "--resume")] = False,
    json: Json = False,
) -> int:
    """Train a network to forecast a series."""
    choices = options.given(
        cell=cell,
        hidden=None if hidden is None else options.whole_numbers("--hidden", hidden),
        layers=layers,
        dropout=dropout,
        context=context,
        horizon=horizon,
        split=None if split is None else options.percentages("--split", split),
        scaler=scaler,
        targets=targets,
        stateful=stateful,
        season=season,
        epochs=epochs,
        batch=batch,
        lr=lr,
        clip=clip,
        seed=seed,
        device=device,
        patience=patience,
        weight_decay=weight_decay,
    )
    own = options.settings("--set", set_ or [])
    reading = options.given(time=time, target=target or None, resample=resample)
    if resume:
        in_the_run = options.given(DATA=data, **{f"--{name}": value for name, value in reading.items()})
        in_the_run |= {f"--set {name}": value for name, value in own.items()}
        if in_the_run:
            raise ElmanError(f"{', '.join(in_the_run)}: a resumed training has it from the run; leave it out")
        return _resume(out, choices, json)
    if data is None:
        raise ElmanError("DATA is missing: a file, wave:sine, wave:combined, or fred:GS10")
    return _train(data, out or _default_folder(data, choices), choices | {"options": own}, reading, json)


def _default_folder(data: str, choices: Mapping[str, Any]) -> Path:
    words = [Path(data).stem if Path(data).suffix else data, Path(str(choices.get("cell", "gru"))).name]
    return Path("runs") / "-".join(re.sub(r"\W+", "-", word).strip("-") for word in words)


def _train(data: str, out: Path, choices: dict[str, Any], reading: dict[str, Any], as_json: bool) -> int:
    from elman.jobs import Forecaster
    from elman.training import Progress

    forecaster = Forecaster(**choices)
    history = forecaster.fit(data, run=out, report=Progress(), **reading)
    for note in forecaster.series.notes:
        console.say(f"note: {note}")
    return _trained(forecaster, history, out, as_json)


def _resume(out: Path | None, choices: dict[str, Any], as_json: bool) -> int:
    from elman.jobs import Forecaster
    from elman.training import Progress

    if out is None:
        raise ElmanError("--resume goes on with a run: name it with -o RUN")
    forecaster, history = Forecaster.resume(out, report=Progress(), choices=choices)
    return _trained(forecaster, history, out, as_json)


def _trained(forecaster: Any, history: Any, out: Path, as_json: bool) -> int:
    result = {
        "task": "forecast",
        "run": str(out),
        "cell": forecaster.network.cell,
        "parameters": sum(p.numel() for p in forecaster.model.parameters()),
        "epochs": history.epochs,
        "best_epoch": history.best_epoch,
        "best_loss": history.best_loss if history.best_epoch else None,
        "seconds": round(sum(row["seconds"] for row in history.rows), 3),
        "interrupted": history.interrupted,
        "notes": list(forecaster.series.notes),
    }
    lines = [f"{out}: {history.epochs} epochs, the best {history.best_epoch} (loss {history.best_loss:.6g})"]
    if history.interrupted:
        lines.append(f"interrupted; go on with: elman train forecast --resume -o {out}")
    else:
        test = f"elman test {out}; " if forecaster.task.split.test else ""
        lines.append(f"next: {test}elman plot {out}; elman forecast {out} --steps 10")
    console.emit(result, lines, as_json)
    return console.INTERRUPTED if history.interrupted else console.DONE


def score(run: RunFolder, json: Json = False) -> int:
    """Score a run on its test part, beside the plain baselines."""
    forecaster = _load(run)
    result = forecaster.test()
    console.emit({"run": str(run), **result}, _score_lines(result), json)
    for warning in result["warnings"]:
        console.say(f"warning: {warning}")
    return console.DONE


def _score_lines(result: Mapping[str, Any]) -> list[str]:
    rows = {"this network": result["test"]} | {k.replace("_", " "): v for k, v in result["baselines"].items()}
    names = list(result["test"])
    lines = [f"{result['windows']} test windows", f"{'':16}" + "".join(f"{name.upper():>12}" for name in names)]
    return lines + [
        f"{row:16}" + "".join(f"{scores[name]:12.5g}" if name in scores else f"{'':>12}" for name in names)
        for row, scores in rows.items()
    ]


def plot(
    run: RunFolder,
    out: Annotated[Path | None, _option("Folder for the pictures. [the run]", "-o", "--out")] = None,
    kind: Annotated[str, typer.Option("--format", help="png or svg.")] = "png",
    steps: Annotated[int, typer.Option(help="Draw the forecast of so many steps after the end, too.")] = 0,
    json: Json = False,
) -> int:
    """Draw a run: predictions against truth on its test part, and the loss of each epoch."""
    if kind not in ("png", "svg"):
        raise ElmanError(f"--format: got {kind!r}, want png or svg")
    if steps < 0:
        raise ElmanError(f"--steps: got {steps}, want 0 or more")
    pictures = _draw(_load(run), run, out or run, kind, steps)
    console.emit({"run": str(run), "pictures": [str(p) for p in pictures]}, [str(p) for p in pictures], json)
    return console.DONE


def _draw(forecaster: Any, run: Path, folder: Path, kind: str, steps: int = 0) -> list[Path]:
    from elman import pictures

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder}: the pictures cannot go there: {error.strerror}") from error
    rows = forecaster.run.metrics() if forecaster.run is not None else []
    drawn = [_draw_test(forecaster, folder / f"predictions.{kind}", steps)] if forecaster.task.split.test else []
    return [*drawn, pictures.draw_losses(folder / f"loss.{kind}", rows, f"{run}: loss")]


def _draw_test(forecaster: Any, path: Path, steps: int) -> Path:
    import numpy as np

    from elman import pictures
    from elman.metrics import mse

    part, series = forecaster.test_part(), forecaster.series
    where = np.arange(len(series)) if series.times is None else series.times
    truth, prediction = part.truth[:, :1], part.prediction[:, :1]
    scores = [mse(prediction[..., c : c + 1], truth[..., c : c + 1]) for c in range(len(series.names))]
    labels = [f"{name} (MSE {score:.4g})" for name, score in zip(series.names, scores, strict=True)]
    continuation = None
    if steps:
        found = forecaster.predict(steps)
        after = np.arange(len(series), len(series) + steps) if found.times is None else found.times
        continuation = (found.values, after)
    title = f"{Path(series.source).name}, {forecaster.network.cell}: test part, one step ahead"
    return pictures.draw_predictions(
        path, truth[:, 0], prediction[:, 0], labels, where[part.first], title, continuation
    )


def forecast(
    run: RunFolder,
    steps: Annotated[int, typer.Option(help="How many steps ahead.")] = 10,
    out: Annotated[Path | None, _option("A CSV file. [the terminal]", "-o", "--out")] = None,
    data: Annotated[Text, _option("Go on after this series and not the one trained on.")] = None,
    time: Annotated[Text, _option("Its column of dates.")] = None,
    target: Annotated[list[str] | None, _option("Its column to forecast.")] = None,
    resample: Annotated[Text, _option("Take means over periods, as in training.")] = None,
    json: Json = False,
) -> int:
    """Forecast the next values of a series, each prediction fed back as the next input."""
    from elman.training import write_atomically

    reading = options.given(time=time, target=target or None, resample=resample)
    if data is None and reading:
        raise ElmanError(f"--{next(iter(reading))} says how to read --data, which is not given")
    found = _load(run).predict(steps, data, **reading)
    dates = None if found.times is None else _dates(found.times)
    header = ["step" if dates is None else "date", *found.names]
    rows = [[dates[i] if dates else i + 1, *values] for i, values in enumerate(found.values.tolist())]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    if out is not None:
        write_atomically(out, text.getvalue().encode())
    result = {
        "run": str(run),
        "steps": steps,
        "names": list(found.names),
        "dates": dates,
        "values": found.values.tolist(),
    }
    lines = text.getvalue().splitlines() if out is None else [f"{out}: {steps} steps"]
    console.emit(result | ({"out": str(out)} if out else {}), lines, json)
    return console.DONE


def _dates(times: Any) -> list[str]:
    """Dates as short as all of them can be: days where all are midnights."""
    import numpy as np

    for unit in ("D", "m", "s", "us"):
        short = times.astype(f"M8[{unit}]")
        if (short == times).all():
            break
    return [str(text) for text in np.datetime_as_string(short)]


def _load(run: Path) -> Any:
    from elman.jobs import Forecaster

    return Forecaster.load(run)


def demo(
    out: Annotated[Path | None, _option("Where the run goes. [runs/demo, runs/demo-2, ...]", "-o", "--out")] = None,
    json: Json = False,
) -> int:
    """Train on the combined wave, test, and draw: the whole job in one command."""
    from elman.jobs import Forecaster
    from elman.training import Progress

    folder = out or next(f for f in _numbered(Path("runs/demo")) if not f.exists())
    console.say("training a plain recurrent network of 32 units on sine + cosine + square wave")
    forecaster = Forecaster("rnn", hidden=32, context=50, split=(80, 0, 20))
    history = forecaster.fit("wave:combined", run=folder, report=Progress())
    if history.interrupted:
        return _trained(forecaster, history, folder, json)
    result = forecaster.test()
    pictures = _draw(forecaster, folder, folder, "png")
    lines = [*_score_lines(result), f"the run: {folder}", *(f"a picture: {p.resolve()}" for p in pictures)]
    console.emit({"run": str(folder), **result, "pictures": [str(p) for p in pictures]}, lines, json)
    return console.DONE


def _numbered(folder: Path) -> Any:
    yield folder
    for i in range(2, sys.maxsize):
        yield folder.with_name(f"{folder.name}-{i}")
