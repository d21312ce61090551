"""A task of one's own, all of it in one file: tell the sum of a sequence of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from pydantic import BaseModel
from torch import nn
from torch.nn.functional import mse_loss

from elman.insight import Sample, Watched
from elman.jobs import Job
from elman.jobs.config import NetworkConfig
from elman.jobs.job import JobRun
from elman.training import Recipe, Run, checked


class AddConfig(BaseModel):
    longest: int = 8


class AddRun(JobRun):
    task: str = "add"
    add: AddConfig


class AddNetwork(nn.Module):
    def __init__(self, recurrent):
        super().__init__()
        self.recurrent, self.head = recurrent, nn.Linear(recurrent.output_size, 1)

    def forward(self, x):
        return self.head(self.recurrent(x)[0][-1])[:, 0]


class AddTask:
    """The first three quarters of the numbers (T, N) train, the others test."""

    def __init__(self, model, numbers, batch):
        self.model, self.numbers, self.batch = model, numbers, batch
        self.trained = self.numbers.shape[1] * 3 // 4

    def batch_count(self):
        return -(-self.trained // self.batch)

    def batches(self, generator):
        return torch.randperm(self.trained, generator=generator).split(self.batch)

    def loss(self, batch, state):
        x = self.numbers[:, batch]
        return mse_loss(self.model(x[..., None]), x.sum(0)), None

    def validate(self):
        return None


class Adder(Job[AddTask]):
    kept_as = AddRun

    def __init__(self, cell="gru", hidden=8, **recipe):
        self.config, self.recipe = AddConfig(), checked(Recipe, recipe)
        self.network = NetworkConfig.of(cell, hidden, 1, {})

    def fit(self, numbers, run=None, report=None):
        self.run = run and Run.create(run, self._kept(data={}), {"numbers": np.asarray(numbers)})
        self._task = self._build(numbers)
        return self._trained(report)

    def _restored(self, run):
        return self._build(run.arrays()["numbers"])

    def _build(self, numbers):
        with self._seeded():
            model = AddNetwork(self.network.recurrent(1))
        return AddTask(model, torch.as_tensor(numbers).float(), self.recipe.batch)

    @torch.no_grad()
    def test(self) -> dict[str, Any]:
        x = self.task.numbers[:, self.task.trained :]
        error = mse_loss(self.task.model(x[..., None]), x.sum(0)).item()
        plain = {"mean": {"mse": x.sum(0).var(correction=0).item()}}
        return {"task": "add", "test": {"mse": error}, "baselines": plain, "warnings": ["only a toy"]}

    def _sample(self, steps):
        x = self.task.numbers[: steps or 200, -1:]
        watched, made = Watched.of(self.task.model.recurrent, lambda: self.task.model(x[..., None]))
        gradient = watched.gradient((made - x.sum(0)).square().sum())
        said = f"the sum is {x.sum():.3g}, told as {made.item():.3g}"
        return Sample(
            **self.about(),
            what=f"the last sequence, {len(x)} numbers",
            x=watched.x,
            loss=gradient,
            trained=gradient,
            explained=watched.gradient(made.sum()),
            question="the sum",
            result={"sum": made.item(), "shown": {"title": "What it adds up to", "said": said}},
        )
