"""What the Triton kernels become on A100, H100 and B200, without such a card: registers, spills, shared memory.

    python benchmarks/gpu_code.py docs/gpu_code.json

Compiles every kernel of the grid for the three cards with Triton's own compiler and assembler, and writes down what
each takes: about ten minutes on two cores. Ends with 1 where a kernel spills or does not fit.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
import triton

from elman import cells
from elman.backends.triton.compiled import CARDS, of_cell

CELLS = [("lstm", {}), ("gru", {}), ("rnn", {}), ("peephole", {}), ("slstm", {}), ("slstm", {"heads": 8}),
         ("mingru", {})]  # fmt: skip
SIZES = [64, 128, 256, 512, 768, 1024]
BATCH = 16


def row(case: tuple[str, dict[str, int], int, str, int]) -> list[dict[str, object]]:
    """The kernels of a cell at one size, in one dtype, on one card."""
    name, options, hidden, dtype, capability = case
    found = of_cell(cells.get(name), hidden, BATCH, getattr(torch, dtype), capability, **options)
    label = "-".join([name, *(f"{value}-{option}" for option, value in options.items())])
    return [
        {"cell": label, "hidden": hidden, "dtype": dtype, "sm": capability, "pass": way, **one._asdict()}
        for way, one in found.items()
    ]


def main(file: str) -> int:
    cases = [(name, options, hidden, dtype, capability) for capability in CARDS for name, options in CELLS
             for hidden in SIZES for dtype in ("float32", "bfloat16")]  # fmt: skip
    with ProcessPoolExecutor(2) as workers:
        rows = [one for found in workers.map(row, cases) for one in found]
    log = {"triton": triton.__version__, "torch": torch.__version__, "batch": BATCH}
    lines = ",\n".join(json.dumps(r) for r in rows)
    Path(file).write_text(f'{json.dumps(log)[:-1]}, "kernels": [\n{lines}\n]}}\n')
    bad = [r for r in rows if r["spilled"] or int(str(r["shared"])) > CARDS[int(str(r["sm"]))].shared]
    for r in bad:
        print(r)
    most = max(int(str(r["registers"])) for r in rows)
    print(f"{len(rows)} kernels, {len(bad)} spill or do not fit; at most {most} registers a thread")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
