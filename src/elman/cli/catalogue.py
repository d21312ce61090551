"""The commands that show: cells, inspect."""

from __future__ import annotations

import json as text_of
from pathlib import Path
from typing import Annotated, Any

import typer

from elman.cli import console, options
from elman.cli.console import Json
from elman.errors import ElmanError


def cells(
    name: Annotated[str | None, typer.Argument(help="A cell, or file.py:name.", show_default=False)] = None,
    latex: Annotated[bool, typer.Option("--latex", help="Write the equations in LaTeX.")] = False,
    input_size: Annotated[int, typer.Option(help="Input size the parameters are counted for.")] = 1,
    hidden_size: Annotated[int, typer.Option(help="Hidden size the parameters are counted for.")] = 32,
    markdown: Annotated[bool, typer.Option("--markdown", help="Write the catalogue as a page.")] = False,
    speed: Annotated[
        Path | None,
        typer.Option(help="For the page: what `elman bench --catalogue --json` wrote.", show_default=False),
    ] = None,
    json: Json = False,
) -> int:
    """List the catalogue of cells, or show one cell's equations.

    Examples:
        elman cells
        elman cells lstm --latex
    """
    from elman.cells import REGISTRY

    if markdown:
        return _page(name, speed, json)
    if name is not None:
        return _show(name, latex, input_size, hidden_size, json)
    rows = [_facts(key, input_size, hidden_size) for key in REGISTRY]
    width = max(len(row["name"]) for row in rows)
    header = (
        f"{'cell':<{width}}  {'states':<8} {'parameters':>10}  source (parameters for I={input_size}, H={hidden_size})"
    )
    lines = [
        f"{row['name']:<{width}}  {', '.join(row['states']):<8} {row['parameters']:>10}  {row['source']}"
        for row in rows
    ]
    console.emit({"cells": rows}, [header, *lines], json)
    return console.DONE


def _page(name: str | None, speed: Path | None, as_json: bool) -> int:
    from elman.cells.page import page

    if name is not None:
        raise ElmanError(f"--markdown writes the whole catalogue; leave {name} out, or --markdown")
    text = page(*_speeds(speed)) if speed else page({})
    console.emit({"markdown": text}, [text.rstrip("\n")], as_json)
    return console.DONE


def _speeds(file: Path) -> tuple[dict[str, str], str]:
    """A text for each cell that was measured, and a line on how."""
    try:
        result = text_of.loads(file.read_text())
        cases = {case["cell"]: (case, case["peers"]) for case in result["cases"]}
        texts = {
            cell: f"{peers['reference loop']['ratio']:.3g} x, {peers['elman']['gflops']:.3g} GF/s, {case['backend']}"
            for cell, (case, peers) in cases.items()
        }
        machine, (case, _) = result["machine"], next(iter(cases.values()))
        shape = ", ".join(f"{letter} {n}" for letter, n in zip("BTIH", case["shape"], strict=True))
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        what = f"{type(error).__name__}: {error}"
        raise ElmanError(f"{file}: this is not what `elman bench --catalogue --json` writes ({what})") from None
    return texts, (
        "The speed is how many times faster a layer is, forward and backward, than a loop of torch's operations, in\n"
        f"float32 at {shape}, on {machine['threads']} threads of {machine['processor']}; then its products' GF/s,\n"
        "and the backend that ran it."
    )


def _facts(name: str, input_size: int, hidden_size: int) -> dict[str, Any]:
    from elman.cells import get
    from elman.cells.registry import ALIASES
    from elman.layers import Recurrent

    cell = get(name)
    program = cell.program()
    layer = Recurrent(cell, input_size, hidden_size, device="meta")
    return {
        "name": name if ".py" in name else cell.name,
        "aliases": [alias for alias, key in ALIASES.items() if key == cell.name],
        "states": list(cell.states),
        "inputs": list(cell.inputs),
        "options": cell.options,
        "sizes": list(program.size_names),
        "parameters": sum(p.numel() for p in layer.parameters()),
        "shapes": {n: list(p.shape) for n, p in layer.named_parameters()},
        "recurrence": program.kind,
        "source": cell.source,
        "when": cell.when,
    }


def _show(name: str, latex: bool, input_size: int, hidden_size: int, as_json: bool) -> int:
    from elman.cells import get
    from elman.equations import equations

    facts = _facts(name, input_size, hidden_size)
    program = get(name).program()
    written = equations(program, latex=latex)
    shapes = ", ".join(f"{n.removesuffix('_l0')} {tuple(s)}" for n, s in facts["shapes"].items())
    about = {
        "states": ", ".join(facts["states"]),
        "parameters": f"{facts['parameters']} for I={input_size}, H={hidden_size}: {shapes}",
        "recurrence": facts["recurrence"],
    }
    about |= {"options": ", ".join(f"{k}={v!r}" for k, v in facts["options"].items())} if facts["options"] else {}
    about |= {"sizes": ", ".join(facts["sizes"])} if facts["sizes"] else {}
    about |= {"when": facts["when"]} if facts["when"] else {}
    lines = written if latex else [facts["source"], "", *(f"  {line}" for line in written), "", *options.aligned(about)]
    console.emit(facts | {"equations": equations(program), "latex": equations(program, latex=True)}, lines, as_json)
    return console.DONE


