"""Naive Bayes over n-grams: what a text classifier that has no order beyond a few tokens can do."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

Tokens = Sequence[str]
Ids = NDArray[np.int64]
EDGE = "\0"  # stands before the first token and after the last


def ngrams(tokens: Tokens, longest: int) -> list[tuple[str, ...]]:
    """The different runs of 1 to ``longest`` tokens, the edges of the text counting as tokens.

    >>> ngrams("ab", 2) == [("a",), ("b",), ("\\0", "a"), ("a", "b"), ("b", "\\0")]
    True
    """
    padded = (EDGE, *tokens, EDGE)
    runs = (padded[i : i + n] for n in range(2, longest + 1) for i in range(len(padded) - n + 1))
    return list(dict.fromkeys(chain(((token,) for token in tokens), runs)))


class NaiveBayes:
    """Multinomial naive Bayes.

    The prior of a class times the probability of each n-gram of a text in it.

    ``texts`` (n) are sequences of tokens and ``classes`` (n,) numbers; ``smoothing`` is added to every count. An
    n-gram that training never saw counts for nothing.

    >>> bayes = NaiveBayes([["good"], ["good", "film"], ["bad"]], np.array([1, 1, 0]), longest=1)
    >>> bayes.predict([["bad", "film"], ["good"]]).tolist()
    [0, 1]
    """

    def __init__(self, texts: Sequence[Tokens], classes: Ids, longest: int = 4, smoothing: float = 0.3):
        self.longest = longest
        self.known: dict[tuple[str, ...], int] = {}
        runs = [[self.known.setdefault(run, len(self.known)) for run in ngrams(text, longest)] for text in texts]
        counts = np.full((len(self.known), int(classes.max()) + 1), smoothing)
        for ids, label in zip(runs, classes.tolist(), strict=True):
            counts[ids, label] += 1
        self.chances = np.log(counts / counts.sum(axis=0))
        members = np.bincount(classes)
        self.priors = np.log(np.maximum(members, 1e-9) / len(texts))

    def predict(self, texts: Sequence[Tokens]) -> Ids:
        """The likeliest class of each text, (n,)."""
        return self.scores(texts).argmax(axis=1)

    def scores(self, texts: Sequence[Tokens]) -> NDArray[np.float64]:
        """The logarithm of each class's prior times the chance of each text in it, (n, K)."""
        known = [[self.known[run] for run in ngrams(text, self.longest) if run in self.known] for text in texts]
        return np.stack([self.priors + self.chances[ids].sum(axis=0) for ids in known])
