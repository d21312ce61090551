"""Memory: how far back an input still moves the output, by gradient and by perturbation, and of which cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from elman import cells
from elman.equations import Cell
from elman.errors import ElmanError, ShapeError
from elman.insight.unrolled import CHUNK, Unrolled
from elman.layers import Recurrent
from elman.layers import stack as stacks

# Sizes are tried one by one, and this many in a row may fail for a cell whose size must divide into blocks.
MOST_BLOCKS = 64


@dataclass(frozen=True)
class Memory:
    """How much earlier inputs move the last output.

    ``units`` (O, T), by unit and by distance d in steps.

    The *effective length* is the largest d at which that is still ``threshold`` times its largest. Where it is so at
    T - 1, the sequence was too short to see the end of it (:attr:`seen` is False).
    """

    units: Tensor
    threshold: float

    @property
    def influence(self) -> Tensor:
        """(T,): of all units together, the root of the sum of their squares."""
        return self.units.norm(dim=0)

    @property
    def length(self) -> int:
        """The effective length of all units together, in steps."""
        return int(_reach(self.influence.unsqueeze(0), self.threshold))

    @property
    def lengths(self) -> Tensor:
        """(O,): the effective length of each unit of the output."""
        return _reach(self.units, self.threshold)

    @property
    def seen(self) -> bool:
        """Whether the memory ended within the sequence."""
        return self.length < self.units.shape[1] - 1


def _reach(influence: Tensor, threshold: float) -> Tensor:
    enough = (influence >= threshold * influence.amax(dim=1, keepdim=True)) & (influence > 0)
    distance = torch.arange(influence.shape[1], device=influence.device)
    return torch.where(enough, distance, 0).amax(dim=1)


def memory_by_gradient(layer: Recurrent, x: Any, threshold: float = 0.01, **given: Any) -> Memory:
    """Measure memory by gradients: how much the input d steps back moves the output.

    ||dy_T/dx_{T-d}|| of each unit of y_T, the root of the mean square over the rows.

    It says how the output answers to the least disturbance. ``x`` has rows of one length; ``given``: state, reset and
    further inputs. Raises :class:`ShapeError` for rows of unlike lengths.

    >>> import torch, elman
    >>> layer = elman.Recurrent("rnn", 1, 4, nonlinearity="identity")
    >>> _ = torch.nn.init.eye_(layer.weight_hh_l0.data).mul_(0.5)
    >>> memory_by_gradient(layer, torch.zeros(50, 1, 1)).length  # 0.5^6 is above 0.01, 0.5^7 below
    6
    """
    unrolled = Unrolled.of(layer, x, **given)
    _expect_whole(unrolled.valid)
    steps, rows, size = unrolled.shape
    widest = max(max(s.call.sizes.values()) for places in unrolled.places for s in places)
    norms = []
    for units in torch.arange(size).split(max(1, CHUNK // (steps * rows * widest))):
        cotangent = unrolled.output.new_zeros(len(units), steps, rows, size)
        cotangent[torch.arange(len(units)), -1, :, units] = 1.0
        gradient = unrolled.back(cotangent)
        norms.append(gradient.square().sum(3).mean(2).sqrt())
    return Memory(torch.cat(norms).flip(1), threshold)


@torch.no_grad()
def memory_by_perturbation(
    layer: Recurrent, x: Any, threshold: float = 0.01, scale: float = 1.0, seed: int = 0, **given: Any
) -> Memory:
    """Measure memory by perturbation: add noise to one input at a time.

    How far y_T moves, as the root of the mean square over the rows.

    The noise is normal, ``scale`` times the standard deviation of each feature of ``x`` (1 where it is constant): as
    large as the data's own moves, which a gradient knows nothing of. Otherwise as :func:`memory_by_gradient`.

    >>> import torch, elman
    >>> layer = elman.Recurrent("rnn", 1, 4, nonlinearity="identity")
    >>> _ = torch.nn.init.eye_(layer.weight_hh_l0.data).mul_(0.5)
    >>> 4 <= memory_by_perturbation(layer, torch.randn(50, 8, 1)).length <= 9
    True
    """
    calls, output = layer.calls(x, **given)
    first = calls[0][0]
    _expect_whole(first.valid)
    steps, rows, _ = first.x.shape
    spread = first.x.flatten(0, 1).std(0, correction=0)
    generator = torch.Generator(first.x.device).manual_seed(seed)
    noise = torch.randn(first.x.shape, generator=generator, dtype=first.x.dtype, device=first.x.device)
    noise *= scale * torch.where(spread > 0, spread, 1.0)
    distances = []
    for at in torch.arange(steps).split(max(1, CHUNK // (4 * steps * rows * max(first.sizes.values())))):
        pushed = first.x.unsqueeze(2).repeat(1, 1, len(at), 1)
        pushed[at, :, torch.arange(len(at))] += noise[at]
        moved = _rerun(layer, calls, pushed.flatten(1, 2), len(at))[-1].unflatten(0, (rows, len(at)))
        distances.append((moved - output[-1].unsqueeze(1)).double().square().mean(0).sqrt())
    return Memory(torch.cat(distances).flip(0).T, threshold)


def _rerun(layer: Recurrent, calls: list[list[Any]], x: Tensor, times: int) -> Tensor:
    """The output of the run that ``calls`` was of, each of its rows repeated ``times``, on another ``x``."""
    first, own = calls[0][0], {e.name for e in layer.program.extras}

    def states(of: Any) -> Any:
        return [[tuple(s.repeat_interleave(times, 0) for s in of(call)) for call in row] for row in calls]

    sequence = stacks.Sequence(
        x,
        reset=None if first.reset is None else first.reset.repeat_interleave(times, 1),
        initial=None if first.initial is None else states(lambda call: call.initial),
        extras={n: e.repeat_interleave(times, e.dim() - 2) for n, e in first.extras.items() if n in own},
    )
    return stacks.run(layer.stack, layer.get_parameter, sequence, states(lambda call: call.states)).output


def _expect_whole(valid: Tensor | None) -> None:
    if valid is not None and not valid.all():
        raise ShapeError("x: memory is measured on rows of one length; cut them to the shortest, or take them by one")


def compare_memory(layers: Mapping[str, Recurrent], x: Any, threshold: float = 0.01) -> dict[str, Memory]:
    """:func:`memory_by_gradient` of several networks on the same ``x``, by their names."""
    return {name: memory_by_gradient(layer, x, threshold) for name, layer in layers.items()}


def layers_of_equal_size(
    names: Iterable[str | Cell],
    input_size: int,
    hidden_size: int | None = None,
    parameters: int | None = None,
    **options: Any,
) -> dict[str, Recurrent]:
    """Make one layer per cell, of comparable size.

    Each has ``hidden_size`` units, or at most ``parameters`` learned numbers.

    ``options`` go to every layer. Raises :class:`ElmanError` where ``parameters`` are too few for a single unit.

    >>> layers = layers_of_equal_size(["rnn", "lstm"], input_size=3, parameters=1000)
    >>> {name: (layer.hidden_size, sum(p.numel() for p in layer.parameters())) for name, layer in layers.items()}
    {'rnn': (29, 986), 'lstm': (13, 936)}
    """
    if (hidden_size is None) == (parameters is None):
        raise ElmanError("equal in what? Give either hidden_size or parameters")
    layers = {}
    for name in names:
        cell = cells.get(name)
        size = hidden_size if parameters is None else _largest(cell, input_size, parameters, options)
        layers[cell.name] = Recurrent(cell, input_size, size, **options)  # type: ignore[arg-type]
    return layers


def _largest(cell: Cell, input_size: int, parameters: int, options: Mapping[str, Any]) -> int:
    """The most hidden units with which ``cell`` has no more than ``parameters``."""
    best, hidden = 0, 1
    while hidden <= max(best, input_size) + MOST_BLOCKS:
        with suppress(ShapeError):  # no multiple of the cell's blocks, or not the size of an x it takes as it is
            layer = Recurrent(cell, input_size, hidden, device="meta", **options)
            if sum(p.numel() for p in layer.parameters()) > parameters:
                break
            best = hidden
        hidden += 1
    if not best:
        raise ElmanError(f"cell '{cell.name}' has more than {parameters} parameters at any size; allow for more")
    return best
