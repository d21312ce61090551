"""From a network's logits to a verdict: naive Bayes beside it, rare classes favoured, probabilities one may trust.

A network trained on a few thousand texts knows little of rare words, and naive Bayes much, but nothing of order. Their
logits are added, each with the weight that makes the truth of the validation part likeliest (stacking, Wolpert 1992;
with the network alone this is temperature scaling, Guo et al. 2017). What is seen seldom is still said too seldom:
a share of the logarithm of the classes' shares is taken off (Menon et al. 2021, arXiv:2007.07314, eq. 9).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.data.labelled.stored import chosen_of
from elman.data.text.vocabulary import LEVELS
from elman.metrics import NaiveBayes, best_mixture
from elman.tasks.classify import ClassifyTask, Inputs, learned_from

Array = NDArray[np.float64]
# Of naive Bayes: the longest run of tokens, and what is added to each count.
NGRAMS = {"char": (4, 0.1), "word": (2, 1.0)}
SCORED_AT_ONCE = 4096  # texts by naive Bayes
FEWEST_CALIBRATED = 30  # validation sequences; fewer say too little of how sure one may be


class Weighing:
    """What a trained ``task`` says of sequences. What :meth:`calibrate` finds is kept with the network's weights."""

    def __init__(self, task: ClassifyTask):
        self.task = task

    @property
    def temperature(self) -> float:
        """What divides the logits of :meth:`weighed` where probabilities are wanted."""
        return float(self.task.model.temperature)

    @cached_property
    def bayes(self) -> NaiveBayes | None:
        """Naive Bayes of the training part; None where its sequences are no texts."""
        parts = self.task.parts
        if not parts.data.is_text:
            return None
        train = learned_from(parts)
        texts = chosen_of(parts.data.sequences, train)
        return NaiveBayes(self._tokens(texts), self.task.truth[train], *NGRAMS[self.task.config.level])

    def bayes_of(self, sequences: Sequence[Any]) -> Array | None:
        """The scores of naive Bayes (n, K), or None."""
        if self.bayes is None:
            return None
        pieces = [sequences[k : k + SCORED_AT_ONCE] for k in range(0, len(sequences), SCORED_AT_ONCE)]
        return np.concatenate([self.bayes.scores(self._tokens(piece)) for piece in pieces])

    def calibrate(self) -> None:
        """Choose temperature and weight of naive Bayes on the validation part, where that says enough."""
        part, data = self.task.parts.validation, self.task.parts.data
        if len(part) < FEWEST_CALIBRATED:
            return
        logits = self._network(self.task.inputs.chosen(part))
        beside = None if self.task.config.network_alone else self.bayes_of(chosen_of(data.sequences, part))
        temperature, weight = best_mixture(logits, beside, self.task.truth[part])
        self.task.model.temperature.fill_(temperature)
        self.task.model.bayes_weight.fill_(weight)

    def logits(self, sequences: Sequence[Any]) -> Array:
        """What is said of ``sequences`` (n), as logits (n, K)."""
        return self.weighed(self._network(self.task.read(sequences)), sequences)

    def weighed(self, logits: Array, sequences: Sequence[Any]) -> Array:
        """The network's ``logits`` (n, K) of ``sequences`` (n) and all that is weighed with them, (n, K)."""
        weight = float(self.task.model.bayes_weight)
        beside = self.bayes_of(sequences) if weight else None
        mixed = logits if beside is None else logits + weight * beside
        return mixed - self.temperature * self.task.config.prior_shift * self.task.log_shares

    def _network(self, inputs: Inputs) -> Array:
        return self.task.logits(inputs).double().numpy()

    def _tokens(self, texts: Sequence[str]) -> list[list[str]]:
        return [LEVELS[self.task.config.level](text) for text in texts]
