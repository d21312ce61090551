"""The product that forms a weight's gradient, columns^T operand over all steps: ours against torch's two.

Elman's backward kernel always uses its own. This is the measurement behind that: at every shape of the grid it should
take no longer than torch.mm and oneDNN's linear (private to torch, so probed for).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from elman.backends.cpu.kernels import building
from elman.backends.cpu.layout import shares
from elman.backends.cpu.llvm import machine, threads

SHAPES = ((32, 50, 32, 32), (32, 128, 64, 64), (32, 128, 128, 128), (64, 100, 320, 320), (64, 100, 512, 512))


def ours(columns: Tensor, operand: Tensor) -> Callable[[], Tensor]:
    """A call of the kernel as the backward pass makes it: (T, B, m) and (T, B, n) to (m, n)."""
    steps, batch, m = columns.shape
    n, team, vectors = operand.shape[2], threads.team(), machine.Vectors(machine.width())
    (_, kernel), result = building.for_operand(n, vectors), torch.empty(m, n)
    each = -(-shares.room(n, vectors) // 16) * 16
    room, ones = torch.empty(each * team + 16), torch.ones(1, dtype=torch.bool)
    rows = min(batch, shares.BLOCK)
    values = {
        "team": team, "adds": 0, "m": m, "n": n, "steps": steps, "batch": batch,
        "room": -(-room.data_ptr() // 64) * 64, "room_each": each,
        "block_rows": rows, "block_steps": shares.BLOCK // rows,
        "columns": columns.data_ptr(), "columns_row": m, "group": m, "column_step": 0, "row_step": 0,
        "gradient": result.data_ptr(), "sums": 0, "masked": 0, "valid": ones.data_ptr(),
        "shares": 1, "share_rows": batch, "gradient_share": 0, "sums_share": 0,
        "initial": 0, "initial_row": 0, "initial_step": -1, "shift": 0,
        "operand": operand.data_ptr(), "operand_step": batch * n, "operand_row": n,
    }  # fmt: skip
    held = columns, operand, room, ones

    def call() -> Tensor:
        kernel(values)
        assert held  # the kernel knows addresses alone
        return result

    return call


def torchs(columns: Tensor, operand: Tensor) -> dict[str, Callable[[], Tensor]]:
    """The same product as torch offers it."""
    a, b = columns.flatten(0, 1), operand.flatten(0, 1)
    found = {"torch.mm": lambda: torch.mm(a.t(), b)}
    linear = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    if linear is not None and torch.backends.mkldnn.is_available():
        found["oneDNN"] = lambda: linear(a.t(), b.t(), None, "none", [], "")
    return found


def main() -> None:
    """Measure and print GF/s, each peer in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    print(f"{'B,T,I,H':>18}{'gates':>7}" + "".join(f"{name:>12}" for name in ("elman", "torch.mm", "oneDNN")))
    for B, T, n, H in SHAPES:
        for gates in (1, 3, 4):
            columns, operand = torch.randn(T, B, gates * H), torch.randn(T, B, n)
            calls = {"elman": ours(columns, operand), **torchs(columns, operand)}
            expected = torch.mm(columns.flatten(0, 1).double().t(), operand.flatten(0, 1).double())
            for name, call in calls.items():
                assert (call() - expected).abs().max() < 1e-3 * expected.abs().max(), name
            seconds: dict[str, list[float]] = {name: [] for name in calls}
            for _ in range(rounds):
                for name, call in calls.items():
                    begun = time.perf_counter()
                    call()
                    seconds[name].append(time.perf_counter() - begun)
            work = 2 * T * B * n * gates * H / 1e9
            rates = {name: work / statistics.median(times) for name, times in seconds.items()}
            shown = "".join(f"{rates.get(name, float('nan')):12.0f}" for name in ("elman", "torch.mm", "oneDNN"))
            print(f"{f'{B},{T},{n},{H}':>18}{gates:7}{shown}")


if __name__ == "__main__":
    main()
