"""Many series of unlike lengths: read, trained on as one, scored, forecast, and nothing known before its time."""

from __future__ import annotations

import csv
import json
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elman.data import Panel, panel_in, read_panel
from elman.errors import DataError, ElmanError, RunError
from elman.jobs import Forecaster, PanelForecaster, load
from elman.linear import Blend, choose_many
from elman.linear import many as many_lines
from elman.linear.many import together
from elman.tasks.panel import ends
from elman.tasks.panel_windows import Part

QUICK = {"cell": "rnn", "hidden": 4, "epochs": 2, "batch": 16}
LENGTHS = {"a": 60, "b": 95, "c": 44}


def waves(lengths=None, seed=0) -> dict[str, np.ndarray]:
    numbers = np.random.default_rng(seed)
    return {
        name: 10 * (i + 1) + (i + 1) * np.sin(np.arange(n) / 2 + i) + 0.1 * numbers.normal(size=n)
        for i, (name, n) in enumerate((lengths or LENGTHS).items())
    }


@pytest.fixture(scope="module")
def trained() -> PanelForecaster:
    forecaster = PanelForecaster(**QUICK, horizon=3)
    forecaster.fit(waves())
    return forecaster


# Reading


def long_table(folder, series, dated=True, shuffled=False):
    rows = [
        [name, date(2021, 1, 1) + timedelta(int(i) + 3 * (name == "b")) if dated else i, repr(float(value))]
        for name, values in series.items()
        for i, value in enumerate(values)
    ]
    if shuffled:
        np.random.default_rng(0).shuffle(rows)
    file = folder / "long.csv"
    with file.open("w", newline="") as opened:
        csv.writer(opened).writerows([["shop", "day", "sales"], *rows])
    return file


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_long_table_is_its_series(tmp_path, shuffled):
    series = waves()
    panel = read_panel(long_table(tmp_path, series, shuffled=shuffled), id="shop", target="sales", time="day")
    assert sorted(panel.names) == ["a", "b", "c"]
    assert str(panel.step) == "1d"
    for one in panel.series:
        assert np.array_equal(one.values[:, 0], series[one.names[0]])
    begins = {one.names[0]: one.times[0].astype("M8[D]").item() for one in panel.series}
    assert begins["b"] == begins["a"] + timedelta(3)
    assert any(note == "3 series, told apart by column 'shop'" for note in panel.notes)


