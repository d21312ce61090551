"""Peak memory and time of a training step at several T, elman against torch.nn: a process a case, read from VmHWM.

``--recompute`` adds Elman's layers that compute a chunk of so many steps again instead of keeping what is inside.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path
from statistics import median


def resident(which: str) -> float:
    """VmRSS (now) or VmHWM (the peak) of this process in MiB."""
    found = re.search(rf"{which}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1024


def child(layer: str, cell: str, T: int, B: int, I: int, H: int) -> None:
    """Print by how many MiB a training step raises the peak, and its milliseconds.

    Its input, output gradient and weights are not counted.
    """
    import torch

    import elman

    if layer == "torch.nn":
        rnn = getattr(torch.nn, cell)(I, H)
    else:
        rnn = elman.Recurrent(cell.lower(), I, H, recompute=int(layer.removeprefix("elman") or 0))

    def step(x: torch.Tensor, cotangent: torch.Tensor) -> None:
        torch.autograd.grad(rnn(x)[0], [x, *rnn.parameters()], cotangent)

    # Twice what a first use brings: libraries, kernels, threads.
    for _ in range(2):
        step(torch.randn(4, B, I, requires_grad=True), torch.randn(4, B, H))
    x, cotangent = torch.randn(T, B, I, requires_grad=True), torch.randn(T, B, H)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = resident("VmRSS")
    for _ in range(3):
        step(x, cotangent)
    peak, times = resident("VmHWM") - before, []
    for _ in range(9):
        begun = time.perf_counter()
        step(x, cotangent)
        times.append(time.perf_counter() - begun)
    print(peak, 1e3 * median(times))


def measured(layer: str, cell: str, T: int, B: int, I: int, H: int) -> list[float]:
    """The same in a process of its own."""
    sizes = [str(size) for size in (T, B, I, H)]
    command = [sys.executable, __file__, "--child", layer, cell, *sizes]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [float(figure) for figure in output.split()]


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["--child"]:
        layer, cell, *sizes = sys.argv[2:]
        child(layer, cell, *map(int, sizes))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cell", choices=("RNN", "GRU", "LSTM"), nargs="+", default=["RNN", "GRU", "LSTM"])
    parser.add_argument("--steps", type=int, nargs="+", default=[100, 400, 1600])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--input", type=int, default=64)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--recompute", type=int, nargs="+", default=[], help="steps of a chunk")
    options = parser.parse_args()
    rest = options.batch, options.input, options.hidden
    layers = ["elman", *(f"elman{steps}" for steps in options.recompute), "torch.nn"]
    names = [layer.replace("elman", "recompute ") if layer[5:].isdigit() else layer for layer in layers]
    print("peak of a step over what stands before it, MiB, and its time, ms; B={}, I={}, H={}".format(*rest))
    for cell in options.cell:
        print(f"{cell:6}{'T':>8}" + "".join(f"{name:>16}{'ms':>8}" for name in names))
        found = {T: [measured(layer, cell, T, *rest) for layer in layers] for T in options.steps}
        for T, figures in found.items():
            print(f"{T:14}" + "".join(f"{peak:16.1f}{ms:8.1f}" for peak, ms in figures))
        first, last = min(found), max(found)
        if first < last:
            each = [1024 * (b[0] - a[0]) / (last - first) for a, b in zip(found[first], found[last], strict=True)]
            print(f"{'KiB a step':>14}" + "".join(f"{growth:16.1f}{'':8}" for growth in each))


if __name__ == "__main__":
    main()
