"""What is known ahead explains a part of a series: it is taken out first, and restored in the forecasts.

A series is ``rest + X b`` or, with effects in proportion, ``rest * exp(X b)``: a regression whose errors are a series
of their own. The errors follow the values before them, so the coefficients are fitted to what an autoregression leaves
of both sides, in turns with the autoregression itself (Cochrane & Orcutt 1949).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.errors import DataError
from elman.linear.ridge import Ridge

Array = NDArray[np.float64]
LAGS = (1, 2, 3)  # of the autoregression; and a season, and one more
STRENGTHS = (1e-4, 1e-3)  # of the ridges of the autoregression and of the coefficients
TURNS = 4
FOLDS, FOLD = 4, 0.1  # rolling origins at the end of what is known, each of a tenth of the values
FEWEST = 24  # values that a coefficient can be told from
VALUES_A_NUMBER = 3  # for each coefficient
MOST = 20_000  # values, the last ones
LEAST_GAIN = 0.002  # of the mean squared error, for a covariate to be used


@dataclass(frozen=True)
class Adjustment:
    """The effects of covariates on one series.

    ``coefficients`` (P,) of each covariate's columns, which are measured from their ``means`` (P,). With
    ``multiplies`` the effect is a factor, else a summand. ``gain`` is how much smaller the mean squared error one step
    ahead became on rolling origins; ``share`` for how many usual series others counted, of many
    (:mod:`elman.linear.pooled`).
    """

    multiplies: bool = False
    coefficients: Mapping[str, Sequence[float]] = field(default_factory=dict)
    means: Mapping[str, Sequence[float]] = field(default_factory=dict)
    gain: float = 0.0
    share: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.coefficients)

    @classmethod
    def choose(cls, values: Array, covariates: Mapping[str, Array], season: int = 0) -> Adjustment:
        """Those of ``covariates``, (N, P) each by name, that help to forecast ``values`` (N,), and their effects.

        One after the other the covariate that lowers the error most is taken, one step ahead of rolling origins, while
        it does so by 0.2 %. Effects are factors where every value is above 0 and their errors are smaller so.

        >>> promotion = (np.arange(90) % 11 == 0) * 1.0
        >>> sales = 20 + np.sin(np.arange(90)) + 5 * promotion
        >>> found = Adjustment.choose(sales, {"promotion": promotion[:, None]})
        >>> round(found.coefficients["promotion"][0], 2)
        5.0
        """
        values = np.asarray(values, dtype=np.float64)[-MOST:]
        usable = {name: x[-len(values) :] for name, x in covariates.items() if len(values) and np.ptp(x, axis=0).any()}
        found: list[tuple[float, Adjustment]] = []
        for multiplies in (False, True) if (values > 0).all() else (False,):
            trial = _Trial(values, season, multiplies)
            names, error, without = trial.forward(usable)
            if names:
                found.append((error, trial.fitted({name: usable[name] for name in names}, 1 - error / without)))
        return min(found, key=lambda one: one[0])[1] if found else cls()

    def effect(self, covariates: Mapping[str, Array]) -> Array:
        """Return the effect (M,) of ``covariates``, (M, P) each.

        It is the logarithm of a factor where it multiplies.
        """
        parts = [
            (np.asarray(covariates[name]) - np.asarray(self.means[name])) @ np.asarray(b)
            for name, b in self.coefficients.items()
        ]
        return np.asarray(sum(parts))

    def without(self, values: Array, effect: Array) -> Array:
        """What is left of ``values`` without their ``effect``, in the same shape."""
        return values * np.exp(-effect) if self.multiplies else values - effect

    def restored(self, rest: Array, effect: Array) -> Array:
        """Undo :meth:`without`."""
        return rest * np.exp(effect) if self.multiplies else rest + effect

    def factor(self, effect: Array) -> Array:
        """What a distance between values becomes when the effect is given back."""
        return np.exp(effect) if self.multiplies else np.ones_like(effect)

    def to_dict(self) -> dict[str, Any]:
        """The adjustment as what JSON can hold."""
        lists = {
            name: {key: list(map(float, row)) for key, row in getattr(self, name).items()}
            for name in ("coefficients", "means")
        }
        return {"multiplies": self.multiplies, "gain": self.gain, "share": self.share} | lists

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Adjustment:
        """Read what :meth:`to_dict` wrote.

        Raises :class:`DataError` if it is no adjustment.
        """
        try:
            gain, share = float(facts["gain"]), float(facts["share"])
            made = cls(bool(facts["multiplies"]), facts["coefficients"], facts["means"], gain, share)
            sizes = {name: (len(row), len(made.means[name])) for name, row in made.coefficients.items()}
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"effects of covariates that cannot be read: {error!r}") from error
        if any(own != other for own, other in sizes.values()):
            raise DataError(f"effects of covariates that cannot be read: {sizes} coefficients and means")
        return made


class _Trial:
    """Rolling origins one step ahead, the same for every choice of covariates."""

    def __init__(self, values: Array, season: int, multiplies: bool):
        self.values, self.multiplies = values, multiplies
        self.seen = np.log(values) if multiplies else values
        n = len(values)
        size = max(1, int(n * FOLD))
        self.folds = [(n - size * k, n - size * (k - 1)) for k in range(FOLDS, 0, -1)]
        self.lags = lags_of(self.folds[0][0], season)
        self.season = 0 if season in self.lags else season  # what no lag follows
        self.enough = self.folds[0][0] >= FEWEST

    def forward(self, covariates: Mapping[str, Array]) -> tuple[list[str], float, float]:
        """The names of the covariates that help, the mean squared error with them, and the one without any."""
        chosen: list[str] = []
        least = without = self._error([]) if self.enough else 0.0
        while self.enough and len(chosen) < len(covariates):
            errors = {
                name: self._error([covariates[one] for one in (*chosen, name)])
                for name in covariates
                if name not in chosen
            }
            best = min(errors, key=lambda name: errors[name])
            if not errors[best] < (1 - LEAST_GAIN) * least:
                break
            chosen.append(best)
            least = errors[best]
        return chosen, least, without

    def fitted(self, covariates: Mapping[str, Array], gain: float) -> Adjustment:
        """The effects of ``covariates`` in all values."""
        x = np.concatenate(list(covariates.values()), axis=1)
        seen = self.seen[:, None] - phase_means(self.seen[:, None], self.season)
        coefficients = _effects(seen[:, 0], x - phase_means(x, self.season), self.lags)[0]
        cuts = np.cumsum([columns.shape[1] for columns in covariates.values()])[:-1]
        parts = dict(zip(covariates, np.split(coefficients, cuts), strict=True))
        means = {name: columns.mean(axis=0) for name, columns in covariates.items()}
        return Adjustment(
            self.multiplies,
            {name: row.tolist() for name, row in parts.items()},
            {name: row.tolist() for name, row in means.items()},
            gain,
        )

    def _error(self, covariates: Sequence[Array]) -> float:
        x = np.concatenate(covariates, axis=1) if covariates else np.zeros((len(self.seen), 0))
        if x.shape[1] * VALUES_A_NUMBER > self.folds[0][0]:
            return np.inf
        errors = []
        for start, stop in self.folds:
            seen = self.seen[:, None] - phase_means(self.seen[:, None], self.season, start)
            b, a, bias = _effects(seen[:start, 0], (x - phase_means(x, self.season, start))[:start], self.lags)
            made = one_step_ahead(self.seen, x @ b, (a, bias), self.lags, self.season, start, stop)
            with np.errstate(over="ignore"):
                errors.append(np.square((np.exp(made) if self.multiplies else made) - self.values[start:stop]))
        return float(np.concatenate(errors).mean())


def phase_means(columns: Array, season: int, known: int | None = None) -> Array:
    """The mean of each row's phase of the ``season`` over the first ``known`` rows of ``columns`` (N, P), (N, P).

    Without it a covariate that is high in the same months as the series would seem to explain them. 0 without a season.

    >>> phase_means(np.array([[1.0], [5.0], [3.0], [7.0]]), season=2).ravel().tolist()
    [2.0, 6.0, 2.0, 6.0]
    """
    if not season:
        return np.zeros_like(columns)
    phase, rows = np.arange(len(columns)) % season, len(columns) if known is None else known
    sums = np.zeros((season, columns.shape[1]))
    np.add.at(sums, phase[:rows], columns[:rows])
    counts = np.bincount(phase[:rows], minlength=season)
    return (sums / np.maximum(counts, 1)[:, None])[phase]


def lags_of(length: int, season: int, values_a_lag: int = 3) -> list[int]:
    """The lags of an autoregression of ``length`` values, none more than a share of them."""
    wanted = {*LAGS, *((season, season + 1) if season else ())}
    return [lag for lag in sorted(wanted) if lag * values_a_lag <= length] or [1]


def _effects(values: Array, x: Array, lags: Sequence[int]) -> tuple[Array, Array, float]:
    """The coefficients (P,) of ``x`` (N, P) in ``values`` (N,), and those of the autoregression of the rest: (lags,)
    and its bias."""
    b = np.zeros(x.shape[1])
    spread = x.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    now, before = lagged(values[:, None], lags)
    x_now, x_before = lagged(x, lags)
    for _ in range(TURNS if x.shape[1] else 1):
        a, bias = autoregression(now[:, 0] - x_now @ b, before[..., 0] - x_before @ b)
        if x.shape[1]:
            left = (x_now - np.einsum("nlp,l->np", x_before, a)) / spread
            b = Ridge(left, now - np.einsum("nlc,l->nc", before, a)).solve(STRENGTHS[1])[0][0] / spread
    return b, a, bias


def autoregression(now: Array, before: Array) -> tuple[Array, float]:
    """The coefficients (lags,) of what stood ``before`` (n, lags) in what is ``now`` (n,), and the bias."""
    coefficients, bias = Ridge(before, now[:, None]).solve(STRENGTHS[0])
    return coefficients[0], float(bias[0])


def one_step_ahead(
    seen: Array,
    effect: Array,
    line: tuple[Array, float | None],
    lags: Sequence[int],
    season: int,
    start: int,
    stop: int,
) -> Array:
    """Forecasts of ``seen`` (N,) from ``start`` to ``stop``, each one step ahead, with its ``effect`` (N,).

    By a ``line`` of coefficients and bias, of what stands ``lags`` before; no bias is that of the values before
    ``start``.
    """
    a, bias = line
    rest = (seen - effect)[:, None]
    usual = phase_means(rest, season, start)
    if bias is None:
        now, before = lagged((rest - usual)[:start], lags)
        bias = float((now[:, 0] - before[..., 0] @ a).mean())
    _, before = lagged((rest - usual)[start - lags[-1] : stop], lags)
    return before[..., 0] @ a + bias + usual[start:stop, 0] + effect[start:stop]


def lagged(columns: Array, lags: Sequence[int]) -> tuple[Array, Array]:
    """``columns`` (N, P) from the longest of ``lags`` on, (n, P), and what stood each lag before, (n, lags, P)."""
    longest = lags[-1]
    before = [columns[longest - lag : len(columns) - lag] for lag in lags]
    return columns[longest:], np.stack(before, axis=1)
