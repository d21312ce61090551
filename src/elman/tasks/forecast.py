"""Forecasting: from the values up to now to the next ones.

Two shapes of training. ``targets="last"``, many-to-one: a context of values, then the ``horizon`` values after it.
``targets="every"``, sequence-to-sequence: after every step of the context the ``horizon`` values that follow it.
A stateful network reads the series in order and carries its state from one window to the next, cut off from
the gradient; one that is not begins every window at zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from elman.data import Scaler, Series, split_windows, windows
from elman.data.series.scaling import KINDS
from elman.errors import DataError
from elman.layers import Recurrent
from elman.tasks import contract

EVALUATED_AT_ONCE = 4096  # windows in a forward pass without gradient
CHUNKS_PER_STREAM = 8  # a stateful batch has fewer rows rather than streams of fewer windows


class ForecastConfig(BaseModel):
    """What is forecast from what. Counts are in steps of the series.

    >>> ForecastConfig(context=50, split=(80, 0, 20)).horizon
    1
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    context: int = Field(24, ge=1, description="values the network reads before it forecasts")
    horizon: int = Field(1, ge=1, description="values it forecasts at once")
    split: tuple[float, float, float] = Field((70, 10, 20), description="per cent for training, validation, test")
    scaler: str = Field("standard", description="of the values: standard, minmax, none or differences")
    targets: Literal["last", "every"] = Field(
        "last", description="last: forecast after the context; every: after each step"
    )
    stateful: bool = Field(False, description="carry the state from window to window")
    season: int = Field(0, ge=0, description="steps in a season, for the seasonal naive baseline; 0: no season")

    @field_validator("scaler")
    @classmethod
    def _known_scaler(cls, kind: str) -> str:
        if kind not in KINDS:
            raise ValueError(f"got {kind!r}, want one of {', '.join(KINDS)}")
        return kind


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


def detached(state: Any) -> Any:
    """``state`` cut off from the gradient, whatever its form."""
    return state.detach() if isinstance(state, Tensor) else tuple(detached(part) for part in state)


@dataclass(frozen=True)
class Batch:
    """``inputs`` (T, B, C) and ``targets`` (B, horizon, C), or (T, B, horizon, C) for every step, scaled."""

    inputs: Tensor
    targets: Tensor
    fresh: bool = True  # begins at state zero


