"""Backtests: every forecast knows only what stands before its origin, and the scores are those of the forecasts."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.cli import run as command
from elman.data import Series
from elman.errors import DataError, ElmanError
from elman.jobs import Forecaster, PanelForecaster, backtest, backtest_panel
from elman.metrics import mase, mse

QUICK = {"hidden": 3, "epochs": 1}


def monthly(n=120, seed=0):
    t, random = np.arange(float(n)), np.random.default_rng(seed)
    values = 50 + t / 3 + 9 * np.sin(2 * np.pi * t / 12) + random.normal(size=n)
    times = np.datetime64("2010-01", "M") + np.arange(n)
    return Series(values[:, None], ("v",), times.astype("M8[us]"))


def test_origins_and_what_is_compared():
    series = monthly()
    found = backtest(series, 6, first=90, every=4, **QUICK)
    assert found.origins.tolist() == [90, 94, 98, 102, 106, 110, 114]
    for i, origin in enumerate(found.origins):
        assert np.array_equal(found.truth[i], series.values[origin : origin + 6])
    assert set(found.plain) == {"persistence", "seasonal_naive", "drift", "autoregression"}
    assert backtest(series, 6, **QUICK).origins.tolist() == list(range(96, 115))


def test_without_refitting_it_is_one_network_that_goes_on():
    series = monthly()
    found = backtest(series, 6, first=90, every=9, **QUICK)
    forecaster = Forecaster(horizon=6, split=(90, 10, 0), **QUICK)
    forecaster.fit(Series(series.values[:90], series.names, series.times[:90]))
    for i, origin in enumerate(found.origins):
        known = Series(series.values[:origin], series.names, series.times[:origin])
        assert np.array_equal(found.prediction[i], forecaster.predict(6, known).values)


@pytest.mark.full
@settings(deadline=None, max_examples=5)
@given(refit=st.booleans(), cut=st.integers(90, 113), seed=st.integers(0, 9))
def test_no_value_after_an_origin_changes_its_forecast(refit, cut, seed):
    series = monthly(seed=seed)
    changed = series.values.copy()
    changed[cut:] += np.random.default_rng(seed).normal(size=(120 - cut, 1)) * 1e3
    choices = {"first": 90, "every": 7, "refit": refit, **QUICK}
    one = backtest(series, 6, **choices)
    two = backtest(Series(changed, series.names, series.times), 6, **choices)
    before = one.origins <= cut
    assert np.array_equal(one.prediction[before], two.prediction[before])
    for name in one.plain:
        assert np.array_equal(one.plain[name][before], two.plain[name][before])
    for level, bounds in one.intervals.items():
        for mine, other in zip(bounds, two.intervals[level], strict=True):
            assert np.array_equal(mine[before], other[before])


def test_scores_are_those_of_the_forecasts():
    series = monthly()
    found = backtest(series, 6, first=90, every=4, **QUICK)
    result = found.scores()
    assert result["test"]["mse"] == mse(found.prediction, found.truth)
    scaled = [
        mase(found.prediction[[i]], found.truth[[i]], series.values[:origin], 12)
        for i, origin in enumerate(found.origins)
    ]
    assert result["test"]["mase"] == pytest.approx(np.mean(scaled))
    assert np.mean([row["mse"] for row in result["by_origin"]]) == pytest.approx(result["test"]["mse"])
    assert result["by_origin"][0]["date"] == "2017-07-01"
    assert result["verdict"]["ratio"] < 1.1  # the autoregression is nearly all that can be known here
    assert result["pinball"] > 0
    assert result["intervals"]["95"]["coverage"] >= result["intervals"]["80"]["coverage"]
    json.dumps(result)


def test_crps_of_a_forecast_without_doubt_is_its_mean_absolute_error():
    found = backtest(monthly(), 3, first=100, every=5, **QUICK)
    sure = type(found)(
        **{**found.__dict__, "intervals": dict.fromkeys(found.intervals, (found.prediction, found.prediction))}
    )
    assert sure.scores()["crps"] == pytest.approx(sure.scores()["test"]["mae"])


def test_the_table_has_a_row_a_forecast(tmp_path):
    found = backtest(monthly(), 3, first=100, every=5, **QUICK)
    table = found.table()
    assert {len(column) for column in table.values()} == {len(found.origins) * 3}
    assert table["step"][:4] == [1, 2, 3, 1]
    assert table["date"][:3] == ["2018-05-01", "2018-06-01", "2018-07-01"]
    assert table["mean"][:3] == found.prediction[0, :, 0].tolist()
    assert table["lower_80"][0] < table["mean"][0] < table["upper_80"][0] < table["upper_95"][0]


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        (
            {"first": 118},
            "`first`: the first origin has 118 of 120 values before it, and 6 are compared; want 2 to 114",
        ),
        ({"first": 1}, "want 2 to 114"),
        ({"every": 0}, "`every`: got 0"),
    ],
)
def test_origins_that_cannot_be_are_refused(choices, words):
    with pytest.raises(DataError, match=words):
        backtest(monthly(), 6, **choices, **QUICK)
    with pytest.raises(ElmanError, match="`split`"):
        backtest(monthly(), 6, split=(70, 10, 20))


def test_the_command_writes_every_forecast_and_a_picture(elman):
    rows = ["day,v", *(f"2024-{1 + i // 28:02}-{1 + i % 28:02},{i + i % 7}" for i in range(28))]
    with open("d.csv", "w") as file:
        file.write("\n".join(rows))
    arguments = ["backtest", "d.csv", "--horizon", 2, "--first", 20, "--every", 3, "--hidden", 3, "--epochs", 1]
    code, out, _ = elman(*arguments, "-o", "t.csv", "--plot", "t.png", "--json")
    assert code == 0
    assert json.loads(out)["origins"] == 3
    with open("t.csv") as file:
        table = list(csv.DictReader(file))
    assert [row["date"] for row in table[:2]] == ["2024-01-21", "2024-01-22"]
    assert list(table[0])[:6] == ["series", "origin", "step", "date", "truth", "mean"]
    code, _, err = elman(*arguments, "--plot", "t.gif")
    assert code == 2
    assert "pictures are .png or .svg" in err
    code, _, err = elman("backtest", "d.csv", "--first", 40)
    assert (code, "--first: the first origin has 40 of 28 values" in err) == (2, True)


# Many series


def several(seed=0, lengths=(80, 95, 60)):
    panel = {}
    for k, n in enumerate(lengths):
        t, random = np.arange(float(n)), np.random.default_rng(seed + k)
        panel["abc"[k]] = 20 * k + t / (k + 2) + 5 * np.sin(2 * np.pi * t / 6) + random.normal(size=n)
    return panel


def test_each_of_many_series_is_forecast_from_its_own_origins():
    panel = several()
    found = backtest_panel(panel, 4, every=5, **QUICK)
    assert set(found.plain) == {"persistence", "drift", "seasonal_naive", "autoregression"}
    for s, (name, values) in enumerate(panel.items()):
        own = found.part.origin[found.part.series == s]
        begin = len(values) - len(values) // 5
        assert own.tolist() == list(range(begin, len(values) - 3, 5))
        for origin, truth in zip(own, found.truth[found.part.series == s], strict=True):
            assert np.array_equal(truth, values[origin : origin + 4]), name
    assert found.scores()["windows"] == len(found.part)
    assert len(found.table()["id"]) == found.truth.size


def test_without_refitting_many_series_go_on_from_one_network():
    panel = several()
    found = backtest_panel(panel, 4, every=5, **QUICK)
    forecaster = PanelForecaster(horizon=4, split=(90, 10, 0), **QUICK)
    forecaster.fit({name: values[: len(values) - len(values) // 5] for name, values in panel.items()})
    for s, name in enumerate(panel):
        for i in np.flatnonzero(found.part.series == s):
            known = {name: panel[name][: found.part.origin[i]]}
            assert found.prediction[i] == pytest.approx(forecaster.predict(4, known).values[0], rel=1e-6)


@pytest.mark.full
@settings(deadline=None, max_examples=6)
@given(refit=st.booleans(), cut=st.integers(0, 16), seed=st.integers(0, 9))
def test_no_later_value_of_any_series_changes_a_forecast(refit, cut, seed):
    panel, changed = several(seed), several(seed)
    for name, values in changed.items():  # from so many values behind the first origin on
        begin = len(values) - len(values) // 5 + cut
        values[begin:] += np.random.default_rng(seed).normal(size=len(panel[name][begin:])) * 1e3
    one, two = (backtest_panel(data, 3, every=4, refit=refit, **QUICK) for data in (panel, changed))
    begins = np.array([len(values) - len(values) // 5 for values in panel.values()])
    before = one.part.origin - begins[one.part.series] <= cut
    assert before.any()
    assert np.array_equal(one.prediction[before], two.prediction[before])
    for name in ("persistence", "drift", "seasonal_naive"):
        assert np.array_equal(one.plain[name][before], two.plain[name][before])


def test_many_series_on_the_command_line(tmp_path, capsys):
    rows = ["shop,day,sales"]
    for k, (name, values) in enumerate(several().items()):
        days = np.datetime64("2024-01-01") + np.arange(len(values)) + k
        rows += [f"{name},{day},{value:.4f}" for day, value in zip(days, values, strict=True)]
    (tmp_path / "shops.csv").write_text("\n".join(rows) + "\n")
    told = ["backtest", str(tmp_path / "shops.csv"), "--id", "shop", "--target", "sales", "--horizon", "4"]
    quick = ["--hidden", "3", "--epochs", "1"]
    files = ["-o", str(tmp_path / "every.csv"), "--plot", str(tmp_path / "a.png")]
    assert command([*told, *quick, *files, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["task"] == "backtests"
    assert result["series"] == 3
    with open(tmp_path / "every.csv") as file:
        table = list(csv.DictReader(file))
    assert list(table[0])[:6] == ["id", "origin", "step", "date", "truth", "mean"]
    assert len(table) == 4 * result["windows"]
    assert (tmp_path / "a.png").stat().st_size > 5000
    assert command([*told, *quick, "--first", "58"]) == 2
    assert "series 'c' has 60 values, and the first origin has 58 before it and 4 after" in capsys.readouterr().err
    assert command([*told, *quick, "--first", "58", "--short", "skip", "--every", "9"]) == 0
    assert "2 series" in capsys.readouterr().out
    assert command([*told, *quick, "--every", "0"]) == 2
    assert "`every`" not in capsys.readouterr().err
