"""Scores of forecasts, in the data's own units, of texts and of classifications, beside plain baselines."""

from __future__ import annotations

from elman.metrics.classify import (
    best_mixture,
    best_temperature,
    by_class,
    calibration_error,
    classification_scores,
    confusion,
    majority,
    softmax,
)
from elman.metrics.forecast import (
    SURE,
    drift,
    mae,
    mase,
    mse,
    persistence,
    repeats_last_value,
    rmse,
    scores,
    seasonal_naive,
    smape,
    standard_error,
)
from elman.metrics.intervals import (
    Bounds,
    Calibration,
    check_levels,
    coverage,
    interval_score,
    interval_scores,
    liveliness,
    pinball,
    sides,
)
from elman.metrics.naive_bayes import NaiveBayes
from elman.metrics.text import NGrams, bits_per_char

__all__ = [
    "SURE",
    "Bounds",
    "Calibration",
    "NGrams",
    "NaiveBayes",
    "best_mixture",
    "best_temperature",
    "bits_per_char",
    "by_class",
    "calibration_error",
    "check_levels",
    "classification_scores",
    "confusion",
    "coverage",
    "drift",
    "interval_score",
    "interval_scores",
    "liveliness",
    "mae",
    "majority",
    "mase",
    "mse",
    "persistence",
    "pinball",
    "repeats_last_value",
    "rmse",
    "scores",
    "seasonal_naive",
    "sides",
    "smape",
    "softmax",
    "standard_error",
]
