"""Pictures of a run: its predictions over the truth, and its losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.metrics import Bounds
from elman.pictures.figures import figure, save, short

Array = NDArray[np.float64]
TRUTH, PREDICTION, CONTINUED = "#1f2937", "#d9480f", "#1971c2"


def draw_predictions(
    path: str | Path,
    truth: Array,
    prediction: Array,
    names: Sequence[str],
    where: NDArray[Any],
    title: str,
    continuation: tuple[Array, NDArray[Any], Mapping[float, Bounds]] | None = None,
) -> Path:
    """Draw ``prediction`` (n, C) over ``truth`` (n, C) at ``where`` (n,), one panel a column.

    ``continuation`` is a forecast beyond the end, (steps, C), where its steps lie, and the bounds (steps, C) of the
    interval of each level, in per cent.
    """
    drawn, axes = figure(len(names))
    marker = _marker(len(where))
    for column, axis in enumerate(axes):
        axis.plot(where, truth[:, column], marker, color=TRUTH, linewidth=1.6, label="truth")
        axis.plot(where, prediction[:, column], marker, color=PREDICTION, linewidth=1.2, label="prediction")
        if continuation is not None:
            values, at, around = continuation
            draw_bands(axis, at, _of_column(around, column))
            axis.plot(
                at, values[:, column], _marker(len(at)), color=CONTINUED, linewidth=1.4, label="forecast, fed back"
            )
        axis.set_ylabel(short(names[column], 40), parse_math=False)
        axis.grid(alpha=0.25)
    axes[0].set_title(short(title, 100), parse_math=False)
    axes[0].legend(frameon=False, ncols=3, loc="upper left", bbox_to_anchor=(0, 1.0))
    axes[0].margins(y=0.18)
    _label_steps(axes[-1], np.issubdtype(where.dtype, np.datetime64))
    return save(drawn, path)


def draw_bands(axis: Any, where: NDArray[Any], around: Mapping[float, Bounds]) -> None:
    """Shade the intervals of each level between their bounds (n,), the widest first and lightest."""
    for level, (lower, upper) in sorted(around.items(), reverse=True):
        axis.fill_between(where, lower, upper, color=CONTINUED, alpha=0.15, linewidth=0, label=f"{level:g} %")


def _of_column(around: Mapping[float, Bounds], column: int) -> dict[float, Bounds]:
    return {level: (lower[:, column], upper[:, column]) for level, (lower, upper) in around.items()}


def draw_backtest(
    path: str | Path,
    values: Array,
    where: NDArray[Any],
    forecasts: Sequence[tuple[slice, Array, Mapping[float, Bounds]]],
    names: Sequence[str],
    title: str,
) -> Path:
    """Draw forecasts over the ``values`` (n, C) at ``where`` (n,), one panel a column.

    Each of ``forecasts`` has the stretch of the values it forecasts, its own values (K, C) and its intervals by level.
    """
    drawn, axes = figure(len(names))
    for column, axis in enumerate(axes):
        axis.plot(where, values[:, column], color=TRUTH, linewidth=1.4, label="truth")
        for i, (part, made, around) in enumerate(forecasts):
            at = where[part]
            draw_bands(axis, at, _of_column(around, column))
            axis.plot(at, made[:, column], _marker(len(at)), color=PREDICTION, linewidth=1.2, label="forecast")
            if i == 0:
                legend = axis.get_legend_handles_labels()
        axis.set_ylabel(short(names[column], 40), parse_math=False)
        axis.grid(alpha=0.25)
    axes[0].set_title(short(title, 100), parse_math=False)
    axes[0].legend(*legend, frameon=False, ncols=4, loc="upper left")
    axes[0].margins(y=0.18)
    _label_steps(axes[-1], np.issubdtype(where.dtype, np.datetime64))
    return save(drawn, path)


SCALED_ERROR = "scaled values, mean squared error"


def draw_losses(path: str | Path, rows: Sequence[Mapping[str, Any]], title: str, loss: str = SCALED_ERROR) -> Path:
    """Draw the ``loss`` of each epoch, training and validation, on a logarithmic scale."""
    drawn, (axis,) = figure(1)
    epochs, marker = [row["epoch"] for row in rows], _marker(len(rows))
    axis.plot(epochs, [row["train_loss"] for row in rows], marker, color=TRUTH, label="training")
    validation = [row["validation_loss"] for row in rows]
    if any(loss is not None for loss in validation):
        axis.plot(epochs, validation, marker, color=PREDICTION, label="validation")
    axis.set_yscale("log")
    axis.xaxis.get_major_locator().set_params(integer=True)
    if len(rows) == 1:
        axis.set_xlim(0, 2)  # between 0.96 and 1.04 there is no epoch
    axis.set_xlabel("epoch")
    axis.set_ylabel(f"loss ({loss})")
    axis.set_title(short(title, 100), parse_math=False)
    axis.grid(alpha=0.25, which="both")
    axis.legend(frameon=False)
    return save(drawn, path)


def _marker(points: int) -> str:
    """A line alone does not show one point; of many, markers hide the line."""
    return "-" if points > 30 else ".-"


def _label_steps(axis: Any, dated: bool) -> None:
    if dated:
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        locator = AutoDateLocator()
        axis.xaxis.set_major_locator(locator)
        axis.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    else:
        axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set_xlabel("date" if dated else "step")


def draw_panel(
    path: str | Path,
    panels: Sequence[tuple[str, NDArray[Any], Array, Array, Mapping[float, Bounds]]],
    title: str,
) -> Path:
    """Draw a forecast of each of several series, one panel a series.

    Each has its name, where its values (n,) lie, these, the forecast (K,) of the last of them, and the bounds (K,)
    of the interval of each level.
    """
    drawn, axes = figure(len(panels), height=1.8, sharex=False)
    for axis, (name, where, values, forecast, around) in zip(axes, panels, strict=True):
        at = where[-len(forecast) :]
        axis.plot(where, values, _marker(len(where)), color=TRUTH, linewidth=1.0, label="truth")
        draw_bands(axis, at, around)
        axis.plot(at, forecast, _marker(len(at)), color=PREDICTION, linewidth=1.2, label="forecast")
        axis.set_ylabel(short(name, 24), parse_math=False)
        _few_dates(axis, where)
    axes[0].legend(loc="upper left", fontsize="small")
    drawn.suptitle(short(title, 100), parse_math=False)
    return save(drawn, path)


def draw_residuals(
    path: str | Path, residuals: Array, names: Sequence[str], where: NDArray[Any], correlations: Array, title: str
) -> Path:
    """Draw ``residuals`` (n, C) over time and their autocorrelation.

    At ``where`` (n,); the ``correlations`` (lags, C) are from lag 1 on.

    What a good forecast leaves has no pattern: its correlations stay within the grey band, two standard errors of none.
    """
    from matplotlib.figure import Figure

    count = residuals.shape[1]
    drawn = Figure(figsize=(9, 1.6 + 2.2 * count), layout="constrained", dpi=120)
    axes = drawn.subplots(count, 2, squeeze=False, width_ratios=(3, 1))
    chance = 2 / np.sqrt(len(residuals))
    for column, (over_time, by_lag) in enumerate(axes):
        over_time.axhline(0, color=TRUTH, linewidth=0.8)
        over_time.plot(where, residuals[:, column], _marker(len(where)), color=PREDICTION, linewidth=1.0)
        over_time.set_ylabel(short(names[column], 24), parse_math=False)
        _few_dates(over_time, where)
        by_lag.axhspan(-chance, chance, color="#e5e7eb")
        by_lag.bar(np.arange(1, len(correlations) + 1), correlations[:, column], color=PREDICTION, width=0.6)
        by_lag.axhline(0, color=TRUTH, linewidth=0.8)
        by_lag.set_ylim(-1, 1)
        by_lag.set_xlabel("steps apart")
    axes[0, 0].set_title("truth less forecast", fontsize="small")
    axes[0, 1].set_title("correlation", fontsize="small")
    drawn.suptitle(short(title, 100), parse_math=False)
    return save(drawn, path)


def _few_dates(axis: Any, where: NDArray[Any]) -> None:
    """Name a few dates, so that their names stand apart."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    if np.issubdtype(where.dtype, np.datetime64):
        locator = AutoDateLocator(minticks=3, maxticks=7)
        axis.xaxis.set_major_locator(locator)
        axis.xaxis.set_major_formatter(ConciseDateFormatter(locator))
