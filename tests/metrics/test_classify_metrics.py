"""Scores of classifications against their definitions, written the slow way."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.errors import ShapeError
from elman.metrics import (
    NaiveBayes,
    best_temperature,
    by_class,
    calibration_error,
    classification_scores,
    confusion,
    softmax,
)
from elman.metrics.naive_bayes import ngrams

pairs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)


@given(pairs)
def test_scores_are_their_definitions(members):
    prediction, truth = (np.array(column) for column in zip(*members, strict=True))
    f1 = []
    for k in set(prediction.tolist()) | set(truth.tolist()):
        right = sum(p == t == k for p, t in members)
        f1.append(2 * right / (sum(p == k for p, _ in members) + sum(t == k for _, t in members)))
    scores = classification_scores(prediction, truth, 4)
    assert scores["accuracy"] == pytest.approx(sum(p == t for p, t in members) / len(members))
    assert scores["macro_f1"] == pytest.approx(sum(f1) / len(f1))
    table = by_class(confusion(prediction, truth, 4))
    assert table["support"].sum() == len(members)
    for k in range(4):
        of_class = [p == k for p, t in members if t == k]
        assert table["recall"][k] == pytest.approx(np.mean(of_class) if of_class else 0)
        taken = [t == k for p, t in members if p == k]
        assert table["precision"][k] == pytest.approx(np.mean(taken) if taken else 0)


def test_confusion_has_the_truth_in_rows():
    assert confusion(np.array([1]), np.array([0]), 2).tolist() == [[0, 1], [0, 0]]
    with pytest.raises(ShapeError):
        confusion(np.array([1]), np.array([0, 1]), 2)


def test_calibration_error_is_the_gap_in_each_bin_by_its_members():
    draw = np.random.default_rng(0)
    probabilities, truth = softmax(2 * draw.normal(size=(500, 3))), draw.integers(0, 3, 500)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == truth
    total = 0.0
    for low, high in pairwise(np.linspace(0, 1, 16)):
        inside = (confidence >= low) & (confidence < high)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert calibration_error(probabilities, truth) == pytest.approx(total)
    sure = np.array([[1.0, 0.0]])
    assert calibration_error(sure, np.array([0])) == 0
    assert calibration_error(sure, np.array([1])) == 1


def test_the_temperature_makes_the_truth_likeliest():
    draw = np.random.default_rng(1)
    truth = draw.integers(0, 4, 3000)
    logits = draw.normal(size=(3000, 4)) + 1.2 * np.eye(4)[truth]

    def loss(t):
        return -np.mean(np.log(softmax(3 * logits / t)[np.arange(3000), truth]))

    found = best_temperature(3 * logits, truth)
    assert loss(found) == pytest.approx(min(loss(t) for t in np.linspace(0.3, 4, 800)), abs=1e-6)
    assert best_temperature(3 * logits, logits.argmax(1)) == pytest.approx(1 / 8)  # always right: as sure as allowed
    assert best_temperature(np.array([[9.0, 0.0]] * 2), np.array([1, 1])) == pytest.approx(8)


def test_naive_bayes_is_bayes_rule_over_ngrams():
    texts, classes = ["aab", "ab", "ba", "bb", "b"], np.array([0, 0, 1, 1, 1])
    bayes = NaiveBayes(texts, classes, longest=2, smoothing=0.5)
    known = {run for text in texts for run in ngrams(text, 2)}
    for text in ("ab", "bab", "aaaa", "zb"):
        scores = []
        for k in (0, 1):
            own = [ngrams(t, 2) for t, c in zip(texts, classes, strict=True) if c == k]
            total = sum(map(len, own)) + 0.5 * len(known)
            chances = [(sum(run in runs for runs in own) + 0.5) / total for run in ngrams(text, 2) if run in known]
            scores.append(np.log(len(own) / 5) + np.log(chances).sum())
        assert bayes.predict([text])[0] == int(np.argmax(scores))
        assert bayes.scores([text])[0] == pytest.approx(scores)
