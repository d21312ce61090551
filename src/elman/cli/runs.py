"""The commands that take a run of any task: test and plot."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer

from elman.cli import classifying, console, forecasting, generating, options
from elman.cli.console import Json
from elman.cli.options import RunFolder
from elman.errors import ElmanError, RunError

# How each task's results are worded (`score_lines`) and drawn (`draw`).
SHOWN: dict[str, ModuleType] = {"forecast": forecasting, "generate": generating, "classify": classifying}


def score(run: RunFolder, json: Json = False) -> int:
    """Score a run on its test part, beside the plain baselines.

    Examples:
        elman test runs/sales-gru
    """
    job, shown = open_run(run)
    result = job.test()
    console.emit({"run": str(run), **result}, shown.score_lines(result), json)
    for warning in result["warnings"]:
        console.say(f"warning: {warning}")
    return console.DONE


def plot(
    run: RunFolder,
    out: Annotated[Path | None, options.out("Folder for the pictures. [the run]")] = None,
    kind: Annotated[str, typer.Option("--format", help="png or svg.")] = "png",
    steps: Annotated[int, typer.Option(help="Of a forecast: draw so many steps after the end, too.")] = 0,
    json: Json = False,
) -> int:
    """Draw a run: the loss of each epoch and, of a forecast, its predictions against the truth on its test part.

    Examples:
        elman plot runs/sales-gru --format svg
        elman plot runs/sales-gru --steps 12
    """
    if kind not in ("png", "svg"):
        raise ElmanError(f"--format: got {kind!r}, want png or svg")
    if steps < 0:
        raise ElmanError(f"--steps: got {steps}, want 0 or more")
    job, shown = open_run(run)
    own: dict[str, Any] = {"steps": steps} if steps else {}
    if steps and shown is not forecasting:
        raise ElmanError(f"--steps: {run} is no forecast, so nothing follows its end; leave it out")
    pictures = shown.draw(job, run, picture_folder(out or run), kind, **own)
    console.emit({"run": str(run), "pictures": [str(p) for p in pictures]}, [str(p) for p in pictures], json)
    return console.DONE


def picture_folder(folder: Path) -> Path:
    """``folder``, made where it is not there. Raises :class:`RunError` where it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder}: the pictures cannot go there: {error.strerror}") from error
    return folder


def open_run(run: Path) -> tuple[Any, ModuleType]:
    """The job of a run, and the module that words and draws its results."""
    from elman import jobs
    from elman.training import task_of

    return jobs.load(run), SHOWN[task_of(run)]
