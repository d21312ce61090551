"""The two networks that forecast: a recurrent network alone, and one that stands on a linear forecast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from elman.layers import Recurrent
from elman.linear import Line
from elman.linear.blend import LARGEST_EXPONENT

SPREAD_FLOOR = 0.1  # of the usual spread of a context: a calmer one is not stretched further
HIGHEST_LEVEL = 3.0  # standard deviations from the mean; beyond, a network has seen nothing
FEATURES = 2  # beside the values of a segment: the level of the context and its spread
LEAST_UNIT = 1e-6  # standard deviations: what a line leaves below this is rounding


class ForecastNetwork(nn.Module):
    """A recurrent network and a linear head that reads the next ``horizon`` values off its output.

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
        """Forecast after every step of x (T, B, C): (T, B, horizon, C); with ``last`` after the last, (1, B, ...)."""
        output, state = self.recurrent(x, state)
        output = output[-1:] if last else output
        return self.head(output).unflatten(-1, (self.horizon, self.recurrent.input_size)), state


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

    def __init__(self, lines: Sequence[Line], shift: np.ndarray, scale: np.ndarray):
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
        found = self.share[0] * self._mapped(0, values)
        if bool(self.share[1].any()):
            logs = self._mapped(1, values.maximum(self.floor).log())
            found = found + self.share[1] * logs.clamp(max=LARGEST_EXPONENT).exp()
        return ((found - self.shift) / self.scale).to(z.dtype)

    def _mapped(self, which: int, values: Tensor) -> Tensor:
        return torch.einsum("ckr,rbc->bkc", self.weights[which], values) + self.biases[which].T


class NetworkOnLine(nn.Module):
    """A linear forecast, and a recurrent network for what it leaves.

    Each column of a window is a sequence of its own. The network reads it in segments of ``segment`` values (Lin et al.
    2023, SegRNN), measured from its last value in units of its own spread (Kim et al. 2022, RevIN), each with the level
    and the spread that this takes away. Its head begins at 0, so that training begins at the line; ``gain`` is the
    share of the network's own part that validation has shown to help.

    >>> layer = Recurrent("gru", 2 + FEATURES, 8)
    >>> network = NetworkOnLine(layer, horizon=3, segment=2)
    >>> line = Line(np.ones((2, 3, 1)), np.zeros((2, 3)), np.array([1.0, 0.0]), 1.0)
    >>> network.stand_on(Lines([line], np.zeros(1), np.ones(1)), unit=np.ones(1), spread=np.ones(1))
    >>> network(torch.full((6, 5, 1), 2.0))[0][0, 0, :, 0].tolist()
    [2.0, 2.0, 2.0]
    """

    line: Lines
    gain: Tensor
    unit: Tensor
    spread: Tensor

    def __init__(self, recurrent: Recurrent, horizon: int, segment: int = 1):
        super().__init__()
        self.recurrent = recurrent
        self.horizon = horizon
        self.segment = segment
        self.head = nn.Linear(recurrent.output_size, horizon)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("gain", torch.ones(()))

    def stand_on(self, line: Lines, unit: np.ndarray | None = None, spread: np.ndarray | None = None) -> None:
        """Take ``line``; with ``unit`` (C,), the root mean square of what it leaves, and the contexts' usual ``spread``
        (C,), scaled both."""
        device = self.gain.device
        self.line = line.to(device)
        for name, value in {"unit": unit, "spread": spread}.items():
            if value is not None:
                kept = torch.as_tensor(value, dtype=self.head.weight.dtype).to(device)
                self.register_buffer(name, kept, persistent=False)

    def forward(self, x: Tensor, state: Any = None, last: bool = True) -> tuple[Tensor, Any]:
        """Forecast after the last step of x (T, B, C): (1, B, horizon, C); there is no state to carry."""
        return (self.line(x) + self.gain * self.adds(x)).unsqueeze(0), None

    def adds(self, x: Tensor) -> Tensor:
        """What the recurrent network adds to the line after x (T, B, C), at a gain of 1: (B, horizon, C)."""
        read, size = self.sequences(x)
        output, _ = self.recurrent(read)
        own = self.head(output[-1]).unflatten(0, x.shape[1:]).movedim(-1, 1)
        return self.unit * size.unsqueeze(1) * own

    def sequences(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the recurrent network reads, (S, B * C, segment + 2), and the spread of each context (B, C), 1 usual."""
        steps = len(x) // self.segment
        used = x[len(x) - steps * self.segment :]
        level = used[-1]
        usual = self.spread
        size = ((used - level).square().mean(0) + (SPREAD_FLOOR * usual).square()).sqrt()
        parts = ((used - level) / size).unflatten(0, (steps, self.segment)).permute(0, 2, 3, 1)  # (S, B, C, segment)
        features = torch.stack([level.clamp(-HIGHEST_LEVEL, HIGHEST_LEVEL), (size / usual).log()], -1)
        return torch.cat([parts, features.expand(steps, -1, -1, -1)], -1).flatten(1, 2), size / usual
