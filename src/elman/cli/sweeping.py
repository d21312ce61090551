"""The command that trains every combination of some choices: sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from elman.cli import console, options
from elman.cli.console import Json


def sweep(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A TOML file: task, data, [fixed] and [over].")],
    out: Annotated[Path | None, options.out("Where the runs and the table go. [runs/FILE]")] = None,
    workers: Annotated[int, typer.Option(help="Runs side by side. [as many as cores]", min=0, show_default=False)] = 0,
    ray: Annotated[
        str | None, typer.Option(help="Run on the Ray cluster at this address; local: start one here.")
    ] = None,
    json: Json = False,
) -> int:
    """Train and test every combination of choices that a file lists.

    Examples:
        elman sweep sizes.toml
        elman sweep sizes.toml --workers 4 -o runs/sizes
    """
    from elman.jobs.sweep import SweepConfig
    from elman.jobs.sweep import sweep as run

    config = SweepConfig.read(file)
    folder = out or Path("runs") / file.stem
    with console.bar("run") as report:
        result = run(config, folder, workers, report, ray)
    lines = _table(result.ranked())
    lines += [f"{row['name']}: failed: {row['failed']}" for row in result.rows if "failed" in row]
    lines += [f"{row['name']}: not tested: {row['untested']}" for row in result.ranked() if "untested" in row]
    lines.append("interrupted; the same command goes on" if result.interrupted else f"runs in {folder}")
    facts = {"folder": str(folder), "runs": result.ranked(), "interrupted": result.interrupted}
    facts["failed"] = [row for row in result.rows if "failed" in row]
    console.emit(facts, lines, json)
    if result.interrupted:
        return console.INTERRUPTED
    return console.DONE if result.ranked() else console.USERS_INPUT


def _table(rows: list[dict[str, Any]]) -> list[str]:
    """The runs under each other, the best on the validation part first, with their scores on the test part."""
    if not rows:
        return []
    names, scores = list(rows[0]["choices"]), list(dict.fromkeys(name for row in rows for name in row["test"]))
    header = [*names, "parameters", "epochs", "loss", *(f"test {name}" for name in scores)]
    body = [
        [
            *(str(row["choices"][name]) for name in names),
            *(str(row[key]) for key in ("parameters", "epochs")),
            f"{row['best_loss']:.5g}",
            *(f"{row['test'][name]:.5g}" if name in row["test"] else "-" for name in scores),
        ]
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(header, *body, strict=True)]
    return [
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (header, *body)
    ]
