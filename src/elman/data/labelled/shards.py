"""Labelled sequences in many files: read a piece at a time into one file, from which each is read when it is needed."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from elman.choices.reading import MEMORY
from elman.data.labelled.labelled import Labelled
from elman.data.labelled.parts import Parted
from elman.data.labelled.stored import Places, StoredSequences, bytes_of
from elman.data.mapped import Mapped, written_once
from elman.data.tables import PATTERN, first_line
from elman.errors import DataError

ENDINGS = (".parquet", ".jsonl", ".csv", ".tsv")
A_BYTE = 16  # bytes that a byte of a Parquet file takes while it is read
Read = Callable[[Any, str], Labelled]  # what makes labelled sequences of a path or a dataframe, and where it is from


def shards_of(source: Any, memory: int | None) -> list[str]:
    """The files that ``source`` is read from piece by piece; none where it is read at once.

    That is a folder of tables (one with .txt files is a folder of classes), or a pattern of them, and with ``memory`` a
    single Parquet file too.
    """
    if not isinstance(source, str | os.PathLike):
        return []
    name = os.fspath(source)
    if os.path.isdir(name):
        if any(path.suffix.lower() == ".txt" for path in Path(name).iterdir()):
            return []
        return sorted(str(path) for path in Path(name).rglob("*") if path.suffix.lower() in ENDINGS)
    if any(sign in name for sign in PATTERN) and not os.path.exists(name):
        return sorted(path for path in glob.glob(name, recursive=True) if path.lower().endswith(ENDINGS))
    return [name] if memory is not None and name.lower().endswith(ENDINGS[0]) and os.path.exists(name) else []


def read_shards(source: str, files: Sequence[str], memory: int | None, read: Read, beside: Path | None) -> Labelled:
    """Read ``files`` by ``read``, about ``memory`` MiB at a time, into a temporary folder in ``beside``.

    Raises :class:`DataError` for files whose sequences are not of one kind.
    """
    size = (memory or MEMORY) << 20
    path, found, folder = written_once(source, beside, lambda path: _write(path, source, files, size, read))
    sequences = StoredSequences.of(path, found["stops"], found["channels"], folder)
    return Labelled(sequences, found["labels"], source, Places.of(found["rows"]), found["notes"])


def _write(path: Path, source: str, files: Sequence[str], memory: int, read: Read) -> dict[str, Any]:
    labels: list[str] = []
    same: dict[str, str] = {}  # a label is kept once
    stops: list[np.ndarray[Any, Any]] = []
    rows: list[tuple[str, int, int]] = []
    notes: dict[str, None] = {f"read {len(files)} file(s) piece by piece": None}
    end, first = 0, None
    with open(path, "xb") as out:
        for file, row, piece in _pieces(files, memory, read):
            first = first or piece
            if (piece.is_text, piece.channels) != (first.is_text, first.channels):
                raise DataError(f"{file}: holds {piece.kind}, and {first.source} {first.kind}; give like to like")
            contents = [bytes_of(sequence) for sequence in piece.sequences]
            out.writelines(contents)
            stops.append(end + np.cumsum([len(content) for content in contents], dtype=np.int64))
            end = int(stops[-1][-1])
            labels += [same.setdefault(label, label) for label in piece.labels]
            rows.append((file, row, len(piece)))
            notes |= dict.fromkeys(piece.notes)
        out.flush()
        os.fsync(out.fileno())
    if first is None:
        raise DataError(f"{source}: its files have no rows")
    return {
        "stops": np.concatenate(stops),
        "channels": first.channels,
        "labels": labels,
        "rows": rows,
        "notes": tuple(notes),
    }


def _pieces(files: Sequence[str], memory: int, read: Read) -> Iterator[tuple[str, int, Labelled]]:
    """Each piece: its file, its first row in it, and its sequences."""
    import polars as pl

    for file in files:
        if not file.lower().endswith(ENDINGS[0]):
            yield file, 0, read(file, file)
            continue
        try:
            scan = pl.scan_parquet(file, hive_partitioning=True)
            count = int(scan.select(pl.len()).collect().item())
            size = max(1, memory * count // max(1, A_BYTE * os.path.getsize(file)))
            for start in range(0, count, size):
                yield file, start, read(scan.slice(start, size).collect(), file)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise DataError(f"{file}: is no Parquet file that can be read: {first_line(error)}") from error


def kept(parts: Parted, path: Path) -> None:
    """Write stored sequences to ``path``: their bytes, then where each ends, its class, and its part."""
    sequences, labels = parts.data.sequences, parts.data.labels
    assert isinstance(sequences, StoredSequences)
    number = {name: i for i, name in enumerate(parts.data.classes)}
    part = np.zeros(len(labels), dtype="<i8")
    part[parts.validation], part[parts.test] = 1, 2
    with open(path, "xb") as out:
        for sequence in sequences:
            out.write(bytes_of(sequence))
        out.write(np.cumsum(sequences.sizes).astype("<i8").tobytes())
        out.write(np.array([number[label] for label in labels], dtype="<i8").tobytes())
        out.write(part.tobytes())
        out.flush()
        os.fsync(out.fileno())


def facts_of(labelled: Labelled) -> dict[str, Any]:
    """What else is known of stored sequences, as JSON can hold it."""
    sequences = labelled.sequences
    assert isinstance(sequences, StoredSequences)
    return {
        "source": labelled.source,
        "classes": list(labelled.classes),
        "notes": list(labelled.notes),
        "count": len(labelled),
        "bytes": int(sequences.sizes.sum()),
        "channels": sequences.channels,
    }


def opened(path: Path, facts: Mapping[str, Any]) -> Parted:
    """Read what :func:`kept` wrote. Raises :class:`DataError` where the two do not fit."""
    stops, labels, part = Mapped(path, 3 * facts["count"], "<i8", facts["bytes"])[:].reshape(3, -1)
    if not len(stops) or stops[-1] != facts["bytes"]:
        raise DataError(f"{path}: its sequences do not end where they should; restore it")
    classes, source = facts["classes"], facts["source"]
    sequences = StoredSequences.of(path, stops, facts["channels"])
    places = Places.of([(source, 0, len(stops))])
    labelled = Labelled(sequences, [classes[i] for i in labels.tolist()], source, places, facts["notes"])
    return Parted(labelled, *(np.flatnonzero(part == number) for number in range(3)))
