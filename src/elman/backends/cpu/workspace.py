"""Working room that kernels use and give back: fresh large memory costs a page fault every 4 KiB, at every call."""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

_MOST = 1 << 24  # floats that are kept in all: 64 MiB
_LEAST = 1 << 14
_FREE: deque[Tensor] = deque()


def take(floats: int) -> Tensor:
    """A buffer of at least ``floats`` float32, aligned to 64 bytes, holding anything: the smallest kept that will do.

    Safe with threads: what one of them holds in its hands is not there for the others.
    """
    held = []
    for _ in range(len(_FREE)):
        try:
            held.append(_FREE.pop())
        except IndexError:
            break
    held.sort(key=Tensor.numel)
    found = next((buffer for buffer in held if buffer.numel() >= floats), None)
    _FREE.extend(buffer for buffer in held if buffer is not found)
    return torch.empty(max(floats, _LEAST), dtype=torch.float32, device="cpu") if found is None else found


def give_back(buffer: Tensor) -> None:
    """Keep a buffer for the next who asks; where that would be too much, let go of the smallest that are kept."""
    kept = buffer.numel() + sum(other.numel() for other in list(_FREE))
    while kept > _MOST and _FREE:
        try:
            kept -= _FREE.popleft().numel()
        except IndexError:
            break
    if kept <= _MOST:
        _FREE.append(buffer)
