"""Gradient flow: how much of the loss at step t reaches the state at step k, for all k and t."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from elman.insight.steps import Back
from elman.insight.unrolled import Unrolled
from elman.layers import Recurrent


@dataclass(frozen=True)
class GradientFlow:
    """How the gradient flows back through time.

    The norms ||dL_t/ds_k||, over rows and units, of every state s of every layer and direction.

    ``norms[layer][direction][state]`` is (T, T), row t and column k: at 0.5 each step back halves the gradient.
    dL_t/ds_k is the whole derivative, as autograd has it: through what s_k does within its own step too.
    """

    norms: list[list[dict[str, Tensor]]]

    @property
    def heat(self) -> Tensor:
        """(T, T): the norms of the last layer's first state, forwards."""
        return next(iter(self.norms[-1][0].values()))

    def by_distance(self, layer: int = -1, direction: int = 0, state: str | None = None) -> Tensor:
        """Mean gradient by distance, (T,).

        The mean over t of ||dL_t/ds_{t-d}|| for each distance d; towards later steps, in reverse.
        """
        named = self.norms[layer][direction]
        norms = named[next(iter(named)) if state is None else state]
        sign = -1 if direction else 1
        return torch.stack([norms.diagonal(-d * sign).mean() for d in range(len(norms))])


def gradient_flow(layer: Recurrent, x: Any, loss: Any = None, **given: Any) -> GradientFlow:
    """Measure the gradient of each step's loss at every earlier state.

    - ``x`` (T, B, I), or in any form the layer takes; ``given``: state, lengths, reset and further inputs, as for it.
    - ``loss``: a function of the output (T, B, O) that gives (T,), where L_t depends on the output of step t alone;
      a weight (O,) or (T, B, O), L_t = sum of weight times y_t; ones where None.

    T sweeps in one: all t that are alive pass each step together. Raises :class:`ShapeError` for a loss of
    another shape (Bengio et al. 1994, Pascanu et al. 2013).

    >>> import torch, elman
    >>> layer = elman.Recurrent("rnn", 1, 4, nonlinearity="identity")
    >>> _ = torch.nn.init.eye_(layer.weight_hh_l0.data).mul_(0.5)
    >>> gradient_flow(layer, torch.zeros(3, 1, 1)).heat.tolist()
    [[2.0, 0.0, 0.0], [1.0, 2.0, 0.0], [0.5, 1.0, 2.0]]
    """
    unrolled = Unrolled.of(layer, x, **given)
    gradient = unrolled.gradient(loss)
    steps = len(gradient)
    norms = [
        [{s.name: gradient.new_zeros(steps, steps) for s in place.call.program.states} for place in row]
        for row in unrolled.places
    ]
    for chunk in unrolled.chunks():

        def enter(place: tuple[int, int], back: Back, chunk: range = chunk) -> None:
            rows = slice(chunk.start + back.live.start, chunk.stop)
            for name, table in norms[place[0]][place[1]].items():
                table[rows, back.step] = norms_of(back.new(name))

        unrolled.back(unrolled.seeds(gradient, chunk), enter, last=chunk)
    return GradientFlow(norms)


def norms_of(values: Tensor) -> Tensor:
    """The norm (N,) of each of ``values`` (N, ...), however small: the squares of 1e-180 are no longer numbers."""
    flat = values.flatten(1)
    largest = flat.abs().amax(dim=1)
    scale = torch.where(largest > 0, largest, 1.0)
    return scale * (flat / scale.unsqueeze(1)).norm(dim=1)
