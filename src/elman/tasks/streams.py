"""Windows of a series in its own order, for a network that carries its state from one to the next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

CHUNKS_PER_STREAM = 8  # a batch has fewer rows rather than streams of fewer windows


def detached(state: Any) -> Any:
    """``state`` cut off from the gradient, whatever its form."""
    return state.detach() if isinstance(state, Tensor) else tuple(detached(part) for part in state)


@dataclass(frozen=True)
class Streams:
    """``rows`` streams of ``count`` windows of ``context`` values, among so many ``positions`` that may begin one."""

    rows: int
    count: int
    context: int
    positions: int

    @classmethod
    def cut(cls, positions: int, context: int, most: int) -> Streams:
        """As many streams as there is room for, at ``most`` so many.

        >>> Streams.cut(1000, 10, 64)
        Streams(rows=12, count=8, context=10, positions=1000)
        """
        usable = max(positions - (context - 1), context)
        rows = max(1, min(most, usable // (context * CHUNKS_PER_STREAM)))
        return cls(rows, usable // rows // context, context, positions)

    def batches(self, generator: torch.Generator, device: torch.device) -> Iterator[Tensor]:
        """One epoch: where the windows (rows,) of each batch begin. The first of all moves with each epoch."""
        length = self.count * self.context
        free = self.positions - self.rows * length
        start = int(torch.randint(min(free, self.context - 1) + 1, (), generator=generator))
        firsts = start + length * torch.arange(self.rows, device=device)
        yield from (firsts + k * self.context for k in range(self.count))


def until(batches: Iterable[Tensor], count: int) -> Iterator[Tensor]:
    """Parts until they hold ``count`` rows together."""
    for part in batches:
        yield part
        count -= len(part)
        if count <= 0:
            return
