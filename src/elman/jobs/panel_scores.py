"""The scores of a forecast of many series: of each, their means, and the verdict beside plain forecasts."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.errors import DataError
from elman.jobs.baselines import beside_chance
from elman.jobs.statistical import statistical
from elman.linear import choose_many
from elman.metrics import Bounds, drift, interval_scores, mase, persistence, seasonal_naive, smape
from elman.tasks.panel import PanelTask
from elman.tasks.panel_windows import Part

Array = NDArray[np.float64]
WORST = 5  # series named
ROUNDING = 1e-9  # of a scaled error: a straight line is forecast without any
AS_GOOD = 0.0005  # of the mean scaled errors, below which two forecasts are as good


def score_of_panel(
    task: PanelTask,
    part: Part,
    prediction: Array,
    truth: Array,
    intervals: Mapping[float, Bounds],
    plain: Mapping[str, Array],
) -> dict[str, Any]:
    """The scores of ``prediction`` (n, K) of the windows of ``part``, and of ``plain`` forecasts of the same."""
    season, series = task.config.season or 0, np.unique(part.series)

    own, *rest = _by_series(task, part, truth, [prediction, *plain.values()])
    others = dict(zip(plain, rest, strict=True))
    best, verdict = _verdict(own["mase"], {name: scores_of_each["mase"] for name, scores_of_each in others.items()})
    worst = np.argsort(-np.nan_to_num(own["mase"] / (others[best]["mase"] + ROUNDING)))[:WORST]
    names = [task.panel.names[s] for s in series]
    means, score = {name: _means(scores_of_each) for name, scores_of_each in others.items()}, _means(own)["mase"]
    return {
        "task": "forecasts",
        "series": len(series),
        "windows": len(part),
        "season": season,
        "test": _means(own),
        "baselines": means,
        "verdict": verdict,
        "intervals": interval_scores(
            truth[..., None], {level: (low[..., None], high[..., None]) for level, (low, high) in intervals.items()}
        ),
        "worst": [
            {"series": names[i], "mase": float(own["mase"][i]), best: float(others[best]["mase"][i])}
            for i in worst.tolist()
        ],
        "by_series": [
            {"series": name, **{score: float(values[i]) for score, values in own.items()}}
            for i, name in enumerate(names)
        ],
        "warnings": [
            f"{name.replace('_', ' ')} does as well or better: MASE {scores_of_each['mase']:.4g} against {score:.4g}"
            for name, scores_of_each in means.items()
            if scores_of_each["mase"] <= score
        ],
    }


def _by_series(task: PanelTask, part: Part, truth: Array, forecasts: Sequence[Array]) -> list[dict[str, Array]]:
    """The scores of each of ``forecasts``, (n, K), by series (S,)."""
    season = task.config.season or 0
    scored: list[dict[str, list[float]]] = [{"mase": [], "smape": []} for _ in forecasts]
    for s, rows in _rows(part):
        history = task.columns[s][: task.training_end[s]]
        for made, scores_of_each in zip(forecasts, scored, strict=True):
            for name, value in _scores(made[rows], truth[rows], history, season).items():
                scores_of_each[name].append(value)
    return [{name: np.array(values) for name, values in one.items()} for one in scored]


def plain_forecasts(task: PanelTask, part: Part, more: bool = False, season: int | None = None) -> dict[str, Array]:
    """Persistence, drift, seasonal naive and ridge autoregression (n, K) of the windows, as far as they can be made.

    The ``season`` is that of the task unless told.
    With ``more`` those of :func:`~elman.jobs.statistical.statistical` too, as far as every series has them.
    """
    season, horizon = (task.config.season or 0) if season is None else season, task.horizon
    forecasts: dict[str, list[Array]] = {"persistence": [], "drift": []}
    if season > 1 and all(origins.min() >= season for _, origins in _origins(part)):
        forecasts["seasonal_naive"] = []
    for s, origins in _origins(part):
        values = task.columns[s][:, None]
        forecasts["persistence"].append(persistence(values[origins - 1], horizon)[..., 0])
        forecasts["drift"].append(drift(values, origins, horizon)[..., 0])
        if "seasonal_naive" in forecasts:
            forecasts["seasonal_naive"].append(seasonal_naive(values, origins, horizon, season)[..., 0])
    made = {name: np.concatenate(columns) for name, columns in forecasts.items()}
    with contextlib.suppress(DataError):  # too few values for any
        made["autoregression"] = _autoregression(task, part, season)
    if more:
        each = [statistical(task.columns[s][:, None], origins, horizon, season) for s, origins in _origins(part)]
        for name in each[0]:
            if all(name in one for one in each):
                made[name] = np.concatenate([one[name][..., 0] for one in each])
    return made


def _autoregression(task: PanelTask, part: Part, season: int) -> Array:
    pairs = _origins(part)
    known = task.columns.until(task.known_end).taken(np.array([s for s, _ in pairs]))
    blends = choose_many(known, task.horizon, season, known.lengths.tolist(), families=("zero",))
    forecasts = []
    for (s, origins), values, blend in zip(pairs, known, blends, strict=True):
        line = blend.fit(values)
        forecasts.append(line(task.columns[s][origins[:, None] + np.arange(-line.weights.shape[2], 0)]))
    return np.concatenate(forecasts)


def _origins(part: Part) -> list[tuple[int, NDArray[np.int64]]]:
    return [(s, part.origin[rows]) for s, rows in _rows(part)]


def _rows(part: Part) -> list[tuple[int, slice]]:
    """Each series of ``part`` and the windows that are its, which follow one another."""
    series, starts = np.unique(part.series, return_index=True)
    stops = [*starts[1:].tolist(), len(part)]
    return [(int(s), slice(start, stop)) for s, start, stop in zip(series, starts.tolist(), stops, strict=True)]


def _scores(prediction: Array, truth: Array, history: Array, season: int) -> dict[str, float]:
    made, true = prediction[..., None], truth[..., None]
    return {"mase": mase(made, true, history[:, None], max(season, 1)), "smape": smape(made, true)}


def _means(series_scores: Mapping[str, Array]) -> dict[str, float]:
    """The means over the series that have the score: a constant one has no scale to measure errors by."""
    return {
        name: float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
        for name, values in series_scores.items()
    }


def _verdict(own: Array, others: Mapping[str, Array]) -> tuple[str, dict[str, Any]]:
    """Which of ``others`` has the least mean of scaled errors (S,), and how ``own`` compares with it."""
    best = min(others, key=lambda name: np.nanmean(others[name]) if np.isfinite(others[name]).any() else np.inf)
    there = np.isfinite(own) & np.isfinite(others[best])
    if not there.any():
        return best, {
            "best": best,
            "ratio": None,
            "standard_errors": None,
            "words": "not comparable: every series is constant",
        }
    gained = others[best][there] - own[there]
    ratio = float((own[there].mean() + ROUNDING) / (others[best][there].mean() + ROUNDING))
    error = float(gained.std(ddof=1) / np.sqrt(len(gained))) if len(gained) > 1 else 0.0
    distance = float(gained.mean() / error) if error else None
    name = best.replace("_", " ")
    if abs(ratio - 1) < AS_GOOD:
        words = f"as good as {name}, the best of the plain forecasts"
    else:
        words = (
            f"{'better' if ratio < 1 else 'worse'} than {name}, the best of the plain forecasts: MASE "
            f"{100 * ratio:.3g} % of its, better in {int((gained > 0).sum())} of {len(gained)} series"
        )
        if distance is not None:
            words += f"; {beside_chance(distance)}"
    return best, {"best": best, "ratio": ratio, "standard_errors": distance, "words": words}
