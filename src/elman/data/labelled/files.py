"""Files, folders and dataframes to sequences with labels."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from elman.data.delimited import decoded
from elman.data.labelled.labelled import Labelled
from elman.data.labelled.shards import read_shards, shards_of
from elman.data.labelled.ts import parse_ts
from elman.data.parsing import Rows, is_empty, is_number, shown
from elman.data.tables import Table, csv_table, frame_table, parquet_table, read_file
from elman.errors import DataError, nearest

TABLES = ".csv, .tsv, .parquet, .jsonl"
KINDS = f"{TABLES}, .ts, .txt"
OF_COLUMNS = ("sequence", "label", "id")
USUAL_NAMES = {  # of columns, where nobody says which
    "sequence": ("text", "sequence", "sentence", "review", "content", "message", "comment"),
    "label": ("label", "class", "category", "target", "sentiment"),
}


@dataclass(frozen=True)
class Columns:
    """Columns of cells by name, and where their rows came from."""

    cells: Mapping[str, Sequence[Any]]
    rows: Rows
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, table: Table) -> Columns:
        """The columns of a table."""
        return cls({name: table.frame[name].to_list() for name in table.frame.columns}, table.rows, table.notes)

    def __getitem__(self, name: str) -> Sequence[Any]:
        if name not in self.cells:
            raise DataError(f"{self.rows.source}: no column {name!r}; {nearest(name, self.cells)}")
        return self.cells[name]


def read_labelled(
    source: Any,
    *,
    sequence: str | Sequence[str] | None = None,
    label: str | None = None,
    id: str | None = None,
    memory: int | None = None,
    beside: Path | None = None,
) -> Labelled:
    """Read sequences with labels.

    - a folder of .txt files: a text a line, the file's name its label
    - a folder of .parquet, .jsonl, .csv or .tsv files, or a pattern of them: read a piece at a time into a temporary
      folder in ``beside``, about ``memory`` MiB in memory; so is a single .parquet file where ``memory`` is said
    - .txt: ``label text`` lines; .ts: the UCR/UEA archive's
    - .csv, .tsv, .parquet, .jsonl or a dataframe: ``sequence`` names the column of texts or of lists (of numbers, or of
      steps that are lists of numbers), ``label`` that of the labels; a column of each that is called as usual, "text"
      and "label" say, need not be named. With ``id`` each row is one step: rows of one id
      are a sequence, and ``sequence`` names one column of numbers a channel.

    Raises DataError naming the file and the row.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "films.csv"
    ...     _ = path.write_text("text,good\\nso so,no\\na joy,yes\\n")
    ...     read_labelled(path, sequence="text", label="good").labels
    ('no', 'yes')
    """
    named = {k: v for k, v in zip(OF_COLUMNS, (sequence, label, id), strict=True) if v}
    if files := shards_of(source, memory):
        if id is not None:
            raise DataError(f"{os.fspath(source)}: `id`: sequences of a step a row are read from one file; name that")
        return read_shards(os.fspath(source), files, memory, partial(_of_piece, named=named), beside)
    if memory is not None:
        raise DataError("`memory`: is of folders and of Parquet files; leave it out")
    if not isinstance(source, str | os.PathLike):
        return _with_missing_noted(_of_columns(Columns.of(frame_table(source)), named))
    path = Path(source)
    if os.path.isdir(path):
        return _of_folder(path, named)
    kind, raw = read_file(path, KINDS)
    if kind in TABLES.split(", "):
        return _with_missing_noted(_of_columns(_columns(kind, raw, str(path)), named))
    _refuse_columns(path, named)
    text = decoded(raw, str(path))
    return _with_missing_noted(parse_ts(text, str(path)) if kind == ".ts" else _of_lines(text, str(path)))


def _of_piece(piece: Any, source: str, named: Mapping[str, Any]) -> Labelled:
    """The sequences of a file, or of a dataframe that is a part of one."""
    if isinstance(piece, str):
        columns = _columns(*read_file(piece, TABLES), piece)
    else:
        columns = Columns.of(frame_table(piece, source))
    return _with_missing_noted(_of_columns(columns, named))


def read_sequences(source: str | os.PathLike[str], *, sequence: str | Sequence[str] | None = None) -> Sequence[Any]:
    """Read sequences without labels, to classify them.

    One text per line of a .txt file, or the columns ``sequence`` of a table.

    A .ts file has its labels and is read with them. Raises DataError naming the file and the row.
    """
    path = Path(source)
    kind, raw = read_file(path, KINDS)
    if kind == ".ts":
        return parse_ts(decoded(raw, str(path)), str(path)).sequences
    if kind == ".txt":
        _refuse_columns(path, {"sequence": sequence} if sequence else {})
        lines = [line.strip() for line in decoded(raw, str(path)).splitlines()]
        return Labelled(*_unlabelled([line for line in lines if line]), str(path)).sequences
    columns = _columns(kind, raw, str(path))
    cells, rows = _cells(columns, _one_column(columns, sequence)), columns.rows
    return Labelled(*_unlabelled(cells), rows.source, _places(rows, range(len(cells)))).sequences


def _unlabelled(cells: Sequence[Any]) -> tuple[Sequence[Any], Sequence[str]]:
    return cells, [""] * len(cells)


def _refuse_columns(path: Path, named: Mapping[str, Any]) -> None:
    if named:
        raise DataError(f"{path}: has no columns, so leave out {', '.join(f'`{name}`' for name in named)}")


def _with_missing_noted(labelled: Labelled) -> Labelled:
    count = 0 if labelled.is_text else sum(int(np.isnan(values).sum()) for values in labelled.sequences)
    note = f"{count} missing value(s): put on the line between their neighbours"
    return replace(labelled, notes=(*labelled.notes, note)) if count else labelled


def _of_folder(folder: Path, named: Mapping[str, Any]) -> Labelled:
    _refuse_columns(folder, named)
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".txt")
    if len(files) < 2:
        raise DataError(f"{folder}: holds {len(files)} .txt file(s); want one a class, named as the class")
    sequences, labels, places = [], [], []
    for path in files:
        members = 0
        for index, line in enumerate(decoded(read_file(path, ".txt")[1], str(path)).split("\n")):
            if line.strip():
                sequences.append(line.strip())
                places.append(f"{path}: row {index + 1}")
                members += 1
        if not members:
            raise DataError(f"{path}: is empty; want a member of the class a line")
        labels += [path.stem] * members
    return Labelled(sequences, labels, str(folder), places)


def _of_lines(text: str, source: str) -> Labelled:
    rows = Rows(source, first=1, hint="counted from 1")
    sequences, labels, places = [], [], []
    for index, line in enumerate(text.split("\n")):
        if line.strip():
            label, *rest = line.split(maxsplit=1)
            if not rest:
                raise rows.error(index, f"holds {shown(line.strip())} alone; want a label, a blank, and a text")
            sequences.append(rest[0].strip())
            labels.append(label)
            places.append(f"{source}: row {index + 1}")
    if not sequences:
        raise DataError(f"{source}: is empty; want lines of a label, a blank, and a text")
    return Labelled(sequences, labels, source, places)


# Tables


def _columns(kind: str, raw: bytes, source: str) -> Columns:
    if kind == ".jsonl":
        return _json_lines(decoded(raw, source), source)
    if kind == ".parquet":
        return Columns.of(parquet_table(raw, source))
    return Columns.of(csv_table(raw, source, "tab" if kind == ".tsv" else None, first_is_header=True))


def _json_lines(text: str, source: str) -> Columns:
    rows = Rows(source, first=1, hint="counted from 1")
    records: list[dict[str, Any]] = []
    for index, line in enumerate(text.rstrip().split("\n")):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = "is empty" if not line.strip() else f"is no JSON: {error}"
            raise rows.error(index, f"{reason}; want an object a line") from error
        if not isinstance(record, dict):
            raise rows.error(index, f"holds {shown(record)}; want an object such as {{'text': ..., 'label': ...}}")
        records.append(record)
    names = {name: None for record in records for name in record}
    return Columns({name: [record.get(name) for record in records] for name in names}, rows)


def _recognised(columns: Columns, named: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """``named``, and the columns that everybody calls so, with what to say of them."""
    own, notes = dict(named), []
    for role, usual in USUAL_NAMES.items():
        fitting = [name for name in columns.cells if name.strip().lower() in usual and name not in named.values()]
        if role not in own and len(fitting) == 1:
            own[role] = fitting[0]
            notes.append(f"the {role} is in column {fitting[0]!r}")
    return own, tuple(notes)


def _of_columns(columns: Columns, named: Mapping[str, Any]) -> Labelled:
    named, notes = _recognised(columns, named)
    columns = replace(columns, notes=columns.notes + notes)
    missing = [name for name in ("sequence", "label") if name not in named]
    if missing:
        flags = " and ".join(f"`{name}`" for name in missing)
        raise DataError(f"{columns.rows.source}: {flags}: name the column; there are {', '.join(columns.cells)}")
    if "id" in named:
        return _of_steps(columns, named)
    cells, rows = _cells(columns, _one_column(columns, named["sequence"])), columns.rows
    labels = [_label(cell, rows, index, named["label"]) for index, cell in enumerate(columns[named["label"]])]
    return Labelled(cells, labels, rows.source, _places(rows, range(len(cells))), columns.notes)


def _places(rows: Rows, indices: Sequence[int]) -> list[str]:
    return [f"{rows.source}: row {index + rows.first} ({rows.hint})" for index in indices]


def _label(cell: Any, rows: Rows, index: int, column: str) -> str:
    if is_empty(cell):
        raise rows.error(index, f"column {column!r} is empty; fill in the label or remove the row")
    return str(int(cell) if isinstance(cell, float) and cell.is_integer() else cell).strip()


def _one_column(columns: Columns, sequence: str | Sequence[str] | None) -> str:
    names = [sequence] if isinstance(sequence, str) else list(sequence or columns.cells)
    if len(names) != 1:
        raise DataError(
            f"{columns.rows.source}: {', '.join(names)}: several columns; name one with `sequence` "
            "(several are channels where `id` says which rows are one sequence)"
        )
    return names[0]


def _cells(columns: Columns, name: str) -> list[Any]:
    """The sequences of a column: texts, or lists, which a file of text spells as JSON does."""
    cells, rows = columns[name], columns.rows
    for index, cell in enumerate(cells):
        if is_empty(cell):
            raise rows.error(index, f"column {name!r} is empty; fill it in or remove the row")
    if not len(cells):
        raise DataError(f"{rows.source}: has no rows")
    if isinstance(cells[0], str) and cells[0].strip().startswith("["):
        return [_json_list(cell, rows, index, name) for index, cell in enumerate(cells)]
    if isinstance(cells[0], int | float):
        raise rows.error(
            0, f"column {name!r} holds {shown(cells[0])}, one number a row; name with `id` whose step each row is"
        )
    return list(cells)


def _json_list(cell: Any, rows: Rows, index: int, name: str) -> Any:
    try:
        values = json.loads(cell)
    except (TypeError, ValueError) as error:
        raise rows.error(index, f"column {name!r} holds {shown(cell)}; want a list such as [1, 2.5, 3]") from error
    if not isinstance(values, list):
        raise rows.error(index, f"column {name!r} holds {shown(cell)}; want a list such as [1, 2.5, 3]")
    return values


def _of_steps(columns: Columns, named: Mapping[str, Any]) -> Labelled:
    """The long format: each row a step, rows of one id a sequence, in their order."""
    names = [named["sequence"]] if isinstance(named["sequence"], str) else list(named["sequence"])
    rows, label = columns.rows, named["label"]
    channels = np.array([[_number(c, rows, i, name) for i, c in enumerate(columns[name])] for name in names]).T
    members: dict[str, list[int]] = {}
    for index, cell in enumerate(columns[named["id"]]):
        members.setdefault(_label(cell, rows, index, named["id"]), []).append(index)
    labels = []
    for key, own in members.items():
        read = [_label(columns[label][index], rows, index, label) for index in own]
        for index, one in zip(own, read, strict=True):
            if one != read[0]:
                raise rows.error(index, f"is labelled {one!r}, and sequence {key!r} {read[0]!r} before; want one label")
        labels.append(read[0])
    firsts = [own[0] for own in members.values()]
    sequences = [channels[own] for own in members.values()]
    return Labelled(sequences, labels, rows.source, _places(rows, firsts), columns.notes)


def _number(cell: Any, rows: Rows, index: int, name: str) -> float:
    if is_empty(cell):
        return float("nan")
    if not is_number(cell):
        raise rows.error(index, f"column {name!r} holds {shown(cell)}, which is not a number")
    return float(cell)