def test_a_series_a_row_ends_with_its_last_value(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("V1,V2,V3,V4,V5\nH1,1,2,3,4\nH2,5,6,,\nH3,7,8,9,\n")
    panel = read_panel(file, id="V1")
    assert {one.names[0]: one.values[:, 0].tolist() for one in panel.series} == {
        "H1": [1, 2, 3, 4],
        "H2": [5, 6],
        "H3": [7, 8, 9],
    }
    file.write_text("V1,V2,V3,V4\nH1,1,,3\nH2,5,6,7\n")
    with pytest.raises(DataError, match=r"row 2 .*series 'H1' has an empty cell in column 'V3'"):
        read_panel(file, id="V1")
    assert read_panel(file, id="V1", fill="interpolate").series[0].values[:, 0].tolist() == [1, 2, 3]


def test_columns_that_begin_late_are_series_of_their_own(tmp_path):
    file = tmp_path / "wide.csv"
    file.write_text("day,x,y\n2021-01-01,1,\n2021-01-02,2,\n2021-01-03,3,30\n2021-01-04,4,40\n2021-01-05,,50\n")
    panel = panel_in(file, target=["x", "y"])
    assert panel.lengths.tolist() == [4, 3]
    assert panel.series[1].times[0] == np.datetime64("2021-01-03", "us")
    file.write_text("day,x,y\n2021-01-01,1,10\n2021-01-02,2,\n2021-01-03,3,30\n")
    assert panel_in(file, target=["x", "y"]) is None  # a hole is no beginning


def test_each_series_of_a_long_table_may_have_an_index_of_its_own(tmp_path):
    file = tmp_path / "a.csv"
    rows = [f"{s},{t},{10 * t + ord(s)}" for s, count in (("a", 5), ("b", 7)) for t in range(1, count)]
    file.write_text("\n".join(["s,t,x", *rows]))
    panel = read_panel(file, id="s", time="t", target="x")
    assert panel.lengths.tolist() == [4, 6]
    assert panel.series[1].values[:, 0].tolist() == [10 * t + ord("b") for t in range(1, 7)]
    file.write_text("s,t,x\na,1,1\na,2,2\nb,1,1\nb,2,1\nb,4,1\nb,5,1\n")
    with pytest.raises(DataError, match=r"row 6 .*column 't' goes from 2 to 4 where the step is 1"):
        read_panel(file, id="s", time="t", target="x")


@pytest.mark.parametrize(
    ("text", "reading", "message"),
    [
        ("s,x\na,1\na,\na,3\n", {"id": "s"}, "row 3 .*column 'a' is empty"),
        ("s,x,y\na,1,2\na,1,3\n", {"id": "s"}, "name one with `target`: x, y"),
        ("s,x,y\na,1,2\na,1,3\n", {"id": "s", "target": ["x", "y"]}, "of several series want one column"),
        ("s,x\na,1\na,2\n", {"id": "shop"}, "no column 'shop'"),
        ("s,d,x\na,2021-01-01,1\na,2021-01-02,2\na,2021-01-04,2\n", {"id": "s"}, "row 4 .*gap between"),
        (
            "s,d,x\na,2021-01-01,1\na,2021-01-02,2\nb,2021-01-01,1\nb,2021-02-01,2\nb,2021-03-01,2\nb,2021-04-01,2\n",
            {"id": "s"},
            "series 'b' is in steps of 1mo, the others of 1d|series 'a' is in steps of 1d, the others of 1mo",
        ),
    ],
)
def test_bad_tables_are_named(tmp_path, text, reading, message):
    file = tmp_path / "a.csv"
    file.write_text(text)
    with pytest.raises(DataError, match=message):
        read_panel(file, **reading)


def test_a_panel_is_the_same_after_being_kept(tmp_path):
    panel = read_panel(long_table(tmp_path, waves()), id="shop", target="sales", time="day")
    again = Panel.from_arrays(*panel.to_arrays())
    assert again.names == panel.names
    assert again.step == panel.step
    for one, other in zip(again.series, panel.series, strict=True):
        assert np.array_equal(one.values, other.values)
        assert np.array_equal(one.times, other.times)


@pytest.mark.parametrize("most", [1, 7, 50, 10**6])
def test_of_many_windows_some_are_drawn_evenly(most):
    first, end = np.array([3, 10, 0]), np.array([40, 10, 65])
    every, some = Part.between(first, end), Part.between(first, end, most)
    assert len(every) == 37 + 65
    assert len(some) == min(most, 102)
    number = {pair: i for i, pair in enumerate(zip(every.series.tolist(), every.origin.tolist(), strict=True))}
    places = [number[pair] for pair in zip(some.series.tolist(), some.origin.tolist(), strict=True)]
    cuts = np.linspace(0, 102, len(some) + 1).astype(int)
    assert (cuts[:-1] <= places).all()
    assert (places < cuts[1:]).all()


# Lines of many


@pytest.mark.full
def test_lines_chosen_apart_are_chosen_in_order_and_as_alone(monkeypatch):
    columns = list(waves({f"s{i}": 40 + i for i in range(40)}).values())
    monkeypatch.setattr(many_lines.os, "cpu_count", lambda: 2)
    apart = choose_many(columns, 2, 0)
    fewer = {"folds": many_lines.FOLDS_OF_MANY, "contexts": many_lines.CONTEXTS_OF_MANY}
    alone = [Blend.choose(values, 2, 0, **fewer) for values in columns]
    assert [blend.to_dict() for blend in apart] == [blend.to_dict() for blend in alone]


def test_very_many_share_the_members_of_a_sample(monkeypatch):
    monkeypatch.setattr(many_lines, "ONE_EACH", 10)
    columns = list(waves({f"s{i}": 30 + i for i in range(12)}).values())
    blends = choose_many(columns, 2, 0, longest=[3] + [20] * 11)
    assert len({id(blend) for blend in blends[1:]}) == 1
    assert blends[0].reach <= 3
    assert sum(member.weight for member in blends[1].members) == pytest.approx(1)
    assert all(not member.log for member in together(blends).members)


# Windows


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-2, 6)), min_size=1, max_size=6))
def test_windows_between_two_origins(pairs):
    first, end = (np.array([pair[0] for pair in pairs]), np.array([sum(pair) for pair in pairs]))
    part = Part.between(first, end)
    wanted = [(s, o) for s, (f, n) in enumerate(pairs) for o in range(f, f + n)]
    assert list(zip(part.series.tolist(), part.origin.tolist(), strict=True)) == wanted


