"""Scores of forecasts, in the data's own units, and of texts, beside plain baselines."""

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
from elman.metrics.text import NGrams, bits_per_char

__all__ = [
    "NGrams",
    "bits_per_char",
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
