"""The command that chooses by trial: tune."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from elman.choices.forecast import ForecastConfig
from elman.choices.reading import ReadConfig
from elman.choices.recipe import Recipe
from elman.cli import console, options, training
from elman.cli.console import Json
from elman.cli.forecasting import OF_THE_RUN, Source
from elman.errors import ElmanError

SHOWN = 5  # trials
RECIPE = [name for name in Recipe.model_fields if name != "seed"]


@options.takes(
    options.reading(), options.network(), options.fields(ForecastConfig), options.fields(OF_THE_RUN, *RECIPE)
)
def tune(
    choices: dict[str, Any],
    data: Source = None,
    out: Annotated[Path | None, options.out("Where the trials and the best run go. [runs/DATA-tuned]")] = None,
    trials: Annotated[int, typer.Option(help="Trials in total, earlier ones included.", min=1)] = 20,
    seed: Annotated[int, typer.Option(help="Random seed.", min=0)] = 0,
    workers: Annotated[int, typer.Option(help="Trials side by side, each in a process of its own.", min=1)] = 1,
    json: Json = False,
) -> int:
    """Search for the best cell, size, context, strategy and rate of a forecast.

    Examples:
        elman tune sales.csv --horizon 12 --trials 30 -o runs/tuned
        elman tune sales.csv --horizon 12 --cell lstm
    """
    from elman import jobs

    if data is None:
        raise ElmanError("DATA is missing: a file, wave:sine, wave:combined, or fred:GS10")
    reading, choices = options.parted(choices, ReadConfig)
    folder = out or training.default_folder(data, "tuned")
    with console.bar("trial") as report:
        search = jobs.tune(data, folder, trials, seed=seed, workers=workers, report=report, reading=reading, **choices)
    result = {"run": str(folder), **search.to_dict()}
    ranked = sorted((row for row in search.trials if row["mse"] is not None), key=lambda row: row["mse"])
    lines = [f"{len(search.trials)} trials, the best on the validation part:"]
    lines += [f"  MSE {row['mse']:.5g}  {_chosen(row['choices'])}" for row in ranked[:SHOWN]]
    if search.interrupted:
        lines.append("interrupted; the same command goes on")
    elif search.forecaster is not None and search.forecaster.run is not None:
        result["best_run"] = str(search.forecaster.run.path)
        lines.append(f"next: elman test {search.forecaster.run.path}; elman forecast {search.forecaster.run.path}")
    console.emit(result, lines, json)
    return console.INTERRUPTED if search.interrupted else console.DONE


def _chosen(choices: Mapping[str, Any]) -> str:
    """Choices as they would be typed."""
    written = {name: f"{value:.3g}" if isinstance(value, float) else value for name, value in choices.items()}
    return " ".join(f"--{name} {value}" for name, value in written.items() if value is not None)
