"""A tutorial's whole training run, as its script writes it, against Forecaster on the same windows and epochs.

The script: sine + cosine + square wave of 1000 values, windows of 50, the first 750 to train on and the last 200 to
test on; a recurrent network whose step is written by hand; a DataLoader; Adam.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from elman.data import wave
from elman.jobs import Forecaster

CONTEXT, TRAINING, HIDDEN, BATCH = 50, 750, 32, 32


class TutorialRNN(nn.Module):
    """The network as the tutorial writes it."""

    def __init__(self) -> None:
        super().__init__()
        self.i2h = nn.Linear(1, HIDDEN)
        self.h2h = nn.Linear(HIDDEN, HIDDEN)
        self.h2o = nn.Linear(HIDDEN, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The next value (B, 1) after each window of x (B, T, 1)."""
        h = torch.zeros(x.size(0), HIDDEN)
        for t in range(x.size(1)):
            h = torch.tanh(self.i2h(x[:, t]) + self.h2h(h))
        return self.h2o(h)


def tutorial(epochs: int, seed: int) -> tuple[float, float]:
    """Seconds of the training loop, and the mean squared error on the test windows."""
    torch.manual_seed(seed)
    values = torch.from_numpy(wave("combined").values).float()
    inputs = values[:-1].unfold(0, CONTEXT, 1).transpose(1, 2).contiguous()
    targets = values[CONTEXT:]
    loader = DataLoader(TensorDataset(inputs[:TRAINING], targets[:TRAINING]), batch_size=BATCH, shuffle=True)
    model, loss_of = TutorialRNN(), nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    begun = time.perf_counter()
    for _ in range(epochs):
        total = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss = loss_of(model(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item()
    seconds = time.perf_counter() - begun
    with torch.no_grad():
        return seconds, loss_of(model(inputs[TRAINING:]), targets[TRAINING:]).item()


def elman(epochs: int, seed: int) -> tuple[float, float]:
    """The same of Forecaster: all that its epochs take, and the error in the wave's own units."""
    forecaster = Forecaster(
        "rnn",
        hidden=HIDDEN,
        context=CONTEXT,
        split=(80, 0, 20),
        batch=BATCH,
        epochs=epochs,
        seed=seed,
        network_alone=True,
    )
    history = forecaster.fit("wave:combined")
    return sum(row["seconds"] for row in history.rows), forecaster.test()["test"]["mse"]


def main() -> None:
    """Run both in turn and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, one after the other, a seed a round")
    options = parser.parse_args()
    rounds = [(tutorial(options.epochs, seed), elman(options.epochs, seed)) for seed in range(options.rounds)]
    for name, runs in zip(("tutorial", "elman"), zip(*rounds, strict=True), strict=True):
        seconds, errors = zip(*runs, strict=True)
        each = 1e3 * median(seconds) / options.epochs
        print(f"{name:10}{median(seconds):8.3f} s, {each:8.2f} ms an epoch, test MSE {median(errors):.5f}")
    print(f"ratio     {median(theirs[0] / ours[0] for theirs, ours in rounds):8.2f}")


if __name__ == "__main__":
    main()
