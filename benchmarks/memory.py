"""Peak memory of a training step at several T, elman against torch.nn: a process a case, read from Linux's VmHWM."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

LAYERS = ("elman", "torch.nn")


def resident(which: str) -> float:
    """VmRSS (now) or VmHWM (the peak) of this process in MiB."""
    found = re.search(rf"{which}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1024


def child(layer: str, cell: str, T: int, B: int, I: int, H: int) -> None:
    """Print by how many MiB a training step raises the peak. Its input, output gradient and weights are not counted."""
    import torch

    import elman

    rnn = getattr(elman if layer == "elman" else torch.nn, cell)(I, H)

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
    print(resident("VmHWM") - before)


def measured(layer: str, cell: str, T: int, B: int, I: int, H: int) -> float:
    """The same in a process of its own."""
    sizes = [str(size) for size in (T, B, I, H)]
    command = [sys.executable, __file__, "--child", layer, cell, *sizes]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


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
    options = parser.parse_args()
    rest = options.batch, options.input, options.hidden
    print("peak of a step over what stands before it, MiB; B={}, I={}, H={}".format(*rest))
    for cell in options.cell:
        print(f"{cell:6}{'T':>8}" + "".join(f"{layer:>12}" for layer in LAYERS) + f"{'ratio':>8}")
        found = {T: [measured(layer, cell, T, *rest) for layer in LAYERS] for T in options.steps}
        for T, (ours, theirs) in found.items():
            print(f"{T:14}{ours:12.1f}{theirs:12.1f}{theirs / max(ours, 0.1):8.2f}")
        first, last = min(found), max(found)
        if first < last:
            each = [1024 * (b - a) / (last - first) for a, b in zip(found[first], found[last], strict=True)]
            print(f"{'KiB a step':>14}" + "".join(f"{growth:12.1f}" for growth in each))


if __name__ == "__main__":
    main()
