"""Pictures of a run, by matplotlib, drawn from its numbers. PNG or SVG, as the file's name ends."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.errors import ElmanError
from elman.training import write_atomically

Array = NDArray[np.float64]
KINDS = (".png", ".svg")
TRUTH, PREDICTION, CONTINUED = "#1f2937", "#d9480f", "#1971c2"


def picture_path(path: str | Path) -> Path:
    """``path`` if its ending is one that can be drawn. Raises :class:`ElmanError` otherwise.

    >>> picture_path("loss.gif")
    Traceback (most recent call last):
    elman.errors.ElmanError: loss.gif: pictures are .png or .svg; name it so
    """
    if Path(path).suffix.lower() not in KINDS:
        raise ElmanError(f"{path}: pictures are {' or '.join(KINDS)}; name it so")
    return Path(path)


def draw_predictions(
    path: str | Path,
    truth: Array,
    prediction: Array,
    names: Sequence[str],
    where: NDArray[Any],
    title: str,
    continuation: tuple[Array, NDArray[Any]] | None = None,
) -> Path:
    """Draw ``prediction`` (n, C) over ``truth`` (n, C) at ``where`` (n,), one panel a column.

    ``continuation`` is a forecast beyond the end, (steps, C), and where its steps lie.
    """
    figure, axes = _figure(len(names))
    marker = _marker(len(where))
    for column, axis in enumerate(axes):
        axis.plot(where, truth[:, column], marker, color=TRUTH, linewidth=1.6, label="truth")
        axis.plot(where, prediction[:, column], marker, color=PREDICTION, linewidth=1.2, label="prediction")
        if continuation is not None:
            values, at = continuation
            axis.plot(
                at, values[:, column], _marker(len(at)), color=CONTINUED, linewidth=1.4, label="forecast, fed back"
            )
        axis.set_ylabel(_short(names[column], 40), parse_math=False)
        axis.grid(alpha=0.25)
    axes[0].set_title(_short(title, 100), parse_math=False)
    axes[0].legend(frameon=False, ncols=3, loc="upper left", bbox_to_anchor=(0, 1.0))
    axes[0].margins(y=0.18)
    _label_steps(axes[-1], np.issubdtype(where.dtype, np.datetime64))
    return _save(figure, path)


def draw_confusion(path: str | Path, counts: NDArray[np.int64], classes: Sequence[str], title: str) -> Path:
    """Draw how many of each true class (row) of ``counts`` (K, K) were taken for each; the shade is a row's share."""
    from matplotlib.figure import Figure

    size = len(classes)
    inches = 2.4 + 0.42 * min(size, 40)
    figure = Figure(figsize=(inches + 0.8, inches), layout="constrained", dpi=120)
    axis = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(counts) if size <= 40 else ():
        shade = "white" if shares[row, column] > 0.5 else TRUTH
        axis.text(column, row, counts[row, column], ha="center", va="center", color=shade, fontsize=7)
    names = [_short(name, 24) for name in classes]
    axis.set_xticks(range(size), names, rotation=90, parse_math=False)
    axis.set_yticks(range(size), names, parse_math=False)
    axis.set_xlabel("predicted")
    axis.set_ylabel("true")
    axis.set_title(_short(title, 100), parse_math=False, wrap=True)
    return _save(figure, path)


SCALED_ERROR = "scaled values, mean squared error"


def draw_losses(path: str | Path, rows: Sequence[Mapping[str, Any]], title: str, loss: str = SCALED_ERROR) -> Path:
    """Draw the ``loss`` of each epoch, training and validation, on a logarithmic scale."""
    figure, (axis,) = _figure(1)
    epochs, marker = [row["epoch"] for row in rows], _marker(len(rows))
    axis.plot(epochs, [row["train_loss"] for row in rows], marker, color=TRUTH, label="training")
    validation = [row["validation_loss"] for row in rows]
    if any(loss is not None for loss in validation):
        axis.plot(epochs, validation, marker, color=PREDICTION, label="validation")
    axis.set_yscale("log")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set_xlabel("epoch")
    axis.set_ylabel(f"loss ({loss})")
    axis.set_title(_short(title, 100), parse_math=False)
    axis.grid(alpha=0.25, which="both")
    axis.legend(frameon=False)
    return _save(figure, path)


def _marker(points: int) -> str:
    """A line alone does not show one point; of many, markers hide the line."""
    return "-" if points > 30 else ".-"


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."


def _label_steps(axis: Any, dated: bool) -> None:
    if dated:
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        locator = AutoDateLocator()
        axis.xaxis.set_major_locator(locator)
        axis.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    else:
        axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set_xlabel("date" if dated else "step")


def _figure(panels: int) -> tuple[Any, Any]:
    # A figure of its own, never pyplot's: no window, no state shared with the caller's own pictures.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.6 + 2.6 * panels), layout="constrained", dpi=120)
    return figure, figure.subplots(panels, 1, squeeze=False, sharex=True)[:, 0]


def _save(figure: Any, path: str | Path) -> Path:
    path = picture_path(path)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix[1:].lower())
    write_atomically(path, buffer.getvalue())
    return path
