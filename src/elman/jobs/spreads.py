"""How far the truth may lie from a forecast of one series: as errors of forecasts before it say, or the network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.choices.forecast import ForecastConfig
from elman.data import Series
from elman.errors import DataError
from elman.metrics import Bounds, liveliness, sides
from elman.tasks.forecast import ForecastTask

Array = NDArray[np.float64]
COUNTS = "negative-binomial"


def spread_of(
    task: ForecastTask, rest: Series, origins: NDArray[np.int64], mean: Array, levels: Sequence[float]
) -> tuple[Array, Array | None]:
    """The spread (n, K, C) around forecasts ``mean`` of a series without effects, and the offsets of ``levels``.

    Without likelihood it is how lively the values before the ``origins`` (n,) are, with no offsets.
    """
    if task.config.likelihood == "none":
        return liveliness(rest.values, origins, task.config.season or 0)[:, None], None
    spread, quantiles = task.spreads(rest, origins, mean, sides(levels))
    return spread, quantiles.reshape(-1, 2, *mean.shape)


def past_errors(
    task: ForecastTask, steps: int, levels: Sequence[float] = (), before: int | None = None
) -> tuple[Array, Array | None]:
    """The errors (n, K, C) of forecasts of ``steps`` within the series, in units of their spread, and its offsets.

    They are of what stands before value ``before``, where that is given.
    """
    values = task.series.values
    scaled, made = task.errors_before(len(values) if before is None else before, steps)
    errors, origins = scaled.cpu().double().numpy(), np.array(made)
    if task.scaler.kind == "differences":
        errors = np.cumsum(errors, axis=1)
    errors = errors * task.scaler.scale
    truth = values[origins[:, None] + np.arange(errors.shape[1])]
    spread, offsets = spread_of(task, task.series, origins, truth - errors, levels)
    return errors / spread, offsets


def bounded(config: ForecastConfig, intervals: dict[float, Bounds]) -> dict[float, Bounds]:
    """The ``intervals``, none of which reaches below 0 where counts are forecast."""
    if config.likelihood != COUNTS:
        return intervals
    return {level: (np.maximum(low, 0.0), np.maximum(high, 0.0)) for level, (low, high) in intervals.items()}


def check_counts(config: ForecastConfig, source: str, columns: Iterable[tuple[str, Any]], covariates: bool) -> None:
    """Raise :class:`DataError` where counts are to be forecast and the named ``columns`` (N,) hold others.

    And where there are ``covariates``, whose effects are taken out first and leave no counts.
    """
    if config.likelihood != COUNTS:
        return
    if covariates:
        raise DataError(
            f"`likelihood={COUNTS}`: reads counts as they are, and `known` and `past` are taken out first; "
            "leave them out, or take student-t or quantiles"
        )
    for name, values in columns:
        none = ~((values >= 0) & (values == np.round(values)))
        if none.any():
            row = int(none.argmax())
            raise DataError(
                f"{source}: `likelihood={COUNTS}` is of counts, and value {row} (counted from 0) of {name} is "
                f"{values[row]:g}; take gaussian, student-t or quantiles"
            )
