"""A forecast that is hard to beat: plain forecasts, each improved by ridge regression, weighed by how they did before.

A *family* is a base (:mod:`elman.linear.bases`) on the values or on their logarithms, alone or with coefficients fitted
by ridge regression to what it leaves. Of each family the best strength of each context is found on rolling origins.
Its six best contexts are averaged, as the best of few horizons is often so by chance: the more horizons were tried, the
more the best of them counts. The families are averaged with the weights MSE ** -2 (Bates & Granger 1969 weigh by
MSE ** -1; the square leans harder on the best), up to MSE ** -4 where many horizons fit into what they were tried on.
All of it is one affine map of the values and one of their logarithms.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from elman.errors import DataError
from elman.linear.bases import BASES, base_matrix, level_vector, reach
from elman.linear.ridge import Ridge

Array = NDArray[np.float64]
Choice = tuple[str, int, float | None]  # base, context, strength

CONTEXTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96)
STRENGTHS = np.array([10.0**k for k in range(-8, 3)])
CONTEXTS_A_FAMILY = 6  # of those with coefficients
HORIZONS_A_CONTEXT = 8  # horizons tried on, for each power of the exponent of the weights of a family's contexts
SHARPEST = 64.0  # of these exponents
FOLDS = 4
LEANINGS = (2.0, 4.0)  # least and greatest exponent of the weights
HORIZONS_A_POWER = 16  # horizons tried on, for each power of the exponent
MOST_FORECASTS = 40_000  # values forecast in a fold: of more windows, every second, third, ... is tried
FEWEST_IN_A_FOLD = 0.1  # of the values
LONGEST_CONTEXT = 1000
MOST_TRIED = 4000  # windows, the last ones, on which choices are tried; coefficients are fitted to more
MOST_NUMBERS = 30_000_000  # in the windows that coefficients are fitted to, the last ones
ROUNDING = 1e-24  # of the mean square of the values: an error of less is none
LIGHTEST = 1e-3  # a member of less weight is left out
LARGEST_EXPONENT = 700.0  # exp of more is no float64


@dataclass(frozen=True)
class Member:
    """A family with its best context, strength (None: the base alone) and weight."""

    base: str
    log: bool
    context: int
    strength: float | None
    weight: float

    def reach(self, season: int) -> int:
        """How many of the last values it reads."""
        fitted = self.context if self.strength is not None else 0
        return max(fitted, reach(self.base, self.context, season))


@dataclass(frozen=True)
class Line:
    """The blend fitted to one series: ``share[0] (W0 v + b0) + share[1] exp(W1 log v + b1)``.

    ``weights`` (2, K, R) and ``biases`` (2, K); ``v`` are the last R values. Values below ``floor`` have no
    logarithm and are taken for it.
    """

    weights: Array
    biases: Array
    share: Array
    floor: float

    def __call__(self, values: Array) -> Array:
        """The forecasts (..., K) after the last R of ``values`` (..., R or more)."""
        last = values[..., values.shape[-1] - self.weights.shape[2] :]
        forecast = np.zeros(())
        if self.share[0]:
            forecast = forecast + self.share[0] * (last @ self.weights[0].T + self.biases[0])
        if self.share[1]:
            logs = np.log(np.maximum(last, self.floor)) @ self.weights[1].T + self.biases[1]
            forecast = forecast + self.share[1] * np.exp(np.minimum(logs, LARGEST_EXPONENT))
        return forecast


@dataclass(frozen=True)
class Blend:
    """What :meth:`choose` found for one series; :meth:`fit` makes a :class:`Line` of it.

    >>> line = Blend.choose(np.arange(1.0, 101.0), horizon=3).fit(np.arange(1.0, 101.0))
    >>> line(np.arange(1.0, 101.0)).round(3).tolist()
    [101.0, 102.0, 103.0]
    """

    horizon: int
    season: int
    members: tuple[Member, ...]

    @classmethod
    def choose(
        cls,
        values: Array,
        horizon: int,
        season: int = 0,
        longest: int | None = None,
        families: Sequence[str] = (),
        folds: int = FOLDS,
        contexts: int = CONTEXTS_A_FAMILY,
    ) -> Blend:
        """Choose the members on rolling origins within ``values`` (N,), in ``folds``.

        No member reads more than ``longest`` values; of a family with coefficients as many ``contexts`` count.

        ``families`` are bases to choose among, on the values as they are and with coefficients; all, and on
        logarithms too where every value is above 0, unless told. Raises :class:`DataError` for fewer than two values,
        and where none of ``families`` can be tried.
        """
        values = np.asarray(values, dtype=np.float64)
        if len(values) < 2:
            raise DataError(f"a line through {len(values)} values: give 2 at least")
        trial = _Trial(values, horizon, season, longest, folds)
        candidates = list(trial.members(families, contexts))
        if not candidates:
            raise DataError(f"a line through {len(values)} values, {horizon} ahead: they are too few; give more")
        least, rounding = min(error for _, error in candidates), trial.rounding
        leaning = min(max(trial.horizons / HORIZONS_A_POWER, LEANINGS[0]), LEANINGS[1])
        raw = np.array([m.weight * ((least + rounding) / (error + rounding)) ** leaning for m, error in candidates])
        heavy = np.where(raw > LIGHTEST * raw.sum(), raw, 0.0)
        shares = heavy / heavy.sum()
        members = [replace(m, weight=float(w)) for (m, _), w in zip(candidates, shares, strict=True) if w]
        return cls(horizon, season, tuple(members))

    @cached_property
    def reach(self) -> int:
        """How many of the last values it reads; 1 at least."""
        return max(1, *(member.reach(self.season) for member in self.members))

    def fit(self, values: Array) -> Line:
        """The coefficients, fitted to ``values`` (N,)."""
        values = np.asarray(values, dtype=np.float64)
        floor = _floor(values)
        weights, biases = np.zeros((2, self.horizon, self.reach)), np.zeros((2, self.horizon))
        share = np.array([sum(m.weight for m in self.members if m.log == log) for log in (False, True)])
        for log, alike in self._alike():
            seen = np.log(np.maximum(values, floor)) if log else values
            for member, (matrix, bias) in zip(alike, _affine(alike, seen, self.horizon, self.season), strict=True):
                part = member.weight / share[int(log)]
                weights[int(log), :, self.reach - matrix.shape[1] :] += part * matrix
                biases[int(log)] += part * bias
        return Line(weights, biases, share, floor)

    def _alike(self) -> Iterator[tuple[bool, list[Member]]]:
        """The members that read the same values from the same level, so that one decomposition serves them all."""
        groups: dict[tuple[Any, ...], list[Member]] = {}
        for member in self.members:
            key = (member.log, member.strength is None, BASES[member.base].level, member.context)
            groups.setdefault((*key, member.reach(self.season)), []).append(member)
        yield from ((bool(key[0]), members) for key, members in groups.items())

    def to_dict(self) -> dict[str, Any]:
        """The blend as what JSON can hold."""
        return asdict(self) | {"members": [asdict(member) for member in self.members]}

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> Blend:
        """Read what :meth:`to_dict` wrote.

        Raises :class:`DataError` if it is no blend.
        """
        try:
            members = tuple(Member(**member) for member in facts["members"])
            blend = cls(int(facts["horizon"]), int(facts["season"]), members)
            blend.reach  # noqa: B018 : a member that cannot be is found here
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"a linear forecast that cannot be read: {error!r}") from error
        return blend


def _affine(members: Sequence[Member], values: Array, horizon: int, season: int) -> Iterator[tuple[Array, Array]]:
    """Members that are alike, fitted to ``values`` (N,): of each a matrix (K, its reach) and a bias (K,)."""
    first = members[0]
    size, context = first.reach(season), first.context
    bases = {member.base: base_matrix(member.base, horizon, context, season) for member in members}
    # A series too short for one window of its own context has nothing to fit: the base stands alone.
    fitted = first.strength is not None and len(values) >= size + horizon + 1
    if fitted:
        rows, level = _Rows.of(values, size, horizon), level_vector(BASES[first.base].level, context)
        left = np.concatenate([rows.targets(base) for base in bases.values()], axis=1)
        ridge = Ridge(rows.inputs(context, level), left)
    number = {name: k for k, name in enumerate(bases)}
    for member in members:
        base, k = bases[member.base], number[member.base]
        matrix, bias = np.zeros((horizon, size)), np.zeros(horizon)
        matrix[:, size - base.shape[1] :] = base
        if fitted and member.strength is not None:
            coefficients, bias = ridge.solve(member.strength, slice(k * horizon, (k + 1) * horizon))
            matrix[:, size - context :] += coefficients - np.outer(coefficients.sum(axis=1), level)
        yield matrix, bias


@dataclass(frozen=True)
class _Rows:
    """Windows: the values ``before`` (n, size) and ``after`` (n, horizon) each origin."""

    before: Array
    after: Array

    @classmethod
    def of(cls, values: Array, size: int, horizon: int, most: int | None = None) -> _Rows:
        """The windows of ``values`` (N,), the last ones where there are many."""
        together = sliding_window_view(values, size + horizon)
        together = together[-(most or max(1, MOST_NUMBERS // (size + horizon))) :]
        return cls(together[:, :size], together[:, size:])

    def inputs(self, context: int, level: Array) -> Array:
        """The last ``context`` values of each window, measured from their level."""
        last = self.before[:, self.before.shape[1] - context :]
        return last - (last @ level)[:, None]

    def targets(self, base: Array) -> Array:
        """What the base (K, its reach) leaves of each window's targets."""
        return self.after - self.base(base)

    def base(self, base: Array) -> Array:
        """The base's own forecast of each window's targets."""
        return self.before[:, self.before.shape[1] - base.shape[1] :] @ base.T

    def every(self, stride: int) -> _Rows:
        """Every ``stride``-th window."""
        return _Rows(self.before[::stride], self.after[::stride])


