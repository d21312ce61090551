"""Files with bytes flipped, cut, doubled or exchanged are read, or refused in a line, in time and bounded memory."""

from __future__ import annotations

import faulthandler
import gzip
import io
import random
import resource
import warnings
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from test_reading import PIECES, mutated

from elman.data import read_alphabet, read_labelled, read_sequences, read_series, write_ids
from elman.errors import ElmanError

CASES = 10_000
LONGEST_MESSAGE = 1000
LONGEST = 30  # seconds of one file; a whole run of them takes milliseconds each
MOST_MEMORY = 1 << 30  # bytes the whole may add to the resident memory

# What means something to these formats, beside what breaks any reader.
MARKS = [*PIECES, b"@data\n", b":", b"[", b"{", b"PAR1", b"\x80", b'"""', b"\xf0\x9f", b"?"]

DAYS = [date(2021, 1, 1) + timedelta(i) for i in range(40)]
TABLE = pl.DataFrame({"day": DAYS, "x": [i * 0.25 - 3 for i in range(40)]})
LABELLED = pl.DataFrame(
    {
        "text": [f"film {i} was {'good' if i % 2 else 'bad'}" for i in range(20)],
        "label": ["ab"[i % 2] for i in range(20)],
    }
)
TS = "@problemName toy\n@timeStamps false\n@univariate true\n@classLabel true a b\n@data\n" + "".join(
    f"{i},{i + 1},{-i}:{'ab'[i % 2]}\n" for i in range(20)
)
JSONL = "".join(f'{{"sequence": [{i}, {i + 1}.5, 2], "label": "{"ab"[i % 2]}"}}\n' for i in range(20))


def parquet(table: pl.DataFrame) -> bytes:
    file = io.BytesIO()
    table.write_parquet(file)
    return file.getvalue()


def text(path: Path) -> Path:
    alphabet, _ = read_alphabet(path, "char")
    ids = path.with_suffix(".ids")
    ids.unlink(missing_ok=True)
    write_ids(path, alphabet, ids)
    return ids


CSV = TABLE.write_csv().encode()
KINDS = {
    "a.csv": (CSV, read_series),
    "semicolon.csv": (CSV.replace(b".", b"?").replace(b",", b";").replace(b"?", b","), read_series),
    "utf16.csv": (CSV.decode().encode("utf-16"), read_series),
    "a.csv.gz": (gzip.compress(CSV), read_series),
    "a.parquet": (parquet(TABLE), read_series),
    "labelled.parquet": (parquet(LABELLED), lambda path: read_labelled(path, sequence="text", label="label")),
    "labelled.csv": (LABELLED.write_csv().encode(), lambda path: read_labelled(path, sequence="text", label="label")),
    "a.jsonl": (JSONL.encode(), lambda path: read_labelled(path, sequence="sequence", label="label")),
    "a.ts": (TS.encode(), read_labelled),
    "a.txt": (("naïve café, 中文 text.\n" * 20).encode(), text),
    "lines.txt": (b"a film\nanother one\n" * 10, lambda path: list(read_sequences(path))),
}


def survive(folder: Path, name: str, count: int) -> list[str]:
    """Read ``count`` damaged files of a kind: the refusal of each, or nothing of one that was read."""
    whole, read = KINDS[name]
    numbers = random.Random(name)
    found = []
    for _ in range(count):
        path = folder / name
        path.write_bytes(mutated(whole, numbers, MARKS))
        faulthandler.dump_traceback_later(LONGEST, exit=True)
        try:
            read(path)
            found.append("")
        except ElmanError as error:
            found.append(str(error))
        finally:
            faulthandler.cancel_dump_traceback_later()
    return found


@pytest.mark.parametrize("name", KINDS)
def test_the_whole_file_is_read(tmp_path, name):
    whole, read = KINDS[name]
    (tmp_path / name).write_bytes(whole)
    assert read(tmp_path / name)


@pytest.mark.parametrize("count", [60, pytest.param(CASES // len(KINDS) + 1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", KINDS)
def test_a_damaged_file_is_read_or_refused(tmp_path, name, count):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = survive(tmp_path, name, count)
    assert any(found)
    assert not [message for message in found if "\n" in message or len(message) > LONGEST_MESSAGE]
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MOST_MEMORY
