"""Networks that forecast the spread too, of one series and of many; and paths drawn from intervals."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import elman
from elman.errors import DataError, ElmanError
from elman.jobs import Forecaster, PanelForecaster
from elman.jobs.paths import LEVELS, drawn

NAMES = ["gaussian", "student-t", "quantiles", "negative-binomial"]
QUICK = {"hidden": 4, "epochs": 1, "season": 0}


def restless(n=700, seed=0):
    """Noise whose size follows a wave of twenty-four steps."""
    size = 1 + 0.95 * np.sin(np.arange(n) * 2 * np.pi / 24)
    return size * np.random.default_rng(seed).normal(size=n)


def counts(n=300, seed=0, mean=2.0):
    return np.random.default_rng(seed).negative_binomial(2, 2 / (2 + mean), size=n).astype(float)


@pytest.mark.parametrize("name", NAMES)
def test_every_likelihood_has_intervals_and_paths_and_leaves_the_forecast(tmp_path, name):
    forecaster, plain = (Forecaster("rnn", **QUICK, horizon=3, likelihood=one) for one in (name, "none"))
    forecaster.fit(counts(), run=tmp_path / "run")
    plain.fit(counts())
    found = forecaster.predict(7, levels=[80, 95], paths=20)
    narrow, wide = found.intervals[80.0], found.intervals[95.0]
    assert (wide[0] <= narrow[0]).all()
    assert (narrow[0] <= narrow[1]).all()
    assert (narrow[1] <= wide[1]).all()
    assert found.paths.shape == (20, 7, 1)
    if name == "negative-binomial":
        assert min(wide[0].min(), found.paths.min()) >= 0
    # The mean is learned from its own loss alone; only the recurrence is shared.
    assert np.abs(found.values - plain.predict(7).values).max() < 0.2
    again = elman.jobs.load(tmp_path / "run").predict(7, levels=[80, 95], paths=20)
    assert np.array_equal(found.paths, again.paths)
    assert np.array_equal(found.intervals[80.0], again.intervals[80.0])
    assert any(name in note for note in forecaster.notes)
    assert {"80", "95"} == set(forecaster.test()["intervals"])


def test_intervals_follow_a_spread_that_the_network_has_learned():
    scores, widths = {}, {}
    for name in ("none", "student-t"):
        forecaster = Forecaster("gru", hidden=16, epochs=60, season=0, context=24, lr=0.01, likelihood=name)
        forecaster.fit(restless())
        scores[name] = forecaster.test()["intervals"]["80"]
        lower, upper = forecaster.intervals(
            forecaster.series, np.arange(600, 672), np.zeros((72, 1, 1)), [80], before=560
        )[80.0]
        widths[name] = (upper - lower)[:, 0, 0]
    calm, wild = (np.arange(600, 672) % 24 == k for k in (18, 6))
    assert widths["none"][wild].mean() < 2 * widths["none"][calm].mean()
    assert widths["student-t"][wild].mean() > 4 * widths["student-t"][calm].mean()
    assert scores["student-t"]["score"] < 0.92 * scores["none"]["score"]
    assert abs(scores["student-t"]["coverage"] - 80) < 10


@pytest.mark.parametrize("name", NAMES)
def test_intervals_of_the_test_part_know_nothing_of_it(name):
    values = counts()
    changed = values.copy()
    changed[240:] = changed[240:] * 7 + 3
    found = []
    for series in (values, changed):
        forecaster = Forecaster("rnn", **QUICK, horizon=4, likelihood=name)
        forecaster.fit(series)
        part = forecaster.test_part()
        around = forecaster.intervals(forecaster.series, part.first[:1], part.prediction[:1], [80], int(part.first[0]))
        found.append(around[80.0])
    assert np.array_equal(*found)


@pytest.mark.parametrize("name", ["student-t", "negative-binomial"])
def test_many_series_share_what_is_learned_of_the_spread(tmp_path, name):
    panel = {f"s{i}": counts(80 + 3 * i, i, 2.0 + i) for i in range(6)}
    forecaster = PanelForecaster("rnn", **QUICK, horizon=3, likelihood=name)
    forecaster.fit(panel, run=tmp_path / "run")
    found = forecaster.predict(5, levels=[80, 95], paths=9)
    assert found.paths.shape == (6, 9, 5)
    assert (found.intervals[95.0][0] <= found.intervals[80.0][0]).all()
    part = {name: panel[name] for name in ("s4", "s1")}  # in another order, and not all
    some = elman.jobs.load(tmp_path / "run").predict(5, part, levels=[80, 95])
    for level, (lower, upper) in some.intervals.items():
        assert lower == pytest.approx(found.intervals[level][0][[4, 1]], rel=1e-5)
        assert upper == pytest.approx(found.intervals[level][1][[4, 1]], rel=1e-5)
    assert forecaster.test()["intervals"]["95"]["coverage"] > 75
    table = found.table()
    assert list(table) == ["id", "path", "step", "value"]
    assert len(table["value"]) == 6 * 9 * 5
    assert table["path"][:6] == [1, 1, 1, 1, 1, 2]


def test_an_ensemble_learns_a_spread_each_and_a_recursive_one_grows():
    forecaster = Forecaster("rnn", **QUICK, ensemble=2, strategy="recursive", horizon=5, likelihood="gaussian")
    forecaster.fit(np.cumsum(restless(300)))
    lower, upper = forecaster.predict(5, levels=[80]).intervals[80.0]
    assert (np.diff((upper - lower)[:, 0]) >= -1e-9).all()
    assert len(forecaster.model.spread_heads) == 2


def test_what_is_no_count_is_refused():
    for value, words in ((1.5, "is 1.5"), (-2.0, "is -2")):
        values = counts()
        values[7] = value
        with pytest.raises(DataError, match=rf"is of counts, and value 7 .* {words}"):
            Forecaster("rnn", **QUICK, likelihood="negative-binomial").fit(values)
        with pytest.raises(DataError, match=r"value 7 .* of b "):
            PanelForecaster("rnn", **QUICK, likelihood="negative-binomial").fit({"a": counts(), "b": values})
    data = pl.DataFrame({"y": counts(), "x": counts(seed=1)})
    forecaster = Forecaster("rnn", **QUICK, likelihood="negative-binomial")
    with pytest.raises(DataError, match="`known` and `past` are taken out first"):
        forecaster.fit(data, target="y", past="x")
    with pytest.raises(ElmanError, match="is of networks on a line"):
        Forecaster("rnn", likelihood="gaussian", network_alone=True)
    with pytest.raises(DataError, match="leave no window for validation"):
        Forecaster("rnn", **QUICK, likelihood="gaussian", horizon=12).fit(counts(70))


def test_paths_have_the_quantiles_of_the_intervals_and_move_as_errors_did():
    random = np.random.default_rng(0)
    errors = random.normal(size=(400, 6, 1)).cumsum(axis=1)  # each step follows the one before
    sizes = np.sqrt(np.arange(1, 7))[:, None]
    normal = {level: np.quantile(np.abs(random.normal(size=100_000)), level / 100) for level in LEVELS}
    bounds = {level: (5 - z * sizes, 5 + z * sizes) for level, z in normal.items()}
    paths = drawn(errors, bounds, 4000, np.random.default_rng(1))[..., 0]
    for level in (20, 80, 95):
        lower, upper = bounds[float(level)]
        assert 100 * ((lower[:, 0] < paths) & (paths < upper[:, 0])).mean(0) == pytest.approx(level, abs=1.5)
    found, wanted = np.corrcoef(paths.T), np.corrcoef(errors[..., 0].T)
    assert np.abs(found - wanted).max() < 0.06
    assert found[0, 1] > 0.6
    again = drawn(errors, bounds, 4000, np.random.default_rng(1))[..., 0]
    assert np.array_equal(paths, again)


def test_paths_of_a_series_go_as_far_as_wanted():
    forecaster = Forecaster("rnn", **QUICK, horizon=2)
    forecaster.fit(np.cumsum(restless(200)))
    found = forecaster.predict(30, paths=300)
    assert found.paths.shape == (300, 30, 1)
    assert found.intervals == {}
    table = found.table()
    assert list(table)[:2] == ["path", "step"]
    assert len(table["path"]) == 9000
    assert found.paths[:, 29].std() > 2 * found.paths[:, 0].std()
    with pytest.raises(DataError, match="`paths`: got -1"):
        forecaster.predict(3, paths=-1)
    with pytest.raises(DataError, match="of 3 values each are more than 50,000,000; want 16666666 at most"):
        forecaster.predict(3, paths=20_000_000)