class Forecast:
    """A network, a series and the way one is trained on the other: what :func:`elman.training.fit` takes."""

    name = "forecast"

    def __init__(self, model: ForecastNetwork, series: Series, config: ForecastConfig, batch: int, scaler: Scaler):
        self.model = model
        self.series = series
        self.config = config
        self.batch = batch
        self.scaler = scaler
        self.split = split_windows(len(series), config.context, config.horizon, config.split)
        self.z = self._scaled(series)
        self._carried: Any = None

    @staticmethod
    def fit_scaler(series: Series, config: ForecastConfig) -> Scaler:
        """The scaler of a series, fitted on its training values alone."""
        split = split_windows(len(series), config.context, config.horizon, config.split)
        return Scaler.fit(series.values[: split.last_training_value], config.scaler)

    def _scaled(self, series: Series) -> Tensor:
        z = torch.from_numpy(self.scaler.transform(series.values)).to(next(self.model.parameters()))
        if not torch.isfinite(z).all():
            row = int((~torch.isfinite(z)).any(dim=1).nonzero()[0])
            raise DataError(
                f"{series.source}: value {row} (counted from 0) is too large to compute with; mend or scale it"
            )
        return z

    # What a batch is

    def describe_batch(self) -> tuple[contract.Field, ...]:
        """Inputs and targets of a training batch."""
        every = self.config.targets == "every"
        return (
            contract.Field("inputs", "T B C", "scaled values of the context"),
            contract.Field("targets", "T B K C" if every else "B K C", "the scaled values that follow"),
        )

    def batch_sizes(self) -> Mapping[str, int]:
        """T context, B batch, C columns, K horizon."""
        config = self.config
        return {"T": config.context, "B": self.batch, "C": self.series.values.shape[1], "K": config.horizon}

    # Training: the Trainable contract

    def batch_count(self) -> int:
        """How many batches an epoch has."""
        if self.config.stateful:
            return self._streams()[1]
        return -(-len(self.split.train) // self.batch)

    def batches(self, generator: torch.Generator) -> Iterator[Batch]:
        """One epoch: windows in random order, or, stateful, streams in their own."""
        self.z = self.z.to(next(self.model.parameters()).device)
        return self._stream_batches(generator) if self.config.stateful else self._window_batches(generator)

    def loss(self, batch: Batch) -> Tensor:
        """Mean squared error of the scaled forecasts."""
        state = None if batch.fresh else self._carried
        prediction, state = self.model(batch.inputs, state, last=self.config.targets == "last")
        if self.config.stateful:
            self._carried = detached(state)
        return mse_loss(prediction if self.config.targets == "every" else prediction[-1], batch.targets)

    def validate(self) -> float | None:
        """Mean squared error on the validation windows, scaled; None where there are none."""
        if not self.split.validation:
            return None
        prediction = self.predict(self.split.validation)
        _, targets = self._windows(every=False)
        return mse_loss(prediction, targets[self.split.validation.start : self.split.validation.stop]).item()

    def _windows(self, every: bool) -> tuple[Tensor, Tensor]:
        return windows(self.z, self.config.context, self.config.horizon, every)

    def _window_batches(self, generator: torch.Generator) -> Iterator[Batch]:
        every = self.config.targets == "every"
        inputs, targets = self._windows(every)
        for index in torch.randperm(len(self.split.train), generator=generator).split(self.batch):
            index = index.to(self.z.device)
            chosen = targets[index]
            yield Batch(inputs[index].transpose(0, 1), chosen.transpose(0, 1) if every else chosen)

    def _streams(self) -> tuple[int, int, int]:
        """How many streams the training part is cut into, windows in each, and positions that may begin one."""
        context = self.config.context
        # Positions whose next values are all training targets; the first of them moves with each epoch.
        positions = self.split.last_training_value - self.config.horizon
        usable = max(positions - (context - 1), context)
        rows = max(1, min(self.batch, usable // (context * CHUNKS_PER_STREAM)))
        return rows, usable // rows // context, positions

    def _stream_batches(self, generator: torch.Generator) -> Iterator[Batch]:
        context, every = self.config.context, self.config.targets == "every"
        rows, count, positions = self._streams()
        length = count * context
        free = positions - rows * length
        start = int(torch.randint(min(free, context - 1) + 1, (), generator=generator))
        inputs, targets = self._windows(every)
        firsts = start + length * torch.arange(rows, device=self.z.device)
        for k in range(count):
            index = firsts + k * context
            chosen = targets[index]
            yield Batch(inputs[index].transpose(0, 1), chosen.transpose(0, 1) if every else chosen, fresh=k == 0)

    # Use

    @torch.no_grad()
    def predict(self, part: range) -> Tensor:
        """The scaled forecasts (n, horizon, C) after the context of each window of ``part``."""
        self.model.eval()
        self.z = self.z.to(next(self.model.parameters()).device)
        if self.config.stateful:
            # Read once from the beginning, the state carried; window w ends at value w + context - 1.
            first = part.start + self.config.context - 1
            prediction, _ = self.model(self.z[: first + len(part)].unsqueeze(1))
            return prediction[first:, 0]
        inputs, _ = self._windows(every=False)
        chosen = inputs[part.start : part.stop].split(EVALUATED_AT_ONCE)
        return torch.cat([self.model(rows.transpose(0, 1), last=True)[0][-1] for rows in chosen])

    @torch.no_grad()
    def continue_series(self, series: Series, steps: int) -> Tensor:
        """The scaled closed-loop forecast (steps, C) after the end of ``series``: each prediction is fed back."""
        if len(series) < self.config.context:
            raise DataError(
                f"{series.source}: {len(series)} values are fewer than the context of {self.config.context}; give more"
            )
        self.model.eval()
        z = self._scaled(series).unsqueeze(1)
        loop = self._carry_on(z) if self.config.stateful else self._slide_on(z)
        return torch.cat(list(_until(loop, steps)))[:steps]

    def _carry_on(self, z: Tensor) -> Iterator[Tensor]:
        prediction, state = self.model(z)
        while True:
            yield prediction[-1, 0]
            prediction, state = self.model(prediction[-1, 0].unsqueeze(1), state)

    def _slide_on(self, z: Tensor) -> Iterator[Tensor]:
        while True:
            z = z[-self.config.context :]
            prediction, _ = self.model(z, last=True)
            yield prediction[-1, 0]
            z = torch.cat([z, prediction[-1, 0].unsqueeze(1)])


def _until(parts: Iterable[Tensor], count: int) -> Iterator[Tensor]:
    """Parts until they hold ``count`` rows together."""
    for part in parts:
        yield part
        count -= len(part)
        if count <= 0:
            return
