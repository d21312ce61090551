"""Small trained networks, of every way to forecast."""

from __future__ import annotations

import numpy as np

from elman.jobs import Forecaster

WAVES = np.stack([np.exp(0.3 * np.sin(np.arange(260) / 6) + 0.002 * np.arange(260)), np.cos(np.arange(260) / 5)], 1)
FORECASTS = {
    "line alone": {},
    "on a line": {"horizon": 3, "shares": (0.6, 0.3)},
    "fed back": {"horizon": 2, "strategy": "recursive", "shares": (0.6, 0.3)},
    "segments": {"horizon": 2, "context": 25, "segment": 4, "shares": (0.5, 0.5)},
    "ensemble": {"horizon": 2, "ensemble": 2, "shares": (0.6, 0.3)},
    "alone": {"horizon": 3, "network_alone": True},
    "alone, fed back": {"horizon": 3, "network_alone": True, "strategy": "recursive"},
    "carried": {"horizon": 2, "network_alone": True, "stateful": True, "targets": "every"},
    "differences": {"horizon": 2, "scaler": "differences"},
    "carried differences": {"network_alone": True, "stateful": True, "scaler": "differences"},
}


def forecaster(name, columns=2):
    choices = dict(FORECASTS[name])
    shares = choices.pop("shares", None)
    made = Forecaster("gru", **{"hidden": 5, "epochs": 1, "context": 16, "season": 0} | choices)
    made.fit(WAVES[:, :columns])
    if shares is not None:
        made.model.use(*shares)
    elif made.config.on_line:
        made.model.use(0, 0)
    return made
