"""Machine code as text: the inner loops of products, and whether they leave the registers."""

from __future__ import annotations

import re

FEWEST = 6  # multiply-adds in a loop that is a product's


def inner_loops(assembly: str, jump: str, multiply_add: str, own: str) -> list[str]:
    """The loops of one block that hold the multiply-adds of a product, and nothing of a cell's ``own`` arithmetic.

    All are patterns; ``jump`` is what stands before the label that is jumped to.
    """
    found = []
    for block in re.split(r"\n(?=\.L)", assembly):
        label = block.partition(":")[0]
        back = re.search(rf"{jump}\s+{re.escape(label)}\b", block)
        loop = block[: back.end()] if back else ""
        if len(re.findall(multiply_add, loop)) >= FEWEST and not re.search(own, loop):
            found.append(loop)
    return found
