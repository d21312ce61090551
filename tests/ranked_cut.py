"""Trains a job of ranked.py until it is killed at a step, or goes on with its run: ranked_cut.py NAME RUN [STEP]."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import torch

import ranked
from elman.training.loop import Training


def kill_at(step: int) -> None:
    """Kill this process as it begins its ``step``-th step."""
    taken = 0
    take = Training.train_step

    def counted(self, *arguments):
        nonlocal taken
        taken += 1
        if taken == step:
            self.background.wait()
            os.kill(os.getpid(), signal.SIGKILL)
        return take(self, *arguments)

    Training.train_step = counted


def main(name: str, run: Path, step: int = 0) -> None:
    """Train, or go on, and write the weights beside the run."""
    torch.set_default_dtype(torch.float64)
    if step:
        kill_at(step)
    data_folder = run.with_suffix(f".{os.environ.get('RANK', '0')}")
    data_folder.mkdir(exist_ok=True)
    job, data, reading = ranked.JOBS[name](data_folder)
    if (run / "config.json").exists():
        job, _ = type(job).resume(run)
    else:
        job.recipe = job.recipe.model_copy(update={"checkpoint": "4 steps"})
        job.fit(data, run=run, **reading)
    weights = torch.cat([p.detach().flatten() for p in job.task.model.parameters()])
    if os.environ.get("RANK", "0") == "0":
        run.with_suffix(".json").write_text(json.dumps(weights.tolist()))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:]))
