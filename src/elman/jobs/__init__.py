"""Whole jobs in Python: fit, test, predict or generate, and what is shown of them. A task is added by its job.

:mod:`elman.tasks` holds the networks and losses that jobs train, :mod:`elman.training` the loop that trains them.
"""

from __future__ import annotations

from elman.jobs.backtest import Backtest, backtest
from elman.jobs.classifier import Classifier
from elman.jobs.forecaster import Continuation, Forecaster
from elman.jobs.generator import Generator
from elman.jobs.job import JOBS, Job, load
from elman.jobs.panel_backtest import PanelBacktest, backtest_panel
from elman.jobs.panel_forecaster import Continuations, PanelForecaster
from elman.jobs.tune import Tuned, tune

__all__ = [
    "JOBS",
    "Backtest",
    "Classifier",
    "Continuation",
    "Continuations",
    "Forecaster",
    "Generator",
    "Job",
    "PanelBacktest",
    "PanelForecaster",
    "Tuned",
    "backtest",
    "backtest_panel",
    "load",
    "tune",
]
