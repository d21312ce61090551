"""Scaling: fitted on training values alone, undone on predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from elman.choices.forecast import Scaling
from elman.errors import DataError, nearest

Array = NDArray[np.float64]
KINDS = get_args(Scaling)
LARGEST = float(np.finfo(np.float32).max)
ROUNDING = 64 * np.finfo(np.float64).eps  # a spread below this share of the values is rounding alone


@dataclass(frozen=True, eq=False)
class Scaler:
    """A linear scaling of each column, or differences.

    ``z = (values - shift) / scale``, with ``shift`` and ``scale`` (C,).

    Of kind "standard" (mean 0, deviation 1), "minmax" (0 to 1), "none", or "differences": each value less
    the one before, over the deviation of the training differences. The scale of a constant column is 1.
    Networks compute in float32, so values whose z is beyond its range cannot be fitted.

    >>> scaler = Scaler.fit(np.array([[1.0], [3.0]]), "standard")
    >>> scaler.transform(np.array([[5.0]])).tolist()
    [[3.0]]
    >>> scaler.invert(np.array([[3.0]]), last=np.array([0.0])).tolist()
    [[5.0]]
    """

    kind: str
    shift: Array
    scale: Array

    @classmethod
    def fit(cls, values: Array, kind: str = "standard") -> Scaler:
        """Fit to ``values`` (N, C), training values alone.

        Raises DataError for an unknown kind, and for values too large to scale.
        """
        if kind not in KINDS:
            raise DataError(f"no scaler {kind!r}; {nearest(kind, KINDS)}")
        values = np.asarray(values, dtype=np.float64)
        if values.ndim != 2 or not len(values):
            raise DataError(f"scaler {kind!r}: got values of shape {values.shape}, want (N, C) with N above 0")
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused by name
            shift, scale = _shift_and_scale(values, kind)
            constant = scale <= ROUNDING * np.abs(values).max(axis=0)
            scaler = cls(kind, shift, np.where(constant, 1.0, scale))
            scaler._check_range(values)
        return scaler

    def _check_range(self, values: Array) -> None:
        """Refuse a column of ``values`` (N, C) that comes out beyond the range of float32."""
        fits = (np.abs(self.transform(values)) <= LARGEST).all(axis=0)  # False for NaN
        bad = np.flatnonzero(~(fits & np.isfinite(self.shift) & np.isfinite(self.scale)))
        if bad.size:
            largest = np.abs(values[:, bad[0]]).max()
            raise DataError(
                f"scaler {self.kind!r}: column {bad[0]} (counted from 0) has values up to {largest:g}, "
                "too large to be scaled; give them in a larger unit"
            )

    def transform(self, values: Array) -> Array:
        """Scale ``values`` (N, C) to z (N, C).

        The first of the differences has no value before it and is 0.
        """
        values = np.asarray(values, dtype=np.float64)
        if self.kind == "differences":
            return np.diff(values, axis=0, prepend=values[:1]) / self.scale
        return (values - self.shift) / self.scale

    def invert(self, z: Array, last: Array) -> Array:
        """Scale ``z`` (..., horizon, C) back to values.

        ``last`` (..., C) is the value just before the horizon.

        Only differences use ``last``: their sum is added to it.
        """
        scaled = np.asarray(z, dtype=np.float64) * self.scale
        if self.kind == "differences":
            return np.asarray(last, dtype=np.float64)[..., None, :] + np.cumsum(scaled, axis=-2)
        return scaled + self.shift

    def to_dict(self) -> dict[str, Any]:
        """The scaler as what JSON can hold; every digit is kept."""
        return {"kind": self.kind, "shift": self.shift.tolist(), "scale": self.scale.tolist()}

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Scaler:
        """The scaler that :meth:`to_dict` wrote. Raises DataError when it is no such thing.

        >>> Scaler.from_dict(Scaler.fit(np.ones((3, 2)), "none").to_dict()).scale.tolist()
        [1.0, 1.0]
        """
        try:
            kind, shift, scale = facts["kind"], facts["shift"], facts["scale"]
            scaler = cls(kind, np.array(shift, dtype=np.float64), np.array(scale, dtype=np.float64))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"a scaler that cannot be read: {error!r}; want kind, shift and scale") from error
        finite = np.isfinite(scaler.shift).all() and np.isfinite(scaler.scale).all()
        if kind not in KINDS or scaler.shift.shape != scaler.scale.shape or not finite or not (scaler.scale > 0).all():
            raise DataError(f"a scaler that cannot be read: {dict(facts)}; want kind, shift and scale above 0")
        return scaler


def _shift_and_scale(values: Array, kind: str) -> tuple[Array, Array]:
    if kind == "standard":
        return values.mean(axis=0), values.std(axis=0)
    if kind == "minmax":
        return values.min(axis=0), np.ptp(values, axis=0)
    shift, scale = np.zeros(values.shape[1]), np.ones(values.shape[1])
    if kind == "differences" and len(values) > 1:
        scale = np.diff(values, axis=0).std(axis=0)
    return shift, scale
