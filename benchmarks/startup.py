"""What beginning costs: ``import elman`` against ``import torch``, and the first use of a cell, in fresh processes."""

from __future__ import annotations

import argparse
import subprocess
import sys
from statistics import median

from elman.bench import interleave, ratio

FIRST_USE = """
import sys, time, torch, elman
cell, ours = sys.argv[1], sys.argv[2] == "elman"
layer = elman.Recurrent(cell, 16, 64) if ours else getattr(torch.nn, cell.upper())(16, 64)
x = torch.randn(20, 8, 16, requires_grad=True)
for _ in range(2):
    begun = time.perf_counter()
    layer(x)[0].sum().backward()
    print(time.perf_counter() - begun)
"""


def importing(name: str) -> None:
    """Import a package in a process of its own."""
    subprocess.run([sys.executable, "-c", f"import {name}"], check=True)


def first_use(cell: str, layer: str) -> tuple[float, float]:
    """Seconds of the first and the second training step of a layer, in a process of its own."""
    command = [sys.executable, "-c", FIRST_USE, cell, layer]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    first, second = map(float, text.split())
    return first, second


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cell", nargs="+", default=["rnn", "gru", "lstm", "peephole"])
    options = parser.parse_args()
    times = interleave({name: lambda name=name: importing(name) for name in ("torch", "elman")}, options.rounds, 0)
    for name, seconds in times.items():
        print(f"import {name:10}{median(seconds):8.3f} s")
    print(f"import elman takes {ratio(times['elman'], times['torch']):.2f} times as long as import torch\n")
    print(f"{'first use, then second':24}{'s':>10}{'s':>10}")
    for cell in options.cell:
        for layer in ("elman", "torch.nn"):
            if layer == "elman" or cell in ("rnn", "gru", "lstm"):
                first, second = zip(*(first_use(cell, layer) for _ in range(options.rounds)), strict=True)
                print(f"{layer + ' ' + cell:24}{median(first):10.4f}{median(second):10.4f}")


if __name__ == "__main__":
    main()
