"""Choosing the next symbol from the scores of all."""

from __future__ import annotations

import torch
from torch import Tensor

from elman.choices.generate import Sampling


def draw(sampling: Sampling, scores: Tensor, generator: torch.Generator) -> int:
    """Return the index of the symbol drawn, of ``scores`` (V,), which are logarithms of odds; -inf is never drawn.

    >>> draw(Sampling(temperature=0), torch.tensor([1.0, 3.0, 2.0]), torch.Generator())
    1
    """
    if sampling.temperature == 0:
        return int(scores.argmax())
    return int(torch.multinomial(probabilities(sampling, scores), 1, generator=generator))


def probabilities(sampling: Sampling, scores: Tensor) -> Tensor:
    """Return what each symbol is drawn with, (V,): of the ``top_k`` likeliest, those within ``top_p``.

    The nucleus is the fewest of the likeliest that reach ``top_p`` together (Holtzman et al. 2020).
    """
    p = torch.softmax(scores.double() / sampling.temperature, dim=-1)
    if not sampling.top_k and sampling.top_p == 1:
        return p
    ordered, order = p.sort(descending=True, stable=True)
    if sampling.top_k:
        ordered[sampling.top_k :] = 0
        ordered = ordered / ordered.sum()
    before = ordered.cumsum(0) - ordered  # of those that are likelier
    kept = torch.where(before < sampling.top_p, ordered, 0)
    return torch.zeros_like(p).scatter(0, order, kept / kept.sum())
