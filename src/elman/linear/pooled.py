"""Effects on many series at once: each series' own as far as it shows them, the others' as far as it does not.

What an autoregression leaves of a series and of its covariates gives normal equations ``G b = r``, weighed by how sure
they are. Factors are alike in all series; summands are in units of a series' own errors. All together have the
solution ``c``; a series has ``(G + s M) b = r + s M c``, where ``M`` is the mean of all ``G``: ``s`` is how many usual
series the others count for (so shrink Efron & Morris 1973), found on rolling origins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from elman.linear.adjustment import (
    FEWEST,
    LEAST_GAIN,
    MOST,
    STRENGTHS,
    Adjustment,
    autoregression,
    lagged,
    lags_of,
    one_step_ahead,
    phase_means,
)

Array = NDArray[np.float64]
Known = Mapping[str, Array]  # covariates (N, P) by name
FOLDS = ((0.7, 0.85), (0.85, 1.0))  # rolling origins, as parts of what is known
TURNS = 2
SHARES = (0.3, 1.0, 3.0, 10.0, 100.0)  # how many usual series the others count for
VALUES_A_LAG = 6  # at least, of an autoregression
FEWEST_SERIES = 8  # that say how sure a gain is
SAMPLED = 64  # series that the choice is made on
LEAST_ERROR = 1e-6  # of a series' own without covariates: what is below is rounding


def adjust_many(columns: Sequence[Array], covariates: Sequence[Known], season: int = 0) -> list[Adjustment]:
    """Find the effects of covariates on each of many series.

    Every series of ``columns``, (N,) each, has ``covariates`` of the same names, and those that help are the same for
    all. They are chosen as by :meth:`Adjustment.choose`, on 64 of the series, by the mean logarithm of their errors;
    effects are factors where all values are above 0 and errors are smaller so.

    >>> promotion = (np.arange(60) % 7 == 0) * 1.0
    >>> walks = np.cumsum(np.random.default_rng(0).normal(size=(3, 60)), axis=1)
    >>> shops = [np.exp(0.05 * walk) * (1 + 0.5 * promotion) for walk in walks]
    >>> found = adjust_many(shops, [{"promotion": promotion[:, None]}] * 3)
    >>> [round(float(np.exp(one.coefficients["promotion"][0])), 1) for one in found]
    [1.5, 1.5, 1.5]
    """
    nothing = [Adjustment() for _ in columns]
    names = list(covariates[0]) if covariates else []
    long = [i for i, values in enumerate(columns) if len(values) * FOLDS[0][0] >= FEWEST]
    if not names or not long:
        return nothing
    sample = [long[k] for k in np.linspace(0, len(long) - 1, min(SAMPLED, len(long))).round().astype(int)]
    positive = all(values.min() > 0 for values in columns)
    best: tuple[float, Adjustment] | None = None
    for multiplies in (False, True) if positive else (False,):
        trial = _Trial([columns[i] for i in sample], [covariates[i] for i in sample], season, multiplies)
        chosen, error = trial.forward(names)
        if chosen is not None and (best is None or error < best[0]):
            best = error, chosen
    return nothing if best is None else fit_many(columns, covariates, season, best[1])


def fit_many(
    columns: Sequence[Array], covariates: Sequence[Known], season: int, like: Adjustment, share: float | None = None
) -> list[Adjustment]:
    """Find the effects of the covariates that ``like`` counts, as it counts them.

    The others count for ``share`` usual series, the one that ``like`` was chosen with unless told.
    """
    names = list(like.coefficients)
    used = [{name: known[name] for name in names} for known in covariates]
    pooled = _Pooled(
        [_seen(values, like.multiplies) for values in columns], _joined(used, names), season, like.multiplies
    )
    each = pooled.effects(like.share if share is None else share)
    cuts = np.cumsum([used[0][name].shape[1] for name in names])[:-1]
    found = []
    for b, known in zip(each, used, strict=True):
        parts = dict(zip(names, np.split(b, cuts), strict=True))
        found.append(
            replace(
                like,
                coefficients={name: row.tolist() for name, row in parts.items()},
                means={name: x.mean(axis=0).tolist() for name, x in known.items()},
            )
        )
    return found


def _seen(values: Array, multiplies: bool) -> Array:
    last = np.asarray(values, dtype=np.float64)[-MOST:]
    return np.log(last) if multiplies else last


def _joined(covariates: Sequence[Known], names: Sequence[str]) -> list[Array]:
    return [np.concatenate([known[name][-MOST:] for name in names], axis=1) for known in covariates]


class _Pooled:
    """Series ``seen`` (N,), their covariates (N, P), and the effects that they have in common."""

    def __init__(self, seen: Sequence[Array], x: Sequence[Array], season: int, multiplies: bool):
        self.multiplies = multiplies
        self.lags = [lags_of(len(values), season, VALUES_A_LAG) for values in seen]
        self.seasons = [0 if season in lags else season for lags in self.lags]  # what no lag follows
        self.seen = [
            values - phase_means(values[:, None], s)[:, 0] for values, s in zip(seen, self.seasons, strict=True)
        ]
        self.x = [each - phase_means(each, s) for each, s in zip(x, self.seasons, strict=True)]
        size = x[0].shape[1]
        spread = np.sqrt(np.mean([each.var(axis=0) for each in x], axis=0))
        self.spread = np.where(spread > 0, spread, 1.0)
        self.errors = np.ones(len(seen))  # what the autoregression leaves of each, without covariates
        self.lines: list[Array] = []  # the autoregression of each
        effects = np.zeros((len(seen), size))  # in units of the covariates' spread
        self.equations = np.zeros((len(seen), size, size)), np.zeros((len(seen), size))
        for turn in range(TURNS if size else 1):
            self._whiten(effects, turn == 0)
            if turn + 1 < TURNS:
                effects = self._solved(SHARES[-1]) * self.units[:, None]

    @property
    def units(self) -> Array:
        """What the effects on each series are measured in."""
        return np.ones_like(self.errors) if self.multiplies else self.errors

    def _whiten(self, effects: Array, first: bool) -> None:
        self.lines = []
        for i, (values, x, lags) in enumerate(zip(self.seen, self.x, self.lags, strict=True)):
            scaled = x / self.spread
            now, before = lagged(values[:, None], lags)
            x_now, x_before = lagged(scaled, lags)
            a, bias = autoregression(now[:, 0] - x_now @ effects[i], before[..., 0] - x_before @ effects[i])
            self.lines.append(a)
            left = now[:, 0] - before[..., 0] @ a
            x_left = x_now - np.einsum("nlp,l->np", x_before, a)
            if first:
                free = max(len(left) - len(lags) - 1, 1)
                self.errors[i] = max(float(np.sqrt(np.square(left - bias).sum() / free)), np.finfo(float).tiny)
            x_left = x_left - x_left.mean(axis=0)
            unit = self.errors[i] if self.multiplies else 1.0
            self.equations[0][i] = x_left.T @ x_left / unit**2
            self.equations[1][i] = x_left.T @ (left - left.mean()) / (unit * self.errors[i])

    def _solved(self, share: float) -> Array:
        """The effects (S, P), in units of each series and of the covariates' spread."""
        g, r = self.equations
        size = g.shape[1]
        mean = g.mean(axis=0) + STRENGTHS[1] * np.eye(size) * max(float(np.trace(g.mean(axis=0))) / max(size, 1), 1e-12)
        common = np.linalg.solve(mean, r.mean(axis=0))
        return np.linalg.solve(g + share * mean, (r + share * (mean @ common))[..., None])[..., 0]

    def effects(self, share: float) -> Array:
        """The coefficients (S, P) of each series' covariates, as they are."""
        return self._solved(share) * self.units[:, None] / self.spread


