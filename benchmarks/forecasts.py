"""Accuracy of forecasts by default, from the file alone, beside the best of four plain baselines computed here.

Needs the public series in the folder that ELMAN_DATA names. The baselines know nothing of the model: persistence, the
seasonal naive, drift, and a linear autoregression whose order and ridge are chosen on the eighth before the test part.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from elman.data import Series, read_series
from elman.jobs import Forecaster

Array = NDArray[np.float64]

# File, season for the baselines (0: none), steps of a season ahead.
FILES = [
    ("series/electricity-demand-half-hourly.csv", 336, 48),
    ("series/daily-total-female-births.csv", 7, 7),
    ("series/monthly-milk.csv", 12, 12),
    ("series/ausbeer.csv", 4, 4),
    ("series/monthly-car-sales.csv", 12, 12),
    ("airline-passengers.csv", 12, 12),
    ("monthly-sunspots.csv", 0, 12),
    ("GS10.csv", 0, 12),
]
ETT = ("ETTh1.csv", 24, 24)
LONG = tuple(f"ETTh1 {name}" for name in ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"))  # one seed each
TEST = 0.2
RIDGES = (1e-6, 1e-4, 1e-2, 1.0)


def main() -> None:
    """Print a row a series and horizon, and the geometric means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="series whose names contain this")
    parser.add_argument("--json", type=Path, help="where every number goes")
    arguments = parser.parse_args()
    rows = []
    print(f"{'series':28}{'steps':>6}{'ratio':>8}{'line':>8}  {'best baseline':16}{'gain':>6}{'seconds':>9}")
    for name, series, season, ahead in everything(Path(os.environ["ELMAN_DATA"])):
        if arguments.only not in name:
            continue
        for horizon in (1, ahead):
            row = measure(name, series, season, horizon, 1 if name in LONG else arguments.seeds)
            rows.append(row)
            print(
                f"{name:28}{horizon:6}{row['ratio']:8.3f}{row['line']:8.3f}  {row['best']:16}"
                f"{row['gain']:6.2f}{row['seconds']:9.1f}",
                flush=True,
            )
    for label, chosen in {
        "one step": [r["ratio"] for r in rows if r["horizon"] == 1],
        "a season": [r["ratio"] for r in rows if r["horizon"] > 1],
    }.items():
        print(f"{label}: geometric mean {np.exp(np.mean(np.log(chosen))):.3f}, worst {max(chosen):.3f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


def everything(folder: Path) -> Iterator[tuple[str, Series, int, int]]:
    """Name, series of one column, season of the baselines, steps of a season ahead."""
    for file, season, ahead in FILES:
        yield Path(file).stem, read_series(folder / file), season, ahead
    file, season, ahead = ETT
    whole = read_series(folder / file, target=[name.removeprefix("ETTh1 ") for name in LONG])
    for c, name in enumerate(LONG):
        yield name, Series(whole.values[:, [c]], (whole.names[c],), whole.times, whole.step), season, ahead


def measure(name: str, series: Series, season: int, horizon: int, seeds: int) -> dict[str, Any]:
    """Medians over seeds of the network's mean squared error on the test part, by the best baseline's there."""
    values = series.values[:, 0]
    plain = baselines(values, int(len(values) * (1 - TEST)), horizon, season)
    best = min(plain, key=lambda one: plain[one])
    found, lines, gains, seconds = [], [], [], []
    for seed in range(seeds):
        begun = time.perf_counter()
        forecaster = Forecaster(horizon=horizon, seed=seed)
        forecaster.fit(series)
        seconds.append(time.perf_counter() - begun)
        found.append(error(forecaster) / plain[best])
        gains.append(sum(forecaster.model.shares))
        forecaster.model.use(0, 0)
        lines.append(error(forecaster) / plain[best])
    return {
        "series": name,
        "horizon": horizon,
        "ratio": median(found),
        "by_seed": found,
        "line": median(lines),
        "gain": median(gains),
        "best": best,
        "baselines": plain,
        "context": forecaster.config.context,
        "season": forecaster.config.season,
        "seconds": median(seconds),
    }


def error(forecaster: Forecaster) -> float:
    """The mean squared error over all windows of the test part."""
    part = forecaster.test_part()
    return float(np.square(part.prediction - part.truth).mean())


def baselines(values: Array, cut: int, horizon: int, season: int) -> dict[str, float]:
    """The mean squared errors of plain forecasts of ``values`` (N,) on all windows whose targets lie behind ``cut``."""
    first, steps = np.arange(cut, len(values) - horizon + 1), np.arange(horizon)
    truth, last = values[first[:, None] + steps], values[first - 1][:, None]
    slope = ((values[first - 1] - values[0]) / (first - 1))[:, None]
    found = {"persistence": last + 0 * truth, "drift": last + (steps + 1) * slope}
    if season:
        found["seasonal naive"] = values[first[:, None] + steps % season - season]
    found["autoregression"] = autoregression(values, cut, first, horizon, season)
    return {name: float(np.square(made - truth).mean()) for name, made in found.items()}


def autoregression(values: Array, cut: int, first: NDArray[np.int64], horizon: int, season: int) -> Array:
    """Forecasts by least squares with a ridge; order and ridge do best on the last eighth before ``cut``."""
    begin = cut - cut // 8
    tried = np.arange(begin, cut - horizon + 1)
    if not len(tried):
        begin, tried = cut - horizon, np.array([cut - horizon])
    truth = values[tried[:, None] + np.arange(horizon)]
    best: tuple[float, int, float] | None = None
    for order in sorted({1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, season, season + 1, 2 * season} - {0}):
        if order + 2 * horizon > begin // 2:
            continue
        for ridge in RIDGES:
            made = _linear(values[:begin], values, tried, order, horizon, ridge)
            score = float(np.square(made - truth).mean())
            best = min(best or (np.inf, 0, 0.0), (score, order, ridge))
    assert best is not None
    return _linear(values[:cut], values, first, best[1], horizon, best[2])


def _linear(known: Array, values: Array, first: NDArray[np.int64], order: int, horizon: int, ridge: float) -> Array:
    rows = sliding_window_view(known, order + horizon)
    x, y = rows[:, :order], rows[:, order:]
    mean = x.mean(0)
    gram = (x - mean).T @ (x - mean)
    strength = ridge * np.trace(gram) / order
    coefficients = np.linalg.solve(gram + strength * np.eye(order), (x - mean).T @ (y - y.mean(0)))
    return (values[first[:, None] + np.arange(-order, 0)] - mean) @ coefficients + y.mean(0)


if __name__ == "__main__":
    main()
