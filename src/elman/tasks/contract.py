"""What a task declares: the fields of its batch, in one place.

The example input, the smoke test of a new task and what a server would ask for all come from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Field:
    """One tensor of a batch: its ``letters`` (``"B T C"``), its dtype, and what it is.

    Whole numbers are from ``span[0]`` to ``span[1] - 1``.
    """

    name: str
    letters: str
    meaning: str
    dtype: torch.dtype = torch.float32
    span: tuple[int, int] | None = None

    def example(self, sizes: Mapping[str, int], generator: torch.Generator) -> Tensor:
        """A random tensor of this field's shape.

        >>> Field("x", "B T", "numbers").example({"B": 2, "T": 3}, torch.Generator()).shape
        torch.Size([2, 3])
        >>> ids = Field("ids", "T", "symbols", torch.int64, span=(0, 3)).example({"T": 50}, torch.Generator())
        >>> ids.unique().tolist()
        [0, 1, 2]
        """
        shape = tuple(sizes[letter] for letter in self.letters.split())
        if self.span is not None:
            return torch.randint(*self.span, shape, generator=generator, dtype=self.dtype)
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(self.dtype)


class Task(Protocol):
    """A job a recurrent network is trained for. :class:`elman.training.Trainable` says how it is trained."""

    name: str

    @property
    def model(self) -> nn.Module:
        """The network, with its head."""
        ...

    def describe_batch(self) -> tuple[Field, ...]:
        """The fields of a training batch: the inputs, then what they are compared with."""
        ...

    def batch_sizes(self) -> Mapping[str, int]:
        """The size of each letter of :meth:`describe_batch`."""
        ...


def example_batch(task: Task, seed: int = 0) -> dict[str, Tensor]:
    """A random batch as ``task`` declares it, by field."""
    generator = torch.Generator().manual_seed(seed)
    return {field.name: field.example(task.batch_sizes(), generator) for field in task.describe_batch()}