def test_every_window_is_of_its_own_series(trained):
    task = trained.task
    for part, stop in (
        (task.train, task.training_end),
        (task.validation, task.known_end),
        (task.test, task.panel.lengths),
    ):
        x, y = task.contexts(part).T.double().numpy(), task.targets(part).double().numpy()
        for row, (s, origin) in enumerate(zip(part.series, part.origin, strict=True)):
            z = (task.columns[s] - task.shift[s]) / task.scale[s]
            begin = np.concatenate([np.full(task.context, z[0]), z])[origin : origin + task.context]
            assert np.allclose(x[row], begin, atol=1e-5)
            assert np.allclose(y[row], z[origin : origin + 3], atol=1e-5)
            assert origin + 3 <= stop[s]


def test_a_validation_part_holds_a_horizon():
    training, known = ends(np.array([60, 1000]), PanelForecaster(horizon=12).config)
    assert (known - training >= 12).all()
    assert training.tolist() == [36, 700]


# Training and use


def test_scores_are_means_over_the_series(trained):
    result = trained.test()
    assert result["series"] == 3
    assert result["test"]["mase"] == pytest.approx(np.mean([one["mase"] for one in result["by_series"]]))
    assert set(result["baselines"]) >= {"persistence", "drift", "autoregression"}
    assert result["test"]["mase"] < 0.6 * result["baselines"]["persistence"]["mase"]
    part, prediction, truth = trained.test_part()
    i = result["by_series"].index(next(one for one in result["by_series"] if one["series"] == "b"))
    rows = part.series == i
    history = trained.task.columns[i][: trained.task.training_end[i]]
    scale = np.abs(np.diff(history)).mean() if trained.config.season < 2 else None
    if scale is not None:
        assert result["by_series"][i]["mase"] == pytest.approx(np.abs(prediction - truth)[rows].mean() / scale)


def test_a_forecast_goes_on_from_each_series_end(trained):
    found = trained.predict(3, levels=[80])
    assert found.values.shape == (3, 3)
    for s, (name, values) in enumerate(waves().items()):
        assert found.names[s] == name
        assert np.abs(found.values[s] - values[-1]).max() < 6 * values.std()
    part = Part(np.arange(3), trained.panel.lengths)
    assert np.array_equal(found.values, trained.task.predict(part, "all"))
    table = found.table()
    assert list(table) == ["id", "step", "mean", "lower_80", "upper_80"]
    assert table["id"] == ["a"] * 3 + ["b"] * 3 + ["c"] * 3
    assert all(
        low < mean < high
        for low, mean, high in zip(*list(table.values())[3:4], table["mean"], table["upper_80"], strict=True)
    )


def test_further_steps_feed_the_forecast_back(trained):
    longer = trained.predict(8)
    assert np.array_equal(longer.values[:, :3], trained.predict(3).values)
    grown = {
        name: np.concatenate([values, row])
        for (name, values), row in zip(waves().items(), longer.values[:, :3], strict=True)
    }
    assert np.allclose(trained.predict(3, grown).values, longer.values[:, 3:6])


def test_newer_data_may_be_of_some_series_in_any_order(trained):
    newer = {name: waves()[name] for name in ("c", "a")}
    found = trained.predict(3, newer)
    assert found.names == ("c", "a")
    assert np.array_equal(found.values, trained.predict(3).values[[2, 0]])
    with pytest.raises(DataError, match="series 'd' was not trained on; trained were a, b, c"):
        trained.predict(3, {"d": np.ones(50)})
    with pytest.raises(DataError, match="series 'a' has 1 values, fewer than"):
        trained.predict(3, {"a": np.ones(1)})


def test_a_run_is_opened_to_the_same_bits(tmp_path):
    forecaster = PanelForecaster(**QUICK, horizon=3)
    forecaster.fit(waves(), run=tmp_path / "r")
    again = load(tmp_path / "r")
    assert isinstance(again, PanelForecaster)
    assert np.array_equal(again.predict(4).values, forecaster.predict(4).values)
    assert again.test() == forecaster.test()
    with pytest.raises(RunError, match="is a run of task 'forecasts', not 'forecast'"):
        Forecaster.load(tmp_path / "r")


