"""Covariates and the calendar under a forecast: they help, nothing leaks, and what is not known ahead is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.cli import run as command
from elman.data import Panel, Series
from elman.data.series.covariates import Covariates
from elman.errors import DataError, ExportError
from elman.jobs import Forecaster, PanelForecaster, backtest, backtest_panel
from elman.jobs.effects import Effects, PanelEffects

QUICK = {"hidden": 3, "epochs": 1}
AHEAD = 6


def shop(n=120, seed=0, factors=False, dates=True):
    """Sales that a promotion known ahead lifts by half, or by 20, and that follow what people looked at days ago."""
    random = np.random.default_rng(seed)
    promotion = (random.random(n + AHEAD) < 0.2) * 1.0
    promotion[-AHEAD:] = [0, 1, 0, 0, 1, 0]
    looks = random.normal(size=n + AHEAD)
    rest = 40 + np.cumsum(random.normal(size=n)) * 0.3
    seen = np.concatenate([np.zeros(AHEAD), looks[: n - AHEAD]])
    values = rest * 1.5 ** promotion[:n] if factors else rest + 20 * promotion[:n] + 3 * seen
    return Series(
        values[:, None],
        ("sales",),
        (np.datetime64("2024-01-01") + np.arange(n)).astype("M8[us]") if dates else None,
        source="shop.csv",
        known=Covariates(promotion[:, None], ("promotion",), (None,)),
        past=Covariates(looks[:n, None], ("looks",), (None,)),
    )


@pytest.mark.parametrize("factors", [False, True])
def test_covariates_help(factors):
    series = shop(factors=factors)
    with_them, without = (Forecaster(horizon=AHEAD, **QUICK) for _ in range(2))
    with_them.fit(series)
    without.fit(Series(series.values, series.names, series.times))
    better, worse = (one.test() for one in (with_them, without))
    assert better["test"]["mse"] < 0.3 * worse["test"]["mse"]
    assert better["baselines"] == worse["baselines"]  # which read the values alone
    assert with_them.effects.adjustments[0].multiplies == factors
    assert "promotion" in with_them.effects.used(0)
    assert ("looks" in with_them.effects.used(0)) or factors
    assert any("effects of promotion" in note for note in with_them.notes)
    assert without.effects.used(0) == []


def test_forecasts_and_intervals_follow_what_is_to_come():
    series = shop(factors=True)
    forecaster = Forecaster(horizon=AHEAD, **QUICK)
    forecaster.fit(series)
    ahead = forecaster.predict(AHEAD, levels=[80])
    promotion = series.known.values[len(series) :, 0].astype(bool)
    assert 0 < promotion.sum() < AHEAD
    assert ahead.values[promotion].min() > 1.3 * ahead.values[~promotion].max()
    width = np.subtract(*ahead.intervals[80.0][::-1])
    assert width[promotion].min() > 1.2 * width[~promotion].min()


def test_a_run_keeps_them(tmp_path):
    forecaster = Forecaster(horizon=AHEAD, **QUICK)
    forecaster.fit(shop(), run=tmp_path / "run")
    again = Forecaster.load(tmp_path / "run")
    assert again.effects == forecaster.effects
    assert np.array_equal(again.predict(AHEAD).values, forecaster.predict(AHEAD).values)
    assert again.test() == forecaster.test()
    again.update(shop(), recipe={"epochs": 1})
    assert again.effects == forecaster.effects


def test_it_draws_and_explains(tmp_path):
    forecaster = Forecaster(horizon=AHEAD, **QUICK)
    forecaster.fit(shop(), run=tmp_path / "run")
    assert all(path.is_file() for path in forecaster.draw(tmp_path, steps=AHEAD).values())
    part, sample = forecaster.test_part(), forecaster.sample()
    assert sample.result["forecast"][0][0] == pytest.approx(part.prediction[-1, 0, 0])
    assert sample.result["truth"][0][0] == pytest.approx(part.truth[-1, 0, 0])


def test_what_is_not_known_so_far_ahead_is_refused():
    forecaster = Forecaster(horizon=AHEAD, **QUICK)
    forecaster.fit(shop())
    with pytest.raises(
        DataError, match=r"column 'promotion' is known 6 steps ahead \(to 2024-05-05\), and 7 are forec"
    ):
        Forecaster.predict(_only(forecaster, "promotion"), 7)
    with pytest.raises(DataError, match="column 'looks' is known up to now and foretells 6 steps, and 7 are forecast"):
        Forecaster.predict(_only(forecaster, "looks"), 7)
    bare = Series(shop().values, ("sales",), shop().times, source="new.csv")
    with pytest.raises(DataError, match=r"new.csv: has no covariates promotion; give them with `known`, as before"):
        forecaster.predict(3, bare)
    with pytest.raises(ExportError, match=r"a forecast that counts .* cannot be exported"):
        forecaster.portable()
    with pytest.raises(DataError, match="`known` and `past` stand under a linear forecast"):
        Forecaster(network_alone=True, **QUICK).fit(shop())


def _only(forecaster, name):
    """The forecaster with one of its effects alone."""
    one = forecaster.effects.adjustments[0]
    kept = type(one)(one.multiplies, {name: one.coefficients[name]}, {name: one.means[name]}, one.gain)
    forecaster.effects, before = Effects((kept,), forecaster.effects.lag), forecaster.effects
    only = Forecaster.__new__(Forecaster)
    only.__dict__.update(forecaster.__dict__)
    forecaster.effects = before
    return only


@pytest.mark.full
@settings(deadline=None, max_examples=8)
@given(factors=st.booleans(), cut=st.integers(0, 20), seed=st.integers(0, 99), horizon=st.sampled_from([1, AHEAD]))
def test_nothing_after_an_origin_changes_the_forecast_made_at_it(factors, cut, seed, horizon):
    series, origin = shop(seed=seed, factors=factors), 96 + cut
    random = np.random.default_rng(seed)
    values, looks = series.values.copy(), series.past.values.copy()
    values[origin:] *= random.lognormal(size=(120 - origin, 1))
    looks[origin:] += random.normal(size=(120 - origin, 1)) * 100
    past = Covariates(looks, series.past.of, series.past.texts)
    changed = Series(values, series.names, series.times, source=series.source, known=series.known, past=past)
    one, two = (Forecaster(horizon=horizon, **QUICK) for _ in range(2))
    one.fit(series)
    two.fit(changed)
    assert one.effects == two.effects
    before = one.test_part().first <= origin
    assert np.array_equal(one.test_part().prediction[before], two.test_part().prediction[before])
    tested, other = (backtest(s, horizon, first=90, every=5, **QUICK) for s in (series, changed))
    before = tested.origins <= origin
    assert np.array_equal(tested.prediction[before], other.prediction[before])


# Many series


def shops(seed=0, past=False):
    """Shops of unlike lengths, whose promotions lift sales by half; what people looked at says nothing of these."""
    made = []
    for k, n in enumerate((70, 90, 60, 110)):
        one = shop(n, seed + k, factors=True)
        one = replace(one, values=one.values * (k + 1), names=("abcd"[k],), source="shops.csv")
        made.append(one if past else replace(one, past=None))
    return Panel(tuple(made), "shops.csv")


def bare(panel):
    return Panel(tuple(replace(one, known=None, past=None) for one in panel.series), panel.source)


def test_covariates_help_many_series(tmp_path):
    panel = shops()
    with_them, without = (PanelForecaster(horizon=3, **QUICK) for _ in range(2))
    with_them.fit(panel, run=tmp_path / "run")
    without.fit(bare(panel))
    better, worse = (one.test() for one in (with_them, without))
    assert better["test"]["mase"] < 0.5 * worse["test"]["mase"]
    for name in ("persistence", "drift"):
        assert better["baselines"][name] == worse["baselines"][name]
    assert any("effects of promotion" in note and "as factors" in note for note in with_them.notes)
    ahead = with_them.predict(AHEAD, levels=[80])
    promotion = panel.series[0].known.values[-AHEAD:, 0].astype(bool)
    assert (ahead.values[:, promotion].min(1) > 1.3 * ahead.values[:, ~promotion].max(1)).all()
    width = np.subtract(*ahead.intervals[80.0][::-1])
    assert (width[:, promotion].min(1) > width[:, [0]].min(1)).all()
    again = PanelForecaster.load(tmp_path / "run")
    assert again.effects == with_them.effects
    assert again.test() == better
    assert np.array_equal(again.predict(AHEAD).values, ahead.values)
    assert all(path.is_file() for path in again.draw(tmp_path).values())
    assert again.sample().result["truth"][0][0] == pytest.approx(again.test_part()[2][_last(again), 0])


def _last(forecaster):
    """The last window of the first series' test part."""
    return int(np.flatnonzero(forecaster.task.test.series == 0)[-1])


