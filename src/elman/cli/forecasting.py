"""The commands of forecasting: train forecast, forecast, demo; and how its results are shown."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from elman.choices.forecast import USUAL, ForecastConfig
from elman.choices.reading import ReadConfig
from elman.choices.recipe import Recipe
from elman.cli import console, options, training
from elman.cli.console import Json
from elman.cli.options import RunFolder, option
from elman.errors import ElmanError

Source = Annotated[
    str | None, typer.Argument(help="A file, wave:sine, wave:combined, or fred:GS10.", show_default=False)
]
Text: TypeAlias = str | None
RECIPE = Recipe(**USUAL)
OF_THE_RUN = Recipe.model_construct(**dict.fromkeys(Recipe.model_fields))  # has no defaults to show


@options.takes(options.reading(), options.network(), options.fields(ForecastConfig), options.fields(RECIPE))
def train(
    choices: dict[str, Any],
    data: Source = None,
    out: options.Out = None,
    resume: options.Resume = False,
    json: Json = False,
) -> int:
    """Train a network to forecast a series.

    Examples:
        elman train forecast sales.csv --horizon 12
        elman train forecast power.csv --time Date --target load --cell lstm -o runs/power
        elman train forecast wave:sine --network-alone --cell rnn --context 50
    """
    reading, choices = options.parted(choices, ReadConfig)
    return training.train(
        _job(),
        data,
        out,
        choices,
        reading,
        resume,
        wanted="a file, wave:sine, wave:combined, or fred:GS10",
        next_steps=_next,
        as_json=json,
    )


def _next(forecaster: Any, out: Path) -> str:
    test = f"elman test {out}; " if forecaster.task.split.test else ""
    return f"{test}elman plot {out}; elman forecast {out} --steps 10"


def _job() -> Any:
    from elman.jobs import Forecaster

    return Forecaster


@options.takes(options.reading())
def forecast(
    choices: dict[str, Any],
    run: RunFolder,
    steps: Annotated[int, typer.Option(help="How many steps ahead.")] = 10,
    out: Annotated[Path | None, options.out("A CSV file. [the terminal]")] = None,
    data: Annotated[Text, option("Go on after this series and not the one trained on.")] = None,
    levels: Annotated[Text, option("Intervals that so many per cent fall into, such as 80,95.")] = None,
    json: Json = False,
) -> int:
    """Forecast the next values of a series, each prediction fed back as the next input.

    Examples:
        elman forecast runs/sales-gru --steps 12 --levels 80,95
        elman forecast runs/sales-gru --data newer.csv -o forecast.csv
    """
    from elman.training import write_atomically

    if data is None and choices:
        raise ElmanError(f"`{next(iter(choices))}` says how to read --data, which is not given")
    asked = [] if levels is None else options.numbers("--levels", levels)
    found = _job().load(run).predict(steps, data, levels=asked, **choices)
    dates = found.dates
    bounds = _bounds(found)
    header = ["step" if dates is None else "date", *bounds]
    numbers = zip(*bounds.values(), strict=True)
    rows = [[dates[i] if dates else i + 1, *values] for i, values in enumerate(numbers)]
    text = _csv(header, rows)
    if out is not None:
        write_atomically(out, text.encode())
    result = {
        "run": str(run),
        "steps": steps,
        "names": list(found.names),
        "dates": dates,
        "values": found.values.tolist(),
        "intervals": {
            f"{level:g}": {"lower": (found.values - width).tolist(), "upper": (found.values + width).tolist()}
            for level, width in found.widths.items()
        },
    }
    lines = text.splitlines() if out is None else [f"{out}: {steps} steps"]
    console.emit(result | ({"out": str(out)} if out else {}), lines, json)
    return console.DONE


def _csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table as text, a row a line."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()


def _bounds(found: Any) -> dict[str, list[float]]:
    """The columns of a forecast: of each series its values, then the bounds of each level."""
    columns = {}
    for c, name in enumerate(found.names):
        columns[name] = found.values[:, c].tolist()
        for level, width in found.widths.items():
            columns[f"{name}_lower_{level:g}"] = (found.values[:, c] - width[:, c]).tolist()
            columns[f"{name}_upper_{level:g}"] = (found.values[:, c] + width[:, c]).tolist()
    return columns


@options.takes(options.reading(), options.fields(OF_THE_RUN))
def update(
    choices: dict[str, Any],
    run: RunFolder,
    data: Annotated[Text, option("A newer series: the old one and what came after it.")] = None,
    out: Annotated[Path | None, options.out("Where the new run goes. [RUN-2, RUN-3, ...]")] = None,
    json: Json = False,
) -> int:
    """Go on training a run of a forecast with newer data, into a new run.

    Examples:
        elman update runs/sales-gru --data newer.csv
    """
    from elman.training import Progress

    if data is None:
        raise ElmanError("--data is missing: the newer series")
    reading, recipe = options.parted(choices, ReadConfig)
    folder = out or next(f for f in _numbered(run) if not f.exists())
    forecaster = _job().load(run)
    history = forecaster.update(data, run=folder, report=Progress(), recipe=recipe, **reading)
    for note in forecaster.notes:
        console.say(f"note: {note}")
    return training.say_trained(forecaster, history, folder, _next, json)


BACKTESTED = [name for name in ForecastConfig.model_fields if name not in ("horizon", "split")]


@options.takes(
    options.reading(), options.network(), options.fields(ForecastConfig, *BACKTESTED), options.fields(RECIPE)
)
def backtest(
    choices: dict[str, Any],
    data: Source,
    horizon: Annotated[int, typer.Option(help="Values forecast from each origin.")] = 1,
    first: Annotated[int | None, option("Values before the first origin. [four fifths of them]")] = None,
    every: Annotated[int, typer.Option(help="Steps from one origin to the next.")] = 1,
    refit: Annotated[bool, typer.Option("--refit", help="Train anew at every origin.")] = False,
    out: Annotated[Path | None, options.out("A CSV file for every forecast.")] = None,
    plot: Annotated[Path | None, option("A picture, .png or .svg.")] = None,
    json: Json = False,
) -> int:
    """Forecast from one origin after another, each from what stands before it, and score the forecasts.

    Examples:
        elman backtest sales.csv --horizon 12 --every 3 --plot backtest.png
    """
    from elman import jobs, pictures
    from elman.training import write_atomically

    if data is None:
        raise ElmanError("DATA is missing: a file, wave:sine, wave:combined, or fred:GS10")
    if plot is not None:
        pictures.picture_path(plot)
    reading, choices = options.parted(choices, ReadConfig)
    with console.bar("origin") as report:
        found = jobs.backtest(
            data, horizon, first=first, every=every, refit=refit, report=report, reading=reading, **choices
        )
    result, lines = found.scores(), []
    if out is not None:
        table = found.table()
        write_atomically(out, _csv(list(table), zip(*table.values(), strict=True)).encode())
        lines.append(f"every forecast: {out}")
    if plot is not None:
        lines.append(f"a picture: {found.draw(plot)}")
    console.emit(result, [*jobs.Backtest.words(result), *lines], json)
    return console.DONE


def demo(
    out: Annotated[Path | None, options.out("Where the run goes. [runs/demo, runs/demo-2, ...]")] = None,
    json: Json = False,
) -> int:
    """Train on the combined wave, test, and draw: the whole job in one command.

    Examples:
        elman demo
    """
    from elman.jobs import Forecaster
    from elman.training import Progress

    folder = out or next(f for f in _numbered(Path("runs/demo")) if not f.exists())
    console.say("training a plain recurrent network of 32 units on sine + cosine + square wave")
    forecaster = Forecaster("rnn", hidden=32, context=50, split=(80, 0, 20), network_alone=True)
    history = forecaster.fit("wave:combined", run=folder, report=Progress())
    if history.interrupted:
        return training.say_trained(forecaster, history, folder, _next, json)
    result = forecaster.test()
    pictures = forecaster.draw(folder).values()
    lines = [*forecaster.words(result), f"the run: {folder}", *(f"a picture: {p.resolve()}" for p in pictures)]
    console.emit({"run": str(folder), **result, "pictures": [str(p) for p in pictures]}, lines, json)
    return console.DONE


def _numbered(folder: Path) -> Any:
    yield folder
    for i in range(2, sys.maxsize):
        yield folder.with_name(f"{folder.name}-{i}")
