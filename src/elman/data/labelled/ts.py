"""UCR/UEA ``.ts`` files: a header of @directives, then a sequence a line, ``channel:channel:label``.

The format: Löning et al. 2019, sktime; the archive: Bagnall et al. 2018. A channel is numbers with commas between
them, ``?`` (or ``NaN``) where one is missing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from elman.data.labelled.labelled import Labelled, Numbers
from elman.data.parsing import Rows, is_number, shown
from elman.errors import DataError

MISSING = ("?", "nan")
READ = ("univariate", "dimensions", "dimension", "equallength", "serieslength", "classlabel", "timestamps")
SAID = ("problemname", "missing", "data")  # nothing follows from them


@dataclass
class Header:
    """What the directives say, by name in small letters, and the number of the row after ``@data``."""

    said: dict[str, list[str]] = field(default_factory=dict)
    rows: int = 0
    notes: tuple[str, ...] = ()

    def true(self, name: str) -> bool:
        """Whether a directive is there and says true."""
        return self.said.get(name, [""])[0].lower() == "true"

    def number(self, name: str) -> int | None:
        """The whole number a directive gives, if it is there."""
        value = self.said.get(name, [None])[0]
        return None if value is None else int(value)

    @property
    def channels(self) -> int | None:
        """How many channels there are, where the header says."""
        stated = self.number("dimensions") or self.number("dimension")
        return 1 if stated is None and self.true("univariate") else stated


def parse_ts(text: str, source: str) -> Labelled:
    """Read the text of a .ts file. Raises DataError naming the row for what the header does not allow.

    >>> found = parse_ts("@univariate true\\n@classLabel true up down\\n@data\\n1,2,?:up\\n3,1:down\\n", "a.ts")
    >>> found.labels, [s[:, 0].tolist() for s in found.sequences]
    (('up', 'down'), [[1.0, 2.0, nan], [3.0, 1.0]])
    """
    if not text.strip():
        raise DataError(f"{source}: is empty; want a header of @directives, @data, and a sequence a line")
    lines = text.splitlines()
    rows = Rows(source, first=1, hint="counted from 1")
    header = _header(lines, rows)
    sequences, labels, places = [], [], []
    for index in range(header.rows, len(lines)):
        line = lines[index].strip()
        if line and not line.startswith("#"):
            *channels, label = line.split(":")
            sequences.append(_sequence(channels, header, rows, index))
            labels.append(_label(label.strip(), header, rows, index))
            places.append(f"{source}: row {index + 1}")
    if not sequences:
        raise DataError(f"{source}: has a header and no sequences after @data")
    return Labelled(sequences, labels, source, places, header.notes)


def _header(lines: list[str], rows: Rows) -> Header:
    header, unknown = Header(), []
    for index, line in enumerate(lines):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if not line.startswith("@"):
            raise rows.error(index, f"holds {shown(line)} before @data; is this a .ts file?")
        name, *values = line[1:].split() or [""]
        header.said[name.lower()] = values
        _check_directive(header, name, values, rows, index)
        if name.lower() not in (*READ, *SAID):
            unknown.append(f"@{name}")
        if name.lower() == "data":
            header.rows = index + 1
            header.notes = (f"passed over {', '.join(unknown)}",) if unknown else ()
            return _checked(header, rows)
    raise DataError(f"{rows.source}: has no @data, after which the sequences stand; is this a .ts file?")


def _check_directive(header: Header, name: str, values: list[str], rows: Rows, index: int) -> None:
    known = name.lower()
    if known in READ and not values:
        raise rows.error(index, f"@{name} says nothing; want a value after it")
    if known in ("dimensions", "dimension", "serieslength") and not (values[0].isdecimal() and int(values[0])):
        raise rows.error(index, f"@{name} says {shown(values[0])}; want a whole number above 0")
    if known == "timestamps" and header.true(known):
        raise rows.error(index, "@timeStamps true: sequences with a time a step are not read; leave the times out")


def _checked(header: Header, rows: Rows) -> Header:
    if not header.true("classlabel"):
        raise DataError(
            f"{rows.source}: has no @classLabel true, so its sequences have no labels; want @classLabel true A B"
        )
    return header


def _sequence(channels: list[str], header: Header, rows: Rows, index: int) -> Numbers:
    want = header.channels
    if not channels or (want is not None and len(channels) != want):
        raise rows.error(index, f"has {len(channels)} channel(s) before its label; want {want or 1} as the header says")
    values = [_values(text, rows, index) for text in channels]
    steps = max(map(len, values))
    if header.true("equallength") and steps != (header.number("serieslength") or steps):
        raise rows.error(index, f"has {steps} steps; the header says {header.number('serieslength')}")
    ragged = [c for c, channel in enumerate(values) if len(channel) != steps]
    if ragged:
        lengths_differ = f"channel {ragged[0]} has {len(values[ragged[0]])} steps and another {steps}"
        raise rows.error(index, f"{lengths_differ}; write ? for what is missing")
    return np.stack(values, axis=1)


def _values(text: str, rows: Rows, index: int) -> Numbers:
    cells = [cell.strip() for cell in text.split(",")]
    for cell in cells:
        if cell.lower() not in MISSING and not is_number(cell):
            raise rows.error(index, f"holds {shown(cell)}, which is no number; write ? for a missing one")
    return np.array([np.nan if cell.lower() in MISSING else float(cell) for cell in cells])


def _label(label: str, header: Header, rows: Rows, index: int) -> str:
    known = header.said["classlabel"][1:]
    if not label or (known and label not in known):
        raise rows.error(index, f"has the label {shown(label)}; @classLabel names {', '.join(known) or 'none'}")
    return label
