"""Windows of many series: which series each is of, and where in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_WINDOWS = 1 << 22
MEASURED_AT_ONCE = 1 << 18  # windows


@dataclass(frozen=True)
class Part:
    """Windows by the ``series`` (n,) they are of and the ``origin`` (n,) in it of their first target."""

    series: NDArray[np.int64]
    origin: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.series)

    def taken(self, chosen: Any) -> Part:
        """The windows of these indices."""
        return Part(self.series[chosen], self.origin[chosen])

    @classmethod
    def between(cls, first: NDArray[np.int64], end: NDArray[np.int64], most: int = MOST_WINDOWS) -> Part:
        """The windows of each series whose origins are from ``first`` (S,) up to ``end`` (S,).

        Of more than ``most`` one is drawn from each of as many equal stretches, always the same.

        >>> Part.between(np.array([3, 1]), np.array([5, 2])).origin.tolist()
        [3, 4, 1]
        """
        counts = np.maximum(end - first, 0)
        stops = np.cumsum(counts)
        total = int(stops[-1])
        if total <= most:
            numbers = np.arange(total)
        else:
            cuts = np.linspace(0, total, most + 1).astype(np.int64)
            numbers = np.random.default_rng(0).integers(cuts[:-1], cuts[1:])
        series = np.searchsorted(stops, numbers, side="right")
        return cls(series, numbers - (stops - counts)[series] + first[series])

    def pieces(self) -> Iterator[slice]:
        """Cut them into slices that are computed with at once."""
        yield from (slice(k, k + MEASURED_AT_ONCE) for k in range(0, len(self), MEASURED_AT_ONCE))
