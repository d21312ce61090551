"""Dropout: entries become 0 at random, and the others are scaled so that the mean stays (Srivastava et al. 2014).

On the CPU torch draws a number of its own for every entry, which with 256 units is a sixth of a training step. Here one
number of 64 bits serves four entries.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

ODDS = 1 << 16  # what 16 random bits can be; on the CPU a probability is rounded to a multiple of 1 in so many
PER_NUMBER = 4


def dropout(x: Tensor, p: float, training: bool = True) -> Tensor:
    """``x`` (any shape) with each entry 0 with probability ``p``, the others divided by 1 - p.

    Without ``training`` it is ``x`` itself.

    >>> _ = torch.manual_seed(0)
    >>> dropped = dropout(torch.ones(1000), 0.25)
    >>> dropped.unique(), bool(((dropped == 0).double().mean() - 0.25).abs() < 0.05)
    (tensor([0.0000, 1.3333]), True)
    """
    if not training or p == 0:
        return x
    return x * ones_at_random(x, x.shape, 1 - p).div_(1 - p or 1)


def ones_at_random(like: Tensor, shape: Sequence[int], p: float) -> Tensor:
    """1 with probability ``p``, else 0, for every entry of ``shape``; dtype and device are those of ``like``.

    >>> ones_at_random(torch.zeros(1), (2, 3), 1.0)
    tensor([[1., 1., 1.],
            [1., 1., 1.]])
    """
    if like.device.type != "cpu":
        return torch.bernoulli(like.new_full(shape, p))
    chosen = round(p * ODDS)
    if chosen == 0:
        return like.new_zeros(shape)
    count = torch.Size(shape).numel()
    numbers = torch.empty(-(-count // PER_NUMBER), dtype=torch.int64).random_(-(1 << 63), None)
    bits = numbers.view(torch.int16)[:count].view(shape)  # from -ODDS / 2 to ODDS / 2 - 1
    return (bits <= chosen - 1 - ODDS // 2).to(like.dtype)
