"""Batches that can be taken apart by their rows, for several processes or one after another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Self


class Rows:
    """A dataclass of tensors, each with one dimension of rows: ``along`` says which."""

    along: ClassVar[dict[str, int]]

    def __len__(self) -> int:
        name, dim = next(iter(self.along.items()))
        return getattr(self, name).shape[dim]

    def part(self, k: int, count: int) -> Self:
        """Return the rows that are part ``k``, counted from 0, of ``count`` parts; some may have none.

        >>> import torch
        >>> from elman.tasks.generate import Batch
        >>> batch = Batch(torch.arange(5)[None], torch.arange(5)[None])
        >>> [batch.part(k, 2).inputs.tolist() for k in range(2)]
        [[[0, 1]], [[2, 3, 4]]]
        """
        rows = slice(len(self) * k // count, len(self) * (k + 1) // count)
        chosen: dict[str, Any] = {}
        for name, dim in self.along.items():
            tensor = getattr(self, name)
            chosen[name] = tensor.movedim(dim, 0)[rows].movedim(0, dim)
        return replace(self, **chosen)  # type: ignore[type-var]


class InParts:
    """A task whose batches are :class:`Rows` that count alike in its loss."""

    def share(self, batch: Any, part: int, parts: int) -> tuple[Any, float]:
        """Return one part of a batch's rows, and their share of its loss."""
        rows = batch.part(part, parts)
        return rows, len(rows) / len(batch)
