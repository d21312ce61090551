"""How much of what a network says is used beside a line: as much as helps for certain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from elman.metrics import SURE

HALF = 0.5  # of the shares, where their gain is no chance but little more


def helpful_shares(own: Tensor, left: Tensor, certainty: Callable[[NDArray[Any]], tuple[float, float]]) -> list[float]:
    """The shares of two parts ``own`` (2, n, ...) that help to forecast what a line leaves, ``left`` (n, ...).

    They are the :func:`best_shares`, as much of them as :func:`shrunk` says. ``certainty`` tells the mean gain over the
    line alone and twice its standard error from the gains (n,) of the windows.
    """
    shares = best_shares(own.flatten(1), left.flatten())
    gained = left.square() - (left - torch.einsum("s,s...->...", shares, own)).square()
    factor = shrunk(*certainty(gained.flatten(1).mean(1).cpu().numpy()))
    return (factor * shares).tolist()


def shrunk(gain: float, doubt: float) -> float:
    """How much is used of shares that gained so much, with ``doubt`` twice the gain's standard error.

    Nothing of a gain that may be chance. Else 1 - (doubt / gain)^2, as James & Stein 1961 shrink with that doubt, or
    half of what they would with the standard error alone, where that is more: what is best of validation parts is often
    too much of what comes after them, and half of it seldom.

    >>> shrunk(1.0, 1.0), round(shrunk(1.1, 1.0), 3), shrunk(4.0, 1.0)
    (0.0, 0.397, 0.9375)
    """
    if gain <= doubt:
        return 0.0
    squared = (doubt / gain) ** 2
    return max(1 - squared, HALF * (1 - squared / SURE**2))


def best_shares(own: Tensor, left: Tensor) -> Tensor:
    """Shares (2,) of ``own`` (2, n), none below 0 and 1 at most together, that leave the least of ``left`` (n,)."""
    gram, product = own @ own.T, own @ left
    inner = torch.linalg.lstsq(gram, product[:, None], driver="gelsd").solution[:, 0]
    edges = [product[i] / gram[i, i].clamp(min=1e-30) for i in range(2)]
    gap = own[0] - own[1]
    slope = ((left - own[1]) @ gap / (gap @ gap).clamp(min=1e-30)).clamp(0, 1)
    corners = [torch.stack([edges[0].clamp(0, 1), 0 * edges[0]]), torch.stack([0 * edges[1], edges[1].clamp(0, 1)])]
    tried = [inner] if bool((inner >= 0).all() & (inner.sum() <= 1)) else [*corners, torch.stack([slope, 1 - slope])]
    return min(tried, key=lambda shares: float((left - shares @ own).square().sum()))
