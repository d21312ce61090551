"""Write the tables of docs/benchmarks.md from the logs beside it, so that none says what its log does not.

``python benchmarks/write.py`` writes what stands between the marks ``<!-- TABLE: LOG -->`` and ``<!-- end -->``; with
``--check`` it says whether that is what stands there. ``--measure`` first takes the logs anew on this machine, each by
the script that :data:`TAKEN` names; that wants an idle machine, and takes an hour.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGE = DOCS / "benchmarks.md"
PYTHON = sys.executable
AVX2 = {
    "ELMAN_VECTORS": "8",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
}
GRID = (PYTHON, "-m", "elman", "bench", "--rounds", "5", "--json")


@dataclass(frozen=True)
class Taken:
    """What takes a log: a command, what it is told of the processor, and whether it prints the log."""

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    prints: bool = True


TAKEN = {
    "bench.json": Taken(GRID),
    "bench_avx2.json": Taken(GRID, AVX2),
    "cells_speed.json": Taken((PYTHON, "-m", "elman", "bench", "--catalogue", "--rounds", "5", "--json")),
    "startup.json": Taken((PYTHON, "benchmarks/startup.py", "--log", "docs/startup.json"), prints=False),
    "early.json": Taken((PYTHON, "benchmarks/ways.py", "early", "--json")),
    "asking.json": Taken((PYTHON, "benchmarks/ways.py", "asking", "--json")),
    "asking_avx2.json": Taken((PYTHON, "benchmarks/ways.py", "asking", "--json"), AVX2),
    "sharing.json": Taken((PYTHON, "benchmarks/ways.py", "sharing", "--json")),
    "forecasts.json": Taken((PYTHON, "benchmarks/forecasts.py", "--json", "docs/forecasts.json"), prints=False),
    "etth1.json": Taken((PYTHON, "benchmarks/etth1.py")),
    "intervals.json": Taken((PYTHON, "benchmarks/intervals.py", "--json", "docs/intervals.json"), prints=False),
}


def main() -> int:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="say whether the page is as its logs have it")
    parser.add_argument("--measure", nargs="*", metavar="LOG", help="take these logs anew first; all, unless named")
    arguments = parser.parse_args()
    if arguments.measure is not None:
        for name in arguments.measure or TAKEN:
            take(name)
    page = PAGE.read_text()
    written = filled(page)
    if arguments.check:
        print("as its logs have it" if page == written else "not as its logs have it: run benchmarks/write.py")
        return int(page != written)
    PAGE.write_text(written)
    return 0


def take(name: str) -> None:
    """Take one log anew."""
    taken = TAKEN[name]
    print(" ".join(taken.command[1:]), flush=True)
    output = subprocess.PIPE if taken.prints else None
    environment = {**os.environ, **taken.environment}
    done = subprocess.run(taken.command, cwd=ROOT, stdout=output, text=True, check=True, env=environment)
    if taken.prints:
        (DOCS / name).write_text(json.dumps(json.loads(done.stdout), indent=1) + "\n")


def filled(page: str) -> str:
    """The ``page`` with every table as its log has it.

    >>> filled("no marks")
    'no marks'
    """

    def table(match: re.Match[str]) -> str:
        kind, name = match[1], match[2]
        return f"<!-- {kind}: {name} -->\n{TABLES[kind](log(name))}\n<!-- end -->"

    return re.sub(r"<!-- ([a-z0-9 ]+): (\S+) -->\n.*?<!-- end -->", table, page, flags=re.DOTALL)


def log(name: str) -> Any:
    """What a log holds."""
    return json.loads((DOCS / name).read_text())


def rows(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *body])


def machine(result: Any) -> str:
    """The machine of a grid, in words."""
    facts = result["machine"]
    return (
        f"{facts['processor']}, {facts['cores']} cores, vectors of {facts['vector_width']} floats, torch "
        f"{facts['torch']}, Python {facts['python']}, {facts['threads']} threads, float32. A multiply-add loop in "
        f"registers reaches **{result['peak_gflops']:.0f} GF/s** on them; that is the peak which per cents are of."
    )


def grid(result: Any, mode: str) -> str:
    """Of each shape and cell, how many times Elman's time each peer takes, and the per cent of the peak."""
    cases = [case for case in result["cases"] if case["mode"] == mode]
    peers = list(dict.fromkeys(name for case in cases for name in case["peers"] if name != "elman"))
    body = []
    for case in cases:
        own = case["peers"]["elman"]
        ratios = [f"{case['peers'][p]['ratio']:.2f}" if p in case["peers"] else "" for p in peers]
        shape = ", ".join(map(str, case["shape"]))
        body.append([f"{case['cell'].upper()} {shape}", f"{own['ms']:.3g}", f"{own['percent_of_peak']:.0f}", *ratios])
    return rows(["B, T, I, H", "ms", "% of peak", *peers], body)


