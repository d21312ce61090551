"""The commands that take a run of any task: test and plot."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from elman.cli import console, options
from elman.cli.console import Json
from elman.cli.options import More, RunFolder
from elman.errors import ElmanError, RunError


def score(run: RunFolder, more: More = False, json: Json = False) -> int:
    """Score a run on its test part, beside the plain baselines.

    Examples:
        elman test runs/sales-gru
        elman test runs/sales-gru --more
    """
    from elman import jobs

    job = jobs.load(run)
    if more and job.command != "forecast":
        raise ElmanError(f"`more`: AutoETS and AutoTheta forecast, and {run} is of task '{job.task_name()}'")
    result = job.test(more=True) if more else job.test()
    console.emit({"run": str(run), **result}, job.words(result), json)
    for warning in result["warnings"]:
        console.say(f"warning: {warning}")
    return console.DONE


def plot(
    run: RunFolder,
    out: Annotated[Path | None, options.out("Folder for the pictures. [the run]")] = None,
    kind: Annotated[str, typer.Option("--format", help="png or svg.")] = "png",
    steps: Annotated[int, typer.Option(help="Also draw this many forecast steps after the end.")] = 0,
    json: Json = False,
) -> int:
    """Draw a run: the loss of each epoch and, of a forecast, its predictions against the truth on its test part.

    Examples:
        elman plot runs/sales-gru --format svg
        elman plot runs/sales-gru --steps 12
    """
    from elman import jobs

    if kind not in ("png", "svg"):
        raise ElmanError(f"--format: got {kind!r}, want png or svg")
    if steps < 0:
        raise ElmanError(f"--steps: got {steps}, want 0 or more")
    pictures = [str(path) for path in jobs.load(run).draw(picture_folder(out or run), kind, steps).values()]
    console.emit({"run": str(run), "pictures": pictures}, pictures, json)
    return console.DONE


def picture_folder(folder: Path) -> Path:
    """``folder``, made where it is not there. Raises :class:`RunError` where it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder}: the pictures cannot go there: {error.strerror}") from error
    return folder
