"""A text whose characters are coloured by a unit of the network that read it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from elman.errors import ShapeError
from elman.pictures.figures import numbers, save, short

COLUMNS, LINE, CHARACTER = 72, 0.26, 0.115  # characters a line; inches
INVISIBLE = {" ": "\u00b7", "\n": "\u21b5", "\t": "\u21e5"}


def draw_text(
    path: str | Path,
    tokens: Sequence[str],
    values: Any,
    title: str,
    label: str,
    bounds: tuple[float, float] | None = None,
) -> Path:
    """Draw ``tokens`` (characters or words), each on the colour of its value.

    ``values`` are (T,).

    The colours span ``bounds``, or the largest of the values either way; ``label`` says what the values are. A line
    ends after 72 characters, and where the text has one end. Raises :class:`ShapeError` for another number of values.
    """
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    shown = numbers(values)
    if shown.shape != (len(tokens),):
        raise ShapeError(f"values: got {shown.shape}, want one a token: ({len(tokens)},)")
    largest = float(np.abs(shown).max(initial=0.0)) or 1.0
    tokens = [short(token, COLUMNS) for token in tokens]
    low, high = bounds or (-largest, largest)
    scale = ScalarMappable(Normalize(low, high), colormaps["RdBu_r" if low < 0 else "viridis"])
    places, lines = _laid_out(tokens)
    lines = max(lines, 3)
    drawn = Figure(figsize=(1.6 + COLUMNS * CHARACTER, 0.9 + LINE * lines), layout="constrained", dpi=120)
    axis = drawn.subplots()
    axis.set(xlim=(0, COLUMNS), ylim=(lines, 0))
    axis.set_axis_off()
    for token, colour, position in zip(tokens, scale.to_rgba(shown), places, strict=True):
        _draw_token(axis, token, colour, position)
    axis.set_title(short(title, 90), parse_math=False, loc="left")
    drawn.colorbar(scale, ax=axis, label=label, pad=0.01, aspect=max(10, 4 * lines))
    return save(drawn, path)


def _draw_token(axis: Any, token: str, colour: Any, position: tuple[int, int]) -> None:
    from matplotlib.patches import Rectangle

    line, column = position
    axis.add_patch(Rectangle((column, line + 0.05), len(token), 0.9, color=colour, linewidth=0))
    dark = np.dot(colour[:3], (0.299, 0.587, 0.114)) < 0.5
    axis.text(
        column + len(token) / 2, line + 0.52, "".join(INVISIBLE.get(c, c) for c in token), parse_math=False,
        color="white" if dark else "#1f2937", fontsize=9, family="monospace", ha="center", va="center",
    )  # fmt: skip


def _laid_out(tokens: Sequence[str]) -> tuple[list[tuple[int, int]], int]:
    """The line and column at which each token stands, and how many lines there are."""
    places, line, column = [], 0, 0
    gap = int(any(len(token) > 1 for token in tokens))  # between words
    for token in tokens:
        if column and column + len(token) > COLUMNS:
            line, column = line + 1, 0
        places.append((line, column))
        column += len(token) + gap
        if token.endswith("\n"):
            line, column = line + 1, 0
    return places, max((line for line, _ in places), default=0) + 1
