"""What a forecast's choices leave open and its series answers, and what its scores warn of."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

from elman.choices.forecast import ForecastConfig
from elman.data import Series, find_season, part_ends, split_windows
from elman.errors import DataError, ElmanError
from elman.jobs.effects import Effects
from elman.jobs.spreads import COUNTS, check_counts
from elman.linear import Adjustment, Blend

MOST_STEPS = 32  # of a network on a line; a longer context is read in segments


def settled(asked: ForecastConfig, series: Series) -> tuple[ForecastConfig, Effects, list[Blend]]:
    """What ``asked`` leaves open, found in the training and the validation part.

    With it what covariates and the calendar explain, and the linear forecasts of the columns without that.
    """
    training, known, _ = part_ends(len(series), asked.split)
    columns = series.values[:known].T
    effects = Effects((Adjustment(),) * len(columns), asked.horizon)
    season = asked.season
    if season is None:  # that of most columns, the shorter of two as frequent
        seasons = [find_season(values, series.step) for values in columns]
        season = max(sorted(set(seasons)), key=seasons.count)
    elif asked.split[2] and season > known:
        raise DataError(
            f"`season`: got {season}, and the first test window has {known} values before it; "
            "want a season that is over by then"
        )
    chosen: dict[str, Any] = {"season": season}
    blends: list[Blend] = []
    beside = not series.known is series.past is None
    if not asked.on_line and beside:
        raise DataError(
            "`known` and `past` stand under a linear forecast, and a network alone has none; leave them out"
        )
    check_counts(asked, series.source, zip(series.names, series.values.T, strict=True), beside)
    if asked.on_line:
        calendar = asked.calendar == "auto" and asked.likelihood != COUNTS
        effects = Effects.choose(series, known, season, asked.horizon, calendar)
        columns = effects.without(series).values[:known].T
        longest = min(asked.context or known, training - asked.trained_horizon)
        if longest >= 1:
            blends = [Blend.choose(values, asked.trained_horizon, season, longest) for values in columns]
        context = asked.context or max((blend.reach for blend in blends), default=1)
        chosen |= {"context": context, "segment": asked.segment or -(-context // MOST_STEPS)}
    else:
        chosen |= {"context": asked.settled_context}
    config = asked.model_copy(update=chosen)
    # Said of the split before anything is built: too short, or no test part.
    split_windows(len(series), config.settled_context, config.horizon, config.split)
    trained = split_windows(len(series), config.settled_context, config.trained_horizon, config.split)
    if config.likelihood != "none" and config.split[1] and not trained.validation:
        raise DataError(
            f"`likelihood={config.likelihood}`: {len(series)} values leave no window for validation, and nothing would "
            "tell when the spread has been learned; give more values, a shorter horizon, or leave it out"
        )
    if config.segment and config.segment > config.settled_context:
        raise DataError(f"`segment`: got {config.segment}, more than the context of {config.context}; want fewer")
    return config, effects, blends


def whole_steps(steps: Any) -> int:
    """``steps`` as a number of steps. Raises :class:`ElmanError` for what is none."""
    try:
        count = operator.index(steps)
    except TypeError:
        raise ElmanError(f"`steps`: got {steps!r}, want a whole number") from None
    if count < 1:
        raise ElmanError(f"`steps`: got {count}, want 1 at least")
    return count


def percents(split: Sequence[float]) -> str:
    """A split as it is written: 70,10,20."""
    return ",".join(f"{percent:g}" for percent in split)


def warnings_of(
    scored: Mapping[str, float], baselines: Mapping[str, Mapping[str, float]], repeats: bool, rounding: float
) -> list[str]:
    """What the scores ``found`` warn of, beside those of ``baselines``; ``repeats`` the last value, or does not.

    A mean squared error of no more than ``rounding`` is none.
    """
    warnings = []
    # A network that beats persistence has learned something, however slowly its series changes.
    if repeats and scored["mse"] >= baselines["persistence"]["mse"]:
        warnings.append("the forecast follows the last value seen more than the truth: it repeats the last value")
    for name, score in baselines.items():
        if scored["mse"] >= score["mse"] and scored["mse"] > rounding:
            warnings.append(
                f"{name.replace('_', ' ')} does as well or better: MSE {score['mse']:.6g} against {scored['mse']:.6g}"
            )
    return warnings
