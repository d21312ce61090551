"""Training: the loop, what it takes, and the run folder it writes. Knows nothing of any one task."""

from __future__ import annotations

from elman.choices.recipe import Recipe
from elman.options import checked
from elman.training.config import RunConfig, task_of
from elman.training.contract import History, Trainable
from elman.training.files import load_tensors, save_tensors, write_atomically
from elman.training.loop import fit
from elman.training.progress import Progress
from elman.training.run import Run

__all__ = [
    "History",
    "Progress",
    "Recipe",
    "Run",
    "RunConfig",
    "Trainable",
    "checked",
    "fit",
    "load_tensors",
    "save_tensors",
    "task_of",
    "write_atomically",
]
