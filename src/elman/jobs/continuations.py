"""Forecasts of what follows one series or many: as a table, and as JSON can hold them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Continuation:
    """Values (steps, C) that follow a series, in its units.

    Where it has dates, ``times`` (steps,) are on its clock, and ``dates`` as text, with the offset of its zone.
    ``widths`` (steps, C) by level in per cent: that share of the truth is expected so far to each side of the values.
    """

    values: Array
    names: tuple[str, ...]
    times: NDArray[np.datetime64] | None
    dates: list[str] | None = None
    widths: dict[float, Array] = field(default_factory=dict)

    def table(self) -> dict[str, list[Any]]:
        """Return the forecast as columns of a table, one row per step.

        Date (or step), each series, and the bounds of each level.
        """
        columns: dict[str, list[Any]] = {"step": list(range(1, len(self.values) + 1))}
        if self.dates is not None:
            columns = {"date": self.dates}
        for c, name in enumerate(self.names):
            columns[name] = self.values[:, c].tolist()
            for level, width in self.widths.items():
                columns[f"{name}_lower_{level:g}"] = (self.values[:, c] - width[:, c]).tolist()
                columns[f"{name}_upper_{level:g}"] = (self.values[:, c] + width[:, c]).tolist()
        return columns

    def to_dict(self) -> dict[str, Any]:
        """The forecast as JSON can hold it."""
        return _as_dict(self)


@dataclass(frozen=True)
class Continuations:
    """Values (S, steps) that follow S series, in their units; by date where they have dates.

    ``widths`` (S, steps) by level in per cent: that share of the truth is expected so far to each side.
    """

    names: tuple[str, ...]
    values: Array
    dates: list[list[str]] | None
    widths: dict[float, Array] = field(default_factory=dict)

    def table(self) -> dict[str, list[Any]]:
        """Return the forecasts as columns of a tidy table, one row per series and step.

        Id, date (or step), mean, and the bounds of each level.
        """
        steps = self.values.shape[1]
        when: list[Any] = list(range(1, steps + 1)) * len(self.names)
        columns: dict[str, list[Any]] = {"id": [name for name in self.names for _ in range(steps)]}
        columns |= {"step": when} if self.dates is None else {"date": [date for own in self.dates for date in own]}
        columns["mean"] = self.values.ravel().tolist()
        for level, width in self.widths.items():
            columns[f"lower_{level:g}"] = (self.values - width).ravel().tolist()
            columns[f"upper_{level:g}"] = (self.values + width).ravel().tolist()
        return columns

    def to_dict(self) -> dict[str, Any]:
        """The forecast as JSON can hold it."""
        return _as_dict(self)


def _as_dict(continuation: Continuation | Continuations) -> dict[str, Any]:
    return {
        "names": list(continuation.names),
        "dates": continuation.dates,
        "values": continuation.values.tolist(),
        "intervals": {
            f"{level:g}": {
                "lower": (continuation.values - width).tolist(),
                "upper": (continuation.values + width).tolist(),
            }
            for level, width in continuation.widths.items()
        },
    }
