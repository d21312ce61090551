"""The commands of forecasting: train forecast, forecast, demo; and how its results are shown."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from elman import ranks
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
    log: options.Log = None,
    json: Json = False,
) -> int:
    """Train a network to forecast a series, or many: --id names the column that tells them apart.

    Examples:
        elman train forecast sales.csv --horizon 12
        elman train forecast power.csv --time Date --target load --cell lstm -o runs/power
        elman train forecast shops.csv --id shop --time day --target sales --horizon 7
        elman train forecast wave:sine --network-alone --cell rnn --context 50
    """
    reading, choices = options.parted(choices, ReadConfig)
    job, opened = _job_of(data, out, resume, reading)
    return training.train(
        job,
        data,
        out,
        choices,
        reading,
        resume,
        wanted="a file, wave:sine, wave:combined, or fred:GS10",
        next_steps=_next,
        log=log,
        as_json=json,
        opened=opened,
    )


def _job_of(data: str | None, out: Path | None, resume: bool, reading: Mapping[str, Any]) -> tuple[Any, Any]:
    """What trains on ``data``, one series or many, or has trained the run ``out``; and the many, as they were read."""
    from elman import jobs
    from elman.data import panel_in
    from elman.training import task_of

    begun = out is not None and ranks.restarted() and (out / "config.json").is_file()
    if (resume or begun) and out is not None:
        return (jobs.PanelForecaster if task_of(out) == jobs.PanelForecaster.task_name() else jobs.Forecaster), None
    if data is None:
        return jobs.Forecaster, None
    beside = (out or training.default_folder(data, "cell")).absolute().parent
    panel = panel_in(data, beside=beside, report=console.say, **reading)
    return (jobs.Forecaster if panel is None else jobs.PanelForecaster), panel


def _next(job: Any, out: Path) -> str:
    test = f"elman test {out}; elman plot {out}; " if job.config.split[2] else f"elman plot {out}; "
    return f"{test}elman forecast {out}"


def _forecaster(run: Path) -> Any:
    """The job of a run, of one series or many. Raises :class:`ElmanError` for a run that forecasts nothing."""
    from elman import jobs

    job = jobs.load(run)
    if job.command != "forecast":
        raise ElmanError(f"{run}: is a run of task '{job.task_name()}', and forecasts nothing")
    return job


@options.takes(options.reading())
def forecast(
    choices: dict[str, Any],
    run: RunFolder,
    steps: Annotated[int | None, option("How many steps ahead. [10; of many series the horizon]")] = None,
    out: Annotated[Path | None, options.out("A .csv or .parquet file. [the terminal]")] = None,
    data: Annotated[Text, option("Go on after this series and not the one trained on.")] = None,
    levels: Annotated[Text, option("Intervals that so many per cent fall into, such as 80,95.")] = None,
    paths: Annotated[int, option("So many ways it may go, drawn at random, instead of one forecast. [none]")] = 0,
    json: Json = False,
) -> int:
    """Forecast the next values of a series, each prediction fed back as the next input.

    Examples:
        elman forecast runs/sales-gru --steps 12 --levels 80,95
        elman forecast runs/sales-gru --data newer.csv -o forecast.csv
        elman forecast runs/sales-gru --steps 12 --paths 1000 -o paths.parquet
    """
    if data is None and choices:
        raise ElmanError(f"`{next(iter(choices))}` says how to read --data, which is not given")
    if paths and levels is not None:
        raise ElmanError("`paths` are drawn from all intervals, and stand in a table of their own; leave out `levels`")
    asked = [] if levels is None else options.numbers("--levels", levels)
    job = _forecaster(run)
    continuation = job.predict(steps, data, levels=asked, paths=paths, **choices)
    table = continuation.table()
    rows = list(zip(*table.values(), strict=True))
    if out is not None:
        _write_table(out, table)
    result = {"run": str(run), **continuation.to_dict()} | ({"out": str(out)} if out else {})
    lines = _csv(list(table), rows).splitlines() if out is None else [f"{out}: {len(rows)} rows"]
    console.emit(result, lines, json)
    return console.DONE


def _write_table(path: Path, table: Mapping[str, list[Any]]) -> None:
    """Write a table as CSV or, where the name ends so, as Parquet; whole or not at all."""
    from elman.training import write_atomically

    if path.suffix.lower() != ".parquet":
        write_atomically(path, _csv(list(table), zip(*table.values(), strict=True)).encode())
        return
    import polars as pl

    buffer = io.BytesIO()
    pl.DataFrame(table).write_parquet(buffer)
    write_atomically(path, buffer.getvalue())


def _csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table as text, a row a line."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()


@options.takes(options.reading(), options.fields(OF_THE_RUN))
def update(
    choices: dict[str, Any],
    run: RunFolder,
    data: Annotated[Text, option("A newer series: the old one and what came after it.")] = None,
    out: Annotated[Path | None, options.out("Where the new run goes. [RUN-2, RUN-3, ...]")] = None,
    json: Json = False,
) -> int:
    """Continue training a forecast on newer data, into a new run.

    Examples:
        elman update runs/sales-gru --data newer.csv
    """
    from elman.training import Progress

    if data is None:
        raise ElmanError("--data is missing: the newer series")
    reading, recipe = options.parted(choices, ReadConfig)
    folder = out or next(f for f in _numbered(run) if not f.exists())
    forecaster = _forecaster(run)
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
    refit: Annotated[bool, typer.Option("--refit", help="Retrain at every origin.")] = False,
    more: options.More = False,
    out: Annotated[Path | None, options.out("A .csv or .parquet file for every forecast.")] = None,
    plot: Annotated[Path | None, option("A picture, .png or .svg.")] = None,
    json: Json = False,
) -> int:
    """Forecast from many past origins, each from its own past, and score the forecasts.

    Examples:
        elman backtest sales.csv --horizon 12 --every 3 --plot backtest.png
        elman backtest shops.csv --id shop --time day --target sales --horizon 7 -o every.csv
    """
    from elman import jobs, pictures
    from elman.data import panel_in

    if data is None:
        raise ElmanError("DATA is missing: a file, wave:sine, wave:combined, or fred:GS10")
    if plot is not None:
        pictures.picture_path(plot)
    reading, choices = options.parted(choices, ReadConfig)
    choices |= {"first": first, "every": every, "refit": refit, "more": more}
    panel = panel_in(data, report=console.say, **reading)
    tested: Any
    with console.bar("origin") as report:
        if panel is None:
            tested = jobs.backtest(data, horizon, report=report, reading=reading, **choices)
        else:
            tested = jobs.backtest_panel(panel, horizon, report=report, **choices)
    result, lines = tested.scores(), []
    if out is not None:
        _write_table(out, tested.table())
        lines.append(f"every forecast: {out}")
    if plot is not None:
        lines.append(f"a picture: {tested.draw(plot)}")
    console.emit(result, [*tested.words(result), *lines], json)
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
