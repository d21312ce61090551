"""Forward passes with a choice that the CPU kernels make by themselves forced each way, in turn; float32, two threads.

``early``: the products of x inside the step, or those of several steps formed at once. ``sharing``: each thread has
rows of its own, or all share the units of every row. ``asking``: a turn asks for a part of the next panel or not.
With --json the log is printed as one JSON object.
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
from elman.backends.cpu.layout import cuts, early
from elman.bench import interleave
from elman.checks import facts

Case = tuple[str, int, int, int, int]
Settings = dict[tuple[Any, str], int]

CASES: dict[str, tuple[Case, ...]] = {
    "early": (
        ("lstm", 1, 1000, 64, 64),
        ("gru", 1, 1000, 64, 64),
        ("lstm", 8, 100, 128, 128),
        ("lstm", 8, 100, 320, 320),
        ("rnn", 16, 200, 128, 128),
        ("lstm", 64, 100, 512, 512),
        ("gru", 64, 100, 512, 512),
        ("lstm", 32, 100, 512, 512),
        ("lstm", 64, 50, 768, 768),
    ),
    "sharing": (
        ("lstm", 1, 1000, 1, 64),
        ("lstm", 1, 1000, 64, 128),
        ("gru", 1, 1000, 64, 128),
        ("rnn", 1, 200, 512, 512),
        ("gru", 1, 200, 320, 320),
        ("lstm", 1, 200, 320, 320),
        ("lstm", 1, 100, 512, 512),
        ("lstm", 4, 200, 320, 320),
        ("lstm", 8, 200, 320, 320),
        ("lstm", 16, 200, 320, 320),
    ),
    "asking": (
        ("lstm", 64, 100, 512, 512),
        ("gru", 64, 100, 512, 512),
        ("rnn", 64, 100, 512, 512),
        ("lstm", 64, 100, 123, 320),
        ("gru", 64, 100, 123, 320),
        ("lstm", 32, 200, 320, 320),
        ("lstm", 16, 200, 320, 320),
    ),
}
# What is the same for all cases of a question, and what each way has beside it.
COMMON: dict[str, Settings] = {"early": {(engine, "_FEW"): 0}, "sharing": {}, "asking": {}}
WAYS: dict[str, dict[str, Settings]] = {
    "early": {
        "in the step": {(early, "FEW"): 0, (early, "CACHES"): 1 << 40},
        "early": {(early, "FEW"): 1 << 40},
    },
    "asking": {"not asked": {(cuts, "ASKED"): 0}, "asked": {(cuts, "ASKED"): cuts.ASKED}},
    "sharing": {"rows": {(engine, "_FEW"): 0}, "units": {(engine, "_FEW"): 1 << 40, (engine, "_WORTH"): 1}},
}


def ready(case: Case, settings: Settings) -> Any:
    """A forward pass whose kernels are compiled with these settings, and which is told of them."""
    cell, B, T, I, H = case

    def set_all() -> None:
        for (module, name), value in settings.items():
            setattr(module, name, value)

    set_all()
    engine.forget()
    torch.manual_seed(0)
    layer, x = elman.Recurrent(cell, I, H), torch.randn(T, B, I)
    with torch.no_grad():
        layer(x)
    engines = dict(engine._BY_IDENTITY)

    def run() -> torch.Tensor:
        set_all()
        engine._BY_IDENTITY.clear()  # both ways are one program at the same sizes
        engine._BY_IDENTITY.update(engines)
        with torch.no_grad():
            return layer(x)[0]

    return run


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("choice", choices=WAYS)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(2)
    log: dict[str, Any] = {"machine": facts(), "rounds": options.rounds, "ms": {}}
    for case in CASES[options.choice]:
        name = f"{case[0].upper()} {', '.join(map(str, case[1:]))}"
        ways = WAYS[options.choice].items()
        passes = {way: ready(case, COMMON[options.choice] | settings) for way, settings in ways}
        assert torch.equal(*(run() for run in passes.values()))
        times = interleave(passes, options.rounds, 0)
        log["ms"][name] = {way: 1e3 * median(seconds) for way, seconds in times.items()}
        if not options.json:
            print(name, {way: round(ms, 3) for way, ms in log["ms"][name].items()})
    if options.json:
        print(json.dumps(log, indent=1))


if __name__ == "__main__":
    main()