def test_a_series_too_short_is_named_or_left_out():
    series = waves() | {"tiny": np.arange(4.0)}
    with pytest.raises(DataError, match=r"too short for a horizon of 3 .*: tiny; tiny has 4 values; .*`short=skip`"):
        PanelForecaster(**QUICK, horizon=3).fit(series)
    forecaster = PanelForecaster(**QUICK, horizon=3, short="skip")
    forecaster.fit(series)
    assert forecaster.panel.names == ("a", "b", "c")
    assert "left out as too short: tiny, 1 in all" in forecaster.notes
    with pytest.raises(DataError, match="too short"):
        PanelForecaster(**QUICK, horizon=3, short="skip").fit({"tiny": np.arange(4.0)})


def test_a_constant_series_is_forecast_as_it_is():
    forecaster = PanelForecaster(**QUICK, horizon=2)
    forecaster.fit(waves() | {"flat": np.full(50, 7.0)})
    assert np.allclose(forecaster.predict(2).values[3], 7.0)
    assert np.isfinite(forecaster.test()["test"]["mase"])


@pytest.mark.parametrize(
    "choice",
    [
        {"network_alone": True},
        {"stateful": True},
        {"targets": "every"},
        {"scaler": "minmax"},
        {"strategy": "recursive"},
    ],
)
def test_what_many_series_have_not_is_refused(choice):
    with pytest.raises(ElmanError, match=f"`{next(iter(choice))}`: one network for many series"):
        PanelForecaster(**choice)


