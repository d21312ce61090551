"""The embedded Reber grammar (Hochreiter & Schmidhuber 1997): what stands at the end is decided at the beginning.

B T <Reber> T E or B P <Reber> P E, where <Reber> is a string of the grammar below. A network that learned it goes on
legally whatever the string: also with the right one of T and P, which it read many symbols ago. Loops are taken often
here, so that strings have 25 symbols on average: there Elman's plain cell guesses. (Over 13 it learns the grammar too.)
"""

import random

from elman.jobs import Generator

# State: the symbols that may come, each with the next state.
REBER = [{"B": 1}, {"T": 2, "P": 3}, {"S": 2, "X": 4}, {"T": 3, "V": 5}, {"X": 3, "S": 6}, {"P": 4, "V": 6}, {"E": 7}]
AGAIN = 0.9  # how often a loop is taken


def embedded(draw):
    """A string, and the symbols that may come at each of its places."""
    outer, state = draw.choice("TP"), 0
    string, legal = "B" + outer, ["B", "TP"]
    while state < len(REBER):
        ways = REBER[state]
        legal.append("".join(ways))
        loops = [symbol for symbol in ways if ways[symbol] == state]
        chances = [AGAIN if symbol in loops else 1 - AGAIN for symbol in ways] if loops else None
        string += draw.choices(list(ways), chances)[0]
        state = ways[string[-1]]
    return string + outer + "E\n", [*legal, outer, "E", "\n"]


draw = random.Random(0)
text = "".join(embedded(draw)[0] for _ in range(6000)).encode()
asked = [embedded(draw) for _ in range(200)]
shares = {}
for cell in ("lstm", "rnn"):
    generator = Generator(
        cell, hidden=24, layers=1, embedding=0, output_dropout=0, batch=16, epochs=20, lr=0.02, split=(100, 0, 0)
    )
    generator.fit(text)
    right = [
        [
            generator.generate("\n" + string[:i], length=1, temperature=0)[0] in allowed
            for i, allowed in enumerate(legal)
        ]
        for string, legal in asked
    ]
    shares[cell] = sum(map(sum, right)) / sum(map(len, right))
    far = sum(places[-3] for places in right)  # the T or P before the last E and the line's end
    print(f"{cell}: legal continuations {shares[cell]:.2%}; the T or P decided at the beginning {far} of {len(asked)}")
assert shares["lstm"] == 1 > shares["rnn"]
assert far < 0.7 * len(asked)
