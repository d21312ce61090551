"""The n-gram baseline, against its formula written out with dictionaries."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.metrics import NGrams, bits_per_char


def by_formula(training, symbols, order, context, w):
    if order == 0:
        return 1 / symbols
    h = tuple(context[len(context) - (order - 1) :])
    grams = [tuple(training[i : i + order]) for i in range(len(training) - order + 1)]
    counts = Counter(gram[-1] for gram in grams if gram[:-1] == h)
    below = by_formula(training, symbols, order - 1, context, w)
    if not counts or len(h) < order - 1:
        return below
    return (counts[w] + len(counts) * below) / (counts.total() + len(counts))


ids = st.lists(st.integers(0, 3), min_size=1, max_size=20)


@given(ids, ids, st.integers(1, 4), st.integers(0, 5))
def test_it_is_the_formula(training, text, order, first):
    first = min(first, len(text))
    found = NGrams(np.array(training), 4, order).probabilities(np.array(text), first)
    order = min(order, len(training))
    want = [by_formula(training, 4, min(order, i + 1), text[:i], text[i]) for i in range(first, len(text))]
    assert found.tolist() == pytest.approx(want)


def test_probabilities_sum_to_one():
    grams = NGrams(np.array([0, 1, 2, 0, 1, 3, 3, 3, 0]), 5, 3)
    for context in ([0, 1], [3, 3], [2, 2], [4, 4]):
        found = [grams.probabilities(np.array([*context, w]), 2)[0] for w in range(5)]
        assert sum(found) == pytest.approx(1)


def test_the_order_is_cut_to_what_fits():
    assert NGrams(np.arange(9), 30_000, 5).order == 4
    assert NGrams(np.arange(9), 3_000_000, 9).order == 2


def test_bits():
    assert bits_per_char(10 * math.log(2), 5) == pytest.approx(2)
    assert math.isnan(bits_per_char(1.0, 0))


def test_tinyshakespeare(data_folder):
    """The bar of interpolated n-grams, last 10 %: 1.69 of a 4-gram of another make."""
    text = (data_folder / "tinyshakespeare.txt").read_bytes()
    found = np.frombuffer(text, np.uint8)
    whole = np.searchsorted(np.unique(found), found).astype(np.int64)
    cut = int(0.9 * len(whole))
    assert NGrams(whole[:cut], 65, 5).nats(whole, cut) / (len(whole) - cut) < 1.70
