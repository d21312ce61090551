"""Two small tasks that the tests of training share; neither knows of forecasting."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import mse_loss


class LineTask:
    """Fit y = 2 x + 1 + noise by one Linear; no validation part unless told."""

    def __init__(self, validation: bool = False):
        made = torch.Generator().manual_seed(7)
        self.x = torch.linspace(-1, 1, 64)[:, None]
        self.y = 2 * self.x + 1 + 0.1 * torch.randn(64, 1, generator=made)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            self.model: nn.Module = nn.Linear(1, 1)
        self.validation = validation

    def batch_count(self) -> int:
        return 4

    def batches(self, generator):
        return torch.randperm(64, generator=generator).split(16)

    def loss(self, batch, state):
        return mse_loss(self.model(self.x[batch]), self.y[batch]), None

    def validate(self):
        return mse_loss(self.model(self.x), self.y).item() if self.validation else None


class Recaller(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(2, 8, num_layers=2, dropout=0.3, batch_first=True)
        self.head = nn.Linear(8, 1)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


class RecallTask(LineTask):
    """Recall the first input after 6 steps, by an LSTM with dropout; 48 sequences train, 16 validate."""

    def __init__(self, on_step=None):
        made = torch.Generator().manual_seed(5)
        self.x = torch.randn(64, 6, 2, generator=made)
        self.y = self.x[:, 0, :1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(11)
            self.model = Recaller()
        self.on_step = on_step
        self.steps = 0

    def batch_count(self) -> int:
        return 3

    def batches(self, generator):
        return torch.randperm(48, generator=generator).split(16)

    def loss(self, batch, state):
        self.steps += 1
        if self.on_step is not None:
            self.on_step(self.steps)
        return super().loss(batch, state)

    def validate(self):
        return mse_loss(self.model(self.x[48:]), self.y[48:]).item()
