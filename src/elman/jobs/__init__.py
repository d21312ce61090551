"""Whole jobs in Python: fit, test, predict."""

from elman.jobs.forecaster import Continuation, Forecaster, as_series

__all__ = ["Continuation", "Forecaster", "as_series"]
