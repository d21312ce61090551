"""Whole jobs in Python: fit, test, predict or generate."""

from __future__ import annotations

import os
from typing import Any

from elman.errors import RunError, nearest
from elman.jobs.backtest import Backtest, backtest
from elman.jobs.classifier import Classifier
from elman.jobs.forecaster import Continuation, Forecaster
from elman.jobs.generator import Generator
from elman.training import task_of

__all__ = ["JOBS", "Backtest", "Classifier", "Continuation", "Forecaster", "Generator", "backtest", "load"]

JOBS: dict[str, Any] = {"forecast": Forecaster, "generate": Generator, "classify": Classifier}


def load(run: str | os.PathLike) -> Any:
    """The trained job whose run folder is ``run``, whatever its task. Raises :class:`RunError` for what is none."""
    task = task_of(run)
    if task not in JOBS:
        raise RunError(f"{run}: is a run of task {task!r}, which this Elman has not; {nearest(task, JOBS)}")
    return JOBS[task].load(run)
