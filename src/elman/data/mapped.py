"""Numbers in a file, of which no more is in memory than is looked at.

A file is mapped anew for each look, so that what was read leaves the resident memory with its mapping; the system keeps
of it what there is room for.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from elman.errors import DataError
from elman.ranks import ranks

T = TypeVar("T")
Index = slice | NDArray[np.int64]


@dataclass(frozen=True)
class Mapped:
    """``count`` numbers of the ``kind`` in the file ``path``, from byte ``first`` on.

    Raises :class:`DataError` for a file that is not there, or too small.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "numbers")
    ...     np.arange(10.0).tofile(path)
    ...     numbers = Mapped(path, 10)
    ...     numbers[2:4].tolist(), numbers[np.array([[9, 0]])].tolist()
    ([2.0, 3.0], [[9.0, 0.0]])
    """

    path: Path
    count: int
    kind: str = "<f8"
    first: int = 0

    def __post_init__(self) -> None:
        try:
            size = os.path.getsize(self.path)
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read: {error.strerror}") from error
        if size < self.first + self.count * np.dtype(self.kind).itemsize:
            raise DataError(f"{self.path}: holds {size} bytes, too few for {self.count} numbers; it has changed")

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: Index) -> NDArray[Any]:
        """What stands at ``index``, a slice or numbers of any shape, as a copy."""
        if not self.count:
            return np.empty(0, dtype=self.kind)[index]
        return np.array(np.memmap(self.path, self.kind, "r", self.first, (self.count,))[index])

    def rows(self, firsts: NDArray[np.int64], length: int) -> NDArray[Any]:
        """``length`` numbers from each of ``firsts`` (n,) on, (n, length); what is past the end of the file is 0.

        They are read and not mapped: for many short rows a page fault costs more than a call.
        """
        size = np.dtype(self.kind).itemsize
        places = (self.first + firsts * size).tolist()
        with open(self.path, "rb", buffering=0) as file:
            if hasattr(os, "pread"):
                read, number = os.pread, file.fileno()
                pieces = [read(number, length * size, place) for place in places]
            else:  # Windows
                pieces = [_read(file, length * size, place) for place in places]
        raw = b"".join(piece if len(piece) == length * size else piece.ljust(length * size, b"\0") for piece in pieces)
        return np.frombuffer(bytearray(raw), dtype=self.kind).reshape(len(firsts), length)


def _read(file: Any, count: int, place: int) -> bytes:
    file.seek(place)
    return bytes(file.read(count))


def written_once(source: str, beside: Path | None, write: Callable[[Path], T]) -> tuple[Path, T, Any]:
    """Have rank 0 write a temporary file in ``beside`` (or where the system has such), which all ranks read.

    Returns its path, what ``write`` gave, and what keeps the file, on rank 0: it goes with that. Raises
    :class:`DataError`, naming the ``source``, where there is no room.
    """
    folder: Any = None

    def written() -> tuple[Path, T]:
        nonlocal folder
        try:
            if beside is not None:
                beside.mkdir(parents=True, exist_ok=True)
            folder = tempfile.TemporaryDirectory(prefix=".elman-", suffix=".tmp", dir=beside)
            path = Path(folder.name, "data")
            return path, write(path)
        except OSError as error:
            raise DataError(f"{source}: its copy cannot be written: {error.strerror or error}") from error

    try:
        path, result = ranks().agree(written)
    except BaseException:
        if folder is not None:
            folder.cleanup()
        raise
    return path, result, folder


Flat = NDArray[np.float64] | Mapped


class Columns(Sequence[NDArray[np.float64]]):
    """Arrays that stand one after the other in ``values``, of these ``lengths`` (S,), each made when it is asked for.

    >>> columns = Columns(np.arange(5.0), np.array([3, 2]))
    >>> [column.tolist() for column in columns]
    [[0.0, 1.0, 2.0], [3.0, 4.0]]
    """

    def __init__(self, values: Flat, lengths: NDArray[np.int64], offsets: NDArray[np.int64] | None = None):
        self.values = values
        self.lengths = lengths
        self.offsets: NDArray[np.int64] = np.cumsum(lengths) - lengths if offsets is None else offsets

    def until(self, ends: NDArray[np.int64]) -> Columns:
        """The same columns, each up to its end in ``ends`` (S,)."""
        return Columns(self.values, ends, self.offsets)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, number: Any) -> Any:
        """Column ``number``."""
        return self.last(number, self.lengths[number])

    def stretches(self, chosen: NDArray[np.int64], start: NDArray[np.int64], length: int) -> NDArray[np.float64]:
        """``length`` values from ``start`` (n,) on of each of the columns ``chosen`` (n,), (n, length).

        Before a column begins, its first value. What is past its end is of no use.

        >>> Columns(np.arange(5.0), np.array([3, 2])).stretches(np.array([0, 1]), np.array([1, -1]), 2).tolist()
        [[1.0, 2.0], [3.0, 3.0]]
        """
        inside = np.maximum(start, 0)
        firsts = self.offsets[chosen] + inside
        if isinstance(self.values, Mapped):
            rows = self.values.rows(firsts, length)
        else:
            rows = self.values[np.minimum(firsts[:, None] + np.arange(length), len(self.values) - 1)]
        early = np.flatnonzero(start < 0)
        if early.size:
            rows[early] = np.take_along_axis(rows[early], np.maximum(start[early, None] + np.arange(length), 0), axis=1)
        return rows

    def taken(self, chosen: NDArray[np.int64]) -> Columns:
        """The columns of these indices."""
        return Columns(self.values, self.lengths[chosen], self.offsets[chosen])

    def last(self, number: int, count: int) -> NDArray[np.float64]:
        """The last ``count`` values of column ``number``, or all where it has fewer."""
        end = int(self.offsets[number] + self.lengths[number])
        return self.values[end - min(int(count), int(self.lengths[number])) : end]
