"""Texts to tokens, and tokens to ids. What training never saw has an id too."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNKNOWN = 0
_WORD = re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]")


def words(text: str) -> list[str]:
    """The words and marks of a text, in lower case.

    >>> words("It's so-so, no?")
    ["it's", 'so-so', ',', 'no', '?']
    """
    return _WORD.findall(text.lower())


# A text of nothing but what is no token (blanks, for words) is one unknown token.
LEVELS: dict[str, Callable[[str], list[str]]] = {"char": list, "word": words}


@dataclass(frozen=True)
class Vocabulary:
    """The ``tokens`` of training texts, whose ids are 1, 2, ...; any other is :data:`UNKNOWN`.

    >>> vocabulary = Vocabulary.of(["abba", "ac"], "char")
    >>> vocabulary.tokens, vocabulary.ids("cabin").tolist()
    (('a', 'b', 'c'), [3, 1, 2, 0, 0])
    """

    level: str
    tokens: tuple[str, ...]

    @classmethod
    def of(cls, texts: Iterable[str], level: str, fewest: int = 1) -> Vocabulary:
        """The tokens that stand in ``texts``, training texts alone, at least ``fewest`` times."""
        counts = Counter(token for text in texts for token in LEVELS[level](text))
        return cls(level, tuple(sorted(token for token, count in counts.items() if count >= fewest)))

    def __post_init__(self) -> None:
        object.__setattr__(self, "_id", {token: i for i, token in enumerate(self.tokens, start=1)})

    def __len__(self) -> int:
        return len(self.tokens) + 1

    def to_dict(self) -> dict[str, Any]:
        """The vocabulary as what JSON can hold."""
        return {"level": self.level, "tokens": list(self.tokens)}

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Vocabulary:
        """The vocabulary that :meth:`to_dict` wrote."""
        return cls(facts["level"], tuple(facts["tokens"]))

    def ids(self, text: str) -> NDArray[np.int64]:
        """The ids (T,) of a text's tokens, T at least 1."""
        known: dict[str, int] = self._id  # type: ignore[attr-defined]
        found = [known.get(token, UNKNOWN) for token in LEVELS[self.level](text)]
        return np.array(found or [UNKNOWN], dtype=np.int64)
