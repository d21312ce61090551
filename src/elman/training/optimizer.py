"""AdamW and its one-cycle rate: up over three tenths of the steps, then down to almost nothing, along cosines.

The rate is a function of the step alone, so that a resumed run needs no memory of it; where time is what ends a
training, of the step that the time stands for. The same numbers as
torch's OneCycleLR with its defaults (Smith & Topin 2018), which a test holds.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import nn

from elman import internals
from elman.choices.recipe import Recipe

RISE = 0.3
START, END = 1 / 25, 1 / 25 / 1e4
BETA_LOW, BETA_HIGH = 0.85, 0.95
# A recurrent network's gradient changes its size quickly; a memory of 100 steps and not 1000 follows it.
BETA_SQUARES = 0.99


class AdamW(internals.light(torch.optim.AdamW)):  # type: ignore[misc]
    """AdamW in one fused kernel a step, which does not look for its state anew where every parameter has a gradient."""

    _found: list[internals.Moments] | None = None

    @torch.no_grad()
    def step(self) -> None:
        """Take a step."""
        if self._found is None or any(p.grad is None for moments in self._found for p in moments.parameters):
            super().step()
            self._found = internals.moments(self)
        else:
            for moments in self._found:
                moments.step()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Take on more parameters."""
        super().add_param_group(param_group)
        self._found = None

    def load_state_dict(self, state_dict: Any) -> None:
        """Go on from a state that was saved."""
        super().load_state_dict(state_dict)
        self._found = None


def adamw(parameters: list[nn.Parameter], recipe: Recipe) -> torch.optim.AdamW:
    """Return AdamW over ``parameters``, in one fused kernel where the device has it."""
    choices: dict[str, Any] = {"betas": (BETA_HIGH, BETA_SQUARES), "weight_decay": recipe.weight_decay}
    try:
        return AdamW(parameters, recipe.lr, fused=True, **choices)
    except RuntimeError:
        return AdamW(parameters, recipe.lr, **choices)


def clipping(clip: float, norm: float) -> float:
    """By what a gradient of this norm is multiplied to have the norm ``clip``: in float32 and by the reciprocal, as
    torch.nn.utils.clip_grad_norm_ computes it.

    >>> clipping(1.0, 4.0)
    0.24999994039535522
    """
    return float(np.float32(1) / (np.float32(norm) + np.float32(1e-6)) * np.float32(clip))


def one_cycle(step: float, total: int, peak: float) -> tuple[float, float]:
    """Return the learning rate and Adam's first beta at ``step`` of ``total``, counted from 0.

    >>> one_cycle(2, 10, peak=0.01)
    (0.01, 0.85)
    """
    top = RISE * total - 1
    if step <= top:
        done = step / top
        return _cosine(START * peak, peak, done), _cosine(BETA_HIGH, BETA_LOW, done)
    # A run of a few steps has no rise at all.
    done = (step - top) / (total - 1 - top)
    return _cosine(peak, END * peak, done), _cosine(BETA_LOW, BETA_HIGH, done)


def _cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) / 2 * (math.cos(math.pi * done) + 1)
