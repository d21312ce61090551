"""What the loop asks of a task, and what it gives back."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class Trainable(Protocol):
    """A model with its data and its loss."""

    @property
    def model(self) -> nn.Module:
        """The network that is trained, in place."""

    def batches(self, generator: torch.Generator) -> Iterable[Any]:
        """Yield the training batches of one epoch.

        In this epoch's order, drawn from ``generator`` alone.
        """

    def batch_count(self) -> int:
        """Return how many batches an epoch has."""

    def loss(self, batch: Any, state: Any) -> tuple[Tensor, Any]:
        """Return the mean loss of ``batch``, a scalar, and the state after it.

        The next batch continues from that state.

        ``state`` is what the batch before gave, and None at the beginning of an epoch; a task that carries none gives
        None. The model is in train mode.
        """

    def share(self, batch: Any, part: int, parts: int) -> tuple[Any, float]:
        """Return one part of a batch's rows, and their share of its loss.

        ``part`` is counted from 0, of ``parts``. The shares of all parts sum to 1; a part without rows has the share 0.
        Only a training in several processes, or one that accumulates, asks for it.
        """

    def validate(self) -> float | None:
        """Return the loss on the validation part, or None without one; the model is in eval mode."""


@dataclass
class History:
    """The history of a training: one row per epoch, and the best epoch.

    The best by validation loss, or by training loss if there is no validation.

    ``rows`` hold epoch, train_loss (the mean over steps), validation_loss, lr (at the last step), grad_norm
    (before clipping, the mean over steps), clipped (share of steps), seconds, and what
    :meth:`elman.insight.health.Health.epoch` gives: see :mod:`elman.training.rows`. ``best_epoch`` is 0, and
    the model as it came, until an epoch has ended.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    best_loss: float = math.inf
    interrupted: bool = False

    @property
    def epochs(self) -> int:
        """Count the epochs that ended."""
        return len(self.rows)

    @property
    def waited(self) -> int:
        """Count the epochs since the best."""
        return self.epochs - self.best_epoch
