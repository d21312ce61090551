"""The command that explains a run: explain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from elman.cli import console, options
from elman.cli.console import Json
from elman.cli.options import RunFolder, option
from elman.cli.runs import picture_folder
from elman.errors import CellError, ElmanError, ExportError

MOST_LIVE = 500_000  # parameters of a network that can be tried in its report


def explain(
    run: RunFolder,
    out: Annotated[Path | None, options.out("The page. [report.html in the run]")] = None,
    pictures: Annotated[Path | None, option("Folder for the pictures. [the run]")] = None,
    steps: Annotated[int | None, option("At most so many steps of its data. [200, or a forecast's context]")] = None,
    compare: Annotated[
        list[str] | None,
        option("Draw its memory beside that of another run, or of a fresh cell of its size; give several for several."),
    ] = None,
    json: Json = False,
) -> int:
    """Explain what a run's network remembers: numbers, pictures, and one interactive page.

    Examples:
        elman explain runs/sales-gru
        elman explain runs/sales-gru --compare lstm --compare runs/sales-rnn
    """
    from elman import jobs, report
    from elman.report import sections

    job = jobs.load(run)
    path = out or run / "report.html"
    if path.is_dir() or path.suffix != ".html":
        raise ElmanError(f"--out: got {path}, want the name of an .html file")
    others = {name: _other(name) for name in compare or []}
    explanation = report.explain(job, steps, console.say)
    if others:
        console.say("comparison")
        explanation = report.compare(explanation, others)
    folder = picture_folder(pictures or run)
    console.say("pictures")
    drawn = report.draw(explanation, folder)
    own = job.draw(folder)
    console.say("page")
    report.write_page(path, explanation, own | drawn, f"{run.resolve().name}, explained", _live(job, run))
    files = {"page": str(path), "pictures": [str(p) for p in (*own.values(), *drawn.values())]}
    lines = [*sections.lines(explanation.facts), f"the page: {path}", *(f"a picture: {p}" for p in files["pictures"])]
    console.emit({"run": str(run), **explanation.facts, **files}, lines, json)
    return console.DONE


def _live(job: Any, run: Path) -> str:
    """The page to try the network on; nothing where it has no step, or is too large to stand in a report."""
    from elman.export import page

    try:
        if sum(p.numel() for p in job.task.model.parameters()) > MOST_LIVE:
            return ""
        return page(job.portable(), run.resolve().name)
    except ExportError:
        return ""


def _other(name: str) -> Any:
    """What --compare names: a trained run where there is such a folder, else a cell."""
    from elman import cells, jobs

    if Path(name).is_dir():
        return jobs.load(name)
    try:
        return cells.get(name)
    except CellError as error:
        raise ElmanError(f"--compare: there is no run folder {name!r}, and {error}") from error
