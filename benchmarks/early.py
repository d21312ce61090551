"""Forward passes with the products of x inside the step, and with those of several steps formed at once.

What the CPU kernels choose by themselves is forced both ways, in turn; float32, two threads. With --json the log is
printed as one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
from statistics import median
from typing import Any

os.environ["ELMAN_CACHE"] = "off"

import torch

import elman
from elman.backends.cpu.call import engine
from elman.backends.cpu.kernels import early
from elman.bench import interleave
from elman.checks import facts

CASES = (
    ("lstm", 1, 1000, 64, 64),
    ("gru", 1, 1000, 64, 64),
    ("lstm", 8, 100, 128, 128),
    ("lstm", 8, 100, 320, 320),
    ("rnn", 16, 200, 128, 128),
    ("lstm", 64, 100, 512, 512),
    ("gru", 64, 100, 512, 512),
)
WAYS = {"in the step": {"FEW": 0, "CACHES": 1 << 40}, "early": {"FEW": 1 << 40}}


def ready(cell: str, sizes: tuple[int, int, int, int], settings: dict[str, int]) -> Any:
    """A forward pass whose kernels are compiled with these settings."""
    B, T, I, H = sizes
    for name, value in settings.items():
        setattr(early, name, value)
    engine.forget()
    torch.manual_seed(0)
    layer, x = elman.Recurrent(cell, I, H), torch.randn(T, B, I)
    with torch.no_grad():
        layer(x)
    engines = dict(engine._BY_IDENTITY)

    def run() -> torch.Tensor:
        engine._BY_IDENTITY.clear()  # both ways are one program at the same sizes
        engine._BY_IDENTITY.update(engines)
        with torch.no_grad():
            return layer(x)[0]

    return run


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(2)
    log: dict[str, Any] = {"machine": facts(), "rounds": options.rounds, "ms": {}}
    for cell, *sizes in CASES:
        name = f"{cell.upper()} {', '.join(map(str, sizes))}"
        passes = {way: ready(cell, tuple(sizes), settings) for way, settings in WAYS.items()}
        assert torch.equal(*(run() for run in passes.values()))
        times = interleave(passes, options.rounds, 0)
        log["ms"][name] = {way: 1e3 * median(seconds) for way, seconds in times.items()}
        if not options.json:
            print(name, {way: round(ms, 3) for way, ms in log["ms"][name].items()})
    if options.json:
        print(json.dumps(log, indent=1))


if __name__ == "__main__":
    main()
