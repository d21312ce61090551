"""The command that lets a trained network leave Python."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from elman.cli import console, options
from elman.cli.console import Json
from elman.cli.options import RunFolder
from elman.errors import ExportError


def export(
    run: RunFolder,
    to: Annotated[str, options.option("c, onnx or html (one page that needs no network).")] = "",
    out: Annotated[Path | None, options.out("A new folder for the files. [RUN/c, RUN/onnx, RUN/html]")] = None,
    name: Annotated[str, options.option("What files and functions are called. [after the run]")] = "",
    int8: Annotated[bool, options.option("Of C: weights in eight bits, a quarter of the size.", "--int8")] = False,
    weights_apart: Annotated[bool, options.option("Of C: weights in a file to map.", "--weights-apart")] = False,
    check: Annotated[bool, options.option("Compare all forms of the network on the same values.", "--check")] = False,
    json: Json = False,
) -> int:
    """Export a trained network as C, ONNX or a web page; or check that all agree.

    Examples:
        elman export runs/sales-gru --to c
        elman export runs/sales-gru --to onnx -o sales-onnx
        elman export runs/sales-gru --check
    """
    from elman import jobs
    from elman.export import agreements
    from elman.export import export as write

    if not (to or check):
        raise ExportError("`to`: say c, onnx or html, or `check` all of them")
    if to != "c" and (int8 or weights_apart):
        raise ExportError("`int8` and `weights_apart` are of C alone: give `to=c`")
    model = jobs.load(run).portable()
    result: dict[str, object] = {"run": str(run)}
    lines: list[str] = []
    if to:
        called = name or _named(run)
        own = {"int8": int8, "apart": weights_apart} if to == "c" else {}
        files = write(model, to, out or run / to, called, **own)
        result |= {"to": to, "name": called, "files": [str(file) for file in files]}
        lines += [str(file) for file in files]
    holds = True
    if check:
        agreed = agreements(model)
        holds = all(each.holds for each in agreed)
        result |= {
            "agree": holds,
            "forms": [{"form": a.form, "difference": a.difference, "reason": a.reason} for a in agreed],
        }
        lines += [f"{a.form:<15}{_difference(a.difference, a.reason)}" for a in agreed]
        lines += ["All agree." if holds else "They do not agree: please report this."]
    console.emit(result, lines, json)
    return console.DONE if holds else console.OUR_FAULT


def _difference(difference: float | None, reason: str) -> str:
    if difference is None:
        return f"left out: {reason}"
    return reason or f"{difference:.2g} of the largest value"


def _named(run: Path) -> str:
    """A name for files and functions after the run's folder."""
    from elman.export.folder import NAME, TAKEN

    made = re.sub(r"[^a-z0-9]+", "_", run.resolve().name.lower()).strip("_")
    return made if NAME.fullmatch(made) and made not in TAKEN else f"network_{made}".rstrip("_")
