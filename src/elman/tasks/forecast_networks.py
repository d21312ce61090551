"""The two networks that forecast: a recurrent network alone, and one that stands on a linear forecast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from elman.layers import Recurrent
from elman.layers.flat import write_step
from elman.linear import Line
from elman.linear.blend import LARGEST_EXPONENT
from elman.stepping import Flat, Writer
from elman.stepping.model import Part, Standing
from elman.tasks.likelihoods import Likelihood, Place

SPREAD_FLOOR = 0.1  # of the usual spread of a context: a calmer one is not stretched further
FURTHEST = 3.0  # standard deviations from the mean; what lies beyond looks as if it lay there
QUANTILES_AT_ONCE = 2048  # computed together
COSTS = {"mse": torch.square, "mae": torch.abs}  # of an error, by the name of the loss
LEAST_UNIT = 1e-6  # standard deviations: what a line leaves below this is rounding


class ForecastNetwork(nn.Module):
    """A recurrent network and a linear head that reads a forecast off its output.

    The forecast is of the next ``horizon`` values.

    >>> network = ForecastNetwork(Recurrent("gru", 1, 8), horizon=3)
    >>> prediction, state = network(torch.zeros(5, 2, 1))
    >>> prediction.shape
    torch.Size([5, 2, 3, 1])
    """

    def __init__(self, recurrent: Recurrent, horizon: int):
        super().__init__()
        self.recurrent = recurrent
        self.horizon = horizon
        self.head = nn.Linear(recurrent.output_size, horizon * recurrent.input_size)

    def forward(self, x: Tensor, state: Any = None, last: bool = False) -> tuple[Tensor, Any]:
        """Forecast after every step of x (T, B, C): (T, B, horizon, C).

        With ``last`` only after the last step, (1, B, ...).
        """
        output, state = self.recurrent(x, state)
        output = output[-1:] if last else output
        return self.head(output).unflatten(-1, (self.horizon, self.recurrent.input_size)), state

    def networks(self) -> tuple[Part, ...]:
        """Return the recurrent network with its head."""
        return (Part(self.recurrent, self.head),)

    def flats(self) -> tuple[Flat, ...]:
        """One step: from the scaled values ``x`` (C,) to the ``forecast`` (horizon * C,)."""
        w = Writer()
        output = write_step(self.recurrent, w, w.input("x", self.recurrent.input_size))
        return (w.flat(forecast=w.affine(self.head, output, "head")),)


class Lines(nn.Module):
    """The linear forecasts of C columns as one module over scaled values, ``z = (values - shift) / scale``.

    Computed in float64: a series far from zero keeps its digits, and logarithms theirs. ``shift`` and ``scale``
    are (C,); the lines have one horizon K, and may read unlike numbers of values.
    """

    weights: Tensor
    biases: Tensor
    share: Tensor
    floor: Tensor
    shift: Tensor
    scale: Tensor

    def __init__(self, lines: Sequence[Line], shift: NDArray[Any], scale: np.ndarray):
        super().__init__()
        reach = max(line.weights.shape[2] for line in lines)
        weights = [np.pad(line.weights, ((0, 0), (0, 0), (reach - line.weights.shape[2], 0))) for line in lines]
        for name, value in {
            "weights": np.stack(weights, 1),  # (2, C, K, R)
            "biases": np.stack([line.biases for line in lines], 1),  # (2, C, K)
            "share": np.stack([line.share for line in lines], 1),  # (2, C)
            "floor": np.array([line.floor for line in lines]),
            "shift": shift,
            "scale": scale,
        }.items():
            self.register_buffer(name, torch.as_tensor(value, dtype=torch.float64), persistent=False)
        self.reach = reach

    def forward(self, z: Tensor) -> Tensor:
        """The scaled forecasts (B, K, C) after z (T, B, C)."""
        values = z[-self.reach :].double() * self.scale + self.shift
        forecast = self.share[0] * self._mapped(0, values)
        if bool(self.share[1].any()):
            logs = self._mapped(1, values.maximum(self.floor).log())
            forecast = forecast + self.share[1] * logs.clamp(max=LARGEST_EXPONENT).exp()
        return ((forecast - self.shift) / self.scale).to(z.dtype)

    def _mapped(self, which: int, values: Tensor) -> Tensor:
        return torch.einsum("ckr,rbc->bkc", self.weights[which], values) + self.biases[which].T


@dataclass(frozen=True)
class Said:
    """What the N networks of an ensemble say after a context.

    Their ``parts`` (N, 2, B, K, C); the ``numbers`` (N, B, K, C, P) of the likelihood, if there is one; and the
    ``base`` (B, 1, C) that spreads are measured in: what the line usually leaves, as the context is spread.
    """

    parts: Tensor
    numbers: Tensor | None
    base: Tensor


def inputs_of(segment: int, static: int = 0) -> int:
    """The size of what a :class:`NetworkOnLine` reads in a step: :meth:`NetworkOnLine.sequences`.

    >>> inputs_of(segment=3)
    7
    """
    return 2 * segment + 1 + static


class NetworkOnLine(nn.Module):
    """A linear forecast, and a recurrent network that adds to it and forecasts beside it.

    Each column of a window is a sequence of its own. The network reads it in segments of ``segment`` values (Lin et al.
    2023, SegRNN), as they are and from its last value on in units of its own spread (Kim et al. 2022, RevIN). Its head
    says two things: what the line leaves, and the values themselves, from the last one on; what a line can do is easier
    learned as the first, what it cannot as the second. Both begin at 0. ``gain`` (2,) holds the share of each that is
    used; what is not used of the second is the line. With ``others`` it is an ensemble: each network learns by itself,
    and their mean is forecast. With a ``likelihood`` the network says the spread of what is to come, too.

    >>> layer = Recurrent("gru", inputs_of(segment=2), 8)
    >>> network = NetworkOnLine(layer, horizon=3, segment=2)
    >>> line = Line(np.ones((2, 3, 1)), np.zeros((2, 3)), np.array([1.0, 0.0]), 1.0)
    >>> network.stand_on(Lines([line], np.zeros(1), np.ones(1)), np.ones((2, 1)), spread=np.ones(1))
    >>> network(torch.full((6, 5, 1), 2.0))[0][0, 0, :, 0].tolist()
    [2.0, 2.0, 2.0]
    """

    line: Lines
    gain: Tensor
    units: Tensor
    spread: Tensor
    static: Tensor

    def __init__(
        self,
        recurrent: Recurrent,
        horizon: int,
        segment: int = 1,
        others: Sequence[Recurrent] = (),
        likelihood: Likelihood | None = None,
    ):
        super().__init__()
        self.likelihood = likelihood
        self.recurrent = recurrent
        self.horizon = horizon
        self.segment = segment
        self.head = _head(recurrent, horizon)
        self.others = nn.ModuleList(nn.ModuleList([other, _head(other, horizon)]) for other in others)
        self.spread_heads = nn.ModuleList(
            _at_zero(one.output_size, horizon * likelihood.size) for one in [recurrent, *others] if likelihood
        )
        self.register_buffer("gain", torch.tensor([1.0, 0.0]))
        # Before anything is measured the columns say nothing of themselves.
        self.register_buffer("static", torch.zeros(1, recurrent.input_size - inputs_of(segment)), persistent=False)

    def stand_on(self, line: Lines, units: NDArray[Any] | None = None, spread: NDArray[Any] | None = None) -> None:
        """Take the linear forecast ``line``.

        ``units`` (2, C) are the root mean squares of what it leaves and of what the last value leaves, ``spread`` (C,)
        the usual spread of a context, all scaled."""
        self.line = line.to(self.gain.device)
        self.measure(units, spread)

    def measure(
        self,
        units: NDArray[Any] | None = None,
        spread: NDArray[Any] | None = None,
        static: NDArray[Any] | None = None,
    ) -> None:
        """Take the ``units`` and the ``spread`` of :meth:`stand_on` alone.

        For columns whose line is computed apart; ``static`` (C, P) is what is known of each and does not change.
        """
        device = self.gain.device
        for name, value in {"units": units, "spread": spread, "static": static}.items():
            if value is not None:
                kept = torch.as_tensor(value, dtype=self.head.weight.dtype).to(device)
                self.register_buffer(name, kept, persistent=False)

    @property
    def shares(self) -> tuple[float, float]:
        """How much of the network's two parts is used.

        Of what it adds to the line, and of what it forecasts beside it.
        """
        added, beside = self.gain.tolist()
        return added, beside

    def use(self, added: float, beside: float) -> None:
        """Set the :attr:`shares`."""
        self.gain.copy_(torch.tensor([added, beside]))

    def forward(self, x: Tensor, state: Any = None, last: bool = True) -> tuple[Tensor, Any]:
        """Forecast after the last step of x (T, B, C): (1, B, horizon, C).

        There is no state to carry.
        """
        line, (added, beside) = self.line(x), self.parts(x)
        return (line + self.gain[0] * added + self.gain[1] * (beside - line)).unsqueeze(0), None

    def parts(self, x: Tensor) -> Tensor:
        """Compute the network's two parts after x (T, B, C): (2, B, horizon, C).

        What it adds to the line, and what it forecasts itself.
        """
        return self.said(x).parts.mean(0)

    def said(self, x: Tensor) -> Said:
        """Compute what each network says after x (T, B, C)."""
        read, size = self.sequences(x)
        parts, numbers = [], []
        for i, (recurrent, head) in enumerate([(self.recurrent, self.head), *self.others]):
            output, _ = recurrent(read)
            own = head(output[-1]).unflatten(0, x.shape[1:]).unflatten(-1, (2, self.horizon)).permute(2, 0, 3, 1)
            scaled = own * self.units[:, None, None] * size.unsqueeze(1)  # (2, B, K, C)
            parts.append(torch.stack([scaled[0], x[-1].unsqueeze(1) + scaled[1]]))
            if self.spread_heads:
                each = self.spread_heads[i](output[-1]).unflatten(0, x.shape[1:]).unflatten(-1, (self.horizon, -1))
                numbers.append(each.transpose(1, 2))
        return Said(torch.stack(parts), torch.stack(numbers) if numbers else None, (self.units[0] * size).unsqueeze(1))

    def spread_loss(self, said: Said, line: Tensor, targets: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        """How unlikely the ``targets`` (B, K, C) are; 0 without a likelihood.

        Around what the first parts forecast, which learn nothing from it. ``line`` (B, K, C) is the linear forecast.
        """
        if self.likelihood is None or said.numbers is None:
            return targets.new_zeros(())
        place = Place((line + said.parts[:, 0]).detach(), said.base, shift, scale)
        return self.likelihood.loss(said.numbers, place, targets).mean()

    def distribution(
        self, x: Tensor, mean: Tensor, shift: Tensor, scale: Tensor, wanted: NDArray[Any]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the spread (B, K, C) around a forecast and its quantiles.

        The forecast is ``mean`` (B, K, C), after x (T, B, C). All scaled; the ``wanted`` quantiles (Q,) are
        (Q, B, K, C), less the mean, in units of the spread. Steps beyond the horizon have the numbers of its last one.
        """
        said = self.said(x)
        assert self.likelihood is not None
        assert said.numbers is not None
        numbers = said.numbers.mean(0)[:, torch.arange(mean.shape[1]).clamp(max=self.horizon - 1)]
        around = [part.expand_as(mean).flatten() for part in (mean, said.base, shift, scale)]
        found = []
        for rows in torch.arange(mean.numel(), device=x.device).split(QUANTILES_AT_ONCE):
            place, own = Place(*(part[rows] for part in around)), numbers.flatten(0, 2)[rows]
            quantiles = self.likelihood.quantiles(own, place, wanted)
            found.append(torch.cat([self.likelihood.spread(own, place)[None], quantiles]))
        spread, *rest = torch.cat(found, 1).double().cpu().numpy().reshape(-1, *mean.shape)
        return spread, np.stack(rest) if rest else np.empty((0, *mean.shape))

    def networks(self) -> tuple[Part, ...]:
        """The networks that count; none where the line alone does."""
        pairs = [(self.recurrent, self.head), *self.others]
        return tuple(Part(recurrent, head) for recurrent, head in pairs) if any(self.shares) else ()

    def flats(self) -> tuple[Flat, ...]:
        """Write one step of each of :meth:`networks` as a flat.

        From what it reads, ``x``, to its ``both`` forecasts (2 * horizon,).
        """
        steps = []
        for part in self.networks():
            w = Writer()
            output = write_step(part.recurrent, w, w.input("x", part.recurrent.input_size))
            steps.append(w.flat(both=w.affine(part.head, output, "head")))
        return tuple(steps)

    def standing(self) -> Standing:
        """What the networks stand on, as numbers."""
        line = self.line
        numbers = {name: getattr(line, name).cpu().numpy() for name in ("weights", "biases", "share", "floor")}
        own = {name: getattr(self, name).double().cpu().numpy() for name in ("gain", "units", "spread")}
        bounds: dict[str, Any] = {"largest": LARGEST_EXPONENT, "spread_floor": SPREAD_FLOOR, "furthest": FURTHEST}
        return Standing(**numbers, **own, **bounds, segment=self.segment)

    def used(self, x: Tensor) -> Tensor:
        """Return the network's own part of the forecast after x, (B, horizon, C).

        If it is not used, what it would add.
        """
        added, beside = self.parts(x)
        return self.gain[0] * added + self.gain[1] * beside if bool(self.gain.any()) else added

    def sequences(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the network reads, (S, B * C, 2 * segment + 1 + P).

        And the spread of each context (B, C); 1 is usual.

        In a step: the values of a segment from the last one of the context on, in units of the context's spread; the
        same values as they are; the logarithm of the spread; and what is static of the column.
        """
        steps = len(x) // self.segment
        used = x[len(x) - steps * self.segment :]
        level = used[-1]
        spread = ((used - level).square().mean(0) + (SPREAD_FLOOR * self.spread).square()).sqrt()
        both = torch.stack([(used - level) / spread, used.clamp(-FURTHEST, FURTHEST)])
        parts = both.unflatten(1, (steps, self.segment)).permute(1, 3, 4, 0, 2).flatten(-2)  # (S, B, C, 2 * segment)
        size = spread / self.spread
        calm = size.log().expand(steps, -1, -1).unsqueeze(-1)
        static = self.static.expand(steps, len(size), size.shape[1], -1)
        return torch.cat([parts, calm, static], -1).flatten(1, 2), size


def _head(recurrent: Recurrent, horizon: int) -> nn.Linear:
    """Two forecasts of ``horizon`` steps, which begin at 0."""
    return _at_zero(recurrent.output_size, 2 * horizon)


def _at_zero(size: int, numbers: int) -> nn.Linear:
    head = nn.Linear(size, numbers)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head
