"""Ridge regression along the path of its strength: one eigendecomposition, then every strength is a product.

The strength is a share of the largest eigenvalue of the inputs' Gram matrix, so that it means the same in every unit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
ROUNDING = 1e-14  # of the largest eigenvalue: what is below is rounding alone


class Ridge:
    """Coefficients of ``targets`` (n, K) on ``inputs`` (n, T), both measured from their means.

    >>> x = np.array([[0.0], [1.0], [2.0]])
    >>> coefficients, bias = Ridge(x, 3 * x + 1).solve(1e-12)
    >>> coefficients.round(6).tolist(), bias.round(6).tolist()
    ([[3.0]], [1.0])
    """

    def __init__(self, inputs: Array, targets: Array):
        self.input_mean, self.target_mean = inputs.mean(axis=0), targets.mean(axis=0)
        centred = inputs - self.input_mean
        self.values, self.vectors = np.linalg.eigh(centred.T @ centred)
        self.largest: float = max(float(self.values[-1]), np.finfo(float).tiny)
        self.rotated = self.vectors.T @ (centred.T @ (targets - self.target_mean))  # (T, K)

    def solve(self, strength: float, chosen: slice = slice(None)) -> tuple[Array, Array]:
        """Coefficients (K, T) and bias (K,), of the ``chosen`` targets."""
        coefficients = (self.vectors @ (self._shares(strength)[:, None] * self.rotated[:, chosen])).T
        return coefficients, self.target_mean[chosen] - coefficients @ self.input_mean

    def path(self, inputs: Array, strengths: Array) -> Array:
        """The predictions (S, n, K) at ``inputs`` (n, T) for each of ``strengths`` (S,)."""
        along = (inputs - self.input_mean) @ self.vectors
        return np.stack([(along * self._shares(s)) @ self.rotated for s in strengths]) + self.target_mean

    def _shares(self, strength: float) -> Array:
        values = self.values + strength * self.largest
        kept = self.values > ROUNDING * self.largest
        return np.divide(1.0, values, out=np.zeros_like(values), where=kept)