@pytest.mark.full
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["a", "b", "c"]), st.integers(1, 40), st.floats(-50, 50))
def test_nothing_after_an_origin_is_known_at_it(name, back, value):
    """Changing a value of the test part changes no forecast made before it, of any series."""
    series = waves()
    place = len(series[name]) - back
    forecaster = PanelForecaster(**{**QUICK, "epochs": 1}, horizon=3)
    forecaster.fit(series)
    training, known = forecaster.task.training_end, forecaster.task.known_end
    changed = {other: values.copy() for other, values in series.items()}
    changed[name][place] += value
    i = list(series).index(name)
    if place < known[i]:
        return
    again = PanelForecaster(**{**QUICK, "epochs": 1}, horizon=3)
    again.fit(changed)
    assert again.config == forecaster.config
    for one, other in zip(again.model.state_dict().values(), forecaster.model.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    (part, before, _), (_, after, _) = forecaster.test_part(), again.test_part()
    early = (part.series != i) | (part.origin <= place)
    assert np.array_equal(before[early], after[early])
    assert training[i] <= known[i]


@pytest.mark.full
def test_the_command_line_from_a_table_to_parquet(tmp_path, elman):
    file = long_table(tmp_path, waves())
    how = ["--id", "shop", "--target", "sales", "--time", "day", "--horizon", 3]
    code, out, err = elman(
        "train", "forecast", file, *how, "--cell", "rnn", "--hidden", 4, "--epochs", 2, "-o", "r", "--json"
    )
    assert code == 0, err
    assert json.loads(out)["task"] == "forecasts"
    code, out, _ = elman("test", "r")
    assert (code, out.splitlines()[1].split()) == (0, ["MASE", "SMAPE"])
    code, out, _ = elman("forecast", "r", "--levels", "80,95", "-o", "f.parquet")
    assert (code, out) == (0, "f.parquet: 9 rows\n")
    table = pl.read_parquet(tmp_path / "f.parquet")
    assert table.columns == ["id", "date", "mean", "lower_80", "upper_80", "lower_95", "upper_95"]
    assert table["date"][3] == (date(2021, 1, 4) + timedelta(95)).isoformat()
    for command in (["plot", "r"], ["explain", "r"], ["train", "forecast", "--resume", "-o", "r"]):
        assert elman(*command)[0] == 0, command
    assert elman("train", "forecast", file, *how, "--horizon", 40, "-o", "s")[0] == 2
    assert not (tmp_path / "s").exists()


def test_an_ensemble_of_many_series_is_kept(tmp_path):
    forecaster = PanelForecaster(**QUICK, horizon=2, ensemble=2)
    forecaster.fit(waves(), run=tmp_path / "r")
    assert len(forecaster.model.others) == 1
    assert np.array_equal(load(tmp_path / "r").predict(2).values, forecaster.predict(2).values)


def test_a_fit_that_fails_leaves_the_forecaster_as_it_was(tmp_path):
    forecaster = PanelForecaster(**QUICK, horizon=2)
    forecaster.fit(waves())
    before = forecaster.predict(2).values
    (tmp_path / "taken").mkdir()
    with pytest.raises(RunError):
        forecaster.fit(waves({"x": 80, "y": 90}), run=tmp_path / "taken")
    assert np.array_equal(forecaster.predict(2).values, before)
    with pytest.raises(ElmanError, match="`steps`: of many series"):
        forecaster.draw(tmp_path, steps=3)


def test_straight_lines_that_drift_forecasts_without_error():
    lines = {name: np.arange(80.0) * slope for name, slope in (("a", 1.0), ("b", -2.0), ("c", 0.5))}
    forecaster = PanelForecaster(**QUICK, horizon=3, season=0)
    forecaster.fit(lines)
    result = forecaster.test()
    assert result["baselines"]["drift"]["mase"] < 1e-9
    assert np.isfinite(result["verdict"]["ratio"])
    assert "good" in result["verdict"]["words"] or "worse" in result["verdict"]["words"]


# Newer data


def grown(more=20, seed=0):
    """The same series and what came after, and one that is new."""
    longer = waves({name: n + more for name, n in LENGTHS.items()}, seed)
    return {name: np.concatenate([waves()[name], longer[name][-more:]]) for name in LENGTHS} | {"new": longer["a"][:50]}


def test_newer_data_goes_on_from_the_weights(tmp_path):
    forecaster = PanelForecaster(**QUICK, horizon=3)
    forecaster.fit(waves(), run=tmp_path / "r")
    before = {name: weight.clone() for name, weight in forecaster.model.state_dict().items()}
    old = forecaster.task
    seen = []
    loss = type(old).loss

    def watched(self, batch, state=None):
        if not seen:
            seen.append({name: weight.clone() for name, weight in self.model.state_dict().items()})
        return loss(self, batch, state)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(old), "loss", watched)
        history = forecaster.update(grown(), run=tmp_path / "s", recipe={"epochs": 3})
    assert history.epochs == 3
    assert all(torch.equal(seen[0][name], before[name]) for name in before if "weight" in name)
    assert forecaster.panel.names == ("a", "b", "c", "new")
    assert [blend is one for blend, one in zip(forecaster.task.blends, old.blends, strict=False)] == [True] * 3
    assert forecaster.task.blends[3].reach <= forecaster.config.context
    assert forecaster.predict(3).values.shape == (4, 3)
    again = load(tmp_path / "s")
    assert np.array_equal(again.predict(3).values, forecaster.predict(3).values)


def test_an_update_that_was_stopped_goes_on_from_the_same_weights(tmp_path):
    first = PanelForecaster(**QUICK, horizon=3)
    first.fit(waves(), run=tmp_path / "r")
    whole = load(tmp_path / "r")
    whole.update(grown(), run=tmp_path / "whole", recipe={"epochs": 3})

    class Stopped(Exception):
        pass

    def stop(*_):
        raise Stopped

    cut = load(tmp_path / "r")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("elman.training.loop.Training.train_step", stop)
        with pytest.raises(Stopped):
            cut.update(grown(), run=tmp_path / "cut", recipe={"epochs": 3})
    again, _ = PanelForecaster.resume(tmp_path / "cut")
    for one, other in zip(again.model.state_dict().values(), whole.model.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_newer_data_on_the_command_line(elman, tmp_path):
    file = long_table(tmp_path, waves())
    train = ["--id", "shop", "--cell", "rnn", "--hidden", 4, "--epochs", 1, "--horizon", 2]
    assert elman("train", "forecast", file, *train, "-o", tmp_path / "r")[0] == 0
    newer = long_table(tmp_path, grown())
    code, out, err = elman("update", tmp_path / "r", "--data", newer, "--epochs", 2, "--json")
    assert code == 0, err
    result = json.loads(out)
    assert result["epochs"] == 2
    assert elman("forecast", result["run"])[1].count("new,") == 2