class _Trial:
    """Rolling origins one step ahead on a sample of the series."""

    def __init__(self, columns: Sequence[Array], covariates: Sequence[Known], season: int, multiplies: bool):
        self.columns = [np.asarray(values, dtype=np.float64)[-MOST:] for values in columns]
        self.seen = [_seen(values, multiplies) for values in columns]
        self.covariates, self.season, self.multiplies = covariates, season, multiplies
        self.least = [float(np.square(np.diff(values)).mean()) * LEAST_ERROR for values in self.columns]

    def forward(self, names: Sequence[str]) -> tuple[Adjustment | None, float]:
        """The covariates that help, one after the other, and the mean logarithm of the errors with them.

        They come as an adjustment whose coefficients are still to be found.
        Of eight series or more one helps whose mean gain is larger than twice its standard error.
        """
        chosen: list[str] = []
        least, share = without, _ = self._errors([])
        while len(chosen) < len(names):
            errors = {name: self._errors([*chosen, name]) for name in names if name not in chosen}
            best = min(errors, key=lambda name: float(errors[name][0].mean()))
            gained = least - errors[best][0]
            doubt = 2 * float(gained.std() / np.sqrt(len(gained))) if len(gained) >= FEWEST_SERIES else 0.0
            if not gained.mean() > max(-np.log(1 - LEAST_GAIN), doubt):
                break
            chosen.append(best)
            least, share = errors[best]
        if not chosen:
            return None, float(least.mean())
        gain = float(1 - np.exp((least - without).mean()))
        return Adjustment(self.multiplies, dict.fromkeys(chosen, ()), {}, gain, share), float(least.mean())

    def _errors(self, names: Sequence[str]) -> tuple[Array, float]:
        """The logarithms (S,) of the series' squared errors, with the best share of the others in their effects."""
        x = _joined(self.covariates, names) if names else [np.zeros((len(values), 0)) for values in self.seen]
        shares = SHARES if names else SHARES[:1]
        errors = np.zeros((len(shares), len(self.seen)))
        for first, last in FOLDS:
            cuts = [(int(len(values) * first), int(len(values) * last)) for values in self.seen]
            known = [values[:start] for values, (start, _) in zip(self.seen, cuts, strict=True)]
            pooled = _Pooled(
                known, [each[:start] for each, (start, _) in zip(x, cuts, strict=True)], self.season, self.multiplies
            )
            for k, share in enumerate(shares):
                effects = pooled.effects(share)
                for i, (start, stop) in enumerate(cuts):
                    errors[k, i] += self._squares(i, start, stop, x[i], effects[i], pooled) / len(FOLDS)
        logs = np.log(errors + self.least)
        best = int(logs.mean(axis=1).argmin())
        # Of shares as good, the largest: so far series are alike unless they show that they are not.
        more = logs - logs[best]
        alike = more.mean(axis=1) <= more.std(axis=1) / np.sqrt(len(self.seen))
        return logs[best], max(share for share, good in zip(shares, alike, strict=True) if good)

    def _squares(self, i: int, start: int, stop: int, x: Array, effects: Array, pooled: _Pooled) -> float:
        # The autoregression's own bias was found with the effects in.
        line = pooled.lines[i], None
        made = one_step_ahead(self.seen[i], x @ effects, line, pooled.lags[i], pooled.seasons[i], start, stop)
        with np.errstate(over="ignore"):
            return float(np.square((np.exp(made) if self.multiplies else made) - self.columns[i][start:stop]).mean())
