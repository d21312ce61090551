"""The commands that measure this machine: bench, doctor."""

from __future__ import annotations

import json as text_of
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from elman.cli import console, options
from elman.cli.console import Json
from elman.errors import ElmanError, nearest

BUSY = 0.6  # processes waiting or running for each core, over the last minute


def bench(
    cell: Annotated[
        list[str] | None,
        typer.Option(help="A cell of `elman cells`, or file.py:name; several. [rnn, gru, lstm]", show_default=False),
    ] = None,
    shape: Annotated[
        list[str] | None, typer.Option(help="B,T,I,H such as 32,50,1,32; several. [the grid]", show_default=False)
    ] = None,
    mode: Annotated[str | None, typer.Option(help="forward+backward or forward. [both]", show_default=False)] = None,
    peer: Annotated[
        list[str] | None, typer.Option(help="Peers to measure beside Elman; several. [all]", show_default=False)
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Threads. [as torch has]", min=1, show_default=False)] = None,
    backend: Annotated[str, typer.Option(help="Elman's backend: auto, or one by name.")] = "auto",
    rounds: Annotated[
        int | None, typer.Option(help="Rounds, each through all peers of a case. [7]", min=1, show_default=False)
    ] = None,
    processes: Annotated[int, typer.Option(help="Measure in this many processes and take medians.", min=1)] = 1,
    quick: Annotated[bool, typer.Option("--quick", help="The two smallest shapes, 3 rounds.")] = False,
    catalogue: Annotated[
        bool, typer.Option("--catalogue", help="Every cell against a loop of torch's operations, at 32,128,16,64.")
    ] = False,
    json: Json = False,
) -> int:
    """Measure speed against torch.nn, loops of torch operations, JAX, onnxruntime and OpenVINO, in one run.

    Examples:
        elman bench --quick
        elman bench --cell gru --shape 32,100,64,128 --peer torch.nn
    """
    import torch

    from elman import bench as measuring

    if catalogue and (quick or peer):
        raise ElmanError("--catalogue measures one shape against one loop: leave --quick and --peer out")
    if processes > 1:
        chosen = {"--cell": cell, "--shape": shape, "--mode": mode, "--peer": peer, "--threads": threads}
        result = _repeated(
            processes, chosen | {"--backend": backend, "--rounds": rounds, "--quick": quick, "--catalogue": catalogue}
        )
    else:
        if threads is not None:
            torch.set_num_threads(threads)
        start = measuring.Plan.catalogue if catalogue else measuring.Plan.quick if quick else measuring.Plan
        result = _measured(start(**_choices(backend, rounds, cell or (), shape or (), mode, peer or ())))
    table = measuring.catalogue_table if catalogue else measuring.table
    console.emit(result, [*_machine_lines(result["machine"]), "", *table(result)], json)
    return console.DONE


def _choices(
    backend: str,
    rounds: int | None,
    cells: Sequence[str],
    shapes: Sequence[str],
    mode: str | None,
    peers: Sequence[str],
) -> dict[str, Any]:
    from elman import bench as measuring

    return options.given(
        backend=backend,
        rounds=rounds,
        cells=tuple(cells) or None,
        shapes=tuple(measuring.Shape.read(text) for text in shapes) or None,
        modes=None if mode is None else (_one_of("--mode", mode, measuring.MODES),),
        peers=tuple(_one_of("--peer", name, measuring.PEERS) for name in peers) or None,
    )


def _one_of(option: str, name: str, known: Mapping[str, Any]) -> str:
    if name not in known:
        raise ElmanError(f"{option}: there is no {name!r}; {nearest(name, known)}")
    return name


def _measured(plan: Any) -> dict[str, Any]:
    from elman import bench as measuring
    from elman import checks

    try:
        peak = measuring.peak_gflops()
    except ImportError:  # without llvmlite there is no kernel to compare with it either
        peak = None
    facts = checks.facts()
    if (facts["load"] or 0) > BUSY * (facts["cores"] or 1):
        console.say(f"warning: the machine is busy (load {facts['load']}): close what runs, or the figures are its own")
    return {"machine": facts, **measuring.measure(plan, peak, console.say)}


def _repeated(processes: int, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Measure in several processes, one after the other; return the medians."""
    from elman import bench as measuring

    arguments = [part for option, value in chosen.items() for part in _written(option, value)]
    results = []
    for number in range(1, processes + 1):
        console.say(f"process {number} of {processes}")
        command = [sys.executable, "-m", "elman", "bench", "--json", *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode == console.USERS_INPUT:
            raise ElmanError(text_of.loads(done.stdout)["error"])
        if done.returncode:
            raise RuntimeError(f"process {number} of {processes} ended with {done.returncode}")
        results.append(text_of.loads(done.stdout))
    return measuring.median_of(results)


def _written(option: str, value: Any) -> list[str]:
    """An option as it is typed."""
    if isinstance(value, list):
        return [part for each in value for part in (option, each)]
    if value is None or value is False:
        return []
    return [option] if value is True else [option, str(value)]


def _machine_lines(facts: Mapping[str, Any]) -> list[str]:
    """The machine for a person."""
    width = facts["vector_width"]
    return options.aligned(
        {
            "elman": f"{facts['elman']}, torch {facts['torch']}, Python {facts['python']}, {facts['system']}",
            "processor": f"{facts['processor']}, {facts['cores']} cores",
            "vectors": f"{width} floats" if width else "unknown: the package llvmlite is not installed",
            "threads": f"{facts['threads']}, {facts['kernel_threads']} in kernels",
        }
    )


def doctor(json: Json = False) -> int:
    """Show the machine and the backends, and check each backend against the reference. Exit code 1: one is wrong.

    Examples:
        elman doctor
    """
    from elman import checks

    result = {"machine": checks.facts(), **checks.examine()}
    result["ok"] = not result["problems"]
    console.emit(result, _doctor_lines(result), json)
    return console.DONE if result["ok"] else console.OUR_FAULT


def _doctor_lines(result: Mapping[str, Any]) -> list[str]:
    lines = _machine_lines(result["machine"])
    for name, cells in result["backends"].items():
        lines += ["", f"backend {name}", *(f"  {line}" for line in options.aligned(_answers(cells)))]
    worst = [each["error"] for cells in result["backends"].values() for each in cells.values() if "error" in each]
    lines += ["", *result["problems"]]
    return lines if result["problems"] else [*lines, f"ok: the largest relative error is {max(worst):.1e}"]


def _answers(cells: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    return {
        cell: found["answer"]
        + (f", error {found['error']:.1e}" if "error" in found else "")
        + (f", and fails: {found['failed']}" if "failed" in found else "")
        for cell, found in cells.items()
    }
