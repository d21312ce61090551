"""How data are split into training, validation and test: percentages that must sum to 100."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from elman.errors import DataError

PARTS = ("training", "validation", "test")


def percentages(split: Sequence[float]) -> list[Fraction]:
    """Three percentages that sum to 100, exactly. Raises DataError where they are not."""
    written = ",".join(f"{percent:g}" for percent in split)
    if len(split) != 3 or not all(math.isfinite(percent) and percent >= 0 for percent in split):
        raise DataError(f"split {written}: want three percentages: training, validation, test, such as 70,10,20")
    percents = [Fraction(str(percent)) for percent in split]  # 33.3 is meant as 333/10, not its nearest float
    if sum(percents) != 100 or percents[0] == 0:
        raise DataError(
            f"split {written}: sums to {float(sum(percents)):g}; want percentages that sum to 100, the first above 0"
        )
    return percents
