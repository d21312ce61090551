"""The chain rule laid open: the gradient of a weight as the sum of what comes along each path through time.

A recurrent network uses the same weight W at every step. Let W_k be the copy that step k uses; then

    dL/dW = sum over t, sum over k <= t, of dL_t/dW_k,
    dL_t/dW_k = dL_t/ds_t  ds_t/ds_{t-1} ... ds_{k+1}/ds_k  d+s_k/dW,

where d+ is the derivative within step k alone, the state before it held fixed: the sum the tutorials derive. Each
term is one path: from the loss of step t back to step k. Its *distance* is t - k (k - t against the direction of
time). In a stack the path goes through the layers between too.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from elman.backends import Call
from elman.errors import ShapeError
from elman.insight.steps import Back
from elman.insight.unrolled import Unrolled
from elman.layers import Recurrent


@dataclass(frozen=True)
class Paths:
    """dL_t/dW of one ``step`` t, by the step k whose copy of the weight it comes from.

    ``parts[name][k]`` has the shape of the parameter ``name``; they add up to autograd's gradient of L_t.
    """

    step: int
    parts: dict[str, Tensor]

    @property
    def total(self) -> dict[str, Tensor]:
        """dL_t/dW: the sum over k."""
        return {name: parts.sum(0) for name, parts in self.parts.items()}


def paths(layer: Recurrent, x: Any, step: int, loss: Any = None, **given: Any) -> Paths:
    """Split the gradient of one step's loss by the step it comes from.

    ``x``, ``loss`` and ``given`` as in :func:`~elman.insight.gradient_flow`.

    >>> import torch, elman
    >>> layer = elman.Recurrent("rnn", 1, 1, nonlinearity="identity", bias=False)
    >>> _ = layer.weight_ih_l0.data.fill_(1.0), layer.weight_hh_l0.data.fill_(0.5)
    >>> paths(layer, torch.ones(3, 1, 1), step=2).parts["weight_hh_l0"].flatten().tolist()  # 0.5^(2-k) h_{k-1}
    [0.0, 0.5, 1.5]
    """
    unrolled = Unrolled.of(layer, x, **given)
    steps = unrolled.shape[0]
    if not -steps <= step < steps:
        raise ShapeError(f"step: got {step}, and x has T={steps} steps")
    step %= steps
    collected = _Collected(unrolled, steps, given.get("state") is not None)
    seeds = unrolled.seeds(unrolled.gradient(loss), range(step, step + 1))
    unrolled.back(seeds, lambda place, back: collected.add(place, back, [back.step]), last=[step])
    return Paths(step, collected.of_parameters(x, given))


@dataclass(frozen=True)
class Shares:
    """How much of the gradient comes from nearby steps.

    Part i is what comes along paths of a distance less than ``within[i]``; L is the sum of all L_t.

    ``parts[name][i]`` is that part of the gradient, cumulative: the last is the whole gradient. As a share of it:

    - :meth:`by_norm`: ||part|| / ||whole||, which passes 1 where paths cancel;
    - :meth:`projected`: <part, whole> / ||whole||^2, signed: the shares of disjoint sets of paths add up to 1.

    Both of one parameter by name, or of all as one vector; NaN where the whole gradient is 0.
    """

    within: list[int]
    parts: dict[str, Tensor]

    def by_norm(self, name: str | None = None) -> Tensor:
        """(len(within),): the norm of each part over that of the whole."""
        part = self._flat(name)
        return part.norm(dim=1) / part[-1].norm()

    def projected(self, name: str | None = None) -> Tensor:
        """(len(within),): the share of each part along the whole, from its first to 1."""
        part = self._flat(name)
        return part @ part[-1] / part[-1].dot(part[-1])

    def _flat(self, name: str | None) -> Tensor:
        chosen = self.parts.values() if name is None else [self.parts[name]]
        return torch.cat([part.flatten(1) for part in chosen], dim=1)


def gradient_shares(
    layer: Recurrent, x: Any, loss: Any = None, within: Sequence[int] | None = None, **given: Any
) -> Shares:
    """Split the gradient of every weight by distance in time.

    The distance is how many steps lie between the loss and the use of the weight.

    ``within``: distances, ascending: 1 is the step itself; 1, 5, 10, 20, 50, 100, ... where None. T, which is all, is
    always the last. ``x``, ``loss`` and ``given`` as in :func:`~elman.insight.gradient_flow`.

    >>> import torch, elman
    >>> layer = elman.Recurrent("rnn", 1, 1, nonlinearity="identity", bias=False)
    >>> _ = layer.weight_ih_l0.data.fill_(1.0), layer.weight_hh_l0.data.fill_(0.5)
    >>> shares = gradient_shares(layer, torch.ones(20, 1, 1), within=[1, 2, 5])
    >>> shares.within, [round(s, 2) for s in shares.projected("weight_hh_l0").tolist()]
    ([1, 2, 5, 20], [0.53, 0.78, 0.98, 1.0])
    """
    unrolled = Unrolled.of(layer, x, **given)
    gradient = unrolled.gradient(loss)
    edges = _edges(within, len(gradient))
    collected = _Collected(unrolled, len(edges), given.get("state") is not None)
    for chunk in unrolled.chunks():

        def enter(place: tuple[int, int], back: Back, chunk: range = chunk) -> None:
            groups = [bisect_right(edges, abs(t - back.step)) for t in chunk[back.live]]
            collected.add(place, back, groups)

        unrolled.back(unrolled.seeds(gradient, chunk), enter, last=chunk)
    return Shares(edges, {name: part.cumsum(0) for name, part in collected.of_parameters(x, given).items()})


def _edges(within: Sequence[int] | None, steps: int) -> list[int]:
    if within is None:
        within = [1, *(lead * 10**power for power in range(7) for lead in (5, 10, 20))]
    if list(within) != sorted(set(within)) or any(edge < 1 for edge in within):
        raise ShapeError(f"within: got {list(within)}, want ascending whole numbers from 1")
    return [*(edge for edge in within if edge < steps), steps]


class _Collected:
    """Sums of weight gradients, ``sums[name]`` (count, *shape), filled as queries pass."""

    def __init__(self, unrolled: Unrolled, count: int, given: bool) -> None:
        self.layer, self.calls, self.count, self.given = unrolled.layer, unrolled.calls, count, given
        self.sums = {
            name: unrolled.output.new_zeros(count, *parameter.shape)
            for name, parameter in unrolled.layer.named_parameters()
        }

    def add(self, place: tuple[int, int], back: Back, groups: Sequence[int]) -> None:
        """Add what ``back`` brings to the weights of its place, each query to its group."""
        to = torch.tensor(groups, device=back.steps.like.device)
        names = self.layer.stack.parameter_names(*place)
        for own, rows, value in back.weights(to, self.count):
            self.sums[names[own]][:, rows] += value
        if self.layer.learn_state:
            learned = self.layer.stack.initial_names(*place)
            for name, value in zip(learned, back.initial(to, self.count, self.given), strict=True):
                self.sums[name] += value

    def of_parameters(self, x: Any, given: dict[str, Any]) -> dict[str, Tensor]:
        """The sums as gradients of the layer's own parameters, where its step multiplies with what it makes of them."""
        if all(made is parameter for _, made, parameter in self._weights(self.calls)):
            return self.sums
        with torch.enable_grad():
            calls, _ = self.layer.calls(x, **given)
        for name, made, parameter in self._weights(calls):
            if made is not parameter:
                sums = self.sums[name].to(made.dtype)
                (own,) = torch.autograd.grad(made, parameter, sums, is_grads_batched=True)
                self.sums[name] = own.to(self.sums[name].dtype)
        return self.sums

    def _weights(self, calls: list[list[Call]]) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Each parameter's name, what a backend is given for it, and itself."""
        for layer, directions in enumerate(calls):
            for direction, call in enumerate(directions):
                for own, name in self.layer.stack.parameter_names(layer, direction).items():
                    yield name, call.parameters[own], self.layer.get_parameter(name)
