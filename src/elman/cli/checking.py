"""The command that puts a cell on trial: check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from elman.cli import console, options
from elman.cli.console import Json


def check(
    cell: Annotated[str, typer.Argument(help="A cell of `elman cells`, or file.py:name.", show_default=False)],
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="An option or size of the cell, name=value; several.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random weights and inputs.", min=0)] = 0,
    speed: Annotated[bool, typer.Option("--speed/--no-speed", help="Time it against a loop of operations.")] = True,
    json: Json = False,
) -> int:
    """Check a cell: backend, gradients, rows, lengths, resets, halves, saving, steps, exports, speed.

    Exit code 2: a check failed.

    Examples:
        elman check gru
        elman check my_cells.py:leaky --set rate=0.5
    """
    from elman import checks
    from elman.cells import get

    subject = checks.Subject(get(cell), options.settings("--set", set_ or ()), seed)
    result = checks.check(subject, lambda name: console.say(f"{subject.cell.name}: {name}"))
    if speed:
        console.say(f"{subject.cell.name}: speed")
        result["speed"] = _speed(cell, subject)
    console.emit(result, _lines(result), json)
    return console.DONE if result["ok"] else console.USERS_INPUT


def _speed(cell: str, subject: Any) -> dict[str, Any]:
    from elman import bench

    (usual,) = bench.Plan.catalogue().shapes
    shape = usual.fitting(subject.program())
    plan = bench.Plan.catalogue(cells=(cell,), shapes=(shape,), rounds=3, options=subject.options)
    (case,) = bench.measure(plan)["cases"]
    return case


def _lines(result: Mapping[str, Any]) -> list[str]:
    name = ", ".join([result["cell"], *(f"{k}={v!r}" for k, v in result["options"].items())])
    lines = [f"{name}: {result['recurrence']}, states {', '.join(result['states'])}", ""]
    lines += [f"{each['verdict']:8} {each['name']:9} {_shown(each)}" for each in result["checks"]]
    if "speed" in result:
        lines.append(f"{'':8} {'speed':9} {_fast(result['speed'])}")
    failed = [each["name"] for each in result["checks"] if each["verdict"] == "failed"]
    verdict = (
        f"failed: {', '.join(failed)}"
        if failed
        else f"ok: {sum(each['verdict'] == 'ok' for each in result['checks'])} checks"
    )
    return [*lines, "", verdict]


def _shown(each: Mapping[str, Any]) -> str:
    if "shows" in each:
        return each["shows"]
    example = each["counter_example"]
    entry = ", ".join(map(str, example["entry"]))
    wanted = example["wanted"] if isinstance(example["wanted"], str) else f"{example['wanted']:.6g}"
    where = f"at {example['shape']}, seed {example['seed']}"
    return f"{example['tensor']}[{entry}] is {example['found']:.6g} and should be {wanted}, {where}"


def _fast(case: Mapping[str, Any]) -> str:
    own, loop = case["peers"]["elman"], case["peers"]["reference loop"]
    shape = ",".join(map(str, case["shape"]))
    return (
        f"{loop['ratio']:.3g} times a loop of torch's operations ({own['ms']:.3g} and {loop['ms']:.3g} ms forward and "
        f"backward at {shape}, {own['gflops']:.3g} GF/s, backend '{case['backend']}')"
    )
