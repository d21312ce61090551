"""A training's progress written to TensorBoard's event files besides; needs the extra `tensorboard`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from elman.errors import ElmanError
from elman.training.progress import Progress


class TensorBoard(Progress):
    """A :class:`Progress` that also writes each epoch's numbers to ``folder``, for ``tensorboard --logdir``.

    The takes of the same run stand in the same folder; the numbers are those of metrics.jsonl. Raises
    :class:`ElmanError` where the package tensorboard is missing.
    """

    def __init__(self, folder: Path, silent: bool = False):
        super().__init__(silent)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ElmanError("`log`: tensorboard is not installed: pip install 'elman[tensorboard]'") from error
        self._make = SummaryWriter
        self._folder = folder
        self._writer: Any = None

    def start(self, epochs: int, done: int, max_time: float = 0.0, spent: float = 0.0) -> None:
        """Begin to report a training; what was written of epochs after ``done`` is hidden."""
        super().start(epochs, done, max_time, spent)
        self._writer = self._make(str(self._folder), purge_step=done + 1)

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Report a finished epoch, and write its numbers."""
        super().epoch(row)
        for name, value in row.items():
            if isinstance(value, int | float) and name != "epoch":
                self._writer.add_scalar(name, value, row["epoch"])

    def close(self) -> None:
        """End the report."""
        super().close()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
