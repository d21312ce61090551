"""How well a text is predicted, and the plain baseline for it: counts of n-grams."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


def bits_per_char(nats: float, characters: float) -> float:
    """Bits per character of a text.

    It has ``characters`` characters, and its symbols cost ``nats`` together.

    >>> bits_per_char(math.log(2), characters=1)
    1.0
    """
    return nats / math.log(2) / characters if characters else math.nan


class NGrams:
    """An interpolated n-gram model.

    Counts of the 1- to ``order``-grams of ``training`` ids (N,), each less than ``symbols``.

    The probability of w after the context h is (c(h w) + t(h) p(w after h without its first)) / (c(h) + t(h)), with c
    the counts and t(h) how many symbols were seen after h; below the unigrams all are alike (Witten & Bell 1991).
    The order is cut where a gram would not fit into 64 bits.

    >>> grams = NGrams(np.array([0, 1, 0, 1, 0]), symbols=2, order=2)
    >>> grams.probabilities(np.array([0, 1]), first=1).round(3).tolist()  # (2 + 1 p(1)) / (2 + 1), p(1) = (2 + 1) / 7
    [0.81]
    """

    def __init__(self, training: Ids, symbols: int, order: int):
        fits = int(62 / math.log2(max(symbols, 2)))
        self.symbols = symbols
        self.order: int = max(1, min(order, fits, len(training)))
        self._tables = [self._count(training, n) for n in range(1, self.order + 1)]

    def _count(self, training: Ids, n: int) -> tuple[NDArray[np.int64], ...]:
        """The n-grams in order with their counts; their contexts with theirs, and how many symbols follow each."""
        grams, counts = np.unique(self._grams(training, n), return_counts=True)
        contexts, first, kinds = np.unique(grams // self.symbols, return_index=True, return_counts=True)
        return grams, counts, contexts, np.add.reduceat(counts, first), kinds

    def _grams(self, ids: Ids, n: int) -> Ids:
        """The n-gram that ends at each of ``ids`` from the nth on, as one number."""
        grams = np.zeros(max(0, len(ids) - n + 1), dtype=np.int64)
        for i in range(n):
            grams = grams * self.symbols + ids[i : i + len(grams)]
        return grams

    def probabilities(self, ids: Ids, first: int) -> NDArray[np.float64]:
        """Probabilities of ``ids`` (T,) from ``first`` on, (T - first,).

        Each given those before it.
        """
        p = np.full(len(ids) - first, 1 / self.symbols)
        for n, (grams, counts, contexts, totals, kinds) in enumerate(self._tables, start=1):
            skipped = max(0, n - 1 - first)  # the first have too few before them for an n-gram
            wanted = self._grams(ids, n)[first + skipped - (n - 1) :]
            count = _looked_up(wanted, grams, counts)
            total = _looked_up(wanted // self.symbols, contexts, totals)
            kind = _looked_up(wanted // self.symbols, contexts, kinds)
            p[skipped:] = (count + kind * p[skipped:]) / np.maximum(total + kind, 1) + np.where(total, 0, p[skipped:])
        return p

    def nats(self, ids: Ids, first: int) -> float:
        """What ``ids`` from ``first`` on cost together, in nats."""
        return float(-np.log(self.probabilities(ids, first)).sum())


def _looked_up(wanted: Ids, keys: Ids, values: Ids) -> Ids:
    """The value of each wanted key, 0 where it is not there; ``keys`` are in order."""
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], 0)
