"""The symbols a text is written in: characters, bytes or words; and a text as their ids and back, without loss.

An alphabet is found in one pass over the text and holds everything that stands in it, except that of words only the
most frequent are kept: the others are one symbol, :data:`RARE`.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from elman.data.text.composed import composed
from elman.errors import DataError

RARE = "<rare>"
# A word with the space before it, a mark with the space before it, or a blank: joined again they are the text.
WORD = re.compile(r" ?\w{1,64}| ?[^\w\s]|\s")
MOST_COUNTED = 1_000_000  # different words counted at once; those seen once are dropped then (Manku & Motwani 2002)
SHOWN = 100  # symbols listed in a message

Ids = NDArray[np.integer]


class Characters:
    """An alphabet of characters.

    >>> alphabet, count = Characters.of(["hello ", "world"])
    >>> "".join(alphabet.tokens), count
    (' dehlorw', 11)
    >>> "".join(alphabet.text(alphabet.ids("lord")))
    'lord'
    """

    level: ClassVar[str] = "char"
    unwritten: ClassVar[list[int]] = []  # symbols that are read and never written

    def __init__(self, tokens: Sequence[str]):
        self.tokens: tuple[str, ...] = tuple(tokens)
        codes = [ord(token) for token in self.tokens]
        self._ids = np.full(0x110000, -1, dtype=np.int32)
        self._ids[codes] = np.arange(len(codes))

    def __len__(self) -> int:
        return len(self.tokens)

    @classmethod
    def of(cls, texts: Iterable[str]) -> tuple[Characters, int]:
        """The characters of a text that comes in pieces, and how many symbols it has."""
        seen, count = np.zeros(0x110000, dtype=bool), 0
        for text in texts:
            seen[_codes(text)] = True
            count += len(text)
        return cls([chr(code) for code in np.flatnonzero(seen)]), count

    @property
    def lengths(self) -> NDArray[np.float64]:
        """How many characters each symbol stands for, (V,)."""
        return np.ones(len(self))

    def pieces(self, texts: Iterable[str]) -> Iterator[Ids]:
        """A text that comes in pieces, as ids. Raises :class:`DataError` naming a character that is not known."""
        for text in texts:
            ids = self._ids[_codes(text)]
            if (ids < 0).any():
                raise _unknown("character", text[int(np.flatnonzero(ids < 0)[0])], self.tokens)
            yield ids

    def ids(self, text: str) -> Ids:
        """A text's ids, (T,). Raises :class:`DataError` naming a character that is not known."""
        if (self._ids[_codes(text)] < 0).any():
            text = composed(text)
        return _joined(self.pieces([text]))

    def text(self, ids: Iterable[int]) -> Iterator[str]:
        """The text of ids, as they come."""
        return (self.tokens[i] for i in ids)


