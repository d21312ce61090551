"""A text of any size: read in pieces, kept as ids in a file, taken from there a block at a time.

Nothing here holds more than a few pieces of a text in memory.
"""

from __future__ import annotations

import codecs
import itertools
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elman.data.mapped import Mapped
from elman.data.split import PARTS, percentages
from elman.data.text.alphabet import Alphabet, Bytes, Characters, Words
from elman.data.text.composed import composed_pieces
from elman.errors import DataError

PIECE = 1 << 20  # bytes read at a time
BYTE_ORDER_MARK = "\ufeff"  # Windows begins files with it

Source = str | os.PathLike[str] | bytes


def name_of(source: Source) -> str:
    """What a text is called: its path, or what it is."""
    return "text" if isinstance(source, bytes) else os.fspath(source)


def read_pieces(source: Source, size: int = PIECE) -> Iterator[bytes]:
    """The bytes of a file, or of ``bytes`` themselves, a piece at a time. Raises :class:`DataError` where it is none.

    >>> list(read_pieces(b"hello", size=2))
    [b'he', b'll', b'o']
    """
    if isinstance(source, bytes):
        yield from (source[i : i + size] for i in range(0, len(source), size))
        return
    path = Path(source)
    try:
        with open(path, "rb") as file:
            while piece := file.read(size):
                yield piece
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; give the path of a text") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder; give the path of a text") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def read_text(source: Source, size: int = PIECE) -> Iterator[str]:
    """Yield a text in pieces, decoded from UTF-8, in normal form C.

    Raises :class:`DataError` naming the offset of a byte that is not UTF-8.

    >>> "".join(read_text("héllo".encode(), size=2))
    'héllo'
    """
    return composed_pieces(_decoded(source, size))


def _decoded(source: Source, size: int) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    read, mark = 0, BYTE_ORDER_MARK
    for piece in itertools.chain(read_pieces(source, size), [b""]):
        waiting = len(decoder.getstate()[0])
        try:
            text = decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            raise DataError(
                f"{name_of(source)}: byte {read - waiting + error.start} (counted from 0) is not UTF-8 text; "
                "save the file in UTF-8, or read it with `level=byte`"
            ) from None
        read += len(piece)
        if text:
            yield text.removeprefix(mark)
            mark = ""


def read_alphabet(source: Source, level: str, words: int = 30_000) -> tuple[Alphabet, int]:
    """Read the alphabet of a text and count its symbols.

    Raises :class:`DataError` for an empty text.

    >>> alphabet, count = read_alphabet(b"hello", "char")
    >>> alphabet.tokens, count
    (('e', 'h', 'l', 'o'), 5)
    """
    alphabet: Alphabet
    if level == Words.level:
        alphabet, count = Words.of(read_text(source), words)
    elif level == Bytes.level:
        alphabet, count = Bytes.of(read_pieces(source))
    else:
        alphabet, count = Characters.of(read_text(source))
    if count == 0:
        raise DataError(f"{name_of(source)}: is empty; want a text to learn from")
    return alphabet, count


def write_ids(source: Source, alphabet: Alphabet, path: str | os.PathLike[str]) -> None:
    """Write the ids of a text to ``path``: the second pass."""
    pieces = read_pieces(source) if isinstance(alphabet, Bytes) else read_text(source)
    kind = id_type(len(alphabet))
    with open(path, "xb") as file:
        for ids in alphabet.pieces(pieces):  # type: ignore[arg-type]
            file.write(ids.astype(kind).tobytes())
        file.flush()
        os.fsync(file.fileno())


def id_type(symbols: int) -> np.dtype:
    """The smallest type that holds the ids of so many symbols.

    >>> id_type(65).name, id_type(257).name, id_type(70_000).name
    ('uint8', 'uint16', 'uint32')
    """
    return np.dtype(next(kind for kind in ("<u1", "<u2", "<u4") if symbols <= 1 << 8 * int(kind[-1])))


@dataclass(frozen=True)
class Ids:
    """A text as ids, in a file that is mapped.

    ``count`` ids in the file ``path``, of an alphabet of ``symbols`` symbols.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     alphabet, count = read_alphabet(b"hello", "char")
    ...     write_ids(b"hello", alphabet, Path(folder, "ids"))
    ...     ids = Ids(Path(folder, "ids"), count, len(alphabet))
    ...     ids.block(1, 4).tolist(), ids.streams(np.array([0, 2]), 3).tolist()
    ([0, 2, 2], [[1, 0, 2], [2, 2, 3]])
    """

    path: Path
    count: int
    symbols: int

    def __len__(self) -> int:
        return self.count

    def __post_init__(self) -> None:
        if os.path.exists(self.path) and os.path.getsize(self.path) != self.count * id_type(self.symbols).itemsize:
            size = os.path.getsize(self.path)
            raise DataError(f"{self.path}: holds {size} bytes, which are not {self.count} ids; the text has changed")
        self._mapped()

    def _mapped(self) -> Mapped:
        return Mapped(self.path, self.count, id_type(self.symbols).str)

    def block(self, start: int, stop: int) -> NDArray[np.int64]:
        """The ids from ``start`` up to ``stop``, a copy."""
        return self._mapped()[start:stop].astype(np.int64)

    def streams(self, firsts: NDArray[np.integer], length: int) -> NDArray[np.int64]:
        """Return ``length`` ids from each of ``firsts`` (B,) on, as a copy (B, length).

        Past the end they are 0.
        """
        return self._mapped().rows(firsts.astype(np.int64), length).astype(np.int64)


def split_text(count: int, split: Sequence[float], source: str) -> tuple[range, range, range]:
    """Return the positions of training, validation and test in a text.

    The parts follow each other in the order of the text; sizes are percentages of its symbols.

    Raises :class:`DataError` for percentages that are none, and a text too short for a part that is asked for:
    training needs two symbols, of which one follows the other.

    >>> split_text(10, (80, 10, 10), "a.txt")
    (range(0, 8), range(8, 9), range(9, 10))
    """
    percents = percentages(split)
    cuts = [0, *(math.floor(count * sum(percents[: part + 1]) / 100) for part in range(3))]
    ranges = [range(cuts[part], cuts[part + 1]) for part in range(3)]
    for name, percent, part, fewest in zip(PARTS, percents, ranges, (2, 1, 1), strict=True):
        if percent and len(part) < fewest:
            raise DataError(
                f"{source}: is too short: {float(percent):g} % of {count} symbols leaves {len(part)} for {name}, "
                f"which needs {fewest}; give more text, or `split=100,0,0`"
            )
    return ranges[0], ranges[1], ranges[2]
