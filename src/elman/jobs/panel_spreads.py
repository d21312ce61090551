"""How far the truth may lie from forecasts of many series: as errors of the validation part say, or the network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from elman.data.mapped import Columns
from elman.jobs.paths import drawn
from elman.metrics import Bounds, Calibration, sides
from elman.tasks.panel import PanelTask
from elman.tasks.panel_windows import Part

Array = NDArray[np.float64]


def calibrated(
    task: PanelTask, part: Part, forecast: Array, levels: Sequence[float], factors: Array
) -> dict[float, Bounds]:
    """The bounds (n, steps) of intervals around the ``forecast`` of ``part``, by level.

    The spread around it is ``factors`` (n, steps) as wide as without effects.
    """
    errors, offsets = past_errors(task, levels)
    spread, own = _spread(task, part, forecast, levels)
    found = Calibration.of(errors, levels, offsets).bounds(forecast[..., None], (spread * factors)[..., None], own)
    return {level: (low[..., 0], high[..., 0]) for level, (low, high) in found.items()}


def past_errors(task: PanelTask, levels: Sequence[float] = ()) -> tuple[Array, Array | None]:
    """The errors (n, K, 1) of forecasts of the validation part, in units of their spread, and its offsets.

    Of the training part, where there is no other.
    """
    task = task.going_on(task.whole)
    part = task.validation if len(task.validation) else task.train
    made = task.predict(part, "training")
    spread, offsets = _spread(task, part, made, levels)
    return ((task.truth(part) - made) / spread)[..., None], offsets


def _spread(task: PanelTask, part: Part, mean: Array, levels: Sequence[float]) -> tuple[Array, Array | None]:
    """The spread (n, K or 1) around forecasts ``mean`` of ``part``, and the offsets (levels, 2, n, K, 1)."""
    if task.config.likelihood == "none":
        return (task.units[0] * task.scale)[part.series, None], None
    spread, quantiles = task.spreads(part, mean, sides(levels))
    return spread, quantiles.reshape(-1, 2, *mean.shape, 1)


def paths_of(task: PanelTask, intervals: dict[float, Bounds], count: int, seed: int) -> Array:
    """Paths (S, count, steps) that S series may take, drawn from the ``intervals`` (S, steps) around forecasts."""
    errors, _ = past_errors(task)
    random = np.random.default_rng(seed)
    series = range(len(next(iter(intervals.values()))[0]))
    around = ({level: (low[s, :, None], high[s, :, None]) for level, (low, high) in intervals.items()} for s in series)
    return np.stack([drawn(errors, bounds, count, random)[..., 0] for bounds in around])


def in_order(columns: Columns, numbers: NDArray[np.int64], count: int) -> Columns:
    """``columns`` (S,), each at its number among ``count`` series; the others have no values."""
    if np.array_equal(numbers, np.arange(count)):
        return columns
    own = dict(zip(numbers.tolist(), range(len(numbers)), strict=True))
    rows = [np.asarray(columns[own[i]]) if i in own else np.empty(0) for i in range(count)]
    return Columns(np.concatenate(rows), np.array([len(row) for row in rows]))
