"""Intervals by past errors alone beside those of a learned spread: mean interval scores and coverage of the test part.

Needs the public series in the folder that ELMAN_DATA names. The interval score (Gneiting & Raftery 2007) is the width
plus a penalty for what falls outside; the ratios are to that of intervals by past errors. Medians over the seeds.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from forecasts import LONG, everything

from elman.data import Series
from elman.errors import DataError
from elman.jobs import Forecaster

LIKELIHOODS = ("none", "gaussian", "student-t", "quantiles")
LEVELS = ("80", "95")


def main() -> None:
    """Print a row a series and likelihood, and the geometric means of the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="series whose names contain this")
    parser.add_argument("--json", type=Path, help="where every number goes")
    arguments = parser.parse_args()
    rows = []
    for name, series, _, ahead in everything(Path(os.environ["ELMAN_DATA"])):
        if arguments.only in name and name not in LONG[:-1]:
            try:
                rows += measure(name, series, ahead, 1 if name in LONG else arguments.seeds)
            except DataError as error:
                print(f"{name:32}{ahead:4} {error}")
    for likelihood in LIKELIHOODS[1:]:
        chosen = [row["ratios"] for row in rows if row["likelihood"] == likelihood]
        means = [float(np.exp(np.mean(np.log([ratios[level] for ratios in chosen])))) for level in LEVELS]
        print(f"{likelihood:12} geometric means " + " ".join(f"{mean:.3f}" for mean in means))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


def measure(name: str, series: Series, horizon: int, seeds: int) -> list[dict[str, Any]]:
    """The rows of one series, each likelihood's."""
    rows: list[dict[str, Any]] = []
    for likelihood in LIKELIHOODS:
        tested = []
        for seed in range(seeds):
            forecaster = Forecaster(horizon=horizon, likelihood=likelihood, seed=seed)
            forecaster.fit(series)
            tested.append(forecaster.test()["intervals"])
        row: dict[str, Any] = {"series": name, "horizon": horizon, "likelihood": likelihood}
        for fact in ("score", "coverage"):
            row[fact] = {level: median(one[level][fact] for one in tested) for level in LEVELS}
        row["ratios"] = {level: row["score"][level] / (rows[0] if rows else row)["score"][level] for level in LEVELS}
        rows.append(row)
        ratios, held = (" ".join(f"{row[fact][level]:7.3f}" for level in LEVELS) for fact in ("ratios", "coverage"))
        print(f"{name:32}{horizon:4} {likelihood:12} ratios {ratios}   coverage {held}", flush=True)
    return rows


if __name__ == "__main__":
    main()
