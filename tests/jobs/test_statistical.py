"""AutoETS and AutoTheta beside a forecast: each window's from what stands before it, and left out where they fail."""

from __future__ import annotations

import json
import sys
import types

import numpy as np
import pytest

from elman.errors import ElmanError
from elman.jobs import Forecaster, PanelForecaster, backtest
from elman.jobs.statistical import statistical

QUICK = {"cell": "rnn", "hidden": 4, "epochs": 1}


def monthly(n=120, seed=0):
    t = np.arange(n)
    return 10 + 0.1 * t + 2 * np.sin(2 * np.pi * t / 12) + 0.1 * np.random.default_rng(seed).normal(size=n)


class Naive:
    """A stand-in: the last value, and what it was fitted to."""

    fitted: list = []  # noqa: RUF012

    def __init__(self, season_length):
        self.season = season_length

    def fit(self, y):
        if len(y) < 10:
            raise Exception("no model able to be fitted")
        Naive.fitted.append(y.copy())
        return self

    def forward(self, y, h):
        return {"mean": np.full(h, y[-1])}


@pytest.fixture
def stand_in(monkeypatch):
    models = types.ModuleType("statsforecast.models")
    models.AutoETS = models.AutoTheta = Naive
    package = types.ModuleType("statsforecast")
    package.models = models
    monkeypatch.setitem(sys.modules, "statsforecast", package)
    monkeypatch.setitem(sys.modules, "statsforecast.models", models)
    Naive.fitted.clear()


def test_each_window_is_forecast_from_what_stands_before_it(stand_in):
    values = np.stack([monthly(), -monthly(seed=1)], axis=1)
    first = np.array([100, 101, 105])
    made = statistical(values, first, horizon=3, season=12)
    assert sorted(made) == ["auto_ets", "auto_theta"]
    assert np.array_equal(made["auto_ets"], np.repeat(values[first - 1][:, None], 3, axis=1))
    assert all(len(y) == 100 for y in Naive.fitted)
    assert statistical(values, np.array([5]), 3, 12) == {}  # too short to be fitted


def test_they_stand_beside_every_kind_of_forecast(stand_in):
    forecaster = Forecaster(**QUICK, horizon=2)
    forecaster.fit(monthly())
    result = forecaster.test(more=True)
    assert result["baselines"]["auto_theta"]["mse"] == pytest.approx(result["baselines"]["persistence"]["mse"])
    assert "auto ets" in "".join(forecaster.words(result))
    assert "auto_ets" not in forecaster.test()["baselines"]
    panel = PanelForecaster(**QUICK, horizon=2)
    panel.fit({"a": monthly(), "b": monthly(90, seed=1)})
    scores = panel.test(more=True)["baselines"]
    assert scores["auto_ets"]["mase"] == pytest.approx(scores["persistence"]["mase"])
    tested = backtest(monthly(), 3, every=6, more=True, **QUICK).scores()
    assert tested["baselines"]["auto_ets"]["mae"] == pytest.approx(tested["baselines"]["persistence"]["mae"])


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "statsforecast", None)
    with pytest.raises(ElmanError, match=r"pip install 'elman\[stats\]'"):
        statistical(monthly()[:, None], np.array([100]), 1, 12)


def test_the_command_line(stand_in, elman, write):
    file = write("x\n" + "".join(f"{value}\n" for value in monthly()))
    assert elman("train", "forecast", file, "--cell", "rnn", "--hidden", 4, "--epochs", 1, "-o", "r")[0] == 0
    code, out, err = elman("test", "r", "--more", "--json")
    assert code == 0, err
    assert "auto_ets" in json.loads(out)["baselines"]


def test_the_models_themselves():
    pytest.importorskip("statsforecast")
    values = monthly()[:, None]
    first = np.arange(96, 108)
    made = statistical(values, first, horizon=12, season=12)
    truth = values[first[:, None] + np.arange(12)]
    for forecast in made.values():
        assert forecast.shape == (12, 12, 1)
        assert np.abs(forecast - truth).mean() < 1  # the last value is off by 2
    assert len(made) == 2
