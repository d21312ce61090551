"""Memory that is used again: fresh large memory costs a page fault and its clearing, at every call.

Kernels :func:`take` their working room and give it back. What outlives a call, an output or what is kept for the
backward pass, is :func:`lent`: it comes back by itself when the last tensor that looks at it is gone.
"""

from __future__ import annotations

import ctypes
import functools
import math
from typing import Any

import torch
from torch import Tensor

from elman.backends.cpu.call.pages import in_huge_pages

_MOST = 1 << 26  # floats that are kept in all: 256 MiB
_LEAST = 1 << 14
_LARGE = 1 << 18  # floats from which memory is lent: below, torch's allocator keeps what it had
_FREE: dict[int, list[Tensor]] = {}  # by size, the one used last at the end


def take(floats: int) -> Tensor:
    """A buffer of at least ``floats`` float32, aligned to 64 bytes, holding anything.

    Safe with threads: each change of ``_FREE`` is done whole; at worst a buffer is let go of that could have been kept.
    """
    size = _rounded(floats)
    free = _FREE.pop(size, None)
    if not free:
        return in_huge_pages(torch.empty(size, dtype=torch.float32, device="cpu"))
    buffer = free.pop()
    if free:
        _FREE[size] = free
    return buffer


def give_back(buffer: Tensor) -> None:
    """Keep a buffer for the next who asks; where that is too much, let go of the sizes nobody has used for longest."""
    _FREE.setdefault(buffer.numel(), []).append(buffer)
    while sum(size * len(free) for size, free in list(_FREE.items())) > _MOST:
        _FREE.pop(next(iter(list(_FREE)), 0), None)


def lent(like: Tensor, *shape: int) -> Tensor:
    """A tensor in the dtype of ``like`` that holds anything; its memory is given back when no tensor looks at it."""
    count = math.prod(shape)
    floats = count * like.element_size() // 4
    if floats < _LARGE:
        return like.new_empty(shape)
    buffer = take(floats)
    owner = _owners(buffer.numel()).from_address(buffer.data_ptr())
    owner.buffer = buffer
    # Resized to what it holds already, it is no view: it may be changed in place.
    return torch.frombuffer(owner, dtype=like.dtype, count=count).resize_(shape)


@functools.cache
def _owners(floats: int) -> Any:
    """The type of what a lent tensor's memory belongs to, for buffers of one size."""

    class Owner(ctypes.c_float * floats):  # type: ignore[misc]
        buffer: Tensor

        def __del__(self, give_back: Any = give_back) -> None:
            give_back(self.buffer)

    return Owner


def _rounded(floats: int) -> int:
    """A size at most an eighth larger, so that calls of nearly one size share their room."""
    grain = 1 << max(floats.bit_length() - 4, 0)
    return max(-(-floats // grain) * grain, _LEAST)
