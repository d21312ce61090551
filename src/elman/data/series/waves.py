"""Generated waves, as recurrent-network tutorials use them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from elman.data.series.series import Series
from elman.errors import DataError, nearest

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Wave = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def square(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """A square wave of period 2 pi: +1 on its first half, -1 on its second, as ``scipy.signal.square``.

    >>> square(np.array([0.0, 3.0, np.pi, 6.0, -0.1])).tolist()
    [1.0, 1.0, -1.0, -1.0, -1.0]
    """
    return np.where(np.mod(x, 2 * np.pi) < np.pi, 1.0, -1.0)


# 'combined' is the tutorials' sine + cosine + square, each of amplitude 1 and period 2 pi.
WAVES: dict[str, Wave] = {"sine": np.sin, "combined": lambda x: np.sin(x) + np.cos(x) + square(x)}


def wave(name: str, n: int = 1000) -> Series:
    """Make the wave ``name``, "sine" or "combined", of n values.

    The values are taken at ``linspace(0, 0.1 n, n)``.

    Raises DataError for an unknown name or n < 2.

    >>> wave("combined").values.shape, wave("combined").values[0].tolist()
    ((1000, 1), [2.0])
    """
    if name not in WAVES:
        raise DataError(f"no wave {name!r}; {nearest(name, WAVES)}")
    if n < 2:
        raise DataError(f"wave {name!r}: n={n}; want 2 values at least")
    x = np.linspace(0, 0.1 * n, n)
    return Series(WAVES[name](x)[:, None], (name,), source=f"wave:{name}")


def sine_batch(batch: int, steps: int, generator: torch.Generator, step: float = 0.1) -> Tensor:
    """Make a batch of sines with random phases, (T, B, 1).

    ``batch`` sines of ``steps`` values, ``step`` apart.

    >>> import torch
    >>> sine_batch(3, 7, torch.Generator().manual_seed(0)).shape
    torch.Size([7, 3, 1])
    """
    import torch

    starts = 2 * math.pi * torch.rand(batch, generator=generator, dtype=torch.float64, device=generator.device)
    x = torch.arange(steps, dtype=torch.float64, device=generator.device) * step
    phases = starts[None, :] + x[:, None]
    return torch.sin(phases)[..., None].to(torch.get_default_dtype())
