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

from elman.data import read_alphabet, read_labelled, read_sequences, read_series, write_ids
from elman.errors import ElmanError

CASES = 10_000
LONGEST_MESSAGE = 1000
LONGEST = 30  # seconds of one file; a whole run of them takes milliseconds each
MOST_MEMORY = 1 << 30  # bytes the whole may add to the resident memory

# What breaks readers: marks of formats, of text encodings, and of numbers that are none or too large.
PIECES = [
    b"\0",
    b'"',
    b"\n",
    b"\r\n",
    b",",
    b";",
    b"\t",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"1e999",
    b"nan",
    b"-",
    b"2021-02-30",
]
PIECES += [b"@data\n", b":", b"[", b"{", b"PAR1", b"\x80", b"9" * 400, b'"""', b"\xf0\x9f", b"?", b"%", b"'"]

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


def text(path: Path) -> None:
    alphabet, _ = read_alphabet(path, "char")
    ids = path.with_suffix(".ids")
    ids.unlink(missing_ok=True)
    write_ids(path, alphabet, ids)


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


def damaged(whole: bytes, numbers: random.Random) -> bytes:
    """``whole`` with one to four faults."""
    made = bytearray(whole)
    for _ in range(numbers.choice([1, 1, 1, 2, 4])):
        at = numbers.randrange(len(made) + 1)
        size = min(numbers.choice([1, 1, 2, 8, 64]), len(made) - at)
        match numbers.randrange(6):
            case 0 if size:
                made[at : at + size] = bytes(numbers.randrange(256) for _ in range(size))
            case 1:
                del made[at:]
            case 2:
                del made[at : at + size]
            case 3:
                made[at:at] = made[at : at + size] * numbers.choice([1, 2, 20])
            case 4:
                made[at:at] = numbers.choice(PIECES)
            case 5 if size:
                made[at : at + size] = numbers.choice(PIECES)[:size]
        if not made:
            break
    return bytes(made)


def survive(folder: Path, name: str, count: int) -> list[str]:
    """Read ``count`` damaged files of a kind: the refusal of each, or nothing of one that was read."""
    whole, read = KINDS[name]
    numbers = random.Random(name)
    found = []
    for _ in range(count):
        path = folder / name
        path.write_bytes(damaged(whole, numbers))
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
    read(tmp_path / name)


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