def test_newer_data_of_many_series_has_them_too():
    panel = shops()
    forecaster = PanelForecaster(horizon=3, **QUICK)
    forecaster.fit(panel)
    two = panel.taken([2, 0])
    assert forecaster.predict(3, two).values == pytest.approx(forecaster.predict(3).values[[2, 0]])
    with pytest.raises(DataError, match=r"shops.csv: has no covariates promotion"):
        forecaster.predict(3, bare(two))
    with pytest.raises(DataError, match=r"series 'a' of shops.csv: column 'promotion' is known 6 steps ahead"):
        forecaster.predict(7)
    e = replace(shop(80, 9, factors=True), names=("e",), past=None)
    forecaster.update(Panel((*panel.series, e), "shops.csv"), recipe={"epochs": 1})
    assert set(forecaster.effects.adjustments[4].coefficients) == {"promotion"}
    assert forecaster.predict(3).values.shape == (5, 3)


@pytest.mark.full
@settings(deadline=None, max_examples=5)
@given(refit=st.booleans(), cut=st.integers(0, 10), seed=st.integers(0, 99))
def test_no_later_value_changes_a_forecast_of_many_series_with_them(refit, cut, seed):
    panel, changed = shops(seed, past=True), []
    random = np.random.default_rng(seed)
    begins = np.array([len(one) - len(one) // 5 for one in panel.series])
    for one, begin in zip(panel.series, begins, strict=True):
        values, looks = one.values.copy(), one.past.values.copy()
        values[begin + cut :] *= random.lognormal(size=(len(one) - begin - cut, 1))
        looks[begin + cut :] += 100
        changed.append(replace(one, values=values, past=replace(one.past, values=looks)))
    both = (panel, Panel(tuple(changed), panel.source))
    one, two = (backtest_panel(data, 3, every=4, refit=refit, **QUICK) for data in both)
    before = one.part.origin - begins[one.part.series] <= cut
    assert np.array_equal(one.prediction[before], two.prediction[before])


# The calendar


def months(days_of_work, n=144, seed=0):
    times = np.datetime64("2010-01", "M") + np.arange(n)
    random = np.random.default_rng(seed)
    days = np.busday_count(times.astype("M8[D]"), (times + 1).astype("M8[D]"))
    values = 100 + 10 * np.sin(2 * np.pi * np.arange(n) / 12) + random.normal(size=n) + days_of_work * (days - 21)
    return Series(values[:, None], ("v",), times.astype("M8[us]"))


def test_months_of_more_days_of_work_are_foretold():
    one, other = Forecaster(horizon=3, **QUICK), Forecaster(horizon=3, calendar="none", **QUICK)
    for forecaster in (one, other):
        forecaster.fit(months(4.0))
    assert "weekdays" in one.effects.used(0)
    assert one.test()["test"]["mse"] < 0.5 * other.test()["test"]["mse"]
    assert not other.effects
    with pytest.raises(ExportError, match="train with `calendar=none` for that"):
        one.portable()
    other.portable()


def test_a_season_is_not_taken_for_easter():
    """Short series that are high in spring: Easter is in spring too, and explains nothing more."""
    times = (np.datetime64("2018-01", "M") + np.arange(60)).astype("M8[us]")
    spring = 10 + np.sin(np.arange(60) * np.pi / 6)
    used = 0
    for seed in range(10):
        noise = np.random.default_rng(seed).normal(size=(20, 60))
        panel = Panel(tuple(Series((spring + row)[:, None], (f"s{i}",), times) for i, row in enumerate(noise)))
        used += bool(PanelEffects.choose(panel, np.full(20, 48), 12, 6, True))
        one = Effects.choose(panel.series[0], 48, 12, 6, True)
        used += "calendar: Easter" in one.adjustments[0].coefficients
    assert used <= 4


def test_a_year_of_days_is_foretold():
    t = np.arange(3 * 365 + 1)
    times = (np.datetime64("2020-01-01") + t).astype("M8[us]")
    random = np.random.default_rng(0)
    values = 10 * np.sin(2 * np.pi * t / 365.25) + np.sin(2 * np.pi * t / 7) + random.normal(size=len(t)) * 3
    series = Series(values[:, None], ("v",), times)
    one, other = Forecaster(horizon=30, **QUICK), Forecaster(horizon=30, calendar="none", **QUICK)
    for forecaster in (one, other):
        forecaster.fit(series)
    assert one.effects.used(0) == ["time of the year"]
    assert one.test()["test"]["mse"] < 0.95 * other.test()["test"]["mse"]
    short = Forecaster(horizon=7, **QUICK)
    short.fit(Series(values[:600, None], ("v",), times[:600]))  # less than two years show no year
    assert not short.effects


def test_the_command_line(tmp_path, capsys):
    series = shop()
    rows = ["day,sales,promotion,looks"]
    for i, day in enumerate([*series.times, *series.later(AHEAD)]):
        there = i < len(series)
        own = f"{series.values[i, 0]:.4f}" if there else ""
        look = f"{series.past.values[i, 0]:.4f}" if there else ""
        rows.append(f"{day.astype('M8[D]')},{own},{series.known.values[i, 0]:g},{look}")
    (tmp_path / "shop.csv").write_text("\n".join(rows) + "\n")
    run = str(tmp_path / "run")
    told = ["--target", "sales", "--known", "promotion", "--past", "looks", "--horizon", str(AHEAD)]
    data = str(tmp_path / "shop.csv")
    assert command(["train", "forecast", data, *told, "--hidden", "3", "--epochs", "1", "-o", run]) == 0
    assert "effects of promotion" in capsys.readouterr().err
    assert command(["forecast", run, "--steps", "6", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["values"]) == AHEAD
    assert command(["forecast", run, "--steps", "7"]) == 2
    assert "give rows with its values to come" in capsys.readouterr().err
    assert command(["forecast", run, "--data", data, "--steps", "6"]) == 0  # read as the first was
    assert command(["export", run, "-o", str(tmp_path / "c"), "--to", "c"]) == 2
    assert "cannot be exported" in capsys.readouterr().err
    assert command(["backtest", data, *told, "--hidden", "3", "--epochs", "1", "--json"]) == 0
    assert command(["train", "forecast", data, *told, "--network-alone", "-o", run + "2"]) == 2
    assert not (tmp_path / "run2").exists()
