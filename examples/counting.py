"""a^n b^n (Gers & Schmidhuber 2001): trained up to n = 10, how far does a network count?

A text of lines such as aaabbb is learned symbol by symbol. After n a's and one b all else is certain: n - 1 more b's
and the line's end. An LSTM counts to 50 and beyond from this seed;
with other settings it lost count earlier, between 16 and 49. A plain recurrent network does not come so far.
"""

import random

from elman.jobs import Generator

draw = random.Random(0)
TEXT = "\n".join("a" * n + "b" * n for n in (draw.randint(1, 10) for _ in range(4000))).encode()


def counts_to(generator, most=60):
    """The largest n up to which every line is finished rightly."""
    for n in range(1, most + 1):
        text, _ = generator.generate("aabb\nab\n" + "a" * n + "b", length=n, temperature=0)
        if text != "b" * (n - 1) + "\n":
            return n - 1
    return most


def trained(cell):
    """A network of four units. The noise on its state makes it count with a margin, which longer lines need."""
    generator = Generator(
        cell, hidden=4, layers=1, recurrent_dropout=0.1, embedding=0, output_dropout=0,
        bptt=100, batch=16, epochs=100, lr=0.03, split=(100, 0, 0),
    )  # fmt: skip
    generator.fit(TEXT)
    return generator


reached = {cell: counts_to(trained(cell)) for cell in ("lstm", "rnn")}
for cell, n in reached.items():
    print(f"{cell}: trained to n = 10, counts to {n}")
assert reached["lstm"] >= 50 > reached["rnn"]
