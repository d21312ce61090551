"""One place that checks shapes and words what is wrong with them.

The letters: B batch, T steps, I input, H hidden, O output, L layers, D directions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from elman.errors import ShapeError

if TYPE_CHECKING:
    from torch import Tensor


def expect(tensor: Tensor, letters: str, name: str, sizes: dict[str, int] | None = None) -> dict[str, int]:
    """Check that ``tensor`` has the shape ``letters`` spells, and return the size of each letter.

    ``letters`` is a string such as ``"T B I"``. ``sizes`` holds what is already known; a letter that is
    not in it is learned from the tensor. Raises :class:`ShapeError` naming the letter that does not fit.

    >>> import torch
    >>> expect(torch.zeros(7, 3, 2), "T B I", name="x", sizes={"I": 2})
    {'I': 2, 'T': 7, 'B': 3}
    >>> expect(torch.zeros(5, 8), "B H", name="h0", sizes={"B": 4, "H": 8})
    Traceback (most recent call last):
    elman.errors.ShapeError: h0: got (5, 8), want (B, H) with B=4, H=8
    """
    known = dict(sizes or {})
    want = letters.split()
    shape = tuple(tensor.shape)
    if len(shape) == len(want):
        agreed = known.copy()
        if all(agreed.setdefault(letter, size) == size for letter, size in zip(want, shape, strict=True)):
            return agreed
    known_sizes = ", ".join(f"{letter}={known[letter]}" for letter in want if letter in known)
    raise ShapeError(f"{name}: got {shape}, want ({', '.join(want)})" + (f" with {known_sizes}" if known_sizes else ""))
