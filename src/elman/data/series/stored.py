"""Many series in a file: of more values than memory holds, each series read when it is looked at."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.data.mapped import Columns, Mapped
from elman.data.series import calendar
from elman.data.series.calendar import Step
from elman.data.series.panel import Panel
from elman.data.series.series import Series
from elman.errors import DataError

NO_ANCHOR = -1  # where months are not counted by their days


@dataclass(frozen=True, eq=False)
class Places:
    """Where each of S series is in the file: its ``lengths``, and on which date it ``starts``, ``anchors`` with it.

    The file holds the values of all, one series after the other, then these three arrays.
    """

    lengths: NDArray[np.int64]
    starts: NDArray[np.int64]
    anchors: NDArray[np.int64]

    @classmethod
    def read(cls, path: Path, values: int, series: int) -> Places:
        """Read what :meth:`write` wrote behind so many ``values``."""
        tail = Mapped(path, 3 * series, "<i8", 8 * values)[:]
        return cls(*tail.reshape(3, series))

    def write(self, file: Any) -> None:
        """Write the arrays at the end of ``file``."""
        for array in (self.lengths, self.starts, self.anchors):
            file.write(np.asarray(array, dtype="<i8").tobytes())


class StoredSeries(Sequence[Series]):
    """The series in a file, each made when it is asked for."""

    def __init__(self, path: Path, facts: Mapping[str, Any]):
        self.path = path
        self.facts = facts
        self.values = Mapped(path, facts["count"])
        whole = Places.read(path, facts["count"], len(facts["names"]))
        if whole.lengths.sum() != facts["count"]:
            raise DataError(f"{path}: the lengths of its series are not those of its values; restore it")
        kept = facts.get("kept", range(len(facts["names"])))
        self.names: tuple[str, ...] = tuple(facts["names"][i] for i in kept)
        self.places = Places(*(array[list(kept)] for array in (whole.lengths, whole.starts, whole.anchors)))
        self.offsets: NDArray[np.int64] = (np.cumsum(whole.lengths) - whole.lengths)[list(kept)]
        step = facts["step"]
        self.step: Step | None = Step(step[0], step[1], tuple(step[2])) if step else None

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, number: Any) -> Any:
        """Series ``number``."""
        places, facts = self.places, self.facts
        length, first = int(places.lengths[number]), int(self.offsets[number])
        times = None
        if self.step is not None:
            start = np.int64(places.starts[number]).astype("M8[us]")
            anchor = int(places.anchors[number])
            times = calendar.advance(start, self.step, np.arange(length), None if anchor == NO_ANCHOR else anchor)
        values = self.values[first : first + length][:, None]
        return Series(values, (self.names[number],), times, self.step, facts["source"], (), facts["zone"])


class StoredPanel(Panel):
    """A panel whose values stay in a file; made by :func:`elman.data.series.folders.panel_of_files`."""

    series: StoredSeries  # type: ignore[assignment]
    folder: Any

    def __init__(self, path: Path, facts: Mapping[str, Any], folder: Any = None):
        set_once = object.__setattr__
        set_once(self, "series", StoredSeries(Path(path), facts))
        set_once(self, "source", facts["source"])
        set_once(self, "notes", tuple(facts["notes"]))
        set_once(self, "folder", folder)  # a temporary one, which goes with the panel

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What the series are called."""
        return self.series.names

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """How many values each series has, (S,)."""
        return self.series.places.lengths

    @property
    def step(self) -> Step | None:
        """The step of the series, where they have dates."""
        return self.series.step

    @cached_property
    def values(self) -> Mapped:  # type: ignore[override]
        """The values of all series, one after the other, in the file."""
        return self.series.values

    def columns(self) -> Columns:
        """The values of each series, (N,), read when they are looked at."""
        return Columns(self.values, self.lengths, self.series.offsets)

    def taken(self, chosen: Sequence[int]) -> Panel:
        """The series of these indices, in the same file."""
        kept = np.arange(len(self.series.facts["names"]))[self.series.facts.get("kept", slice(None))][list(chosen)]
        return StoredPanel(self.series.path, {**self.series.facts, "kept": kept.tolist()}, self.folder)

    def facts(self) -> dict[str, Any]:
        """What a run keeps beside the file."""
        return dict(self.series.facts)

    def link(self, path: Path) -> None:
        """Put the file at ``path`` too."""
        try:
            os.link(self.series.path, path)
        except OSError:  # on another disk, or where there are no links
            shutil.copyfile(self.series.path, path)
