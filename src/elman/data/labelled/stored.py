"""Sequences in a file: of more bytes than memory holds, each read when it is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.data.mapped import Mapped

Indices = NDArray[np.int64]


def bytes_of(sequence: Any) -> bytes:
    """A text in UTF-8, or numbers (T, C), as they stand in a file."""
    return sequence.encode() if isinstance(sequence, str) else np.asarray(sequence, dtype="<f8").tobytes()


@dataclass(frozen=True, eq=False)
class StoredSequences(Sequence[Any]):
    """Texts (``channels`` 0), or numbers (T, ``channels``), from ``starts`` to ``stops`` (N,), in bytes, of files.

    ``file`` (N,) is the number of each one's file in ``paths``. Whoever holds them keeps the temporary ``folders``.
    """

    paths: tuple[Path, ...]
    file: Indices
    starts: Indices
    stops: Indices
    channels: int
    folders: tuple[Any, ...] = ()

    @classmethod
    def of(cls, path: Path, stops: Indices, channels: int, folder: Any = None) -> StoredSequences:
        """Those that stand one after the other in ``path``, up to ``stops`` (N,)."""
        starts = np.concatenate([np.zeros(1, dtype=np.int64), stops[:-1]])
        return cls((path,), np.zeros(len(stops), dtype=np.int64), starts, stops, channels, (folder,))

    def __len__(self) -> int:
        return len(self.stops)

    def __getitem__(self, number: Any) -> Any:
        """Sequence ``number``, or those of a slice."""
        if isinstance(number, slice):
            return self.chosen(np.arange(len(self))[number])
        start, stop = int(self.starts[number]), int(self.stops[number])
        raw = Mapped(self.paths[self.file[number]], stop, "u1")[start:stop]
        return raw.view("<f8").reshape(-1, self.channels) if self.channels else raw.tobytes().decode()

    @property
    def sizes(self) -> Indices:
        """How many bytes each takes, (N,)."""
        return self.stops - self.starts

    def chosen(self, indices: Sequence[int] | Indices) -> StoredSequences:
        """Those of these indices."""
        taken = np.asarray(indices, dtype=np.int64)
        return StoredSequences(
            self.paths, self.file[taken], self.starts[taken], self.stops[taken], self.channels, self.folders
        )

    def joined(self, other: StoredSequences) -> StoredSequences:
        """These, then those of ``other``."""
        return StoredSequences(
            (*self.paths, *other.paths),
            np.concatenate([self.file, other.file + len(self.paths)]),
            np.concatenate([self.starts, other.starts]),
            np.concatenate([self.stops, other.stops]),
            self.channels,
            (*self.folders, *other.folders),
        )


def chosen_of(sequences: Sequence[Any], indices: Sequence[int] | Indices) -> Sequence[Any]:
    """The members of these indices; in a file they stay there."""
    if isinstance(sequences, StoredSequences | Places):
        return sequences.chosen(indices)
    return tuple(sequences[i] for i in indices)


def joined_of(sequences: Sequence[Any], others: Sequence[Any]) -> Sequence[Any]:
    """Both, one after the other; in files they stay there."""
    for kind in (StoredSequences, Places):
        if isinstance(sequences, kind) and isinstance(others, kind):
            return sequences.joined(others)  # type: ignore[arg-type]
    return (*sequences, *others)


def spread(sequences: StoredSequences, indices: Indices, most: int) -> Indices:
    """Of ``indices`` so many, evenly, that their sequences take about ``most`` bytes."""
    total = int(sequences.sizes[indices].sum())
    if total <= most:
        return indices
    count = max(1, len(indices) * most // total)
    return indices[np.linspace(0, len(indices) - 1, count).round().astype(np.int64)]


@dataclass(frozen=True, eq=False)
class Places(Sequence[str]):
    """Where each of N sequences came from, worded when it is asked for: the number of its file, and its row there."""

    files: tuple[str, ...]
    file: Indices
    row: Indices

    @classmethod
    def of(cls, pieces: Sequence[tuple[str, int, int]]) -> Places:
        """Those of pieces: of each the file, its first row, and how many there are."""
        files = tuple(dict.fromkeys(file for file, _, _ in pieces))
        number = {file: i for i, file in enumerate(files)}
        counts = [count for _, _, count in pieces]
        rows = [np.arange(first, first + count) for _, first, count in pieces]
        return cls(files, np.repeat([number[file] for file, _, _ in pieces], counts), np.concatenate(rows))

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, number: Any) -> Any:
        """The place of sequence ``number``."""
        return f"{self.files[self.file[number]]}: row {self.row[number]} (counted from 0)"

    def chosen(self, indices: Sequence[int] | Indices) -> Places:
        """The places of these sequences."""
        taken = np.asarray(indices, dtype=np.int64)
        return Places(self.files, self.file[taken], self.row[taken])

    def joined(self, other: Places) -> Places:
        """These, then those of ``other``."""
        file = np.concatenate([self.file, other.file + len(self.files)])
        return Places((*self.files, *other.files), file, np.concatenate([self.row, other.row]))
