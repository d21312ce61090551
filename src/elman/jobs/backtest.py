"""Backtesting: forecasts from one origin after another, each from what stands before it, and how good they were."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.choices.forecast import LEVELS
from elman.data import Series, read_series
from elman.errors import DataError, ElmanError
from elman.jobs.baselines import baselines, verdict
from elman.jobs.forecaster import Forecaster
from elman.jobs.shown import forecast as shown
from elman.metrics import Bounds, interval_scores, mase, pinball, scores

Array = NDArray[np.float64]

LAST_PART = 5  # unless told, the origins lie in the last fifth of the values
VALIDATED = 10  # per cent of what stands before an origin
DECILES = tuple(float(level) for level in range(10, 100, 10))  # levels whose bounds are the quantiles of a forecast


@dataclass(frozen=True)
class Backtest:
    """Forecasts from n origins, beside the truth and the plain forecasts.

    Forecasts and truth are (n, K, C), in the units of the series.

    ``origins`` (n,) are the indices of the first value that each forecasts; ``intervals`` hold the bounds
    (n, K, C) of each level; ``season`` is that of the series, 0 where it has none; ``every`` counts the
    steps from one origin to the next.
    """

    series: Series
    origins: NDArray[np.int64]
    prediction: Array
    truth: Array
    intervals: Mapping[float, Bounds]
    plain: Mapping[str, Array]
    season: int
    every: int
    refitted: bool

    def scores(self) -> dict[str, Any]:
        """Score the network, every plain forecast and the intervals, with a verdict.

        ``mase`` is a mean over origins, each scaled by what stands before it; ``crps`` twice the mean pinball loss over
        the deciles.
        """
        of_plain = {name: self._scores(other) for name, other in self.plain.items()}
        quantiles = [q for level in DECILES for q in (0.5 - level / 200, 0.5 + level / 200)]
        bounds = [bound for level in DECILES for bound in self.intervals[level]]
        losses = [pinball(bound, self.truth, q) for bound, q in zip(bounds, quantiles, strict=True)]
        return {
            "task": "backtest",
            "origins": len(self.origins),
            "horizon": self.truth.shape[1],
            "season": self.season,
            "refitted": self.refitted,
            "test": self._scores(self.prediction),
            "baselines": of_plain,
            "verdict": verdict(self.prediction, self.truth, self.plain, self.every),
            "pinball": float(np.mean(losses)),
            "crps": 2 * float(np.mean([*losses, pinball(self.prediction, self.truth, 0.5)])),
            "intervals": interval_scores(self.truth, {level: self.intervals[level] for level in LEVELS}),
            "by_origin": self._by_origin(),
        }

    @staticmethod
    def words(result: Mapping[str, Any]) -> list[str]:
        """What :meth:`scores` gave, as a table."""
        return [*shown.words(result), f"CRPS {result['crps']:.5g}"]

    def draw(self, path: str | Path) -> Path:
        """Draw non-overlapping forecasts beside the truth; return the .png or .svg file."""
        return shown.draw_backtest(self, Path(path))

    def _scores(self, prediction: Array) -> dict[str, float]:
        scaled = [self._mase(prediction, i) for i in range(len(self.origins))]
        errors = scores(prediction, self.truth)
        return errors | ({"mase": float(np.mean(scaled))} if np.isfinite(scaled).all() else {})

    def _mase(self, prediction: Array, i: int) -> float:
        history = self.series.values[: self.origins[i]]
        return mase(prediction[[i]], self.truth[[i]], history, max(self.season, 1))

    def _by_origin(self) -> list[dict[str, Any]]:
        rows = []
        for i, origin in enumerate(self.origins.tolist()):
            row: dict[str, Any] = {"origin": origin}
            if self.series.times is not None:
                row["date"] = self.series.written(self.series.times[origin : origin + 1])[0]
            rows.append(row | scores(self.prediction[[i]], self.truth[[i]]))
        return rows

    def table(self, levels: tuple[float, ...] = LEVELS) -> dict[str, list[Any]]:
        """Return every forecast as columns of a table.

        Series, origin, step, date (if there are dates), truth, mean, bounds.
        """
        n, steps, columns = self.truth.shape
        at = self.origins[:, None] + np.arange(steps)
        dates = None if self.series.times is None else self.series.written(self.series.times)
        columns_of: dict[str, list[Any]] = {
            "series": [name for name in self.series.names for _ in range(n * steps)],
            "origin": np.tile(np.repeat(self.origins, steps), columns).tolist(),
            "step": list(range(1, steps + 1)) * (n * columns),
        }
        if dates is not None:
            columns_of["date"] = [dates[i] for i in at.ravel()] * columns

        def flat(values: Array) -> list[float]:
            return values.transpose(2, 0, 1).ravel().tolist()

        columns_of |= {"truth": flat(self.truth), "mean": flat(self.prediction)}
        for level in levels:
            for end, bound in zip(("lower", "upper"), self.intervals[level], strict=True):
                columns_of[f"{end}_{level:g}"] = flat(bound)
        return columns_of


def backtest(
    data: Any,
    horizon: int = 1,
    *,
    first: int | None = None,
    every: int = 1,
    refit: bool = False,
    more: bool = False,
    report: Callable[[int, int], None] | None = None,
    reading: Mapping[str, Any] | None = None,
    **choices: Any,
) -> Backtest:
    """Forecast from many past origins, each from its own past.

    ``horizon`` steps from value ``first`` on (unless told, the last fifth), then from every ``every``-th.

    ``choices`` are those of :class:`Forecaster`, ``reading`` those of :func:`elman.read_series`. The network, its
    scaler, its lines and whatever it finds in the data know only what stands before the first origin, or, with
    ``refit``, before each: then it is trained anew at every one. With ``more``, AutoETS and AutoTheta stand beside the
    plain forecasts. ``report`` is told how many origins are done, of how many. Raises :class:`DataError` for origins
    that leave nothing to learn from or to compare with.

    >>> found = backtest("wave:sine", 5, first=900, every=50, hidden=4, epochs=1, context=20)
    >>> found.prediction.shape
    (2, 5, 1)
    """
    if "split" in choices:
        raise ElmanError("`split`: a backtest has no split, each origin has its past; leave it out")
    series = read_series(data, **(reading or {}))
    origins = _origins(len(series), horizon, first, every)
    groups = np.split(origins, len(origins)) if refit else [origins]  # each forecast by a network of its own
    predictions: list[Array] = []
    around: list[dict[float, Bounds]] = []
    plain: list[dict[str, Array]] = []
    season = 0
    for group in groups:
        forecaster = Forecaster(horizon=horizon, split=(100 - VALIDATED, VALIDATED, 0), **choices)
        forecaster.fit(series.before(int(group[0])))
        if not plain:  # the first one's, for all scores and baselines
            season = forecaster.config.season or 0
        for origin in group:
            predictions.append(forecaster.predict(horizon, series.before(int(origin))).values)
            if report is not None:
                report(len(predictions), len(origins))
        made = np.stack(predictions[-len(group) :])
        around.append(forecaster.intervals(series, group, made, [*DECILES, *LEVELS]))
        plain.append(baselines(series.values, group, horizon, season, more))
    return Backtest(
        series,
        origins,
        np.stack(predictions),
        series.values[origins[:, None] + np.arange(horizon)],
        {level: joined_bounds(around, level) for level in around[0]},
        _joined(plain),
        season,
        every,
        refit,
    )


def joined_bounds(groups: Sequence[Mapping[float, Bounds]], level: float) -> Bounds:
    """The bounds of a level, one group after the other."""
    lower, upper = (np.concatenate([group[level][end] for group in groups]) for end in (0, 1))
    return lower, upper


def _joined(batches: Sequence[Mapping[Any, Array]]) -> dict[Any, Array]:
    """The arrays of each name, one after the other."""
    return {name: np.concatenate([part[name] for part in batches]) for name in batches[0]}


def _origins(length: int, horizon: int, first: int | None, every: int) -> NDArray[np.int64]:
    check_steps(horizon=horizon, every=every)
    begin = first_origin(length, first)
    if begin < 2 or begin + horizon > length:
        raise DataError(
            f"`first`: the first origin has {begin} of {length} values before it, and {horizon} are compared; "
            f"want 2 to {length - horizon} before it"
        )
    return np.arange(begin, length - horizon + 1, every)


def first_origin(length: int, first: int | None) -> int:
    """Where the first forecast of a series of ``length`` values begins, unless told."""
    return length - length // LAST_PART if first is None else first


def check_steps(**counts: int) -> None:
    """Raise :class:`DataError` for a count of steps below 1."""
    for name, value in counts.items():
        if value < 1:
            raise DataError(f"`{name}`: got {value}, want 1 at least")
