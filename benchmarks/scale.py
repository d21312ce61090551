"""Time an epoch of training on one rank and on two, interleaved, in medians: python benchmarks/scale.py [--json FILE].

Every rank has one thread. The gradients' bytes and what adding them up takes stand beside the step, from which the
time on more ranks follows.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SHAPES = {"lstm 128": ["--hidden", "128", "--bptt", "64"], "lstm 256": ["--hidden", "256", "--bptt", "64"]}


def seconds_of_an_epoch(ranks: int, shape: list[str], text: Path, folder: Path) -> float:
    """The seconds of the second epoch: the first compiles its kernels."""
    run = folder / f"{time.monotonic_ns()}"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    command += ["-m", "elman", "train", "generate", str(text), "--cell", "lstm", *shape]
    command += ["--batch", "64", "--epochs", "2", "-o", str(run)]
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True)
    return json.loads((run / "metrics.jsonl").read_text().splitlines()[1])["seconds"]


def adding_up(count: int) -> None:
    """Run as a rank: print the bytes and the seconds of adding up ``count`` gradients."""
    import torch

    from elman.ranks import ranks

    weight = torch.nn.Parameter(torch.zeros(count))
    weight.grad = torch.ones(count)
    times = []
    for _ in range(30):
        begun = time.perf_counter()
        ranks().add_up([weight], 0.0, 0.0)
        times.append(time.perf_counter() - begun)
    if ranks().first:
        print(json.dumps({"bytes": 4 * count, "seconds": statistics.median(times[5:])}))


def main() -> None:
    """Measure, and print or write one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--adding-up", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.adding_up:
        return adding_up(chosen.adding_up)
    result: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = folder / "text.txt"
        text.write_text("".join(f"{i * i % 977} to be or not to be " for i in range(4000)))
        for shape, options in SHAPES.items():
            times: dict[int, list[float]] = {1: [], 2: []}
            for _ in range(3):
                for ranks in times:
                    times[ranks].append(seconds_of_an_epoch(ranks, options, text, folder))
            one, two = (statistics.median(times[n]) for n in (1, 2))
            result[shape] = {"one": one, "two": two, "speed_up": one / two}
            print(f"{shape}: one rank {one:.2f} s an epoch, two ranks {two:.2f} s: {one / two:.2f} times", flush=True)
    for count in (100_000, 1_000_000, 10_000_000):
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
        command += [__file__, "--adding-up", str(count)]
        done = subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True)
        result[f"adding up {count}"] = json.loads(done.stdout)
        print(f"adding up {count} gradients: {1000 * result[f'adding up {count}']['seconds']:.2f} ms", flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