@options.takes(options.reading())
def inspect(
    choices: dict[str, Any],
    data: Annotated[str, typer.Argument(help="A file, wave:sine, wave:combined, or fred:GS10.", show_default=False)],
    context: Annotated[int, typer.Option(help="Values in a window.")] = 24,
    horizon: Annotated[int, typer.Option(help="Values to forecast after it.")] = 1,
    json: Json = False,
) -> int:
    """Show how a series is read: its range, step, gaps and first windows.

    Examples:
        elman inspect sales.csv
        elman inspect power.csv --time Date --fill interpolate
    """
    from elman.choices.reading import read_choices
    from elman.data.series.sources import survey_series

    config = read_choices(choices)
    if context < 1 or horizon < 1:
        raise ElmanError(f"`context` {context} and `horizon` {horizon}: want 1 at least of each")
    survey = survey_series(data, config)
    whole = config.fill is not None or config.resample is not None or not (survey.seen.empties() or survey.seen.gaps())
    series = survey.completed(config) if whole else None
    result = _of_whole(series, context, horizon) if series is not None else _of_survey(survey)
    console.emit(result, _inspect_lines(result), json)
    return console.DONE


def _of_whole(series: Any, context: int, horizon: int) -> dict[str, Any]:
    """What there is to say of a series that is ready to train on."""
    values, width = series.values, context + horizon
    count = max(0, len(series) - width + 1)
    first = [
        {"inputs": values[i : i + context].tolist(), "targets": values[i + context : i + width].tolist()}
        for i in range(min(3, count))
    ]
    dates = None if series.times is None else _ends(series)
    return {
        **_described(series.source, values, series.names, series.notes),
        "dates": dates,
        "step": str(series.step) if series.step else None,
        "keeps_to": _keeps_to(series.times),
        "zone": series.zone,
        "gaps": None if series.times is None else [],
        "empty": [],
        "windows": count,
        "first_windows": first,
    }


def _of_survey(survey: Any) -> dict[str, Any]:
    """What there is to say of a series with gaps or empty cells."""
    from elman.data.series.calendar import date_text

    incomplete, rows = survey.seen, survey.seen.rows
    gaps = [
        {
            "after": date_text(gap.before),
            "before": date_text(gap.after),
            "missing": gap.steps,
            "row": rows.number(gap.row),
        }
        for gap in incomplete.gaps()
    ]
    empty = [{"row": rows.number(row), "column": incomplete.names[column]} for row, column in incomplete.empties()]
    return {
        **_described(rows.source, incomplete.values, incomplete.names, survey.notes),
        "dates": None if incomplete.times is None else [date_text(time) for time in incomplete.times[[0, -1]]],
        "step": str(incomplete.step) if incomplete.step else None,
        "keeps_to": _keeps_to(incomplete.times),
        "zone": survey.zone,
        "gaps": gaps,
        "empty": empty,
        "windows": 0,
        "first_windows": [],
    }


def _described(source: str, values: Any, names: Any, notes: Any) -> dict[str, Any]:
    import numpy as np

    columns = [{"name": name, **_range(v[~np.isnan(v)])} for name, v in zip(names, values.T, strict=True)]
    return {"source": source, "values": len(values), "columns": columns, "notes": list(notes)}


def _range(values: Any) -> dict[str, float | None]:
    """The least, largest and mean value and their deviation; None where there is no value at all."""
    if not len(values):
        return dict.fromkeys(("min", "max", "mean", "std"))
    return {
        "min": float(values.min()),
        "max": float(values.max()),
        "mean": float(values.mean()),
        "std": float(values.std()),
    }


def _ends(series: Any) -> list[str]:
    from elman.data.series.calendar import date_text

    ends = series.times[[0, -1]]
    return series.written(ends) if series.zone else [date_text(time, series.step) for time in ends]


def _keeps_to(times: Any) -> str | None:
    """The day of the month a series of months keeps to, where that is one of business."""
    from elman.data.series.calendar import anchor_day, anchor_words

    return None if times is None or len(times) < 2 else anchor_words(anchor_day(times)) or None


def _inspect_lines(result: dict[str, Any]) -> list[str]:
    about = {"source": result["source"], "values": str(result["values"])}
    if result["dates"]:
        day = f" ({result['keeps_to']})" if result["keeps_to"] else ""
        missing = sum(gap["missing"] for gap in result["gaps"])
        gaps = f"{missing} missing in {len(result['gaps'])} gap(s)" if result["gaps"] else "no gap"
        step = f", every {result['step']}{day}, {gaps}" if result["step"] else ""
        about["dates"] = f"{result['dates'][0]} to {result['dates'][1]}{step}"
    for c in result["columns"]:
        about[c["name"]] = (
            "no value"
            if c["min"] is None
            else f"{c['min']:.6g} to {c['max']:.6g}, mean {c['mean']:.6g}, deviation {c['std']:.6g}"
        )
    about |= {f"note {i + 1}": note for i, note in enumerate(result["notes"])}
    if not result["gaps"] and not result["empty"]:
        first = "; the first:" if result["windows"] else ": fewer values than context + horizon"
        about["windows"] = f"{result['windows']}{first}"
        lines = options.aligned(about)
        return lines + [f"  {_row(w['inputs'])} -> {_row(w['targets'])}" for w in result["first_windows"]]
    lines = options.aligned(about)
    lines += [
        f"  {g['missing']} missing after {g['after']} (row {g['row']}), before {g['before']}"
        for g in result["gaps"] or []
    ]
    lines += [f"  empty: row {each['row']}, column {each['column']}" for each in result["empty"]]
    return [*lines, "to train on it, fill it with --fill interpolate, previous, zero or mean, or use --resample"]


def _row(values: list[list[float]]) -> str:
    return " ".join("/".join(f"{v:.4g}" for v in step) for step in values)
