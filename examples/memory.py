"""What a network can hold in mind: the adding problem (Hochreiter & Schmidhuber 1997), here over few steps.

Two of T numbers are marked; the answer is their sum. To answer 1 always has a squared error of 1/6 on average. Over 200
steps the plain cell does no better; the LSTM does: tests/jobs/test_memory.py.
"""

import torch
from torch import nn

import elman
from elman.training import Recipe, fit


class Adding:
    """What `fit` asks of a task: fresh batches of x (T, B, 2), numbers and marks, and their sums (B,)."""

    def __init__(self, cell, steps, hidden=32, batches=50):
        torch.manual_seed(0)
        self.model = nn.ModuleDict({"net": elman.Recurrent(cell, 2, hidden, init="orthogonal", **remember(cell)),
                                    "head": nn.Linear(hidden, 1)})  # fmt: skip
        self.steps, self.count = steps, batches

    def draw(self, generator, rows=50):
        numbers, marks = torch.rand(self.steps, rows, generator=generator), torch.zeros(self.steps, rows)
        half = self.steps // 2
        for start in (0, half):  # one mark in each half
            marks[start + torch.randint(half, (rows,), generator=generator), torch.arange(rows)] = 1
        return torch.stack([numbers, marks], 2), (numbers * marks).sum(0)

    def batch_count(self):
        return self.count

    def batches(self, generator):
        return (self.draw(generator) for _ in range(self.count))

    def loss(self, batch, state):
        x, sums = batch
        return nn.functional.mse_loss(self.model["head"](self.model["net"](x)[0][-1])[:, 0], sums), None

    def validate(self):
        return self.loss(self.draw(torch.Generator().manual_seed(9), rows=1000), None)[0].item()


def remember(cell):
    """Gates that begin open hold what they have seen."""
    return {"forget_bias": 1.0} if cell == "lstm" else {}


if __name__ == "__main__":
    for cell in ("rnn", "lstm"):
        history = fit(Adding(cell, steps=10), Recipe(epochs=10, lr=0.01, clip=1.0))
        print(f"{cell}: squared error {history.best_loss:.4f} (a constant: 0.1667)")
    assert history.best_loss < 0.02
