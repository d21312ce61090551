"""What a forecast says beside its mean: the distributions that a network may be trained to give.

Each takes the ``numbers`` (..., P) that the network's head says of a step, all 0 before training, and what they are
measured by. A distribution has a spread, its standard deviation or nearly so, and quantiles.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from statistics import NormalDist
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import softplus

Array = NDArray[np.float64]
WIDEST = 7.0  # logarithm of the factor that a network may put on the usual spread, or its inverse
LEAST_FREEDOM = 2.5  # degrees of freedom of Student's t; of 2 and fewer the variance is infinite
USUAL_FREEDOM = 10.0
LEAST_MEAN = 0.05  # of a count, which is never expected to be 0 for certain
MOST_COUNTED = 4096  # counts summed up for a quantile; beyond, a count is as good as a gamma variable
GRID = 513  # points that a quantile is read off between
NORMAL = NormalDist()


@dataclass(frozen=True)
class Place:
    """What a distribution stands on, scaled as the network sees the series.

    The ``mean`` forecast, the ``base`` that spreads are measured in, and how to come back to the units of the series:
    ``shift`` and ``scale``. All of one shape, or such as go together.
    """

    mean: Tensor
    base: Tensor
    shift: Tensor
    scale: Tensor

    @property
    def counts(self) -> Tensor:
        """The mean in the units of the series, as that of a count."""
        return (self.mean * self.scale + self.shift).clamp(min=LEAST_MEAN)


class Likelihood(ABC):
    """A distribution around a mean."""

    size: ClassVar[int]  # the numbers P that it wants of a step

    @abstractmethod
    def loss(self, numbers: Tensor, place: Place, truth: Tensor) -> Tensor:
        """The loss of each step, to be as low as can be: minus the logarithm of the density, or what stands for it."""

    @abstractmethod
    def spread(self, numbers: Tensor, place: Place) -> Tensor:
        """About the standard deviation, scaled."""

    @abstractmethod
    def quantiles(self, numbers: Tensor, place: Place, wanted: Array) -> Tensor:
        """The ``wanted`` quantiles (Q,) less the mean, (Q, ...), as multiples of the spread."""


class Gaussian(Likelihood):
    """The normal distribution, of a spread that the network says."""

    size = 1

    def loss(self, numbers: Tensor, place: Place, truth: Tensor) -> Tensor:
        """Minus the logarithm of the density, in units of the base, but for a constant."""
        log = _log_factor(numbers[..., 0])
        return log + ((truth - place.mean) / place.base * (-log).exp()).square() / 2

    def spread(self, numbers: Tensor, place: Place) -> Tensor:
        """The standard deviation."""
        return place.base * _log_factor(numbers[..., 0]).exp()

    def quantiles(self, numbers: Tensor, place: Place, wanted: Array) -> Tensor:
        """Those of the standard normal distribution, the same everywhere."""
        found = numbers.new_tensor([NORMAL.inv_cdf(float(q)) for q in wanted])
        return found.view(-1, *[1] * (numbers.ndim - 1)).expand(-1, *numbers.shape[:-1])


class StudentT(Likelihood):
    """Student's t: as the normal distribution, with heavier tails; the network says how heavy, too."""

    size = 2

    def loss(self, numbers: Tensor, place: Place, truth: Tensor) -> Tensor:
        """Minus the logarithm of the density, in units of the base."""
        freedom, log = self._freedom(numbers), _log_factor(numbers[..., 0])
        z = (truth - place.mean) / place.base * (-log).exp()
        half = (freedom + 1) / 2
        constant = torch.lgamma(half) - torch.lgamma(freedom / 2) - 0.5 * (freedom * math.pi).log()
        return log - constant + half * (z.square() / freedom).log1p()

    def spread(self, numbers: Tensor, place: Place) -> Tensor:
        """The scale, which the standard deviation is a little more than."""
        return place.base * _log_factor(numbers[..., 0]).exp()

    def quantiles(self, numbers: Tensor, place: Place, wanted: Array) -> Tensor:
        """Read off the distribution function, which is summed up along sin(angle): z = sqrt(freedom) tan(angle)."""
        freedom = self._freedom(numbers).double()
        angle = torch.linspace(-math.pi / 2, math.pi / 2, GRID, dtype=torch.float64, device=numbers.device)
        density = angle.cos().clamp(min=1e-12).log() * (freedom - 1).unsqueeze(-1)  # in the angle: cos ** (freedom - 1)
        sums = torch.cumulative_trapezoid(density.exp(), dim=-1)
        sums = torch.cat([torch.zeros_like(sums[..., :1]), sums], -1) / sums[..., -1:]
        at = _read_off(sums, angle.expand(sums.shape), wanted)
        return (freedom.sqrt() * at.tan()).to(numbers.dtype)

    @staticmethod
    def _freedom(numbers: Tensor) -> Tensor:
        return LEAST_FREEDOM + USUAL_FREEDOM * softplus(numbers[..., 1])


