"""A trained network fed value by value: each result as soon as its value has come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from elman.errors import ShapeError
from elman.stepping.flat import Flat
from elman.stepping.interpret import Interpreted
from elman.stepping.model import Array, Model, Standing

Engine = Callable[[Flat], Any]


class Stream:
    """Streams of one :class:`Model`, ``rows`` of them side by side, each with its own state.

    :meth:`push` takes the next value of each and gives what the network says then. ``dtype`` None computes as the
    network was trained, in float32.
    """

    def __init__(self, model: Model, rows: int = 1, dtype: torch.dtype | None = None) -> None:
        if rows < 1:
            raise ShapeError(f"rows: got {rows}, want 1 or more")
        self.model, self.rows = model, rows
        self.networks = [Interpreted(flat, dtype) for flat in model.networks]
        self.reset()

    def reset(self, rows: Sequence[int] | None = None) -> None:
        """Begin anew, all streams or those of ``rows``."""
        chosen = list(range(self.rows) if rows is None else rows)
        fresh = [network.initial(self.rows) for network in self.networks]
        if rows is None:
            self.state = fresh
            self.count = np.zeros(self.rows, dtype=np.int64)
            self.window = np.zeros((self.rows, self.model.context + 1, len(self.model.columns)))
            return
        for old, new in zip(self.state, fresh, strict=True):
            for part, begin in zip(old, new, strict=True):
                part[chosen] = begin[chosen]
        self.count[chosen], self.window[chosen] = 0, 0.0

    def push(self, value: Any) -> Any:
        """What the network says once ``value`` has come: for one stream a number, the numbers of the columns (C,), or a
        symbol; for several one a row.

        Of a forecast (horizon, C), or None until ``context`` values have come; of a text the scores (V,) of what
        follows; of a class the probabilities (K,). With several streams (rows, ...), and NaN for None.
        Raises :class:`ShapeError` for a value of another shape, a number that is not finite, or no symbol.
        """
        found = self._read_symbol(value) if self.model.tokens else self._read_values(value)
        if self.rows > 1:
            return found
        return None if np.isnan(found).any() else found[0]

    def _read_symbol(self, value: Any) -> Array:
        symbols = np.asarray(value).reshape(-1)
        known = len(self.model.tokens)
        if symbols.shape != (self.rows,) or symbols.dtype.kind not in "iu":
            raise ShapeError(f"value: got {value!r}, want the number of a symbol for each of {self.rows} streams")
        if (symbols < 0).any() or (symbols >= known).any():
            raise ShapeError(f"value: got {value!r}, and symbols are numbers from 0 to {known - 1}")
        inputs = {"symbol": torch.from_numpy(symbols.astype(np.int64))}
        outputs, self.state[0] = self.networks[0](inputs, self.state[0])
        return self.said(outputs)

    def said(self, outputs: dict[str, torch.Tensor]) -> Array:
        """What the network says, of what its step gives (rows, n): of classes the probabilities."""
        (found,) = outputs.values()
        made = found.double().numpy()
        if self.model.classes:
            scores = (made - self.model.prior) / self.model.temperature
            made = np.exp(scores - scores.max(1, keepdims=True))
            made = made / made.sum(1, keepdims=True)
        return made

    def _read_values(self, value: Any) -> Array:
        model, columns = self.model, len(self.model.columns)
        values = np.asarray(value, dtype=np.float64).reshape(self.rows, -1)
        if values.shape[1] != columns:
            raise ShapeError(
                f"value: got {values.shape[1]} numbers a stream, want {columns}: {', '.join(model.columns)}"
            )
        if not np.isfinite(values).all():
            raise ShapeError(f"value: got {value!r}, want finite numbers")
        before = self.window[:, -1]
        self.window = np.concatenate([self.window[:, 1:], values[:, None]], 1)
        first = self.count == 0
        if model.differences:
            before = np.where(first[:, None], values, before)
        self.count += 1
        if model.task == "classify":
            return self._carried((values - model.shift) / model.scale)
        if model.context:
            found = np.full((self.rows, model.horizon, columns), np.nan)
            ready = self.count >= model.context
            if ready.any():
                found[ready] = self._forecast(self.window[ready], self.count[ready])
            return found
        z = (values - before if model.differences else values - model.shift) / model.scale
        made = self._carried(z).reshape(self.rows, -1, columns) * model.scale
        return values[:, None] + made.cumsum(1) if model.differences else made + model.shift

    def _carried(self, z: Array) -> Array:
        outputs, self.state[0] = self.networks[0]({"x": torch.from_numpy(z)}, self.state[0])
        return self.said(outputs)

    def _forecast(self, window: NDArray, count: NDArray) -> Array:
        """Forecasts (rows, horizon, C) after ``window`` (rows, context + 1, C), of ``count`` values so far."""
        model = self.model
        made: list[Array] = []
        while sum(part.shape[1] for part in made) < model.horizon:
            part = self._at_once(window, count)
            made.append(part)
            keep = window.shape[1]
            window, count = np.concatenate([window, part], 1)[:, -keep:], count + part.shape[1]
        return np.concatenate(made, 1)[:, : model.horizon]

    def _at_once(self, window: Array, count: NDArray) -> Array:
        model = self.model
        if model.standing is not None:
            return self._on_line(window[:, 1:], model.standing)
        if model.differences:
            z = np.diff(window, axis=1)
            z[count == model.context, 0] = 0.0
        else:
            z = window[:, 1:] - model.shift
        output = self._through(self.networks[0], torch.from_numpy(z / model.scale).transpose(0, 1))["forecast"]
        made = output.double().numpy().reshape(len(window), -1, len(model.columns)) * model.scale
        return window[:, -1:] + made.cumsum(1) if model.differences else made + model.shift

    def _through(self, network: Interpreted, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """The outputs after the last step of x (T, rows, n), from the beginning."""
        state, outputs = network.initial(x.shape[1]), dict[str, torch.Tensor]()
        for step in x:
            outputs, state = network({"x": step}, state)
        return outputs

    def _on_line(self, window: Array, s: Standing) -> Array:
        """Forecasts (rows, K, C) of a network on a line after ``window`` (rows, context, C)."""
        model, rows = self.model, len(window)
        last = window[:, window.shape[1] - s.weights.shape[3] :]
        line = s.share[0] * (np.einsum("ckr,brc->bkc", s.weights[0], last) + s.biases[0].T)
        if s.share[1].any():
            logs = np.einsum("ckr,brc->bkc", s.weights[1], np.log(np.maximum(last, s.floor))) + s.biases[1].T
            line = line + s.share[1] * np.exp(np.minimum(logs, s.largest))
        if not self.networks:
            return line
        z = (window - model.shift) / model.scale
        used = z[:, z.shape[1] - model.steps * s.segment :]
        level = used[:, -1:]
        spread = np.sqrt(((used - level) ** 2).mean(1) + (s.spread_floor * s.spread) ** 2)  # (rows, C)
        size = spread / s.spread
        both = np.stack([(used - level) / spread[:, None], used.clip(-s.furthest, s.furthest)], -1)
        cut = both.reshape(rows, model.steps, s.segment, len(model.columns), 2).transpose(1, 0, 3, 4, 2)
        shape = (model.steps, rows, len(model.columns), 1)
        read = np.concatenate([cut.reshape(*shape[:3], -1), np.broadcast_to(np.log(size)[None, ..., None], shape)], -1)
        x = torch.from_numpy(read.reshape(model.steps, -1, read.shape[-1]))
        parts = np.mean([self._through(network, x)["both"].double().numpy() for network in self.networks], 0)
        own = parts.reshape(rows, len(model.columns), 2, -1).transpose(2, 0, 3, 1) * s.units[:, None, None]
        own = own * size[:, None]
        straight = (line - model.shift) / model.scale
        beside = z[:, -1:] + own[1]
        return (straight + s.gain[0] * own[0] + s.gain[1] * (beside - straight)) * model.scale + model.shift
