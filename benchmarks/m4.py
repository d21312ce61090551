"""M4 hourly (414 series, horizon 48): one network for all, scored as the competition scored, beside what it published.

``python benchmarks/m4.py FOLDER`` reads Hourly-train.csv and Hourly-test.csv there and prints one JSON object. MASE is
scaled by the season of 24 that the competition took. The published figures are of Makridakis et al. 2020, table 3.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from elman.data import read_panel
from elman.jobs import PanelForecaster
from elman.metrics import mase, smape
from elman.training import Progress

HORIZON, SEASON = 48, 24
PUBLISHED = {"ES-RNN (the winner)": (0.893, 9.33), "seasonal naive": (1.193, 13.91)}


def scored(history: list, truth: list, forecasts: np.ndarray) -> dict[str, float]:
    """The means over the series."""
    rows = [
        (mase(f[None, :, None], t[None, :, None], h[:, None], SEASON), smape(f[None, :, None], t[None, :, None]))
        for h, t, f in zip(history, truth, forecasts, strict=True)
    ]
    found = np.array(rows)
    return {"mase": round(float(found[:, 0].mean()), 4), "smape": round(float(found[:, 1].mean()), 3)}


def main(folder: Path, seeds: tuple[int, ...] = (0,)) -> None:
    train, test = (read_panel(folder / f"Hourly-{part}.csv", id="V1") for part in ("train", "test"))
    history, truth = train.columns(), test.columns()
    found = []
    for seed in seeds:
        began = time.perf_counter()
        forecaster = PanelForecaster(horizon=HORIZON, split=(90, 10, 0), seed=seed)
        forecaster.fit(train, report=Progress())
        values = forecaster.predict(HORIZON).values
        seconds = time.perf_counter() - began
        shares = [round(share, 3) for share in forecaster.model.shares]
        forecaster.model.use(0, 0)
        lines = forecaster.predict(HORIZON).values
        found.append(
            {"seed": seed, "seconds": round(seconds), "shares": shares, "season": forecaster.config.season}
            | {"network": scored(history, truth, values), "lines alone": scored(history, truth, lines)}
        )
    published = {name: {"mase": m, "smape": s} for name, (m, s) in PUBLISHED.items()}
    print(json.dumps({"series": len(train), "runs": found, "published": published}, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]), tuple(map(int, sys.argv[2:])) or (0,))
