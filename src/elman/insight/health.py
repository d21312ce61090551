"""The health of a training: the gradient of every part at every step, spikes of the loss, and where a NaN came from."""

from __future__ import annotations

import math
import re
import statistics
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from elman import internals
from elman.insight.faults import HEALING, calls_of, trace_backward, trace_forward

# A spike is a loss of so many times the median of the WINDOW before it.
SPIKE, WINDOW, FEWEST = 3.0, 32, 8


def part_of(parameter: str) -> str:
    """The part of a network that a parameter belongs to: a layer and direction of a Recurrent, or a module.

    >>> part_of("recurrent.weight_hh_l1_reverse"), part_of("head.bias"), part_of("weight")
    ('recurrent.l1_reverse', 'head', 'model')
    """
    module, _, name = parameter.rpartition(".")
    layer = re.search(r"_(l\d+(_reverse)?)$", name)
    return ".".join(filter(None, [module, layer.group(1) if layer else ""])) or "model"


class Health:
    """Watches one training.

    The loop calls :meth:`step` after each backward pass and :meth:`epoch` at the end of each epoch, and
    :meth:`explain`, which says where a number first was none, if one was.

    >>> import torch
    >>> from torch import nn
    >>> model = nn.Linear(2, 1)
    >>> health = Health(model)
    >>> model(torch.ones(3, 2)).sum().backward()
    >>> norm = health.step(0.5)
    >>> health.epoch()
    {'gradients': {'model': [5.196]}, 'spikes': []}
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        names, self._parameters = zip(*model.named_parameters(), strict=True)
        self._parts: dict[str, list[int]] = {}
        for i, name in enumerate(names):
            self._parts.setdefault(part_of(name), []).append(i)
        self._losses: list[float] = []
        self._gradients: dict[str, list[float]] = {part: [] for part in self._parts}

    def step(self, loss: float) -> float:
        """Note the loss and gradients of a step; return the norm of the whole gradient.

        Before it is clipped.
        """
        self._losses.append(loss)
        norms = gradient_norms(self._parameters)
        for part, places in self._parts.items():
            self._gradients[part].append(math.hypot(*(norms[i] for i in places)))
        return math.hypot(*norms)

    def epoch(self) -> dict[str, Any]:
        """Return the norms of every step since the last epoch, by part.

        To 4 digits, with the steps (from 1) that spiked.
        """
        rounded = {part: [float(f"{norm:.4g}") for norm in norms] for part, norms in self._gradients.items()}
        facts = {"gradients": rounded, "spikes": spikes(self._losses)}
        self._losses, self._gradients = [], {part: [] for part in self._parts}
        return facts

    def noted(self) -> dict[str, Any]:
        """What was noted since the last epoch, as JSON can hold it; :meth:`recall` takes it back."""
        return {"losses": list(self._losses), "gradients": {part: list(n) for part, n in self._gradients.items()}}

    def recall(self, noted: Mapping[str, Any]) -> None:
        """Go on from what :meth:`noted` gave."""
        self._losses = list(noted["losses"])
        self._gradients = {part: list(norms) for part, norms in noted["gradients"].items()}

    def explain(self, compute_loss: Callable[[], Tensor]) -> str:
        """Say where the first non-finite number of a step appeared, and what helps.

        ``compute_loss`` computes that step's loss once more.
        """
        seen, loss = calls_of(self.model, compute_loss)
        source = trace_forward(self.model, seen)
        if source is None:
            drawn = "something that is drawn at random: computed once more, all is finite"
            rest = drawn if loss.isfinite() else "the loss, of a finite output"
            source = trace_backward(self.model, compute_loss) or rest
        return f"first not finite: {source}; {HEALING}"


@torch.no_grad()
def gradient_norms(parameters: Sequence[Tensor]) -> list[float]:
    """The norm of each parameter's gradient, 0 where it has none; one transfer from the device for all."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    norms = iter(torch.stack(internals.norms(gradients)).tolist() if gradients else ())
    return [0.0 if p.grad is None else next(norms) for p in parameters]


def spikes(losses: Sequence[float]) -> list[int]:
    """The steps, from 1, whose loss is more than 3 times the median of the 32 (at least 8) before it.

    >>> spikes([1.0] * 10 + [5.0] + [1.0] * 3)
    [11]
    """
    before: deque[float] = deque(maxlen=WINDOW)
    steps = []
    for number, loss in enumerate(losses, start=1):
        if len(before) >= FEWEST and loss > SPIKE * statistics.median(before):
            steps.append(number)
        before.append(loss)
    return steps
