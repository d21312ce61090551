"""What all pictures share: their files, their figure, and how it is written. PNG or SVG, as the file's name ends."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from elman.errors import ElmanError
from elman.training import write_atomically

KINDS = (".png", ".svg")


def picture_path(path: str | Path) -> Path:
    """``path`` if its ending is one that can be drawn. Raises :class:`ElmanError` otherwise.

    >>> picture_path("loss.gif")
    Traceback (most recent call last):
    elman.errors.ElmanError: loss.gif: pictures are .png or .svg; name it so
    """
    if Path(path).suffix.lower() not in KINDS:
        raise ElmanError(f"{path}: pictures are {' or '.join(KINDS)}; name it so")
    return Path(path)


def numbers(values: Any) -> NDArray[np.float64]:
    """A tensor, wherever it is, or anything like one, as an array to draw."""
    return torch.as_tensor(values, dtype=torch.float64).detach().cpu().numpy()


def short(text: str, length: int) -> str:
    """``text`` cut to ``length`` characters."""
    return text if len(text) <= length else text[: length - 3] + "..."


def figure(panels: int, height: float = 2.6, sharex: bool = True) -> tuple[Any, Any]:
    """A figure of ``panels`` under each other, each ``height`` inches high, and their axes."""
    # A figure of its own, never pyplot's: no window, no state shared with the caller's own pictures.
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(9, 1.6 + height * panels), layout="constrained", dpi=120)
    return drawn, drawn.subplots(panels, 1, squeeze=False, sharex=sharex)[:, 0]


def grid(rows: int, columns: int) -> tuple[Any, Any]:
    """A figure of ``rows`` times ``columns`` panels on the same axes, and their axes (rows * columns,)."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(9, 1.0 + 3.2 * rows), layout="constrained", dpi=120)
    return drawn, drawn.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()


def save(drawn: Any, path: str | Path) -> Path:
    """Write a figure, whole or not at all; raises :class:`ElmanError` for an ending that cannot be drawn."""
    path = picture_path(path)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a letter that the font has not is drawn as a box
        drawn.savefig(buffer, format=path.suffix[1:].lower())
    write_atomically(path, buffer.getvalue())
    return path
