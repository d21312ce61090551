"""Forecasting many series by one network: windows of all of them, each on the linear forecast of its own series.

Each series is scaled by its own training values. A window that would begin before its series does is filled up with the
first value. What the lines say of the windows of training is computed once, so that a step costs the network alone. Of
more windows than are looked at, some are drawn once for all; so memory does not grow with the series.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elman.choices.forecast import ForecastConfig
from elman.data import Panel, part_ends
from elman.data.mapped import Columns
from elman.errors import DataError
from elman.linear import Blend, Line
from elman.metrics import SURE, standard_error
from elman.ranks import ranks
from elman.tasks.batches import InParts, Rows
from elman.tasks.forecast import EVALUATED_AT_ONCE, FEWEST_JUDGED
from elman.tasks.forecast_networks import COSTS, LEAST_UNIT, NetworkOnLine, Said
from elman.tasks.panel_windows import MOST_WINDOWS, Part
from elman.tasks.shares import helpful_shares

Array = NDArray[np.float64]
LARGEST = float(np.finfo(np.float32).max)
ROUNDING = 1e-9  # of its largest value: a series that moves no more is constant
# In the targets of the windows of each part that are looked at, and windows of it; of more, some are drawn.
MOST_NUMBERS = {"training": 1 << 24, "validation": 1 << 21, "test": 1 << 22}
MOST_WEIGHTS = 1 << 24  # in the linear forecasts that are kept; others are fitted again
MOST_FITTED = 1 << 25  # values that all linear forecasts are fitted to, the last of each series; 10 windows at least
STEPS_AN_EPOCH = 300  # windows of an epoch are drawn from all, so many batches of them
USUAL_WINDOWS = 5  # windows that the unit of all series counts for, beside a series' own
FEWEST_SERIES = 8  # whose mean gains are taken for independent of each other


@dataclass(frozen=True)
class Batch(Rows):
    """R windows as columns of one: ``inputs`` (T, 1, R), ``targets`` and ``lines`` (1, K, R); their ``series`` (R,)."""

    along: ClassVar[dict[str, int]] = {"inputs": 2, "targets": 2, "lines": 2, "series": 0}

    inputs: Tensor
    targets: Tensor
    lines: Tensor
    series: Tensor


def ends(lengths: NDArray[np.int64], config: ForecastConfig) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the training part of each series ends (S,), and where its validation part does.

    A validation part that is asked for holds one horizon at least, which is taken off a training part of two or more.
    """
    cuts = np.array([part_ends(int(n), config.split)[:2] for n in lengths], dtype=np.int64)
    training, known = cuts[:, 0], cuts[:, 1]
    if config.split[1]:
        room = known - config.horizon
        training = np.where(room >= 2 * config.horizon, np.minimum(training, room), training)
    return training, known


