"""The lines of metrics.jsonl: one finished epoch each."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError

from elman.errors import RunError
from elman.options import worded


class EpochRow(BaseModel):
    """What a line must hold, beside whatever else it holds; :class:`~elman.training.History` says what each is."""

    model_config: ClassVar[ConfigDict] = ConfigDict(strict=True, allow_inf_nan=False)

    epoch: int
    train_loss: float
    validation_loss: float | None
    lr: float
    grad_norm: float
    clipped: float
    seconds: float


def read_row(line: bytes, number: int) -> dict[str, Any]:
    """Read the ``number``th line (from 1) of metrics.jsonl; :class:`RunError` where it is not that epoch's row.

    >>> read_row(b"5", 1)
    Traceback (most recent call last):
    elman.errors.RunError: line 1: want an object, got 5
    """
    try:
        row = json.loads(line)
        if not isinstance(row, dict):
            raise RunError(f"line {number}: want an object, got {line[:40].decode()}")
        EpochRow.model_validate(row)
    except ValidationError as error:
        raise RunError(f"line {number}: {worded(error, EpochRow)}") from error
    except (ValueError, RecursionError) as error:
        raise RunError(f"line {number}: {error}") from error
    if row["epoch"] != number:
        raise RunError(f"line {number}: is of epoch {row['epoch']}")
    return row
