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
    """List the catalogue of cells, or show one cell's equations."""
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


def inspect(
    data: Annotated[str, typer.Argument(help="A file, wave:sine, wave:combined, or fred:GS10.", show_default=False)],
    time: Annotated[str | None, typer.Option(help="Column of the dates.", show_default=False)] = None,
    target: Annotated[list[str] | None, typer.Option(help="Column to read; give several for several.")] = None,
    resample: Annotated[
        str | None, typer.Option(help="Take means over periods: 1y, 1mo, 1d.", show_default=False)
    ] = None,
    context: Annotated[int, typer.Option(help="Values in a window.")] = 24,
    horizon: Annotated[int, typer.Option(help="Values after it.")] = 1,
    json: Json = False,
) -> int:
    """Show what is read from a series: its range, its step, and the first windows."""
    from elman.data import open_source
    from elman.data.series.calendar import date_text

    series = open_source(data, **options.given(time=time, target=target or None, resample=resample))
    if context < 1 or horizon < 1:
        raise ElmanError(f"--context {context} and --horizon {horizon}: want 1 at least of each")
    values, width = series.values, context + horizon
    count = max(0, len(series) - width + 1)
    columns = [
        {"name": n, "min": float(v.min()), "max": float(v.max()), "mean": float(v.mean()), "std": float(v.std())}
        for n, v in zip(series.names, values.T, strict=True)
    ]
    first = [
        {"inputs": values[i : i + context].tolist(), "targets": values[i + context : i + width].tolist()}
        for i in range(min(3, count))
    ]
    dates = None if series.times is None else [date_text(t, series.step) for t in series.times[[0, -1]]]
    result = {
        "source": series.source,
        "values": len(series),
        "columns": columns,
        "dates": dates,
        "step": str(series.step) if series.step else None,
        "gaps": None if series.times is None else [],  # a series with a gap is not read: the error names it
        "notes": list(series.notes),
        "windows": count,
        "first_windows": first,
    }
    console.emit(result, _inspect_lines(result, series), json)
    return console.DONE


def _inspect_lines(result: dict[str, Any], series: Any) -> list[str]:
    about = {"source": result["source"], "values": str(result["values"])}
    if result["dates"]:
        about["dates"] = f"{result['dates'][0]} to {result['dates'][1]}, every {result['step']}, no gap"
    for c in result["columns"]:
        about[c["name"]] = f"{c['min']:.6g} to {c['max']:.6g}, mean {c['mean']:.6g}, deviation {c['std']:.6g}"
    about |= {f"note {i + 1}": note for i, note in enumerate(result["notes"])}
    first = "; the first:" if result["windows"] else ": fewer values than context + horizon"
    about["windows"] = f"{result['windows']}{first}"
    lines = options.aligned(about)
    for window in result["first_windows"]:
        lines.append(f"  {_row(window['inputs'])} -> {_row(window['targets'])}")
    return lines


def _row(values: list[list[float]]) -> str:
    return " ".join("/".join(f"{v:.4g}" for v in step) for step in values)
