"""Memory tasks: what the LSTM holds over hundreds of steps and Elman's plain cell does not."""

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import elman
from elman.training import Recipe, fit

spec = importlib.util.spec_from_file_location("memory", Path(__file__).parents[2] / "examples" / "memory.py")
memory = importlib.util.module_from_spec(spec)
spec.loader.exec_module(memory)


def remember_long(lstm, steps):
    """Gates that begin open for 1 to ``steps`` steps, a unit each (chrono initialisation, Tallec & Ollivier 2018)."""
    forget, admit = lstm.rows("f"), lstm.rows("i")
    with torch.no_grad():
        for rows in (forget, admit):
            rows["bias_ih"].zero_(), rows["bias_hh"].zero_()
        forget["bias_ih"].uniform_(1, steps - 1).log_()
        admit["bias_ih"].copy_(-forget["bias_ih"])


class Copying:
    """Copy memory (Hochreiter & Schmidhuber 1997; Arjovsky et al. 2016): ten symbols of eight, T blanks, a sign, and
    then the ten again. Without memory the loss is 10 ln 8 / (T + 20)."""

    SYMBOLS, LENGTH = 8, 10

    def __init__(self, cell, blanks, hidden=64, batches=100):
        torch.manual_seed(0)
        self.blanks, self.count = blanks, batches
        kinds = self.SYMBOLS + 2  # and the blank, and the sign
        self.model = nn.ModuleDict({"net": elman.Recurrent(cell, kinds, hidden, init="orthogonal"),
                                    "head": nn.Linear(hidden, kinds)})  # fmt: skip
        if cell == "lstm":
            remember_long(self.model["net"], blanks + 2 * self.LENGTH)

    def draw(self, generator, rows=32):
        symbols = torch.randint(self.SYMBOLS, (self.LENGTH, rows), generator=generator)
        blanks = torch.full((self.LENGTH + self.blanks, rows), self.SYMBOLS)
        shown = torch.cat([symbols, blanks])
        shown[self.LENGTH + self.blanks - 1] = self.SYMBOLS + 1
        return nn.functional.one_hot(shown, self.SYMBOLS + 2).float(), torch.cat([blanks, symbols])

    def batch_count(self):
        return self.count

    def batches(self, generator):
        return (self.draw(generator) for _ in range(self.count))

    def loss(self, batch, state):
        x, wanted = batch
        return cross_entropy(self.model["head"](self.model["net"](x)[0]).flatten(0, 1), wanted.flatten()), None

    def validate(self):
        return self.loss(self.draw(torch.Generator().manual_seed(9), rows=200), None)[0].item()

    def recalled(self):
        """The share of the ten symbols it says right."""
        x, wanted = self.draw(torch.Generator().manual_seed(10), rows=200)
        said = self.model["head"](self.model["net"](x)[0]).argmax(-1)
        return (said == wanted)[-self.LENGTH :].float().mean().item()


def test_the_adding_problem_has_one_mark_in_each_half_and_their_sum():
    x, sums = memory.Adding("rnn", steps=20).draw(torch.Generator().manual_seed(1))
    assert torch.equal(x[:10, :, 1].sum(0), torch.ones(50))
    assert torch.equal(x[10:, :, 1].sum(0), torch.ones(50))
    assert torch.allclose((x[..., 0] * x[..., 1]).sum(0), sums)


def test_copy_memory_shows_ten_symbols_and_wants_them_at_the_end():
    task = Copying("rnn", blanks=7)
    x, wanted = task.draw(torch.Generator().manual_seed(1))
    assert x.shape == (27, 32, 10)
    assert torch.equal(x[:10].argmax(-1), wanted[-10:])
    assert (x.argmax(-1) == 9).nonzero()[:, 0].unique().tolist() == [16]


@pytest.mark.slow
@pytest.mark.parametrize(("cell", "holds"), [("lstm", True), ("rnn", False)])
def test_adding_over_200_steps(cell, holds):
    history = fit(memory.Adding(cell, steps=200, batches=100), Recipe(epochs=40, lr=0.01, clip=1.0))
    print(f"{cell}: squared error {history.best_loss:.5f}")
    assert (history.best_loss < 0.005) == holds
    assert history.best_loss < 0.2  # a constant: 0.167


@pytest.mark.slow
@pytest.mark.parametrize(("cell", "holds"), [("lstm", True), ("rnn", False)])
def test_copying_over_50_blanks(cell, holds):
    task = Copying(cell, blanks=50)
    fit(task, Recipe(epochs=100, lr=0.01, clip=1.0))
    print(f"{cell}: {task.recalled():.4f} of the symbols, where guessing has {1 / task.SYMBOLS}")
    assert task.recalled() > 0.9 if holds else task.recalled() < 0.3
