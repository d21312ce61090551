"""The embedded Reber grammar (Hochreiter & Schmidhuber 1997): what stands at the end is decided at the beginning.

B T <Reber> T E or B P <Reber> P E, where <Reber> is a string of the grammar below. A network that learned it goes on
legally whatever the string: also with the right one of T and P, which it read many symbols ago.
"""

import random

from elman.jobs import Generator

# State: the symbols that may come, each with the next state.
REBER = [{"B": 1}, {"T": 2, "P": 3}, {"S": 2, "X": 4}, {"T": 3, "V": 5}, {"X": 3, "S": 6}, {"P": 4, "V": 6}, {"E": 7}]


def embedded(draw):
    """A string, and the symbols that may come at each of its places."""
    outer, state = draw.choice("TP"), 0
    string, legal = "B" + outer, ["B", "TP"]
    while state < len(REBER):
        legal.append("".join(REBER[state]))
        string += draw.choice(legal[-1])
        state = REBER[state][string[-1]]
    return string + outer + "E\n", [*legal, outer, "E", "\n"]


draw = random.Random(0)
text = "".join(embedded(draw)[0] for _ in range(6000)).encode()
generator = Generator(
    "lstm", hidden=24, layers=1, embedding=0, output_dropout=0, batch=16, epochs=15, lr=0.02, split=(100, 0, 0)
)
generator.fit(text)

right = total = 0
for string, legal in (embedded(draw) for _ in range(200)):
    for i, allowed in enumerate(legal):
        written, _ = generator.generate("\n" + string[:i], length=1, temperature=0)
        right += written in allowed
        total += 1
print(f"legal continuations: {right} of {total}")
assert right == total
