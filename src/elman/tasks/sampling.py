"""Choosing the next symbol from the scores of all."""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor


class Sampling(BaseModel):
    """How the next symbol is drawn.

    >>> Sampling(temperature=0).draw(torch.tensor([1.0, 3.0, 2.0]), torch.Generator())
    1
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    temperature: float = Field(1.0, ge=0, description="below 1 bolder, above 1 wilder; 0: always the likeliest")
    top_k: int = Field(0, ge=0, description="draw from so many of the likeliest; 0: from all")
    top_p: float = Field(1.0, gt=0, le=1, description="draw from the likeliest that have so much probability together")

    def draw(self, scores: Tensor, generator: torch.Generator) -> int:
        """The index of the symbol drawn, of ``scores`` (V,), which are logarithms of odds; -inf is never drawn."""
        if self.temperature == 0:
            return int(scores.argmax())
        p = self.probabilities(scores)
        return int(torch.multinomial(p, 1, generator=generator))

    def probabilities(self, scores: Tensor) -> Tensor:
        """What each symbol is drawn with, (V,): of the ``top_k`` likeliest, those within ``top_p``.

        The nucleus is the fewest of the likeliest that reach ``top_p`` together (Holtzman et al. 2020).
        """
        p = torch.softmax(scores.double() / self.temperature, dim=-1)
        if not self.top_k and self.top_p == 1:
            return p
        ordered, order = p.sort(descending=True, stable=True)
        if self.top_k:
            ordered[self.top_k :] = 0
            ordered = ordered / ordered.sum()
        before = ordered.cumsum(0) - ordered  # of those that are likelier
        kept = torch.where(before < self.top_p, ordered, 0)
        return torch.zeros_like(p).scatter(0, order, kept / kept.sum())
