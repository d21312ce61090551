"""Sequence-to-sequence on sines from random starts, then 50 steps of its own: does it follow the sine?"""

import torch
from torch.nn.functional import mse_loss

import elman
from elman.data import sine_batch
from elman.tasks import ForecastNetwork
from elman.training import Recipe, fit

STEPS = 40


class Sines:
    """What `fit` asks of a task: batches, and their loss. Each row begins anywhere in the wave."""

    model = ForecastNetwork(elman.Recurrent("rnn", 1, 32, init="orthogonal"), horizon=1)

    def batch_count(self):
        return 24

    def batches(self, generator):
        return (sine_batch(32, STEPS + 1, generator) for _ in range(self.batch_count()))

    def loss(self, waves, state):  # (T + 1, B, 1): after each step, the next value
        prediction, _ = self.model(waves[:-1])
        return mse_loss(prediction[:, :, 0], waves[1:]), None  # no state is carried from batch to batch

    def validate(self):
        return None


torch.manual_seed(0)
fit(Sines(), Recipe(epochs=30))

wave = torch.sin(0.1 * torch.arange(STEPS + 50.0))
own = wave[:STEPS]
for _ in range(50):  # the closed loop: each prediction is the next input
    prediction, _ = Sines.model(own[-STEPS:].reshape(-1, 1, 1), last=True)
    own = torch.cat([own, prediction.detach().flatten()])
error = mse_loss(own[STEPS:], wave[STEPS:]).item()
print(f"closed loop over 50 steps: MSE {error:.2g}")
assert error < 0.02
