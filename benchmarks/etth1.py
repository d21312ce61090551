"""ETTh1, the customary task: seven columns standardised on the training part, 96 hours from 96, 12, 4 and 4 months.

Needs ETTh1.csv in the folder that ELMAN_DATA names. Every window of the test part counts. Published mean squared errors
for the same: SegRNN 0.368, DLinear 0.386.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from elman.data import read_series
from elman.jobs import Forecaster

MONTH = 30 * 24  # hours, as the customary split counts
COLUMNS = ["HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"]
CHOICES: dict[str, Any] = {
    "hidden": 256,
    "context": 96,
    "horizon": 96,
    "segment": 24,
    "split": (60, 20, 20),
    "loss": "mae",
    "ensemble": 3,
    "epochs": 8,
    "lr": 1e-3,
    "batch": 256,
}


def main(seeds: tuple[int, ...] = (0,)) -> None:
    """Print one JSON object."""
    whole = read_series(Path(os.environ["ELMAN_DATA"], "ETTh1.csv"), target=COLUMNS)
    assert whole.times is not None
    end = 20 * MONTH
    series = replace(whole, values=whole.values[:end], times=whole.times[:end])
    spread = series.values[: 12 * MONTH].std(axis=0)
    runs = []
    for seed in seeds:
        began = time.perf_counter()
        forecaster = Forecaster("gru", seed=seed, **CHOICES)
        forecaster.fit(series)
        shares = [round(share, 3) for share in forecaster.model.shares]
        found: dict[str, Any] = {"seed": seed, "seconds": round(time.perf_counter() - began), "shares": shares}
        for name in ("network", "line alone"):
            if name == "line alone":
                forecaster.model.use(0, 0)
            part = forecaster.test_part()
            errors = (part.prediction - part.truth) / spread
            found[name] = {
                "mse": round(float(np.square(errors).mean()), 4),
                "mae": round(float(np.abs(errors).mean()), 4),
            }
        runs.append(found | {"windows": len(part.first)})
    print(
        json.dumps({"choices": CHOICES, "runs": runs, "published MSE": {"SegRNN": 0.368, "DLinear": 0.386}}, indent=1)
    )


if __name__ == "__main__":
    main(tuple(map(int, sys.argv[1:])) or (0,))
