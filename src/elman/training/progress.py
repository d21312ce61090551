"""Saying how training goes: a bar on a terminal, a few plain lines elsewhere, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, TextIO


class Progress:
    """Reports the epochs of a training on ``stream`` (standard error unless told).

    A context: :meth:`start`, then :meth:`epoch` with each row of the history, :meth:`say` for the rest.
    Where ``stream`` is no terminal it writes the first and last epoch, each tenth of them, and one after
    every ``seconds`` of silence. ``silent`` writes nothing at all.

    >>> with Progress(stream=sys.stdout) as progress:
    ...     progress.start(epochs=1, done=0)
    ...     progress.epoch({"epoch": 1, "train_loss": 0.5, "validation_loss": None, "lr": 0.01})
    epoch 1/1  train 0.5  lr 0.01
    """

    def __init__(self, silent: bool = False, stream: TextIO | None = None, seconds: float = 30.0):
        self._silent = silent
        self._stream = stream
        self._seconds = seconds
        self._epochs = 0
        self._max_time = self._spent = 0.0
        self._unsaid: str | None = None
        self._spoke = -float("inf")
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self, epochs: int, done: int, max_time: float = 0.0, spent: float = 0.0) -> None:
        """Begin to report a training.

        Of ``epochs`` epochs, the first ``done`` of them behind us; or of ``max_time`` seconds, if any.
        """
        self._epochs, self._max_time, self._spent = epochs, max_time, spent
        if not self._silent and self._out().isatty():
            self._bar = _bar(self._out(), "second" if max_time else "epoch")
            total, completed = (round(max_time), round(spent)) if max_time else (epochs, done)
            self._task = self._bar.add_task("training", total=total, completed=completed, text="")
            self._bar.start()

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Report a finished epoch: its number, losses and learning rate."""
        if self._silent:
            return
        text = _losses(row)
        if self._max_time:
            self._spent += row["seconds"]
            text += f"  {self._spent:.0f} of {self._max_time:g} s"
        if self._bar is not None:
            completed = round(self._spent) if self._max_time else row["epoch"]
            self._bar.update(self._task, completed=completed, text=text)
            return
        of = "" if self._max_time else f"/{self._epochs}"
        self._unsaid = f"epoch {row['epoch']}{of}  {text}"
        if self._due(row["epoch"]):
            self.say(self._unsaid)
            self._unsaid = None

    def say(self, text: str) -> None:
        """Write a line, above the bar where there is one."""
        if self._silent:
            return
        self._spoke = time.monotonic()
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=self._out(), flush=True)

    def close(self) -> None:
        """End the report; the last epoch is said if it was not."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        if self._unsaid is not None:
            self.say(self._unsaid)
            self._unsaid = None

    def _out(self) -> TextIO:
        return self._stream or sys.stderr

    def _due(self, epoch: int) -> bool:
        tenth = max(1, self._epochs // 10)
        quiet = time.monotonic() - self._spoke
        return epoch % tenth == 0 or epoch == self._epochs or quiet >= self._seconds


def _losses(row: Mapping[str, Any]) -> str:
    words = [f"train {row['train_loss']:.4g}"]
    if row["validation_loss"] is not None:
        words.append(f"validation {row['validation_loss']:.4g}")
    return "  ".join([*words, f"lr {row['lr']:.2g}"])


def _bar(stream: TextIO, unit: str) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn(unit),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("{task.fields[text]}", markup=False),
        TimeRemainingColumn(),
    )
    return Bar(*columns, console=Console(file=stream), refresh_per_second=4)
