"""Windows of a series as views, and their split into training, validation and test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from elman.data.split import PARTS, percentages
from elman.errors import DataError
from elman.shapes import expect

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Split:
    """Which windows are for training, validation and test.

    Ranges of window numbers, and ``last_training_value``: one past the last training target.

    Window w reads values w to w + context - 1 and its targets are the ``horizon`` values after those.
    A scaler may see ``values[:last_training_value]`` and nothing later.
    """

    train: range
    validation: range
    test: range
    last_training_value: int


def split_windows(length: int, context: int, horizon: int, split: Sequence[float] = (70, 10, 20)) -> Split:
    """Split the windows of a series of ``length`` values by percentages of its values.

    The values are cut at floor(length * percent / 100), cumulated, whatever the context and the horizon. A window
    belongs to the part that holds all its targets: contexts may reach back over a cut, targets never lie on both sides.
    A validation part shorter than the horizon has no windows. Raises DataError for a series too short, percentages
    that do not sum to 100, and a training or test part that was asked for and holds no window.

    >>> split_windows(1000, context=50, horizon=1, split=(80, 0, 20))
    Split(train=range(0, 750), validation=range(750, 750), test=range(750, 950), last_training_value=800)
    """
    window_count(length, context, horizon)
    cuts = [0, *part_ends(length, split)]
    ranges = []
    for part, percent in enumerate(percentages(split)):
        first = max(cuts[part] - context, 0)
        windows = range(first, max(first, cuts[part + 1] - horizon - context + 1))
        if percent > 0 and not windows and PARTS[part] != "validation":
            raise DataError(
                f"no window is left for {PARTS[part]}: {float(percent):g} % of {length} values are "
                f"{cuts[part + 1] - cuts[part]} (context {context}, horizon {horizon}); give more values, "
                "or another split, context or horizon"
            )
        ranges.append(windows)
    train, validation, test = ranges
    return Split(train, validation, test, last_training_value=cuts[1])


def part_ends(length: int, split: Sequence[float]) -> tuple[int, int, int]:
    """Return where the training, validation and test parts of a series end.

    ``length`` is the number of values; each end is one past the last.

    >>> part_ends(144, (70, 10, 20))
    (100, 115, 144)
    """
    training, validation, _ = percentages(split)
    return math.floor(length * training / 100), math.floor(length * (training + validation) / 100), length


def window_count(length: int, context: int, horizon: int) -> int:
    """How many windows a series of ``length`` values has. Raises DataError when it has none.

    >>> window_count(10, context=4, horizon=2)
    5
    """
    if context < 1 or horizon < 1:
        raise DataError(f"context {context} and horizon {horizon}: want 1 at least of each")
    if length < context + horizon:
        raise DataError(
            f"a series of {length} values is shorter than context + horizon = {context} + {horizon}; "
            "give more values, or a shorter context or horizon"
        )
    return length - context - horizon + 1


def windows(values: Tensor, context: int, horizon: int, every: bool = False) -> tuple[Tensor, Tensor]:
    """Cut ``values`` (N, C) into all windows.

    Returns views: inputs (n, context, C) and targets (n, horizon, C).

    With ``every``, targets are the next ``horizon`` values after each step of the context,
    (n, context, horizon, C); those of the last step are the targets without ``every``. Both share the
    storage of ``values``: write to neither. Raises ShapeError, and DataError for a series too short.

    >>> import torch
    >>> inputs, targets = windows(torch.arange(5.0)[:, None], context=3, horizon=1)
    >>> inputs[..., 0].tolist(), targets[..., 0].tolist()
    ([[0.0, 1.0, 2.0], [1.0, 2.0, 3.0]], [[3.0], [4.0]])
    """
    sizes = expect(values, "N C", name="values")
    count, columns = window_count(sizes["N"], context, horizon), sizes["C"]
    row, column = values.stride()
    inputs = values.as_strided((count, context, columns), (row, row, column))
    first = values.storage_offset() + row  # the value after the first
    if every:
        targets = values.as_strided((count, context, horizon, columns), (row, row, row, column), first)
    else:
        first += (context - 1) * row
        targets = values.as_strided((count, horizon, columns), (row, row, column), first)
    return inputs, targets
