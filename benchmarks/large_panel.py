"""What a large folder of Parquet files costs: the memory, and the speed beside the same series in memory.

    python benchmarks/large_panel.py --gigabytes 5 --folder /scratch/panel

writes series of random numbers with a season, in files of some hours each, reads and trains on the folder piece by
piece, then on the same series in memory; prints one JSON object, which docs/large_panel.json is.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

SERIES = 20_000
ROWS_A_GIGABYTE = 140_000_000
FILES = 100
CHOICES = {"cell": "gru", "hidden": 32, "horizon": 24, "context": 48, "epochs": 3}


def write(folder: Path, gigabytes: float) -> int:
    """Write the files, each with the next hours of all series; return how many bytes they take."""
    import polars as pl

    folder.mkdir(parents=True)
    numbers = np.random.default_rng(0)
    hours = max(10, int(gigabytes * ROWS_A_GIGABYTE / SERIES / FILES))
    names = np.repeat(np.arange(SERIES), hours)
    phase = numbers.uniform(0, 2 * np.pi, SERIES)
    for file in range(FILES):
        hour = np.tile(np.arange(file * hours, (file + 1) * hours), SERIES)
        load = 10 + np.sin(2 * np.pi * hour / 24 + phase[names]) + 0.1 * numbers.standard_normal(len(hour))
        frame = pl.DataFrame({"meter": names, "hour": hour * 3_600_000_000, "load": load})
        frame.with_columns(pl.col("hour").cast(pl.Datetime("us"))).write_parquet(
            folder / f"{file:04}.parquet", row_group_size=250_000
        )
    return sum(path.stat().st_size for path in folder.iterdir())


class Watch(threading.Thread):
    """Measures the resident memory of this process every tenth of a second: the most, in MiB."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = 0.0

    def run(self) -> None:
        """Look until the process ends."""
        while True:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.most = max(self.most, pages * resource.getpagesize() / 2**20)
            time.sleep(0.1)


def train(data: Path, kind: str, memory: int) -> dict[str, float]:
    """Train on the folder piece by piece, or on what such a training kept, read into memory."""
    watch = Watch()
    watch.start()
    from elman.data.series.panel import Panel
    from elman.data.series.stored import StoredPanel
    from elman.jobs import PanelForecaster

    begun = time.perf_counter()
    run = data.with_name("run")
    forecaster = PanelForecaster(**CHOICES)
    if kind == "pieces":
        history = forecaster.fit(data, run=run, id="meter", memory=memory)
    else:
        facts = json.loads((run / "config.json").read_text())["data"]
        kept = StoredPanel(run / "data.bin", facts)
        whole = Panel(tuple(kept.series[i] for i in range(len(kept))), kept.source)
        assert isinstance(whole.values, np.ndarray)
        history = forecaster.fit(whole)
    rows = history.rows
    return {
        "seconds": time.perf_counter() - begun,
        "epoch_seconds": float(np.median([row["seconds"] for row in rows])),
        "validation_loss": rows[-1]["validation_loss"],
        "peak_mib": watch.most,
    }


def main() -> None:
    """Write, then train in a process of its own for each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=5.0)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--memory", type=int, default=512, help="MiB, as `elman train --memory`")
    parser.add_argument("--as", dest="kind", choices=["pieces", "memory"], help="train only so, on what is there")
    parser.add_argument("--keep", action="store_true", help="leave the files")
    asked = parser.parse_args()
    data = asked.folder / "parquet"
    if asked.kind:
        print(json.dumps(train(data, asked.kind, asked.memory)))
        return
    size = write(data, asked.gigabytes)
    result = {"parquet_gigabytes": size / 1e9, "series": SERIES, "choices": CHOICES, "memory_mib": asked.memory}
    for kind in ("pieces", "memory"):
        command = [sys.executable, __file__, "--folder", str(asked.folder), "--as", kind, "--memory", str(asked.memory)]
        result[kind] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    result["speed"] = result["memory"]["epoch_seconds"] / result["pieces"]["epoch_seconds"]
    print(json.dumps(result, indent=1))
    if not asked.keep:
        shutil.rmtree(asked.folder)


if __name__ == "__main__":
    main()
