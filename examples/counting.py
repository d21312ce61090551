"""a^n b^n (Gers & Schmidhuber 2001): trained up to n = 10, how far does a network count?

Lines such as aaabbb are learned symbol by symbol. After n a's and one b all else is certain: n - 1 more b's and the
line's end. An LSTM of four units counts in its cells, of nine seeds eight to 79 and more (one to 12); a plain recurrent
network of four does not come to 10.
"""

from statistics import median

import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot
from torch.nn.utils.rnn import pad_sequence

import elman
from elman.training import Recipe, fit

END, NONE = 2, -100  # beside a: 0 and b: 1; what no loss is taken of


def line(n):
    """The symbols of a line of n, from end to end."""
    return torch.tensor([END] + [0] * n + [1] * n + [END])


class Counting:
    """What `fit` asks of a task: the ten lines, each from its beginning, all in every step."""

    def __init__(self, cell, seed, **options):
        torch.manual_seed(seed)
        # The noise on the state makes a network count with a margin, which longer lines need.
        net = elman.Recurrent(cell, 3, 4, recurrent_dropout=0.2, **options)
        self.model = nn.ModuleDict({"net": net, "head": nn.Linear(4, 3)})
        lines = [line(n) for n in range(1, 11)]
        self.lengths = torch.tensor([len(symbols) - 1 for symbols in lines])
        self.read = pad_sequence([symbols[:-1] for symbols in lines])
        self.wanted = pad_sequence([symbols[1:] for symbols in lines], padding_value=NONE)

    def batch_count(self):
        return 50

    def batches(self, generator):
        return ((self.read, self.lengths, self.wanted) for _ in range(self.batch_count()))

    def scores(self, symbols, lengths=None):
        return self.model["head"](self.model["net"](one_hot(symbols, 3).float(), lengths=lengths)[0])

    def loss(self, batch, state):
        read, lengths, wanted = batch
        return cross_entropy(self.scores(read, lengths).flatten(0, 1), wanted.flatten(), ignore_index=NONE), None

    def validate(self):
        return None

    @torch.no_grad()
    def counts_to(self, most=100):
        """The largest n up to which every line is finished rightly after its first b."""
        for n in range(1, most + 1):
            said = self.scores(line(n)[:-1, None])[:, 0].argmax(-1)
            if not torch.equal(said[n + 1 :], line(n)[n + 2 :]):
                return n - 1
        return most


reached = {}
for cell, options in {"lstm": {"forget_bias": 3.0}, "rnn": {}}.items():
    tasks = [Counting(cell, seed, **options) for seed in range(3)]
    for seed, task in enumerate(tasks):
        fit(task, Recipe(epochs=100, lr=0.05, clip=1.0, seed=seed))
    reached[cell] = [task.counts_to() for task in tasks]
    print(f"{cell}: trained to n = 10, counts to {reached[cell]}")
assert median(reached["lstm"]) >= 50 > max(reached["rnn"])
