"""Forecasts of what follows one series or many: as a table, and as JSON can hold them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.metrics import Bounds

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Continuation:
    """Values (steps, C) that follow a series, in its units.

    Where it has dates, ``times`` (steps,) are on its clock, and ``dates`` as text, with the offset of its zone.
    ``intervals`` are the bounds (steps, C) by level in per cent: that share of the truth is expected between them;
    ``paths`` (P, steps, C) are ways it may take, if any were asked for.
    """

    values: Array
    names: tuple[str, ...]
    times: NDArray[np.datetime64] | None
    dates: list[str] | None = None
    intervals: dict[float, Bounds] = field(default_factory=dict)
    paths: Array | None = None

    def table(self) -> dict[str, list[Any]]:
        """Return the forecast as columns of a table, one row per step.

        Date (or step), each series, and the bounds of each level. Where there are paths, one row per path and step.
        """
        if self.paths is not None:
            count, steps, _ = self.paths.shape
            when = {"step": list(range(1, steps + 1))} if self.dates is None else {"date": self.dates}
            columns_of_paths: dict[str, list[Any]] = {"path": np.repeat(np.arange(1, count + 1), steps).tolist()}
            columns_of_paths |= {name: list(values) * count for name, values in when.items()}
            return columns_of_paths | {name: self.paths[..., c].ravel().tolist() for c, name in enumerate(self.names)}
        columns: dict[str, list[Any]] = {"step": list(range(1, len(self.values) + 1))}
        if self.dates is not None:
            columns = {"date": self.dates}
        for c, name in enumerate(self.names):
            columns[name] = self.values[:, c].tolist()
            for level, (lower, upper) in self.intervals.items():
                columns[f"{name}_lower_{level:g}"] = lower[:, c].tolist()
                columns[f"{name}_upper_{level:g}"] = upper[:, c].tolist()
        return columns

    def to_dict(self) -> dict[str, Any]:
        """The forecast as JSON can hold it."""
        return _as_dict(self)


@dataclass(frozen=True)
class Continuations:
    """Values (S, steps) that follow S series, in their units; by date where they have dates.

    ``intervals`` are the bounds (S, steps) by level in per cent: that share of the truth is expected between them;
    ``paths`` (S, P, steps) are ways each may take, if any were asked for.
    """

    names: tuple[str, ...]
    values: Array
    dates: list[list[str]] | None
    intervals: dict[float, Bounds] = field(default_factory=dict)
    paths: Array | None = None

    def table(self) -> dict[str, list[Any]]:
        """Return the forecasts as columns of a tidy table, one row per series and step.

        Id, date (or step), mean, and the bounds of each level. Where there are paths, a row per series, path and step.
        """
        steps = self.values.shape[1]
        if self.paths is not None:
            count = self.paths.shape[1]
            rows: dict[str, list[Any]] = {"id": [name for name in self.names for _ in range(count * steps)]}
            rows["path"] = np.tile(np.repeat(np.arange(1, count + 1), steps), len(self.names)).tolist()
            own = [list(range(1, steps + 1))] * len(self.names) if self.dates is None else self.dates
            rows["step" if self.dates is None else "date"] = [at for each in own for at in each * count]
            return rows | {"value": self.paths.ravel().tolist()}
        when: list[Any] = list(range(1, steps + 1)) * len(self.names)
        columns: dict[str, list[Any]] = {"id": [name for name in self.names for _ in range(steps)]}
        columns |= {"step": when} if self.dates is None else {"date": [date for own in self.dates for date in own]}
        columns["mean"] = self.values.ravel().tolist()
        for level, (lower, upper) in self.intervals.items():
            columns[f"lower_{level:g}"] = lower.ravel().tolist()
            columns[f"upper_{level:g}"] = upper.ravel().tolist()
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
            f"{level:g}": {"lower": lower.tolist(), "upper": upper.tolist()}
            for level, (lower, upper) in continuation.intervals.items()
        },
        **({} if continuation.paths is None else {"paths": continuation.paths.tolist()}),
    }
