"""One form for texts that are the same: é as one character or as e with an accent (Unicode's normal form C)."""

from __future__ import annotations

import functools
import sys
import unicodedata
from collections.abc import Iterable, Iterator

# The vowels and finals of Hangul, which are composed with what stands before them by rule and not by table.
JAMO = (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))


def composed(text: str) -> str:
    """Return ``text`` in normal form C.

    >>> len("e\\u0301"), len(composed("e\\u0301"))
    (2, 1)
    """
    return unicodedata.normalize("NFC", text)


def composed_pieces(texts: Iterable[str]) -> Iterator[str]:
    """Yield a text that comes in pieces in normal form C, as the whole would be.

    >>> list(composed_pieces(["cafe", "\\u0301"]))
    ['caf', 'é']
    """
    rest = ""
    for text in texts:
        together = rest + text
        cut = next((i for i in range(len(together) - 1, 0, -1) if _begins(together[i])), 0)
        if cut:
            yield composed(together[:cut])
        rest = together[cut:]
    if rest:
        yield composed(rest)


def _begins(character: str) -> bool:
    """Whether nothing before ``character`` can be composed with it, or stand after it."""
    if character.isascii():
        return True
    first = unicodedata.normalize("NFD", character)[0]  # three Tibetan vowels combine only once they are taken apart
    return not (unicodedata.combining(first) or character in _joining())


@functools.cache
def _joining() -> frozenset[str]:
    """The characters that a composition ends with."""
    decompositions = (unicodedata.decomposition(chr(code)) for code in range(sys.maxunicode + 1))
    pairs = (part.split() for part in decompositions if part and not part.startswith("<"))
    return frozenset(chr(int(pair[1], 16)) for pair in pairs if len(pair) == 2) | frozenset(map(chr, JAMO))
