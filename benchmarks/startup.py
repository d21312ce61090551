"""What beginning costs: importing, the first use of a cell, compiled and from the cache, and the memory of many sizes.

Each is measured in fresh processes."""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from elman.bench import interleave
from elman.checks import facts

FIRST_USE = """
import sys, time, torch, elman
cell, ours = sys.argv[1], sys.argv[2] != "torch.nn"
layer = elman.Recurrent(cell, 16, 64) if ours else getattr(torch.nn, cell.upper())(16, 64)
x = torch.randn(20, 8, 16, requires_grad=True)
for _ in range(2):
    begun = time.perf_counter()
    layer(x)[0].sum().backward()
    print(time.perf_counter() - begun)
"""
SIZES = """
import sys, torch, elman
def used():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20
def train(hidden):
    layer = elman.LSTM(3, hidden)
    layer(torch.randn(4, 2, 3))[0].sum().backward()
train(8)
before = used()
for hidden in range(9, 9 + int(sys.argv[1])):
    train(hidden)
print(used() - before)
"""


@functools.cache
def bytecode() -> tempfile.TemporaryDirectory[str]:
    """The folder of Python's bytecode, as long as the script runs."""
    return tempfile.TemporaryDirectory()


def run(code: str, *arguments: str, cache: str) -> list[float]:
    """The numbers that a process of its own prints; Python's bytecode is kept, as that of an installed package is."""
    command = [sys.executable, "-c", code, *arguments]
    settings = {
        **os.environ,
        "ELMAN_CACHE": cache,
        "PYTHONPYCACHEPREFIX": bytecode().name,
        "PYTHONDONTWRITEBYTECODE": "",
    }
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=settings).stdout
    return [float(line) for line in text.split()]


def first_uses(cell: str, rounds: int) -> dict[str, list[float]]:
    """Medians of the first and the second training step: compiled, from the cache, and torch.nn's."""
    found: dict[str, list[list[float]]] = {}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            for way in ("compiled", "from the cache", *(["torch.nn"] if cell in ("rnn", "gru", "lstm") else [])):
                found.setdefault(way, []).append(run(FIRST_USE, cell, way, cache=cache))
    return {way: [median(one) for one in zip(*times, strict=True)] for way, times in found.items()}


def main() -> None:
    """Measure, print, and write the log."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cell", nargs="+", default=["rnn", "gru", "lstm", "peephole"])
    parser.add_argument("--sizes", type=int, default=300)
    parser.add_argument("--log", type=Path)
    options = parser.parse_args()
    run(FIRST_USE, "rnn", "compiled", cache="off")  # writes the bytecode
    names = ("torch", "elman")
    importing = {name: lambda name=name: run(f"import {name}", cache="off") for name in names}
    seconds = {name: median(times) for name, times in interleave(importing, options.rounds, 0).items()}
    log: dict[str, Any] = {"machine": facts(), "import": seconds, "first use": {}}
    for name in names:
        print(f"import {name:10}{seconds[name]:8.3f} s")
    print(f"\n{'first use, then second':30}{'s':>10}{'s':>10}")
    for cell in options.cell:
        log["first use"][cell] = first_uses(cell, options.rounds)
        for way, (first, second) in log["first use"][cell].items():
            print(f"{cell + ', ' + way:30}{first:10.4f}{second:10.4f}")
    with tempfile.TemporaryDirectory() as cache:
        ways = {"compiled": cache, "from the cache": cache}
        log["MiB of further sizes"] = {
            way: run(SIZES, str(options.sizes), cache=place)[0] for way, place in ways.items()
        }
    for way, memory in log["MiB of further sizes"].items():
        print(f"{options.sizes} more sizes in one process, {way}: {memory:.0f} MiB")
    if options.log:
        options.log.write_text(json.dumps(log, indent=1) + "\n")


if __name__ == "__main__":
    main()
