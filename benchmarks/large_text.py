"""Peak resident memory of training on a text of any size: generated, read to ids, trained on; from Linux's VmHWM."""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORDS = ("the", "of", "and", "to", "in", "is", "that", "for", "it", "as", "was", "with", "be", "by")
PARAGRAPH = 1 << 20


def write_text(path: Path, megabytes: int) -> None:
    """A text of so many MiB: words in random order, a new paragraph every MiB."""
    draw = random.Random(0)
    paragraph = " ".join(draw.choices(WORDS, k=PARAGRAPH // 3))[: PARAGRAPH - 1].encode() + b"\n"
    with open(path, "wb") as file:
        for _ in range(megabytes):
            start = draw.randrange(PARAGRAPH)
            file.write(paragraph[start:] + paragraph[:start])


def child(path: str, seconds: float) -> None:
    """Train for so many seconds, and print the seconds of reading and the peak in MiB."""
    from elman.jobs import Generator

    begun = time.perf_counter()
    generator = Generator(hidden=64, layers=1, max_time=seconds, split=(99.9, 0.1, 0))
    history = generator.fit(path)
    reading = time.perf_counter() - begun - sum(row["seconds"] for row in history.rows)
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak
    print(reading, int(peak[1]) / 1024, history.best_loss)


def measured(megabytes: int, seconds: float) -> tuple[float, float, float]:
    """Seconds of reading, peak MiB and validation loss, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "text.txt")
        write_text(path, megabytes)
        command = [sys.executable, __file__, "--child", str(path), "--seconds", str(seconds)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    reading, peak, loss = map(float, done.stdout.split())
    return reading, peak, loss


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, nargs="+", default=[1, 100, 1000])
    parser.add_argument("--seconds", type=float, default=20, help="of training")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.seconds)
        return
    for megabytes in options.megabytes:
        reading, peak, loss = measured(megabytes, options.seconds)
        print(f"{megabytes:6} MiB: read in {reading:6.1f} s, peak {peak:6.0f} MiB, {loss:.3f} nats a character")


if __name__ == "__main__":
    main()
