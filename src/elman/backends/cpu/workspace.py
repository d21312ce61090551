"""Working room that kernels use and give back: fresh large memory costs a page fault every 4 KiB, at every call."""

from __future__ import annotations

import torch
from torch import Tensor

from elman.backends.cpu.pages import in_huge_pages

_MOST = 1 << 24  # floats that are kept in all: 64 MiB
_LEAST = 1 << 14
_FREE: dict[int, list[Tensor]] = {}  # by size


def take(floats: int) -> Tensor:
    """A buffer of at least ``floats`` float32, aligned to 64 bytes, holding anything.

    Safe with threads: taking one off a list and putting one on are each done whole.
    """
    size = _rounded(floats)
    try:
        return _FREE[size].pop()
    except (KeyError, IndexError):
        return in_huge_pages(torch.empty(size, dtype=torch.float32, device="cpu"))


def give_back(buffer: Tensor) -> None:
    """Keep a buffer for the next who asks; where that would be too much, let go of all that are kept."""
    size = buffer.numel()
    if size + sum(each * len(free) for each, free in list(_FREE.items())) > _MOST:
        _FREE.clear()
    if size <= _MOST:
        _FREE.setdefault(size, []).append(buffer)


def _rounded(floats: int) -> int:
    """A size at most an eighth larger, so that calls of nearly one size share their room."""
    grain = 1 << max(floats.bit_length() - 4, 0)
    return max(-(-floats // grain) * grain, _LEAST)
