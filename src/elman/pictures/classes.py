"""The picture of a classification: which classes are taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elman.pictures.figures import save, short


def draw_confusion(path: str | Path, counts: NDArray[np.int64], classes: Sequence[str], title: str) -> Path:
    """Draw a confusion matrix, ``counts`` (K, K).

    How many of each true class (row) were taken for each; the shade is a fraction of the row.
    """
    from matplotlib.figure import Figure

    size = len(classes)
    inches = 2.4 + 0.42 * min(size, 40)
    figure = Figure(figsize=(inches + 0.8, inches), layout="constrained", dpi=120)
    axis = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(counts) if size <= 40 else ():
        shade = "white" if shares[row, column] > 0.5 else "#1f2937"
        axis.text(column, row, counts[row, column], ha="center", va="center", color=shade, fontsize=7)
    names = [short(name, 24) for name in classes]
    axis.set_xticks(range(size), names, rotation=90, parse_math=False)
    axis.set_yticks(range(size), names, parse_math=False)
    axis.set_xlabel("predicted")
    axis.set_ylabel("true")
    axis.set_title(short(title, 100), parse_math=False, wrap=True)
    return save(figure, path)
