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


LEVELS: dict[str, Callable[[str], list[str]]] = {"char": list, "word": words}
JOIN = {"char": "", "word": " "}  # between the tokens of a run
EDGE = "\0"  # stands before the first token
FEWEST_RUNS = 2  # a run of tokens that stands there once says nothing of other texts


@dataclass(frozen=True)
class Vocabulary:
    """The ``tokens`` of training texts, whose ids are 1, 2, ...; any other is :data:`UNKNOWN`.

    With ``ngrams`` N above 1 each step has the ids of the runs of 1 to N tokens that end there.

    >>> vocabulary = Vocabulary.of(["abba", "ac"], "char")
    >>> vocabulary.tokens, vocabulary.ids("cabin")[:, 0].tolist()
    (('a', 'b', 'c'), [3, 1, 2, 0, 0])
    >>> Vocabulary.of(["abba", "ab"], "char", ngrams=2).ids("ab").tolist()  # a, a at the beginning; b, ab
    [[2, 1], [4, 3]]
    """

    level: str
    tokens: tuple[str, ...]
    ngrams: int = 1

    @classmethod
    def of(cls, texts: Iterable[str], level: str, fewest: int = 1, ngrams: int = 1) -> Vocabulary:
        """What stands in ``texts``, training texts alone, at least ``fewest`` times; runs of several tokens twice."""
        counts: Counter[tuple[int, str]] = Counter()
        for text in texts:
            for runs in runs_of(text, level, ngrams):
                counts.update(enumerate(runs))
        known = {run for (n, run), count in counts.items() if count >= (max(fewest, FEWEST_RUNS) if n else fewest)}
        return cls(level, tuple(sorted(known)), ngrams)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_id", {token: i for i, token in enumerate(self.tokens, start=1)})

    def __len__(self) -> int:
        return len(self.tokens) + 1

    def to_dict(self) -> dict[str, Any]:
        """The vocabulary as what JSON can hold."""
        return {"level": self.level, "tokens": list(self.tokens), "ngrams": self.ngrams}

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Vocabulary:
        """The vocabulary that :meth:`to_dict` wrote."""
        return cls(facts["level"], tuple(facts["tokens"]), facts["ngrams"])

    def ids(self, text: str) -> NDArray[np.int64]:
        """The ids (T, N) of a text, T at least 1: a text of no tokens is one unknown."""
        known: dict[str, int] = self._id  # type: ignore[attr-defined]
        found = [[known.get(run, UNKNOWN) for run in runs] for runs in runs_of(text, self.level, self.ngrams)]
        return np.array(found or [[UNKNOWN] * self.ngrams], dtype=np.int64)


def runs_of(text: str, level: str, longest: int) -> list[list[str]]:
    r"""For each token of a text the runs of 1 to ``longest`` tokens that end with it.

    >>> runs_of("so good", "word", 2)
    [['so', '\x00 so'], ['good', 'so good']]
    """
    tokens = [EDGE] * (longest - 1) + LEVELS[level](text)
    join = JOIN[level].join
    return [[join(tokens[end - n : end]) for n in range(1, longest + 1)] for end in range(longest, len(tokens) + 1)]
