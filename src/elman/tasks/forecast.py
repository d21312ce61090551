"""Forecasting: from the values up to now to the next ones.

A network stands on a linear forecast (:mod:`elman.tasks.forecast_networks`) or, with ``network_alone``, forecasts by
itself. Alone there are two shapes of training. ``targets="last"``, many-to-one: a context of values, then the
``horizon`` values after it. ``targets="every"``, sequence-to-sequence: after every step of the context the ``horizon``
values that follow it. A stateful network reads the series in order and carries its state from one window to the next,
cut off from the gradient; one that is not begins every window at zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import mse_loss

from elman.choices.forecast import ForecastConfig
from elman.data import Scaler, Series, part_ends, split_windows, windows
from elman.errors import DataError
from elman.linear import Blend
from elman.metrics import SURE, standard_error
from elman.ranks import ranks
from elman.stepping.model import Model
from elman.tasks.batches import InParts, Rows
from elman.tasks.forecast_networks import COSTS, LEAST_UNIT, ForecastNetwork, Lines, NetworkOnLine
from elman.tasks.shares import helpful_shares
from elman.tasks.streams import Streams, detached, until

Array = NDArray[np.float64]
FEWEST_JUDGED = 8  # horizons in the validation part; fewer say too little of whether the network helps
BLOCKS = 4  # of origins that errors are measured at
ORIGINS_A_BLOCK = 200
ORIGINS_OF_A_STATE = 10  # each reads the series from its beginning
EVALUATED_AT_ONCE = 4096  # windows in a forward pass without gradient


@dataclass(frozen=True)
class Batch(Rows):
    """``inputs`` (T, B, C) and ``targets`` (B, horizon, C), or (T, B, horizon, C) for every step, scaled."""

    along: ClassVar[dict[str, int]] = {"inputs": 1, "targets": -3}

    inputs: Tensor
    targets: Tensor


class ForecastTask(InParts):
    """Training of a network on a series, for :func:`elman.training.fit`."""

    name = "forecast"

    def __init__(
        self,
        model: ForecastNetwork | NetworkOnLine,
        series: Series,
        config: ForecastConfig,
        batch: int,
        scaler: Scaler,
        blends: Sequence[Blend] = (),
    ):
        self.model = model
        self.series = series
        self.config = config
        self.context: int = config.settled_context
        self.batch = batch
        self.scaler = scaler
        self.blends: tuple[Blend, ...] = tuple(blends)
        self.split = split_windows(len(series), self.context, config.horizon, config.split)
        # The windows of training have the horizon that is trained, and may so be more.
        self.trained = split_windows(len(series), self.context, config.trained_horizon, config.split)
        self.z = self._scaled(series)
        if isinstance(model, NetworkOnLine):
            self._found_lines: dict[int, Lines] = {}
            self._stand_on_line(model)

    def _stand_on_line(self, model: NetworkOnLine) -> None:
        """Fit the line to the training values, and measure what it and what the last value leave of the windows."""
        line = self.line_before(self.trained.last_training_value)
        inputs, targets = self._windows(every=False)
        train = self.trained.train
        left, spread = [], []
        for chosen in torch.arange(len(train)).split(EVALUATED_AT_ONCE):
            x = inputs[chosen].transpose(0, 1).double()
            errors = torch.stack([targets[chosen] - line(x), targets[chosen] - x[-1].unsqueeze(1)])
            left.append(errors.square().mean((1, 2)) * len(chosen))
            spread.append((x - x[-1]).square().mean((0, 1)) * len(chosen))
        units, usual = ((torch.stack(terms).sum(0) / len(train)).sqrt().cpu().numpy() for terms in (left, spread))
        model.stand_on(line, np.maximum(units, LEAST_UNIT), np.maximum(usual, LEAST_UNIT))

    def line_before(self, end: int) -> Lines:
        """The linear forecasts of the columns, fitted to the values before ``end``."""
        if end not in self._found_lines:
            columns = self.series.values[:end].T
            fitted = [blend.fit(values) for blend, values in zip(self.blends, columns, strict=True)]
            self._found_lines[end] = Lines(fitted, self.scaler.shift, self.scaler.scale)
        return self._found_lines[end]

    def use_line_before(self, end: int) -> None:
        """Let the network stand on what is known before value ``end``, and nothing later."""
        if isinstance(self.model, NetworkOnLine):
            self.model.stand_on(self.line_before(end))

    @staticmethod
    def fit_scaler(series: Series, config: ForecastConfig) -> Scaler:
        """The scaler of a series, fitted on its training values alone."""
        end, _, _ = part_ends(len(series), config.split)
        return Scaler.fit(series.values[:end], config.scaler)

    @torch.no_grad()
    def judge(self) -> None:
        """Find how much of the network's two parts helps on the validation windows; use it.

        They are the :func:`~elman.tasks.shares.helpful_shares`; the doubt is twice the standard error of the gain over
        the windows (Diebold & Mariano 1995). They are 0 where fewer than eight horizons fit into the validation part.
        Without one, by the user's wish, the part with the least error in training counts.
        """
        model = self.model
        if not isinstance(model, NetworkOnLine):
            return
        self.use_line_before(self.trained.last_training_value)
        self.z = self.z.to(model.gain.device)
        if not self.config.split[1]:
            better = int(self._scaled_errors(model, self.trained.train).mean(axis=(1, 2)).argmin())
            model.use(*((1.0, 0.0), (0.0, 1.0))[better])
            return
        part = self.trained.validation
        model.use(0, 0)
        if len(part) < FEWEST_JUDGED * self.config.trained_horizon:
            return
        _, targets = self._windows(every=False)
        made = []
        for added, beside in ((0, 0), (1, 0), (0, 1)):
            model.use(added, beside)
            made.append((self._at_once(part) / model.units[0]).double())
        line, own = made[0], torch.stack([one - made[0] for one in made[1:]])
        left = targets[part.start : part.stop] / model.units[0] - line

        def certainty(gained: NDArray[Any]) -> tuple[float, float]:
            return float(gained.mean()), SURE * standard_error(gained, self.config.trained_horizon)

        model.use(*helpful_shares(own, left, certainty))

    def _scaled(self, series: Series) -> Tensor:
        z = torch.from_numpy(self.scaler.transform(series.values)).to(next(self.model.parameters()))
        if not torch.isfinite(z).all():
            row = int((~torch.isfinite(z)).any(dim=1).nonzero()[0])
            raise DataError(
                f"{series.source}: value {row} (counted from 0) is too large to compute with; mend or scale it"
            )
        return z

    # Training: the Trainable contract

    def batch_count(self) -> int:
        """How many batches an epoch has."""
        if self.config.stateful:
            return self._streams().count
        return -(-len(self.trained.train) // self.batch)

    def batches(self, generator: torch.Generator) -> Iterator[Batch]:
        """One epoch: windows in random order, or, stateful, streams in their own."""
        self.z = self.z.to(next(self.model.parameters()).device)
        self.use_line_before(self.trained.last_training_value)
        inputs, targets = self._windows(every := self.config.targets == "every")
        for index in self._indices(generator):
            chosen = targets[index]
            yield Batch(inputs[index].transpose(0, 1), chosen.transpose(0, 1) if every else chosen)

    def loss(self, batch: Batch, state: Any = None) -> tuple[Tensor, Any]:
        """Return the mean error, squared or absolute, of scaled forecasts, and the state after.

        The state is None unless the network carries it on. Of a network on a line the loss is the sum of both its
        parts' errors, each as a multiple of what the line, or the last value, leaves in training.
        """
        costs = COSTS[self.config.loss]
        if isinstance(self.model, NetworkOnLine):
            said, line = self.model.said(batch.inputs), self.model.line(batch.inputs)
            errors = [costs(self._misses(self.model, pair, line, batch.targets)) for pair in said.parts]
            unlikely = self.model.spread_loss(said, line, batch.targets, *self._back())
            return torch.stack(errors).mean((0, 2, 3, 4)).sum() + unlikely, None
        prediction, after = self.model(batch.inputs, state, last=self.config.targets == "last")
        loss = costs((prediction if self.config.targets == "every" else prediction[-1]) - batch.targets).mean()
        return loss, detached(after) if self.config.stateful else None

    @staticmethod
    def _misses(model: NetworkOnLine, pair: Tensor, line: Tensor, targets: Tensor) -> Tensor:
        """How far both ``parts`` of ``model`` miss, (2, B, K, C), each in its unit."""
        added, beside = pair
        made = torch.stack([line + added, beside])
        return (made - targets) / model.units[:, None, None]

    def validate(self) -> float | None:
        """The loss on the validation windows; None where there are none.

        Of a network on a line the error of its better part, as a multiple of what the line leaves in training.
        """
        part = self.trained.validation
        if not part:
            return None
        self.use_line_before(self.trained.last_training_value)
        if isinstance(self.model, NetworkOnLine):
            return min(self._scaled_errors(self.model, part).mean(axis=(1, 2))) + self._unlikely(self.model, part)
        _, targets = self._windows(every=False)
        return mse_loss(self._at_once(part), targets[part.start : part.stop]).item()

    def _back(self) -> tuple[Tensor, Tensor]:
        """The shift and the scale of the columns."""
        return self.z.new_tensor(self.scaler.shift), self.z.new_tensor(self.scaler.scale)

    def _unlikely(self, model: NetworkOnLine, part: range) -> float:
        """The loss of the likelihood on the windows of ``part``; without one 0."""
        if model.likelihood is None:
            return 0.0
        inputs, targets = self._windows(every=False)

        def loss_of(rows: Tensor) -> Tensor:
            x = inputs[rows].transpose(0, 1)
            return model.spread_loss(model.said(x), model.line(x), targets[rows], *self._back()) * len(rows)

        rows = torch.arange(part.start, part.stop, device=self.z.device)
        batches = ranks().share(rows.split(ranks().chunk(len(rows), EVALUATED_AT_ONCE)), loss_of)
        return float(torch.stack(list(batches)).double().sum()) / len(part)

    def _scaled_errors(self, model: NetworkOnLine, part: range) -> NDArray[Any]:
        """The squared errors (2, n, C) of both parts after each window of ``part``, in units of what the line leaves
        in training."""
        inputs, targets = self._windows(every=False)

        def errors_of(rows: Tensor) -> Tensor:
            x = inputs[rows].transpose(0, 1)
            errors = self._misses(model, model.parts(x), model.line(x), targets[rows]).square().mean(2)
            return errors * (model.units / model.units[0]).square()[:, None]

        rows = torch.arange(part.start, part.stop, device=self.z.device)
        batches = ranks().share(rows.split(ranks().chunk(len(rows), EVALUATED_AT_ONCE)), errors_of)
        return torch.cat(batches, 1).double().cpu().numpy()

    def _windows(self, every: bool) -> tuple[Tensor, Tensor]:
        return windows(self.z, self.context, self.config.trained_horizon, every)

    def _streams(self) -> Streams:
        positions = self.trained.last_training_value - self.config.trained_horizon  # what follows them is trained on
        return Streams.cut(positions, self.context, self.batch)

    def _indices(self, generator: torch.Generator) -> Iterator[Tensor]:
        """The windows of each batch of an epoch."""
        if self.config.stateful:
            yield from self._streams().batches(generator, self.z.device)
            return
        for chosen in torch.randperm(len(self.trained.train), generator=generator).split(self.batch):
            yield chosen.to(self.z.device)

    # Use

    @torch.no_grad()
    def predict(self, part: range) -> Tensor:
        """The scaled forecasts (n, horizon, C) after the context of each window of ``part``.

        The linear forecast is fitted to all that stands before the part's first target.
        """
        self.model.eval()
        self.z = self.z.to(next(self.model.parameters()).device)
        self.use_line_before(part.start + self.context)
        return self._fed_back(part, self.config.horizon)

    def _at_once(self, part: range) -> Tensor:
        """The steps that the network forecasts at once, after each window of ``part``."""
        if self.config.stateful:
            # Read once from the beginning, the state carried; window w ends at value w + context - 1.
            first = part.start + self.context - 1
            prediction, _ = self.model(self.z[: first + (part[-1] - part.start) + 1].unsqueeze(1))
            return prediction[[w + self.context - 1 for w in part], 0]
        return self._read(self._contexts(part))

    def _contexts(self, part: range) -> Tensor:
        """The contexts (T, n, C) of the windows of ``part``."""
        return self.z.unfold(0, self.context, 1)[part.start : part.stop : part.step].permute(2, 0, 1)

    def _read(self, contexts: Tensor) -> Tensor:
        batches = contexts.split(ranks().chunk(contexts.shape[1], EVALUATED_AT_ONCE), dim=1)
        return torch.cat(ranks().share(batches, lambda rows: self.model(rows, last=True)[0][-1])).to(contexts.device)

    def _fed_back(self, part: range, steps: int) -> Tensor:
        """The first ``steps`` steps (n, steps, C) after each window of ``part``; what is not forecast at once is fed
        back."""
        ahead = self._at_once(part)
        if ahead.shape[1] >= steps:
            return ahead[:, :steps]
        if self.config.stateful:
            loops = (self._carry_on(self.z[: w + self.context, None]) for w in part)
            return torch.stack([torch.cat(list(until(loop, steps)))[:steps] for loop in loops])
        contexts, made = self._contexts(part), ahead
        while ahead.shape[1] < steps:
            contexts = torch.cat([contexts, made.transpose(0, 1)])[-self.context :]
            made = self._read(contexts)
            ahead = torch.cat([ahead, made], 1)
        return ahead[:, :steps]

    @torch.no_grad()
    def errors_before(self, end: int, steps: int) -> tuple[Tensor, list[int]]:
        """Return scaled errors (n, steps, C) of forecasts before ``end``, and their starts (n).

        Where the network counts, only origins behind its training part, if there are enough; else from the middle on.
        They lie in blocks; before each the line is fitted anew. Fewer steps than asked where the series is too short.
        """
        self.model.eval()
        self.z = self.z.to(next(self.model.parameters()).device)
        model = self.model
        counts = not isinstance(model, NetworkOnLine) or any(model.shares)
        begin = max(end // 2, self.context)
        if counts and end - self.trained.last_training_value >= steps + FEWEST_JUDGED:
            begin = max(self.trained.last_training_value, self.context)
        steps = max(1, min(steps, end - begin - 1))
        count = end - begin - steps + 1
        errors, origins = [], []
        for block in np.array_split(np.arange(begin, begin + count), min(BLOCKS, count)):
            # Every second, third, ... origin of a long block says as much.
            part = range(block[0], block[-1] + 1, max(1, self._stride(len(block))))
            part = range(part.start - self.context, part.stop - self.context, part.step)
            self.use_line_before(int(block[0]))
            origins += [w + self.context for w in part]
            truth = torch.stack([self.z[w + self.context : w + self.context + steps] for w in part])
            errors.append(truth - self._fed_back(part, steps))
        return torch.cat(errors), origins

    @torch.no_grad()
    def spreads(self, series: Series, origins: NDArray[np.int64], mean: Array, wanted: Array) -> tuple[Array, Array]:
        """The spread (n, K, C) of what follows ``origins`` (n,) of ``series``, and its quantiles.

        In the units of the series, around forecasts ``mean`` (n, K, C): see :meth:`NetworkOnLine.distribution`.
        """
        assert isinstance(self.model, NetworkOnLine)
        self.model.eval()
        z = self._scaled(series)
        x = z.unfold(0, self.context, 1)[torch.from_numpy(origins - self.context)].permute(2, 0, 1)
        centre = z.new_tensor((mean - self.scaler.shift) / self.scaler.scale)
        spread, quantiles = self.model.distribution(x, centre, *self._back(), wanted)
        return spread * self.scaler.scale, quantiles

    def _stride(self, origins: int) -> int:
        most = ORIGINS_OF_A_STATE if self.config.stateful else ORIGINS_A_BLOCK
        return -(-origins // most)

    @torch.no_grad()
    def continue_series(self, series: Series, steps: int) -> Tensor:
        """Forecast after the end of ``series``, each prediction fed back: (steps, C), scaled.

        The linear forecast is fitted to the whole series that was trained on, its last part too.
        """
        if len(series) < self.context:
            raise DataError(
                f"{series.source}: {len(series)} values are fewer than the context of {self.context}; give more"
            )
        self.model.eval()
        self.use_line_before(len(self.series))
        z = self._scaled(series).unsqueeze(1)
        loop = self._carry_on(z) if self.config.stateful else self._slide_on(z)
        return torch.cat(list(until(loop, steps)))[:steps]

    def portable(self) -> Model:
        """The network in a form that can leave Python, as :meth:`continue_series` uses it."""
        self.model.eval()
        self.use_line_before(len(self.series))
        model, config = self.model, self.config
        example = replace(self.series, values=self.series.values[-2 * self.context - 8 :], times=None)
        return Model(
            self.name,
            model.networks(),
            model.flats,
            columns=tuple(self.series.names),
            shift=self.scaler.shift,
            scale=self.scaler.scale,
            differences=self.scaler.kind == "differences",
            context=0 if config.stateful else self.context,
            horizon=config.horizon,
            at_once=config.trained_horizon,
            standing=model.standing() if isinstance(model, NetworkOnLine) else None,
            example=tuple(map(tuple, example.values.tolist())),
            said=lambda: self.scaler.invert(
                self.continue_series(example, config.horizon).cpu().double().numpy(), example.values[-1]
            ),
        )

    def _carry_on(self, z: Tensor) -> Iterator[Tensor]:
        prediction, state = self.model(z)
        while True:
            yield prediction[-1, 0]
            prediction, state = self.model(prediction[-1, 0].unsqueeze(1), state)

    def _slide_on(self, z: Tensor) -> Iterator[Tensor]:
        while True:
            z = z[-self.context :]
            prediction, _ = self.model(z, last=True)
            yield prediction[-1, 0]
            z = torch.cat([z, prediction[-1, 0].unsqueeze(1)])
