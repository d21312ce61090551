"""Texts to tokens, and tokens to ids. What training never saw has an id too."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.data.text.composed import composed

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
EDGE = "\0"  # stands before the first token and after the last
FEWEST_RUNS = 2  # a run of tokens that stands there once says nothing of other texts


@dataclass(frozen=True)
class Vocabulary:
    """The known tokens of training texts, and runs of several.

    Their ids are 1, 2, ...: first the ``tokens``, then the ``runs``.

    Any other is :data:`UNKNOWN`. With ``ngrams`` N above 1 each step has the ids of the runs of 1 to N tokens that end
    there, and there is a last step, the text's end.

    >>> vocabulary = Vocabulary.of(["abba", "ac"], "char")
    >>> vocabulary.tokens, vocabulary.ids("cabin")[:, 0].tolist()
    (('a', 'b', 'c'), [3, 1, 2, 0, 0])
    >>> vocabulary = Vocabulary.of(["abba", "ab"], "char", ngrams=2)
    >>> vocabulary.tokens, vocabulary.runs
    (('\\x00', 'a', 'b'), ('\\x00a', 'ab'))
    >>> vocabulary.ids("ab").tolist()  # a, a at the beginning; b, ab; the end, and b there, which training has once
    [[2, 4], [3, 5], [1, 0]]
    """

    level: str
    tokens: tuple[str, ...]
    runs: tuple[str, ...] = ()
    ngrams: int = 1

    @classmethod
    def of(cls, texts: Iterable[str], level: str, fewest: int = 1, ngrams: int = 1) -> Vocabulary:
        """Build the vocabulary of training texts.

        Tokens that occur at least ``fewest`` times; runs of several tokens at least twice.
        """
        counts: Counter[tuple[bool, str]] = Counter()
        for text in texts:
            for token, *longer in runs_of(text, level, ngrams):
                counts[False, token] += 1
                counts.update((True, run) for run in longer)
        least = {False: fewest, True: max(fewest, FEWEST_RUNS)}
        tokens, runs = (
            tuple(sorted(run for (kind, run), count in counts.items() if kind == several and count >= least[several]))
            for several in (False, True)
        )
        return cls(level, tokens, runs, ngrams)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_id", {run: i for i, run in enumerate((*self.tokens, *self.runs), start=1)})

    def __len__(self) -> int:
        return len(self.tokens) + len(self.runs) + 1

    def to_dict(self) -> dict[str, Any]:
        """The vocabulary as what JSON can hold."""
        return {"level": self.level, "tokens": list(self.tokens), "runs": list(self.runs), "ngrams": self.ngrams}

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Vocabulary:
        """The vocabulary that :meth:`to_dict` wrote."""
        return cls(facts["level"], tuple(facts["tokens"]), tuple(facts["runs"]), facts["ngrams"])

    def ids(self, text: str) -> NDArray[np.int64]:
        """The ids (T, N) of a text, T at least 1: a text of no tokens is one unknown."""
        known: dict[str, int] = self._id  # type: ignore[attr-defined]
        rows = [[known.get(run, UNKNOWN) for run in runs] for runs in runs_of(text, self.level, self.ngrams)]
        return np.array(rows or [[UNKNOWN] * self.ngrams], dtype=np.int64)


def runs_of(text: str, level: str, longest: int) -> list[list[str]]:
    r"""For each token of a text the runs of 1 to ``longest`` tokens that end with it; above 1, the end is a token too.

    >>> runs_of("so good", "word", 2)
    [['so', '\x00 so'], ['good', 'so good'], ['\x00', 'good \x00']]
    """
    ends = [EDGE] * (longest > 1)
    tokens = [EDGE] * (longest - 1) + LEVELS[level](composed(text)) + ends
    join = JOIN[level].join
    return [[join(tokens[end - n : end]) for n in range(1, longest + 1)] for end in range(longest, len(tokens) + 1)]
