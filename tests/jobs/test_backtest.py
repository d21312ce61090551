"""Backtests: every forecast knows only what stands before its origin, and the scores are those of the forecasts."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.data import Series
from elman.errors import DataError, ElmanError
from elman.jobs import Forecaster, backtest
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
    for level in one.widths:
        assert np.array_equal(one.widths[level][before], two.widths[level][before])


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
    assert result["verdict"]["ratio"] < 1
    assert result["pinball"] > 0
    assert result["intervals"]["95"]["coverage"] >= result["intervals"]["80"]["coverage"]
    json.dumps(result)


def test_crps_of_a_forecast_without_doubt_is_its_mean_absolute_error():
    found = backtest(monthly(), 3, first=100, every=5, **QUICK)
    sure = type(found)(**{**found.__dict__, "widths": {level: 0 * width for level, width in found.widths.items()}})
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
