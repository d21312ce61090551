"""A trained network fed value by value: each result as soon as its value has come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from elman.errors import ShapeError
from elman.stepping.engine import engine
from elman.stepping.interpret import InterpretedStep
from elman.stepping.model import Array, Model, Standing

if TYPE_CHECKING:
    from elman.stepping.kernel import KernelStep


class Stream:
    """Streams of one :class:`Model`, ``rows`` of them side by side, each with its own state.

    :meth:`push` takes the next value of each and gives what the network says then. It is computed by native code, as
    the network was trained, in float32; with ``dtype`` in that, and value by value in torch.
    """

    def __init__(self, model: Model, rows: int = 1, dtype: torch.dtype | None = None) -> None:
        if rows < 1:
            raise ShapeError(f"rows: got {rows}, want 1 or more")
        self.model: Model = model
        self.rows: int = rows
        # A network on a line reads each column as a sequence of its own.
        each = rows * (len(model.columns) if model.standing else 1)
        make = engine if dtype is None else InterpretedStep
        self.networks: list[KernelStep | InterpretedStep] = [make(flat, each, dtype) for flat in model.networks]
        self.reset()

    def reset(self, rows: Sequence[int] | None = None) -> None:
        """Begin anew, all streams or those of ``rows``."""
        chosen = slice(None) if rows is None else list(rows)
        if rows is None:
            self.count = np.zeros(self.rows, dtype=np.int64)
            self.window = np.zeros((self.rows, self.model.context + 1, len(self.model.columns)))
        if not self.model.context:
            for network in self.networks:
                network.reset(chosen)
        self.count[chosen], self.window[chosen] = 0, 0.0

    def push(self, value: Any) -> Any:
        """What the network says once ``value`` has come: for one stream a number, the numbers of the columns (C,), or a
        symbol; for several one a row.

        Of a forecast (horizon, C), or None until ``context`` values have come; of a text the scores (V,) of what
        follows; of a class the probabilities (K,). With several streams (rows, ...), and NaN for None.
        Raises :class:`ShapeError` for a value of another shape, a number that is not finite, or no symbol.
        """
        output = self._read_symbol(value) if self.model.tokens else self._read_values(value)
        if self.rows > 1:
            return output
        return None if np.isnan(output).any() else output[0]

    def _read_symbol(self, value: Any) -> Array:
        symbols = np.asarray(value).reshape(-1)
        known = len(self.model.tokens)
        if symbols.shape != (self.rows,) or symbols.dtype.kind not in "iu":
            raise ShapeError(f"value: got {value!r}, want the number of a symbol for each of {self.rows} streams")
        if (symbols < 0).any() or (symbols >= known).any():
            raise ShapeError(f"value: got {value!r}, and symbols are numbers from 0 to {known - 1}")
        return self._stepped("symbol", symbols)

    def _stepped(self, name: str, value: Any) -> Array:
        (network,) = self.networks
        network.inputs[name][:] = value
        network()
        (output,) = network.outputs.values()
        return self.said(output)

    def said(self, output: NDArray[Any]) -> Array:
        """What the network says, of what its step gives (rows, n): of classes the probabilities."""
        made = output.astype(np.float64)
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
            ready = self.count >= model.context
            if not ready.any():
                return np.full((self.rows, model.horizon, columns), np.nan)
            return np.where(ready[:, None, None], self._forecast(self.window, self.count), np.nan)
        z = (values - before if model.differences else values - model.shift) / model.scale
        made = self._carried(z).reshape(self.rows, -1, columns) * model.scale
        return values[:, None] + made.cumsum(1) if model.differences else made + model.shift

    def _carried(self, z: Array) -> Array:
        return self._stepped("x", z)

    def _forecast(self, window: NDArray[Any], count: NDArray[Any]) -> Array:
        """Forecasts (rows, horizon, C) after ``window`` (rows, context + 1, C), of ``count`` values so far."""
        model = self.model
        made: list[Array] = []
        while sum(part.shape[1] for part in made) < model.horizon:
            part = self._at_once(window, count)
            made.append(part)
            keep = window.shape[1]
            window, count = np.concatenate([window, part], 1)[:, -keep:], count + part.shape[1]
        return np.concatenate(made, 1)[:, : model.horizon]

    def _at_once(self, window: Array, count: NDArray[Any]) -> Array:
        model = self.model
        if model.standing is not None:
            return self._on_line(window[:, 1:], model.standing)
        if model.differences:
            z = np.diff(window, axis=1)
            z[count == model.context, 0] = 0.0
        else:
            z = window[:, 1:] - model.shift
        output = self._through(self.networks[0], (z / model.scale).swapaxes(0, 1))
        made = output.reshape(len(window), -1, len(model.columns)) * model.scale
        return window[:, -1:] + made.cumsum(1) if model.differences else made + model.shift

    @staticmethod
    def _through(network: KernelStep | InterpretedStep, x: Array) -> Array:
        """What comes out after the last step of x (T, rows, n), from the beginning."""
        network.reset()
        for step in x:
            network.inputs["x"][:] = step
            network()
        (output,) = network.outputs.values()
        return output.astype(np.float64)

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
        x = read.reshape(model.steps, -1, read.shape[-1])
        mean = np.mean([self._through(network, x) for network in self.networks], 0)
        own = mean.reshape(rows, len(model.columns), 2, -1).transpose(2, 0, 3, 1) * s.units[:, None, None]
        own = own * size[:, None]
        straight = (line - model.shift) / model.scale
        beside = z[:, -1:] + own[1]
        return (straight + s.gain[0] * own[0] + s.gain[1] * (beside - straight)) * model.scale + model.shift