class NegativeBinomial(Likelihood):
    """Counts: of mean m the variance is m + a m^2, and the network says a."""

    size = 1

    def loss(self, numbers: Tensor, place: Place, truth: Tensor) -> Tensor:
        """Minus the logarithm of the probability."""
        mean, count = place.counts, (truth * place.scale + place.shift).round().clamp(min=0)
        return -_log_probability(count, mean, self._shape(numbers))

    def spread(self, numbers: Tensor, place: Place) -> Tensor:
        """The standard deviation."""
        mean = place.counts
        return (mean + mean.square() / self._shape(numbers)).sqrt() / place.scale

    def quantiles(self, numbers: Tensor, place: Place, wanted: Array) -> Tensor:
        """The least count of no less probability; between two where there is a choice of many."""
        mean, shape = (t.double() for t in torch.broadcast_tensors(place.counts, self._shape(numbers)))
        deviation = (mean + mean.square() / shape).sqrt()
        most = int((mean + 12 * deviation).max().clamp(max=1e9)) + 8
        step = max(1, -(-most // MOST_COUNTED))
        counts = torch.arange(0, most + step, step, dtype=torch.float64, device=numbers.device)
        sums = torch.cumsum(_log_probability(counts, mean[..., None], shape[..., None]).exp() * step, -1)
        sums = sums / sums[..., -1:].clamp(min=1e-300)
        at = sums.new_empty((len(wanted), *mean.shape), dtype=torch.int64)
        for k, q in enumerate(wanted):
            at[k] = (sums < float(q)).sum(-1).clamp(max=len(counts) - 1)
        return ((counts[at] - mean) / deviation).to(numbers.dtype)

    @staticmethod
    def _shape(numbers: Tensor) -> Tensor:
        """1 / a."""
        return _log_factor(numbers[..., 0]).exp() * 4


class Quantiles(Likelihood):
    """No distribution of a name: nine quantiles, as the network says them, trained by the pinball loss."""

    said: ClassVar[tuple[float, ...]] = (0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975)
    size = len(said)

    def loss(self, numbers: Tensor, place: Place, truth: Tensor) -> Tensor:
        """The sum of the pinball losses (Koenker & Bassett 1978), in units of the base."""
        left = ((truth - place.mean) / place.base).unsqueeze(-1) - self._points(numbers)
        q = left.new_tensor(self.said)
        return torch.maximum(q * left, (q - 1) * left).sum(-1)

    def spread(self, numbers: Tensor, place: Place) -> Tensor:
        """What a normal distribution would have between the quantiles of 10 and 90 per cent."""
        points, at = self._points(numbers), (self.said.index(0.1), self.said.index(0.9))
        return place.base * (points[..., at[1]] - points[..., at[0]]) / (2 * NORMAL.inv_cdf(0.9))

    def quantiles(self, numbers: Tensor, place: Place, wanted: Array) -> Tensor:
        """Between those that are said, and beyond, on straight lines over the quantiles of a normal distribution."""
        points = self._points(numbers)
        at = np.array([NORMAL.inv_cdf(q) for q in self.said])
        found = points.new_empty((len(wanted), *points.shape[:-1]))
        for k, z in enumerate(NORMAL.inv_cdf(float(q)) for q in wanted):
            i = int(np.clip(np.searchsorted(at, z) - 1, 0, len(at) - 2))
            share = (z - at[i]) / (at[i + 1] - at[i])
            found[k] = points[..., i] + share * (points[..., i + 1] - points[..., i])
        return found * (place.base / self.spread(numbers, place))

    def _points(self, numbers: Tensor) -> Tensor:
        """The quantiles in units of the base, each above the one before: at first those of a normal distribution."""
        middle = self.said.index(0.5)
        gaps = np.diff([NORMAL.inv_cdf(q) for q in self.said])
        factors = _log_factor(torch.cat([numbers[..., :middle], numbers[..., middle + 1 :]], -1)).exp()
        up = factors * factors.new_tensor(gaps)
        below = -up[..., :middle].flip(-1).cumsum(-1).flip(-1)
        above = up[..., middle:].cumsum(-1)
        return torch.cat([below, torch.zeros_like(below[..., :1]), above], -1) + numbers[..., middle, None]


LIKELIHOODS: dict[str, Likelihood] = {
    "gaussian": Gaussian(),
    "student-t": StudentT(),
    "negative-binomial": NegativeBinomial(),
    "quantiles": Quantiles(),
}


def _log_factor(number: Tensor) -> Tensor:
    """``number`` within bounds that it reaches slowly."""
    return WIDEST * (number / WIDEST).tanh()


def _log_probability(count: Tensor, mean: Tensor, shape: Tensor) -> Tensor:
    """Of a count from a negative binomial distribution of this mean, with variance mean + mean^2 / shape."""
    total = shape + mean
    coefficient = torch.lgamma(count + shape) - torch.lgamma(shape) - torch.lgamma(count + 1)
    return coefficient + shape * (shape.log() - total.log()) + count * (mean.log() - total.log())


def _read_off(sums: Tensor, at: Tensor, wanted: Array) -> Tensor:
    """Where the rising ``sums`` (..., G) over ``at`` (..., G) reach what is ``wanted`` (Q,): (Q, ...)."""
    found = sums.new_empty((len(wanted), *sums.shape[:-1]))
    for k, q in enumerate(wanted):
        i = (sums < float(q)).sum(-1, keepdim=True).clamp(1, sums.shape[-1] - 1)
        low, high = sums.gather(-1, i - 1), sums.gather(-1, i)
        share = (float(q) - low) / (high - low).clamp(min=1e-300)
        found[k] = (at.gather(-1, i - 1) + share * (at.gather(-1, i) - at.gather(-1, i - 1)))[..., 0]
    return found