class _Trial:
    """Rolling origins on one series, the same windows for every family and context."""

    def __init__(self, values: Array, horizon: int, season: int, longest: int | None, folds: int):
        self.values, self.horizon = values, horizon
        self.rounding = ROUNDING * float(np.square(values).mean()) + np.finfo(float).tiny
        n = len(values)
        size = max(horizon, int(n * FEWEST_IN_A_FOLD), 1)
        count = max(1, min(folds, (n - n // 2) // size))
        cuts = [n - size * k for k in range(count, 0, -1)]
        self.folds = [(max(cut, 1), min(cut + size, n)) for cut in cuts if cut >= 1] or [(n - 1, n)]
        self.horizons = (n - self.folds[0][0]) / horizon
        first = self.folds[0][0]
        self.season = season if 2 <= season <= first else 0
        most = min(max((first - horizon) // 2, 1), LONGEST_CONTEXT, longest or LONGEST_CONTEXT)
        s = self.season
        wanted = {*CONTEXTS, longest or 1} | ({s, s + 1, s + 2, 2 * s, 2 * s + 1, 3 * s + 1} if s else set())
        self.contexts = sorted(c for c in wanted if 1 <= c <= most)
        self.longest = longest or LONGEST_CONTEXT

    def members(self, families: Sequence[str], contexts: int) -> Iterator[tuple[Member, float]]:
        """Of each family the best members, each with its part of the family as weight, and its mean squared error."""
        positive = not families and bool((self.values > 0).all())
        power = min(self.horizons / HORIZONS_A_CONTEXT, SHARPEST)
        for log in (False, True) if positive else (False,):
            errors = self._errors(log, families or tuple(BASES))
            for name in families or tuple(BASES):
                alone = {k: v for k, v in errors.items() if k[0] == name and k[2] is None and name != "zero"}
                fitted = {k: v for k, v in errors.items() if k[0] == name and k[2] is not None}
                # The base alone on logarithms is often the base alone on the values.
                if alone and not (log and name in ("last", "season")):
                    (base, context, _), error = min(alone.items(), key=lambda item: item[1])
                    yield Member(base, log, context, None, 1.0), error
                ranked = sorted(fitted.items(), key=lambda item: item[1])
                best = {context: (strength, error) for (_, context, strength), error in reversed(ranked)}
                kept = sorted(best.items(), key=lambda item: item[1][1])[:contexts]
                least = kept[0][1][1] if kept else 0.0
                shares = np.array([((least + self.rounding) / (e + self.rounding)) ** power for _, (_, e) in kept])
                for (context, (strength, error)), share in zip(kept, shares / shares.sum(), strict=True):
                    yield Member(name, log, context, strength, float(share)), error

    def _errors(self, log: bool, names: Sequence[str]) -> dict[Choice, float]:
        """The mean squared error of every base, context and strength that could be tried on every fold."""
        seen = np.log(self.values) if log else self.values
        errors: dict[Choice, list[float]] = {}
        for start, stop in self.folds:
            for choice, error in self._fold(seen, start, stop, log, names):
                errors.setdefault(choice, []).append(error)
        tried = {choice: of_folds for choice, of_folds in errors.items() if len(of_folds) == len(self.folds)}
        return {
            choice: sum(of_folds) / len(of_folds) for choice, of_folds in tried.items() if np.isfinite(of_folds).all()
        }

    def _fold(
        self, seen: Array, start: int, stop: int, log: bool, names: Sequence[str]
    ) -> Iterator[tuple[Choice, float]]:
        horizon = min(self.horizon, stop - start)
        windows = sliding_window_view(self.values[start:stop], horizon)
        stride = max(1, windows.size // MOST_FORECASTS)
        truth = windows[::stride]
        for context in self.contexts:
            for level in {BASES[name].level: None for name in names}:
                tried = [n for n in names if BASES[n].level == level and self._can(n, context, start)]
                size = max(context, *(reach(n, context, self.season) for n in tried), 0)
                if not tried or size > start:
                    continue
                matrices = [base_matrix(name, horizon, context, self.season) for name in tried]
                tested = _Rows.of(seen[start - size : stop], size, horizon).every(stride)
                plain = [tested.base(matrix) for matrix in matrices]
                for name, prediction in zip(tried, plain, strict=True):
                    yield (name, context, None), float(_squared(prediction, truth, log))
                if start < size + horizon + 1:
                    continue
                rows = _Rows.of(seen[:start], size, horizon, MOST_TRIED)
                weights = level_vector(level, context)
                # One decomposition serves every base that measures from this level.
                left = np.concatenate([rows.targets(matrix) for matrix in matrices], axis=1)
                forecasts = Ridge(rows.inputs(context, weights), left).path(tested.inputs(context, weights), STRENGTHS)
                shape = (len(STRENGTHS), len(truth), len(tried), horizon)
                forecasts = forecasts.reshape(shape) + np.stack(plain, axis=1)
                errors = _squared(forecasts, truth[:, None], log, axes=(1, 3))  # (strengths, bases)
                for strength, row in zip(STRENGTHS.tolist(), errors.tolist(), strict=True):
                    for name, error in zip(tried, row, strict=True):
                        yield (name, context, strength), error

    def _can(self, name: str, context: int, start: int) -> bool:
        """Whether a base can be drawn from ``context`` values, and reads no more than it may."""
        if BASES[name].seasons and not self.season:
            return False
        if (name == "drift" and context < 2) or (name == "mean of seasons" and context < 2 * self.season):
            return False
        return reach(name, context, self.season) <= min(self.longest, start)


def _squared(prediction: Array, truth: Array, log: bool, axes: tuple[int, ...] | None = None) -> Any:
    """The mean squared error over ``axes`` (all of them unless told), of forecasts that may be logarithms."""
    forecast = np.exp(np.minimum(prediction, LARGEST_EXPONENT)) if log else prediction
    with np.errstate(over="ignore"):
        return np.square(forecast - truth).mean(axis=axes)


def _floor(values: Array) -> float:
    """The least value that a logarithm is taken of: a tenth of the least seen above 0."""
    positive = values[values > 0]
    return float(positive.min()) / 10 if positive.size else 1.0
