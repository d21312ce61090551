"""One or more columns of numbers, in equal steps of time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.data.series import calendar, zones
from elman.data.series.calendar import Step, date_texts
from elman.data.series.covariates import Covariates
from elman.errors import DataError


@dataclass(frozen=True, eq=False)
class Series:
    """A series with equal time steps and no missing value.

    ``values`` (N, C) are float64, in columns ``names``, at ``times`` (N,).

    ``times`` (datetime64[us]) and ``step`` are None where the data has no dates. With a ``zone`` ("+02:00",
    "Europe/Berlin") a step of days or months counts the days of that place, and ``times`` are read off its clocks;
    a shorter step is a length of time, and ``times`` are in UTC. ``source`` says where it came from, ``notes`` what
    was changed on reading. ``past`` are covariates of its N rows, ``known`` those of N rows and of more to come. The
    arrays are copies. Raises DataError when the parts do not fit.

    >>> monthly = Series([[1.0], [2.0]], ("sales",), np.array(["2024-01-31", "2024-02-29"], "M8[us]"))
    >>> str(monthly.step), monthly.later(2).astype("M8[D]").astype(str).tolist()
    ('1mo', ['2024-03-31', '2024-04-30'])
    """

    values: NDArray[np.float64]
    names: tuple[str, ...]
    times: NDArray[np.datetime64] | None = None
    step: Step | None = None
    source: str = "values"
    notes: tuple[str, ...] = ()
    zone: str | None = None
    known: Covariates | None = None
    past: Covariates | None = None

    def __post_init__(self) -> None:
        set_once = object.__setattr__
        # Copied: what is done to the caller's arrays later changes nothing here.
        set_once(self, "values", np.array(self.values, dtype=np.float64, order="C"))
        set_once(self, "names", tuple(self.names))
        set_once(self, "notes", tuple(self.notes))
        self._check_values()
        if self.times is not None:
            set_once(self, "times", np.asarray(self.times).astype("M8[us]"))
            set_once(self, "step", self.step or calendar.commonest_step(self.times))
            self._check_times(self.times)
        if (self.known is not None and len(self.known) < len(self)) or (
            self.past is not None and len(self.past) != len(self)
        ):
            raise DataError(f"{self.source}: covariates of fewer or more rows than its {len(self)} values")

    def __len__(self) -> int:
        return len(self.values)

    def before(self, end: int) -> Series:
        """The first ``end`` values, and all that was known ahead of time.

        >>> len(Series([[1.0], [2.0]], ("sales",)).before(1))
        1
        """
        times = None if self.times is None else self.times[:end]
        past = None if self.past is None else self.past.upto(end)
        return replace(self, values=self.values[:end], times=times, past=past, notes=())

    def later(self, steps: int) -> NDArray[np.datetime64] | None:
        """The ``steps`` dates after the last one, (steps,), or None without dates.

        Months are calendar months, and month ends stay month ends.
        """
        if self.times is None or self.step is None:
            return None
        return calendar.advance(self.times[-1], self.step, np.arange(1, steps + 1), calendar.anchor_day(self.times))

    def written(self, times: NDArray[np.datetime64]) -> list[str]:
        """Write ``times`` (K,) of this series' clock as text.

        As short as all of them can be, with the zone's offset.

        >>> times = np.array(["2024-07-01", "2024-07-02"], "M8[us]")
        >>> Series([[1.0], [2.0]], ("x",), times, zone="+02:00").written(times)
        ['2024-07-01T00:00:00+02:00', '2024-07-02T00:00:00+02:00']
        """
        if self.zone is None or self.step is None:
            return date_texts(times)
        return zones.written(times, self.zone, local=self.step.keeps_to_the_day)

    def local(self, times: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
        """``times`` (K,) of this series' clock as the clocks of its zone show them, for pictures."""
        if self.zone is None or self.step is None or self.step.keeps_to_the_day:
            return times
        return zones.wall(times, self.zone)

    def to_arrays(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Split into numpy arrays and facts that JSON can hold.

        ``times`` become int64 microseconds since 1970.

        >>> arrays, facts = Series([[1.0], [2.0]], ("a",)).to_arrays()
        >>> Series.from_arrays(arrays, facts).values.tolist()
        [[1.0], [2.0]]
        """
        arrays: dict[str, NDArray[Any]] = {"values": self.values}
        if self.times is not None:
            arrays["times"] = self.times.astype(np.int64)
        step = [self.step.count, self.step.unit, list(self.step.hours)] if self.step else None
        facts = {"names": list(self.names), "step": step, "source": self.source, "notes": list(self.notes)}
        facts["zone"] = self.zone
        for name, beside in (("known", self.known), ("past", self.past)):
            if beside is not None:
                own_arrays, own_facts = beside.to_arrays(name)
                arrays, facts = arrays | own_arrays, facts | own_facts
        return arrays, facts

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> Series:
        """Join what :meth:`to_arrays` split.

        Raises DataError if the parts do not fit.
        """
        times = arrays["times"].astype("M8[us]") if "times" in arrays else None
        step = None
        if facts["step"]:
            count, unit, *hours = facts["step"]  # a run of an older Elman has no hours
            step = Step(count, unit, tuple(*hours))
        known, past = (Covariates.from_arrays(name, arrays, facts) for name in ("known", "past"))
        zone = facts.get("zone")
        return cls(arrays["values"], facts["names"], times, step, facts["source"], facts["notes"], zone, known, past)

    def _check_values(self) -> None:
        if self.values.ndim != 2 or self.values.shape[1] != len(self.names) or not self.values.size:
            raise DataError(
                f"{self.source}: values of shape {self.values.shape} for {len(self.names)} columns; "
                "want (N, C), neither 0"
            )
        if not np.isfinite(self.values).all():
            row, column = np.argwhere(~np.isfinite(self.values))[0]
            raise DataError(
                f"{self.source}: row {row} (counted from 0) of column {self.names[column]!r} is "
                f"{self.values[row, column]}; give finite numbers only"
            )

    def _check_times(self, times: NDArray[Any]) -> None:
        if times.shape != (len(self),):
            raise DataError(f"{self.source}: {times.shape} dates for {len(self)} rows; give one a row")
        uneven = calendar.first_uneven(times, self.step) if self.step else None
        if uneven is not None or np.isnat(times).any() or (np.diff(times) <= np.timedelta64(0)).any():
            raise DataError(f"{self.source}: the dates are not in equal steps of {self.step}; resample them")
