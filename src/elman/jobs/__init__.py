"""Whole jobs in Python: fit, test, predict."""

from __future__ import annotations

import os

from elman.errors import RunError, nearest
from elman.jobs.forecaster import Continuation, Forecaster, as_series
from elman.training import task_of

__all__ = ["JOBS", "Continuation", "Forecaster", "as_series", "load"]

JOBS = {"forecast": Forecaster}


def load(run: str | os.PathLike) -> Forecaster:
    """The trained job whose run folder is ``run``, whatever its task. Raises :class:`RunError` for what is none."""
    task = task_of(run)
    if task not in JOBS:
        raise RunError(f"{run}: is a run of task {task!r}, which this Elman has not; {nearest(task, JOBS)}")
    return JOBS[task].load(run)