class Bytes:
    """The 256 bytes: any file, in any encoding or none.

    >>> Bytes().ids("é").tolist(), "".join(Bytes().text([195, 169]))
    ([195, 169], 'é')
    """

    level: ClassVar[str] = "byte"
    unwritten: ClassVar[list[int]] = []  # symbols that are read and never written

    def __init__(self, tokens: Sequence[str] = ()):
        self.tokens = ()

    def __len__(self) -> int:
        return 256

    @classmethod
    def of(cls, blocks: Iterable[bytes]) -> tuple[Bytes, int]:
        """All bytes, and how many there are in ``parts``."""
        return cls(), sum(map(len, blocks))

    @property
    def lengths(self) -> NDArray[np.float64]:
        """1 for the byte that begins a character of UTF-8, 0 for those that go on with it, (V,)."""
        continues = np.arange(256) & 0b1100_0000 == 0b1000_0000
        return (~continues).astype(np.float64)

    def pieces(self, blocks: Iterable[bytes]) -> Iterator[Ids]:
        """Bytes that come in pieces, as ids."""
        return (np.frombuffer(part, dtype=np.uint8) for part in blocks)

    def ids(self, text: str) -> Ids:
        """The bytes of a text in UTF-8, (T,)."""
        return _joined(self.pieces([text.encode("utf-8", "surrogateescape")]))

    def text(self, ids: Iterable[int]) -> Iterator[str]:
        """The text of ids, as they come; a byte that is no part of a character is shown as �."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for i in ids:
            yield decoder.decode(bytes([i]))
        yield decoder.decode(b"", final=True)


class Words:
    """An alphabet of words and marks, each with the space before it, and blanks; what is not in it is :data:`RARE`.

    >>> alphabet, count = Words.of(["to be, or", " not to be"])
    >>> alphabet.tokens, count
    (('<rare>', ' be', ' not', ' or', ' to', ',', 'to'), 7)
    >>> "".join(alphabet.text(alphabet.ids("to be")))
    'to be'
    """

    level: ClassVar[str] = "word"
    unwritten: ClassVar[list[int]] = [0]  # RARE is read and never written

    def __init__(self, tokens: Sequence[str], rare_length: float = 0.0):
        self.tokens: tuple[str, ...] = tuple(tokens)
        self.rare_length = rare_length
        self._ids = {token: i for i, token in enumerate(self.tokens)}

    def __len__(self) -> int:
        return len(self.tokens)

    @classmethod
    def of(cls, texts: Iterable[str], most: int = 30_000) -> tuple[Words, int]:
        """The ``most`` most frequent words of a text that comes in pieces, and how many symbols it has."""
        counts: Counter[str] = Counter()
        count = characters = 0
        for words in _words(texts):
            counts.update(words)
            count += len(words)
            characters += sum(map(len, words))
            if len(counts) > MOST_COUNTED:
                counts = Counter({word: n for word, n in counts.items() if n > 1})
        kept = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most])
        others = count - sum(kept.values())
        rest = characters - sum(n * len(word) for word, n in kept.items())
        return cls([RARE, *sorted(kept)], rest / others if others else 0.0), count

    @property
    def lengths(self) -> NDArray[np.float64]:
        """How many characters each word stands for, (V,); the rare ones on average."""
        return np.array([self.rare_length, *map(len, self.tokens[1:])])

    def pieces(self, texts: Iterable[str]) -> Iterator[Ids]:
        """A text that comes in pieces, as ids."""
        return (np.array([self._ids.get(word, 0) for word in words], dtype=np.int64) for words in _words(texts))

    def ids(self, text: str) -> Ids:
        """A text's ids, (T,). Raises :class:`DataError` naming a word that is not known.

        Its first word may be one that is known with a space before it alone, as in the middle of a line.
        """
        text = composed(text)
        first = WORD.match(text)
        if first is not None and first[0] not in self._ids and f" {first[0]}" in self._ids:
            text = f" {text}"
        for word in WORD.findall(text):
            if word not in self._ids:
                raise _unknown("word", word, self.tokens[1:])
        return _joined(self.pieces([text]))

    def text(self, ids: Iterable[int]) -> Iterator[str]:
        """The text of ids, as they come."""
        return (self.tokens[i] for i in ids)


Alphabet = Characters | Bytes | Words
LEVELS: dict[str, type[Characters] | type[Bytes] | type[Words]] = {a.level: a for a in (Characters, Bytes, Words)}


def _codes(text: str) -> NDArray[np.uint32]:
    # surrogatepass: a prompt typed in a broken encoding holds them, and is to be named as unknown.
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def _words(texts: Iterable[str]) -> Iterator[list[str]]:
    """The words of a text that comes in pieces. The last of a piece may go on in the next."""
    rest = ""
    for text in texts:
        *words, rest = WORD.findall(rest + text) or [""]
        yield words
    yield [rest] if rest else []


def _joined(pieces: Iterable[Ids]) -> Ids:
    return np.concatenate([np.zeros(0, dtype=np.int64), *pieces])


def _unknown(kind: str, value: str, known: Sequence[str]) -> DataError:
    listed = "".join(known) if kind == "character" else ", ".join(repr(token) for token in known[:SHOWN])
    listed = repr(listed[:SHOWN]) if kind == "character" else listed
    more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    return DataError(f"the {kind} {value!r} is not known; known are {listed}{more}")
