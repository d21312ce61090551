"""Means over calendar periods: years, months, weeks, hours."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.data.series import calendar
from elman.data.series.calendar import Step, date_text
from elman.errors import DataError


def resampled(
    times: NDArray[Any], values: NDArray[np.float64], period: Step, source: str = "values"
) -> tuple[NDArray[Any], NDArray[np.float64], tuple[str, ...]]:
    """Means over each ``period`` of ``values`` (N, C) at ``times`` (N,): times (P,), means (P, C), notes.

    A mean stands at the start of its period; weeks start on Mondays. The first period is dropped as
    partial when a sample one step before the first would have fallen in it, the last likewise, and the
    notes say so. The times may be uneven, or stand twice: then their median step counts, and a period at an edge
    is whole, too, if it holds as many samples as half of the others do. Raises DataError when the period
    is shorter than the step, when a period within has no value, and when no whole period is left.

    >>> months = np.arange("2023-03", "2025-01", dtype="M8[M]").astype("M8[us]")
    >>> starts, means, notes = resampled(months, np.arange(22.0)[:, None], Step(12, "mo"))
    >>> starts.astype("M8[Y]").astype(str).tolist(), means.tolist(), notes
    (['2024'], [[15.5]], ('dropped 2023: partial, 10 of 12 values, starts at 2023-03-01',))
    """
    step = _checked_step(times, period, source)
    numbers = calendar.period_number(times, period)
    periods, firsts, counts = np.unique(numbers, return_index=True, return_counts=True)
    starts = calendar.period_start(periods, period)
    _check_gaps(periods, starts, period, source)
    means = np.add.reduceat(values, firsts, axis=0) / counts[:, None]
    keep, notes = np.ones(len(periods), dtype=bool), []
    uneven = calendar.first_uneven(times, step) is not None
    usual = np.median(counts[1:-1]) if uneven and len(counts) > 2 else np.inf
    for end, edge in ((0, "starts"), (-1, "ends")):
        if counts[end] < usual and _is_partial(times[end], step, edge, period, calendar.anchor_day(times)):
            keep[end] = False
            full = _whole_count(periods[end], period, step)
            notes.append(
                f"dropped {date_text(starts[end], period)}: partial, {counts[end]} of {full} values, "
                f"{edge} at {date_text(times[end])}"
            )
    if not keep.any():
        raise DataError(f"{source}: `resample={period}`: no whole period is left; take a shorter period")
    if uneven:
        notes.append(f"uneven dates: each {period} is the mean of the values it has, of a step of about {step}")
    return starts[keep], means[keep], tuple(notes)


def _checked_step(times: NDArray[Any], period: Step, source: str) -> Step:
    step = calendar.typical_step(np.unique(times))
    if step is None:
        raise DataError(f"{source}: `resample` needs two dates at least and got {len(times)}")
    if period.microseconds < step.microseconds:
        raise DataError(f"{source}: `resample={period}` is finer than the data's step of {step}; take {step} or longer")
    return step


def _check_gaps(periods: NDArray[np.int64], starts: NDArray[Any], period: Step, source: str) -> None:
    jumps = np.flatnonzero(np.diff(periods) != 1)
    if jumps.size:
        index = int(jumps[0])
        before, after = (date_text(start, period) for start in starts[index : index + 2])
        raise DataError(
            f"{source}: a gap between {before} and {after}: {periods[index + 1] - periods[index] - 1} periods of "
            f"{period} have no value; fill it in, or resample to a longer period"
        )


def _is_partial(edge: np.datetime64, step: Step, edge_name: str, period: Step, anchor: int | None) -> bool:
    """Whether a sample one step beyond the edge of the data would fall in the edge's own period."""
    direction = np.array([-1 if edge_name == "starts" else 1])
    beyond = calendar.advance(edge, step, direction, anchor)
    return bool(calendar.period_number(beyond, period)[0] == calendar.period_number(np.array([edge]), period)[0])


def _whole_count(number: np.int64, period: Step, step: Step) -> int:
    """How many samples at ``step`` a whole period holds."""
    if period.unit == step.unit == "mo":
        return period.count // step.count
    start, end = calendar.period_start(np.array([number, number + 1]), period)
    if step.hours:
        first, last = start.astype("M8[D]"), end.astype("M8[D]")
        days = np.busday_count(first, last) if step.unit == "b" else (last - first).astype(np.int64)
        return int(days) * len(step.hours)
    return round((end - start).astype(np.int64) / step.microseconds)
