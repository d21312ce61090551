"""Scores of forecasts, in the data's own units, beside plain baselines."""

from __future__ import annotations

from elman.metrics.forecast import (
    mae,
    mase,
    mse,
    persistence,
    repeats_last_value,
    rmse,
    scores,
    seasonal_naive,
    smape,
)

__all__ = [
    "mae",
    "mase",
    "mse",
    "persistence",
    "repeats_last_value",
    "rmse",
    "scores",
    "seasonal_naive",
    "smape",
]