class PanelTask(InParts):
    """A network, many series and the way one is trained on the other: what :func:`elman.training.fit` takes."""

    def __init__(self, model: NetworkOnLine, panel: Panel, config: ForecastConfig, batch: int, blends: Sequence[Blend]):
        self.model: NetworkOnLine = model
        self.panel: Panel = panel
        self.config: ForecastConfig = config
        self.batch: int = batch
        self.blends: tuple[Blend, ...] = tuple(blends)
        self.context: int = config.settled_context
        self.horizon: int = config.horizon
        self.training_end, self.known_end = ends(panel.lengths, config)
        self.whole: Columns = panel.columns()
        self.columns: Columns = self.whole
        self.shift, self.scale = self._scales()
        self.static: Array = np.zeros((len(panel), 0)) if panel.static is None else panel.static.standardised()
        self.reach: NDArray[Any] = np.array([blend.reach for blend in self.blends])
        self._fitted: dict[str, dict[int, Line]] = {"training": {}, "known": {}, "all": {}}
        self.train = self._windows("training", self.reach, self.training_end)
        if not len(self.train):
            raise DataError(
                f"no window is left for training: {len(panel)} series of {panel.lengths.min()} to "
                f"{panel.lengths.max()} values, context {self.context}, horizon {self.horizon}; give longer series, "
                "or a shorter horizon"
            )
        self.validation: Part = self._windows("validation", np.maximum(self.training_end, self.reach), self.known_end)
        self.test: Part = self._windows("test", np.maximum(self.known_end, self.reach), panel.lengths)
        self._measure()

    def _windows(self, part: str, first: NDArray[np.int64], end: NDArray[np.int64]) -> Part:
        """The windows whose targets are from ``first`` (S,) up to ``end`` (S,)."""
        return Part.between(
            first, end - self.horizon + 1, min(MOST_WINDOWS, max(1, MOST_NUMBERS[part] // self.horizon))
        )

    def _scales(self) -> tuple[Array, Array]:
        """The mean and the spread (S,) of each series' training part."""
        shift, scale = np.empty(len(self.columns)), np.ones(len(self.columns))
        for s, (values, end) in enumerate(zip(self.columns, self.training_end, strict=True)):
            known = values[:end]
            shift[s], spread = known.mean(), known.std()
            if spread > ROUNDING * np.abs(known).max():
                scale[s] = spread
            if not (np.abs(values - shift[s]).max() / scale[s] < LARGEST):
                raise DataError(f"{self.panel.source}: holds values too large to compute with; mend or scale them")
        return shift, scale

    def going_on(self, columns: Columns) -> PanelTask:
        """Return this task with other values of each series; network, lines and scales stay."""
        other = copy.copy(self)
        other.columns = columns
        return other

    def moved(self, panel: Panel) -> None:
        """Take the same values from ``panel``."""
        self.panel = panel
        self.whole = self.columns = panel.columns()

    # Lines

    def line(self, number: int, before: str) -> Line:
        """The linear forecast of series ``number``, fitted to what stands ``before`` the end of a part.

        The parts are "training", "known" and "all".
        """
        kept = self._fitted[before]
        if number not in kept:
            stops = {"training": self.training_end, "known": self.known_end, "all": self.panel.lengths}[before]
            read = max(MOST_FITTED // len(stops), 10 * int(self.reach[number] + self.horizon))
            line = self.blends[number].fit(self.whole.until(stops).last(number, read))
            if (len(kept) + 1) * line.weights.size > MOST_WEIGHTS:
                return line
            kept[number] = line
        return kept[number]

    def forecast_by_lines(self, part: Part, before: str) -> Array:
        """The lines' scaled forecasts (n, K) of the windows of ``part``, which are in the order of their series."""
        return self._forecasts_by_lines((part,), before)[0]

    def _forecasts_by_lines(self, parts: Sequence[Part], before: str) -> list[Array]:
        """Those of each of ``parts``, each line fitted once."""
        forecasts = [np.empty((len(part), self.horizon)) for part in parts]
        starts = [np.searchsorted(part.series, np.arange(len(self.columns) + 1)) for part in parts]
        for s in np.flatnonzero(np.sum([np.diff(each) for each in starts], axis=0)).tolist():
            line, values = self.line(s, before), self.columns[s]
            for part, start, made in zip(parts, starts, forecasts, strict=True):
                rows = slice(start[s], start[s + 1])
                seen = values[part.origin[rows, None] + np.arange(-line.weights.shape[2], 0)]
                made[rows] = (line(seen) - self.shift[s]) / self.scale[s]
        return forecasts

    def _around(self, part: Part, before: int, after: int) -> Tensor:
        """The values from ``before`` each window's origin up to ``after`` it, scaled, (n, before + after)."""
        values = self.columns.stretches(part.series, part.origin - before, before + after)
        scaled = (values - self.shift[part.series, None]) / self.scale[part.series, None]
        return torch.from_numpy(scaled).to(next(self.model.parameters()))

    def targets(self, part: Part) -> Tensor:
        """What follows the windows of ``part``, scaled, (n, K)."""
        return self._around(part, 0, self.horizon)

    def truth(self, part: Part) -> Array:
        """What follows them, in the series' units, (n, K)."""
        return self.columns.stretches(part.series, part.origin, self.horizon)

    def contexts(self, part: Part) -> Tensor:
        """What precedes them, scaled, (T, n); before a series begins, its first value."""
        return self._around(part, self.context, 0).T

    def _measure(self) -> None:
        """Of the training windows, the lines' forecasts, and what they and the last value leave of each series."""
        made, self._validation_lines = self._forecasts_by_lines((self.train, self.validation), "training")
        left, moved = np.empty(len(self.train)), np.empty(len(self.train))
        for rows in self.train.pieces():
            part = self.train.taken(rows)
            last, targets = np.split(self._around(part, 1, self.horizon).double().cpu().numpy(), [1], axis=1)
            left[rows] = np.square(targets - made[rows]).mean(1)
            moved[rows] = np.square(targets - last).mean(1)
        self.train_lines = torch.from_numpy(made).to(next(self.model.parameters()).dtype)
        self.units = np.maximum(np.sqrt([self._of_each(left), self._of_each(moved)]), LEAST_UNIT)
        spreads = [
            self._spread(chosen) for chosen in np.array_split(np.arange(len(self.train)), self._chunks(len(self.train)))
        ]
        self.spread = np.maximum(np.sqrt(self._of_each(np.concatenate(spreads))), LEAST_UNIT)

    def _spread(self, chosen: NDArray[np.int64]) -> Array:
        x = self.contexts(self.train.taken(chosen)).double()
        return (x - x[-1]).square().mean(0).cpu().numpy()

    def _chunks(self, count: int) -> int:
        return max(1, -(-count // ranks().chunk(count, EVALUATED_AT_ONCE)))

    def _of_each(self, squares: Array) -> Array:
        """The mean of ``squares`` (n,) over the training windows of each series, (S,), leaning on that over all."""
        counts = np.bincount(self.train.series, minlength=len(self.panel))
        sums = np.bincount(self.train.series, weights=squares, minlength=len(self.panel))
        return (sums + USUAL_WINDOWS * np.median(squares)) / (counts + USUAL_WINDOWS)

    # Training: the Trainable contract

    def batch_count(self) -> int:
        """How many batches an epoch has."""
        return min(-(-len(self.train) // self.batch), STEPS_AN_EPOCH)

    def batches(self, generator: torch.Generator) -> Iterator[Batch]:
        """One epoch: windows of all series in random order."""
        order = torch.randperm(len(self.train), generator=generator)
        for chosen in order.split(self.batch)[: self.batch_count()]:
            yield self._batch(self.train.taken(chosen.numpy()), self.train_lines[chosen])

    def _batch(self, part: Part, lines: Tensor) -> Batch:
        inputs, targets = self._around(part, self.context, self.horizon).T.split([self.context, self.horizon])
        return Batch(
            inputs.unsqueeze(1), targets.unsqueeze(0), lines.T.to(targets)[None], torch.from_numpy(part.series)
        )

    def loss(self, batch: Batch, state: None = None) -> tuple[Tensor, None]:
        """The sum of both parts' mean errors, each in its series' unit: see :class:`ForecastTask`."""
        self.measured(batch.series.numpy())
        said = self.model.said(batch.inputs)
        errors = [COSTS[self.config.loss](self._misses(batch, pair)) for pair in said.parts]
        return torch.stack(errors).mean((0, 2, 3, 4)).sum() + self._unlikely(batch, said), None

    def _unlikely(self, batch: Batch, said: Said) -> Tensor:
        """The loss of the likelihood, if there is one."""
        chosen = batch.series.numpy()
        shift, scale = (batch.targets.new_tensor(one[chosen]) for one in (self.shift, self.scale))
        return self.model.spread_loss(said, batch.lines, batch.targets, shift, scale)

    def _misses(self, batch: Batch, pair: Tensor) -> Tensor:
        """How far both parts miss, (2, 1, K, R), each in its unit."""
        added, beside = pair
        made = torch.stack([batch.lines + added, beside])
        return (made - batch.targets) / self.model.units[:, None, None]

    def measured(self, chosen: NDArray[np.int64]) -> None:
        """Tell the network the measures of the series of these numbers, and what is static of them."""
        self.model.measure(self.units[:, chosen], self.spread[chosen], self.static[chosen])

    def _parts(self, batch: Batch) -> Tensor:
        self.measured(batch.series.numpy())
        return self.model.parts(batch.inputs)

    def validate(self) -> float | None:
        """The error of the better part on the validation windows, as a multiple of what the lines leave in training."""
        if not len(self.validation):
            return None
        errors, unlikely = zip(*ranks().share(self._rows(self.validation), self._validated), strict=True)
        return min(np.concatenate(errors, axis=1).mean(axis=1)) + float(np.concatenate(unlikely).mean())

    def _validation_batch(self, rows: NDArray[np.int64]) -> Batch:
        return self._batch(self.validation.taken(rows), torch.from_numpy(self._validation_lines[rows]))

    def _validated(self, rows: NDArray[np.int64]) -> tuple[Array, Array]:
        """The errors (2, n) of both parts in units of what the lines leave in training, and how unlikely the truth."""
        batch = self._validation_batch(rows)
        self.measured(batch.series.numpy())
        said = self.model.said(batch.inputs)
        errors = self._misses(batch, said.parts.mean(0)).square().mean(2)[:, 0]
        in_units = errors * (self.model.units / self.model.units[0]).square()
        return in_units.double().cpu().numpy(), np.full(len(rows), float(self._unlikely(batch, said)))

    @torch.no_grad()
    def judge(self) -> None:
        """Find the shares of the network's two parts that help on the validation windows, and use them.

        As :meth:`ForecastTask.judge <elman.tasks.forecast.ForecastTask.judge>` does; of eight series or more, how sure
        the gain is comes from the means of the series.
        """
        self.model.eval()
        if not self.config.split[1]:
            self.model.use(1.0, 0.0)
            return
        self.model.use(0, 0)
        if not len(self.validation):
            return
        own, left = [], []
        for batch in map(self._validation_batch, self._rows(self.validation)):
            added, beside = self._parts(batch) / self.model.units[0]
            line, truth = batch.lines / self.model.units[0], batch.targets / self.model.units[0]
            own.append(torch.stack([added, beside - line])[:, 0].double())
            left.append((truth - line)[0].double())
        self.model.use(*helpful_shares(torch.cat(own, 2).mT, torch.cat(left, 1).mT, self._gain))

    def _gain(self, gained: Array) -> tuple[float, float]:
        """The mean of ``gained`` (n,) over the validation windows, and twice its standard error."""
        counts = np.bincount(self.validation.series)
        if (counts > 0).sum() >= FEWEST_SERIES:
            means = np.bincount(self.validation.series, weights=gained)[counts > 0] / counts[counts > 0]
            return float(means.mean()), SURE * float(means.std(ddof=1) / np.sqrt(len(means)))
        if len(gained) < FEWEST_JUDGED * self.horizon:
            return 0.0, 0.0
        return float(gained.mean()), SURE * standard_error(gained, self.horizon)

    # Use

    @torch.no_grad()
    def predict(self, part: Part, before: str) -> Array:
        """The forecasts (n, K), in the series' units, after the windows of ``part``, in the order of their series."""
        self.model.eval()
        lines = self.forecast_by_lines(part, before)

        def forecast_of(rows: NDArray[np.int64]) -> Array:
            chosen = part.series[rows]
            line = torch.from_numpy(lines[rows]).to(next(self.model.parameters()))
            if any(self.model.shares):
                self.measured(chosen)
                added, beside = self.model.parts(self.contexts(part.taken(rows)).unsqueeze(1))[:, 0].mT  # (n, K) each
                own, other = self.model.shares
                line = line + own * added + other * (beside - line)
            return line.double().cpu().numpy() * self.scale[chosen, None] + self.shift[chosen, None]

        return np.concatenate(ranks().share(self._rows(part), forecast_of))

    def fed_back(self, ends: Mapping[int, Array], steps: int) -> dict[int, Array]:
        """The forecasts (steps,) after the last values of some series, ``ends`` by number, fed back beyond the horizon.

        The lines are those fitted to all values.
        """
        chosen, nothing = np.array(sorted(ends), dtype=np.int64), np.empty(0)
        forecasts: list[Array] = []
        while sum(made.shape[1] for made in forecasts) < steps:
            rows = [ends.get(i, nothing) for i in range(len(self.panel))]
            lengths = np.array([len(row) for row in rows])
            going_on = self.going_on(Columns(np.concatenate(rows), lengths))
            made = going_on.predict(Part(chosen, lengths[chosen]), "all")
            ends = {i: np.concatenate([ends[i], row]) for i, row in zip(chosen.tolist(), made, strict=True)}
            forecasts.append(made)
        return dict(zip(chosen.tolist(), np.concatenate(forecasts, axis=1)[:, :steps], strict=True))

    @torch.no_grad()
    def spreads(self, part: Part, mean: Array, wanted: Array) -> tuple[Array, Array]:
        """The spread (n, K) of what follows the windows of ``part``, and its quantiles, as the network says.

        In the units of the series, around forecasts ``mean`` (n, K): see :meth:`NetworkOnLine.distribution`.
        """
        self.model.eval()
        found = []
        for rows in self._rows(part):
            chosen = part.series[rows]
            self.measured(chosen)
            x = self.contexts(part.taken(rows)).unsqueeze(1)
            shift, scale = (x.new_tensor(one[chosen]) for one in (self.shift, self.scale))
            centre = (mean[rows] - self.shift[chosen, None]) / self.scale[chosen, None]
            spread, quantiles = self.model.distribution(x, x.new_tensor(centre).T[None], shift, scale, wanted)
            found.append((spread[0].T * self.scale[chosen, None], quantiles[:, 0].mT))
        return np.concatenate([spread for spread, _ in found]), np.concatenate([made for _, made in found], axis=1)

    def _rows(self, part: Part) -> list[NDArray[np.int64]]:
        return np.array_split(np.arange(len(part)), self._chunks(len(part)))
