"""Scores of classifications. Classes are numbers 0 to K - 1; n is the number of sequences."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.errors import ShapeError

Array = NDArray[np.float64]
Ids = NDArray[np.int64]
BINS = 15
COLD_TO_HOT = 1 / 8, 8.0  # bounds of a temperature and of what it divides by
HALVINGS, ROUNDS = 40, 20


def accuracy(prediction: Ids, truth: Ids) -> float:
    """The share of ``prediction`` (n,) that is ``truth`` (n,).

    >>> accuracy(np.array([0, 1, 1, 1]), np.array([0, 1, 1, 0]))
    0.75
    """
    return float(np.mean(prediction == truth))


def confusion(prediction: Ids, truth: Ids, classes: int) -> Ids:
    """Count how often each true class (row) was taken for each class (column), (K, K).

    Raises :class:`ShapeError`.

    >>> confusion(np.array([0, 1, 1, 1]), np.array([0, 1, 1, 0]), 2).tolist()
    [[1, 1], [0, 2]]
    """
    if prediction.shape != truth.shape or truth.ndim != 1 or not len(truth):
        raise ShapeError(f"got predictions {prediction.shape} and truth {truth.shape}; want (n,) twice, n above 0")
    return np.bincount(truth * classes + prediction, minlength=classes * classes).reshape(classes, classes)


def by_class(counts: Ids) -> dict[str, Array]:
    """Precision, recall, F1 and support (K,) of each class of a :func:`confusion`.

    0 where there is nothing to divide.

    >>> {name: values.round(3).tolist() for name, values in by_class(np.array([[1, 1], [0, 2]])).items()}
    {'precision': [1.0, 0.667], 'recall': [0.5, 1.0], 'f1': [0.667, 0.8], 'support': [2.0, 2.0]}
    """
    right = np.diag(counts).astype(np.float64)
    predicted, support = counts.sum(axis=0), counts.sum(axis=1)
    return {
        "precision": _share(right, predicted),
        "recall": _share(right, support),
        "f1": _share(2 * right, predicted + support),
        "support": support.astype(np.float64),
    }


def macro_f1(counts: Ids) -> float:
    """The mean F1 over the classes that stand in the truth or were predicted, each counting the same.

    >>> round(macro_f1(np.array([[1, 1], [0, 2]])), 3)
    0.733
    """
    there = counts.sum(axis=0) + counts.sum(axis=1) > 0
    return float(by_class(counts)["f1"][there].mean())


def calibration_error(probabilities: Array, truth: Ids, bins: int = BINS) -> float:
    """Expected calibration error of ``probabilities`` (n, K).

    How far confidence is from accuracy, on average over ``bins`` of equal width (Naeini et al. 2015; Guo et al.
    2017).

    >>> calibration_error(np.array([[0.9, 0.1], [0.9, 0.1]]), np.array([0, 1]))
    0.4
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    where = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gap = np.bincount(where, weights=right - confidence, minlength=bins)  # (accuracy - confidence) x members
    return float(np.abs(gap).sum() / len(truth))


def best_temperature(logits: Array, truth: Ids) -> float:
    """Find the temperature that calibrates ``logits`` (n, K) best.

    The T within 1/8 and 8 for which softmax(logits / T) makes ``truth`` (n,) most likely (Guo et al. 2017).

    >>> round(best_temperature(np.array([[2.0, 0.0]] * 4), np.array([0, 0, 0, 1])), 3)  # softmax gives 3/4
    1.82
    """
    return 1 / _best_scale(logits, np.zeros_like(logits), truth, *COLD_TO_HOT)


def best_mixture(logits: Array, beside: Array | None, truth: Ids) -> tuple[float, float]:
    """Find the temperature and weight with which two classifiers are mixed best.

    The T within 1/8 and 8 and the w of 0 or more for which softmax((logits + w beside) / T) of ``logits`` and
    ``beside`` (n, K) makes ``truth`` (n,) most likely; w is 0 if there is nothing beside.

    The likelihood is concave in 1 / T and w / T, which are found in turn (stacking, Wolpert 1992).

    >>> logits, beside = np.array([[2.0, 0.0]] * 4), np.array([[0.0, 0.0]] * 3 + [[0.0, 8.0]])
    >>> temperature, weight = best_mixture(logits, beside, np.array([0, 0, 0, 1]))
    >>> softmax((logits + weight * beside) / temperature).argmax(axis=1).tolist()
    [0, 0, 0, 1]
    """
    scale, other = 1 / best_temperature(logits, truth), 0.0
    if beside is None:
        return 1 / scale, 0.0
    for _ in range(ROUNDS):
        other = _best_scale(beside, scale * logits, truth, 0.0, COLD_TO_HOT[1])
        scale = _best_scale(logits, other * beside, truth, *COLD_TO_HOT)
    return 1 / scale, other / scale


def _best_scale(scores: Array, rest: Array, truth: Ids, low: float, high: float) -> float:
    """The s of ``low`` to ``high`` for which softmax(s scores + rest) gives ``truth`` most likely.

    The likelihood is concave in s; its derivative is the mean over n of score of the truth - E[score].
    """
    own = scores[np.arange(len(truth)), truth]
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        slope = np.mean((softmax(middle * scores + rest) * scores).sum(axis=1) - own)
        low, high = (low, middle) if slope > 0 else (middle, high)
    return (low + high) / 2


def softmax(logits: Array) -> Array:
    """Probabilities (n, K) of ``logits`` (n, K).

    >>> softmax(np.array([[0.0, 0.0]])).tolist()
    [[0.5, 0.5]]
    """
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def classification_scores(prediction: Ids, truth: Ids, classes: int) -> dict[str, float]:
    """Accuracy and macro-F1 together.

    >>> classification_scores(np.array([0, 1]), np.array([0, 1]), 2)
    {'accuracy': 1.0, 'macro_f1': 1.0}
    """
    counts = confusion(prediction, truth, classes)
    return {"accuracy": accuracy(prediction, truth), "macro_f1": macro_f1(counts)}


def majority(trained: Ids, count: int) -> Ids:
    """The commonest class of ``trained`` (n,), predicted ``count`` times.

    >>> majority(np.array([2, 1, 2]), 2).tolist()
    [2, 2]
    """
    return np.full(count, np.bincount(trained).argmax())


def _share(part: Any, whole: Any) -> Array:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