def catalogue(result: Any) -> str:
    """Of each cell its time, its rate, and how many times as long the loop takes."""
    body = []
    for case in result["cases"]:
        own, loop = case["peers"]["elman"], case["peers"]["reference loop"]
        body.append([case["cell"], f"{own['ms']:.2f}", f"{own['gflops']:.0f}", f"{loop['ratio']:.1f}"])
    return rows(["cell", "ms", "GF/s", "the loop takes"], body)


def forecasts(result: Any) -> str:
    """The ratios to the best plain baseline, one step and a season ahead."""
    by_series: dict[str, list[dict[str, Any]]] = {}
    for row in result:
        by_series.setdefault(row["series"], []).append(row)
    body = []
    for name, (step, season) in by_series.items():
        ahead = f"{season['ratio']:.3f} ({season['horizon']})"
        seconds = f"{step['seconds']:.0f}, {season['seconds']:.0f}"
        body.append([name, f"{step['ratio']:.3f}", f"{step['line']:.3f}", ahead, f"{season['line']:.3f}", seconds])
    means = [
        float(np.exp(np.mean([np.log(pair[k][what]) for pair in by_series.values()])))
        for k in (0, 1)
        for what in ("ratio", "line")
    ]
    body.append(
        ["geometric mean", f"**{means[0]:.3f}**", f"{means[1]:.3f}", f"**{means[2]:.3f}**", f"{means[3]:.3f}", ""]
    )
    return rows(["series", "one step", "line", "a season", "line", "seconds"], body)


def intervals(result: Any) -> str:
    """Interval scores of a learned spread as multiples of those by past errors, and what fell into the intervals."""
    body, means = [], {}
    for row in result:
        ratios = [f"{row['ratios'][level]:.3f}" for level in ("80", "95")]
        held = [f"{row['coverage'][level]:.0f}" for level in ("80", "95")]
        means.setdefault(row["likelihood"], []).append([row["ratios"][level] for level in ("80", "95")])
        body.append([f"{row['series']} ({row['horizon']})", row["likelihood"], *ratios, *held])
    for likelihood, ratios in means.items():
        if likelihood != "none":
            both = [f"**{mean:.3f}**" for mean in np.exp(np.log(ratios).mean(axis=0))]
            body.append(["geometric mean", likelihood, *both, "", ""])
    return rows(["series", "likelihood", "score 80 %", "score 95 %", "within 80 %", "within 95 %"], body)


def m4(result: Any) -> str:
    """M4 hourly beside what was published."""
    kept = result["three seeds, beside other work"]
    own, lines = (
        [
            f"{median(run[what][score] for run in kept['runs']):.{digits}f}"
            for score, digits in (("mase", 3), ("smape", 2))
        ]
        for what in ("network", "lines alone")
    )
    published = [[name, *map(str, scores.values())] for name, scores in kept["published"].items()]
    body = [
        ["one network for all, on a line each", *(f"**{x}**" for x in own)],
        ["the lines alone", *lines],
        *published,
    ]
    return rows(["", "MASE", "sMAPE"], body)


def etth1(result: Any) -> str:
    """ETTh1 96 to 96 beside what was published; medians over the seeds."""
    body = [
        [
            words,
            f"**{median(run[name]['mse'] for run in result['runs']):.3f}**",
            f"{median(run[name]['mae'] for run in result['runs']):.3f}",
        ]
        for name, words in (("network", "three networks on the lines"), ("line alone", "the lines alone"))
    ]
    body += [[f"{name}, published", f"{mse:.3f}", ""] for name, mse in result["published MSE"].items()]
    return rows(["", "MSE", "MAE"], body)


def starting(log: Any) -> str:
    """The first and the second use of each cell, and what many sizes leave in memory."""
    uses = [
        (f"{cell.upper() if len(cell) < 5 else cell}, {way}", f"{first:.3f}", f"{second:.4f}")
        for cell, ways in log["first use"].items()
        for way, (first, second) in ways.items()
    ]
    memory = " and ".join(f"{mib:.0f} MiB {way}" for way, mib in log["MiB of further sizes"].items())
    return (
        rows(("forward and backward, s", "first", "second"), uses)
        + f"\n\n300 more sizes in one process leave {memory}."
    )


def ways(log: Any) -> str:
    """Forward passes one way and another."""
    names = list(next(iter(log["ms"].values())))
    times = [
        (case, *(f"{ms[way]:.2f}" for way in names), f"{ms[names[1]] / ms[names[0]]:.2f}")
        for case, ms in log["ms"].items()
    ]
    return rows(("B, T, I, H", *(f"{way}, ms" for way in names), "ratio"), times)


TABLES: dict[str, Callable[[Any], str]] = {
    "starting": starting,
    "ways": ways,
    "machine": machine,
    "forward": functools.partial(grid, mode="forward"),
    "forward and backward": functools.partial(grid, mode="forward+backward"),
    "catalogue": catalogue,
    "forecasts": forecasts,
    "intervals": intervals,
    "hourly": m4,
    "etth": etth1,
}

if __name__ == "__main__":
    sys.exit(main())
