"""The forecasting task and job: what a batch is, what is carried, what is fed back, and that nothing leaks."""

import itertools
import json

import numpy as np
import pytest
import torch

from elman.data import Series
from elman.errors import DataError, ElmanError, RunError
from elman.jobs import Forecaster
from elman.tasks import ForecastConfig, ForecastNetwork, ForecastTask

CHOICES = {"hidden": 6, "context": 8, "epochs": 2, "batch": 7}


def ramp(n=120, columns=1):
    return Series(
        np.arange(n * columns, dtype=float).reshape(n, columns) ** 1.1, tuple(f"c{i}" for i in range(columns))
    )


def task(series=None, **choices) -> ForecastTask:
    forecaster = Forecaster("gru", **({**CHOICES, "epochs": 1} | choices))
    forecaster.fit(series or ramp())
    return forecaster.task


@pytest.mark.parametrize("targets", ["last", "every"])
def test_batches_hold_every_training_window_once_and_the_targets_that_follow(targets):
    job = task(targets=targets, horizon=2)
    z = job.z[:, 0]
    seen = []
    for batch in job.batches(torch.Generator().manual_seed(1)):
        for row in range(batch.inputs.shape[1]):
            start = int((z == batch.inputs[0, row, 0]).nonzero())
            seen.append(start)
            assert torch.equal(batch.inputs[:, row, 0], z[start : start + 8])
            if targets == "last":
                assert torch.equal(batch.targets[row, :, 0], z[start + 8 : start + 10])
            else:
                want = torch.stack([z[start + t + 1 : start + t + 3] for t in range(8)])
                assert torch.equal(batch.targets[:, row, :, 0], want)
    assert sorted(seen) == list(job.split.train)
    assert len(list(job.batches(torch.Generator()))) == job.batch_count()


@pytest.mark.parametrize("targets", ["last", "every"])
def test_stateful_streams_run_on_without_a_gap_and_never_past_the_training_part(targets):
    job = task(ramp(900), targets=targets, stateful=True, batch=4)
    z = job.z[:, 0]
    for seed in range(5):
        batches = list(job.batches(torch.Generator().manual_seed(seed)))
        assert len(batches) == job.batch_count()
        for row in range(batches[0].inputs.shape[1]):
            whole = torch.cat([b.inputs[:, row, 0] for b in batches])
            start = int((z == whole[0]).nonzero())
            assert torch.equal(whole, z[start : start + len(whole)])
            last = batches[-1].targets[-1, row] if targets == "every" else batches[-1].targets[row]
            assert last.flatten()[-1] == z[start + len(whole)]
            assert start + len(whole) < job.split.last_training_value


def test_a_stateful_network_carries_its_state_cut_off_from_the_gradient():
    job = task(ramp(900), targets="every", stateful=True, batch=2)
    first, second = itertools.islice(job.batches(torch.Generator()), 2)
    job.model.eval()
    _, state = job.loss(first)
    carried, after = job.loss(second, state)
    together, _ = job.model(torch.cat([first.inputs, second.inputs]))
    assert torch.allclose(carried, torch.nn.functional.mse_loss(together[8:], second.targets), atol=1e-6)
    carried.backward()  # the first batch's graph is not reached: it was cut off
    assert not state.requires_grad
    assert not after.requires_grad


def test_predictions_are_those_of_each_window_alone():
    job = task(horizon=3)
    found = job.predict(job.split.test)
    for row, w in enumerate(job.split.test):
        alone, _ = job.model(job.z[w : w + 8].unsqueeze(1))
        assert torch.allclose(found[row], alone[-1, 0], atol=1e-6)


def test_stateful_predictions_read_the_series_once_from_its_beginning():
    job = task(ramp(200), targets="every", stateful=True)
    found = job.predict(job.split.test)
    for row, w in enumerate(job.split.test):
        whole, _ = job.model(job.z[: w + 8].unsqueeze(1))
        assert torch.allclose(found[row], whole[-1, 0], atol=1e-5)


def test_the_closed_loop_feeds_each_prediction_back():
    job = task(horizon=2)
    z = job.z
    own = job.continue_series(job.series, 5)
    for _ in range(3):
        prediction, _ = job.model(z[-8:].unsqueeze(1))
        z = torch.cat([z, prediction[-1, 0]])
    assert torch.allclose(own, z[-6:-1], atol=1e-6)


def test_the_stateful_closed_loop_goes_on_from_the_state():
    job = task(ramp(200), stateful=True, targets="every")
    own = job.continue_series(job.series, 4)
    z = job.z
    for _ in range(4):
        prediction, _ = job.model(z.unsqueeze(1))
        z = torch.cat([z, prediction[-1, 0]])
    assert torch.allclose(own, z[-4:], atol=1e-5)


def test_nothing_after_the_training_part_moves_training():
    series = ramp(150)
    first = Forecaster("rnn", **CHOICES, split=(60, 0, 40))
    first.fit(series)
    changed = series.values.copy()
    changed[first.task.split.last_training_value :] = 1e6
    second = Forecaster("rnn", **CHOICES, split=(60, 0, 40))
    second.fit(Series(changed, series.names))
    assert first.task.scaler.to_dict() == second.task.scaler.to_dict()
    for a, b in zip(first.model.state_dict().values(), second.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("scaler", ["standard", "minmax", "none", "differences"])
def test_scores_are_in_the_series_own_units(scaler):
    forecaster = Forecaster("rnn", **CHOICES, scaler=scaler)
    forecaster.fit(ramp(150))
    part, result = forecaster.test_part(), forecaster.test()
    assert np.array_equal(part.truth[:, 0], ramp(150).values[part.first])
    assert np.array_equal(part.last, ramp(150).values[part.first - 1])
    assert result["test"]["mse"] == pytest.approx(np.mean((part.prediction - part.truth) ** 2))
    assert result["baselines"]["persistence"]["mse"] == pytest.approx(np.mean((part.last[:, None] - part.truth) ** 2))


@pytest.mark.full
def test_a_network_that_repeats_the_last_value_is_warned_about():
    walk = Series(np.cumsum(np.random.default_rng(0).normal(size=(400, 1)), axis=0), ("walk",))
    forecaster = Forecaster("rnn", hidden=8, context=10, epochs=20)
    forecaster.fit(walk)
    assert any("repeats the last value" in warning for warning in forecaster.test()["warnings"])


def test_a_network_that_beats_persistence_is_not_said_to_repeat_the_last_value(monkeypatch):
    forecaster = Forecaster("rnn", hidden=8, context=10, epochs=30, lr=0.03, network_alone=True)
    forecaster.fit(Series(np.sin(np.arange(300) / 5)[:, None], ("wave",)))
    monkeypatch.setattr("elman.jobs.forecaster.repeats_last_value", lambda *parts: True)
    result = forecaster.test()
    assert result["test"]["mse"] < result["baselines"]["persistence"]["mse"]
    assert not any("repeats" in warning for warning in result["warnings"])


@pytest.mark.full
def test_a_run_is_loaded_to_the_same_predictions(tmp_path):
    forecaster = Forecaster("peephole", **CHOICES, horizon=2, season=12)
    forecaster.fit(ramp(150, columns=2), run=tmp_path / "r")
    again = Forecaster.load(tmp_path / "r")
    assert again.test() == forecaster.test()
    assert np.array_equal(again.predict(5).values, forecaster.predict(5).values)


@pytest.mark.parametrize("option", [{"nonlinearity": "relu"}, {"output_size": 4}])
def test_options_and_sizes_of_the_cell_reach_the_network_and_the_run(tmp_path, option):
    forecaster = Forecaster("jordan", **CHOICES, **option)
    forecaster.fit(ramp(), run=tmp_path / "r")
    again = Forecaster.load(tmp_path / "r")
    assert again.model.recurrent.program == forecaster.model.recurrent.program
    if "output_size" in option:
        assert again.model.head.in_features == 4
    else:
        assert dict(again.model.recurrent.program.options)["nonlinearity"] == "relu"


def test_resume_refuses_to_change_what_was_begun(tmp_path):
    Forecaster("rnn", **CHOICES).fit(ramp(), run=tmp_path / "r")
    with pytest.raises(RunError, match="`context`: a resumed training goes on with 8"):
        Forecaster.resume(tmp_path / "r", choices={"context": 9})
    _, history = Forecaster.resume(tmp_path / "r", choices={"context": 8, "hidden": [6], "split": [70, 10, 20]})
    assert history.epochs == 2


def test_choices_are_checked():
    with pytest.raises(ElmanError, match="no option 'contxt'"):
        Forecaster("rnn", contxt=3)
    with pytest.raises(ElmanError, match="`lr`: got -1"):
        Forecaster("rnn", lr=-1)
    with pytest.raises(ElmanError, match="not trained yet"):
        Forecaster("rnn").predict(3)
    job = Forecaster("rnn", **CHOICES, split=(80, 20, 0))
    job.fit(ramp())
    with pytest.raises(DataError, match="leaves no test part"):
        job.test()
    with pytest.raises(DataError, match="fewer than the context"):
        job.predict(3, data=ramp(5))
    with pytest.raises(DataError, match="has columns c0, c1; want c0"):
        job.predict(3, data=ramp(50, columns=2))


def test_arrays_and_frames_are_taken_as_they_are():
    import pandas as pd

    values = np.sin(np.arange(60.0))
    frame = pd.DataFrame({"day": pd.date_range("2024-01-01", periods=60), "v": values})
    by_array, by_frame = Forecaster("rnn", **CHOICES, season=0), Forecaster("rnn", **CHOICES, season=0)
    by_array.fit(values)
    by_frame.fit(frame, time="day", target="v")
    assert by_array.test()["test"] == by_frame.test()["test"]
    assert str(by_frame.predict(2).times[0]) == "2024-03-01T00:00:00.000000"


def test_config_json_holds_the_program_and_refuses_what_it_does_not_know(tmp_path):
    forecaster = Forecaster("gru", **CHOICES)
    forecaster.fit(ramp(), run=tmp_path / "r")
    config = json.loads((tmp_path / "r" / "config.json").read_text())
    assert config["network"]["program"] == json.loads(forecaster.model.recurrent.program.to_json())
    config["surprise"] = 1
    (tmp_path / "r" / "config.json").write_text(json.dumps(config))
    with pytest.raises(RunError, match="surprise: is not known"):
        Forecaster.load(tmp_path / "r")


def test_network_shapes():
    import elman

    network = ForecastNetwork(elman.Recurrent("lstm", 2, 5), horizon=3)
    assert network(torch.zeros(7, 4, 2))[0].shape == (7, 4, 3, 2)
    assert network(torch.zeros(7, 4, 2), last=True)[0].shape == (1, 4, 3, 2)
    assert ForecastConfig(context=3).context == 3


@pytest.mark.parametrize("option", ["zoneout", "bidirectional", "input_size", "num_layers", "dtype", "forget_bias"])
def test_an_option_of_the_layer_that_is_not_the_cells_is_refused_and_not_swallowed(option):
    with pytest.raises(ElmanError, match=f"cell 'gru' has no option '{option}'"):
        Forecaster("gru", options={option: 1})


def test_an_option_of_the_cell_may_be_called_as_one_of_training():
    import elman

    @elman.cell
    def epochal(x, h, p, *, epochs=3):
        return p.h(x, h) * epochs

    forecaster = Forecaster(epochal, epochs=2, options={"epochs": 7})
    assert forecaster.recipe.epochs == 2
    assert forecaster.network.program["options"] == [["epochs", 7]]


def test_a_cell_that_needs_more_than_a_series_is_refused_at_once():
    import elman

    @elman.cell(inputs={"gap": 1})
    def timed(x, h, p, *, gap):
        return p.h(x, h) * gap

    with pytest.raises(ElmanError, match="needs gap beside x"):
        Forecaster(timed)


def test_a_cell_that_takes_x_as_it_is_forecasts_as_many_columns_as_it_has_units():
    import elman

    @elman.cell(sizes={"x": "hidden"})
    def leaky(x, h, p):
        return x + 0.5 * h + p.u() * h

    two = Forecaster(leaky, **{**CHOICES, "hidden": 2}, network_alone=True)
    assert two.fit(ramp(columns=2)).epochs == 2
    with pytest.raises(ElmanError, match="input_size must equal"):
        Forecaster(leaky, **{**CHOICES, "hidden": 3}, network_alone=True).fit(ramp(columns=2))


def test_a_fit_that_fails_leaves_the_network_that_was_there(tmp_path):
    forecaster = Forecaster("rnn", **CHOICES)
    forecaster.fit(ramp(), run=tmp_path / "a")
    before = forecaster.test()
    with pytest.raises(RunError):
        forecaster.fit(ramp(150), run=tmp_path / "a")
    assert forecaster.test() == before
    assert forecaster.fit(ramp(150)).epochs == 2
    assert forecaster.run is None


def test_a_season_longer_than_what_stands_before_the_test_part_is_refused_before_training(tmp_path):
    with pytest.raises(DataError, match="`season`: got 5000"):
        Forecaster("rnn", **CHOICES, season=5000).fit(ramp(), run=tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_data_to_go_on_after_is_read_as_the_series_was(tmp_path):
    import polars as pl

    values = ramp(60, columns=2).values
    frame = pl.DataFrame({"a": values[:, 0], "b": values[:, 1], "c": values[:, 1]})
    forecaster = Forecaster("rnn", **CHOICES)
    forecaster.fit(frame, target=["a", "b"])
    swapped = frame.select("b", "c", "a")
    assert np.array_equal(forecaster.predict(3, swapped).values, forecaster.predict(3).values)
    with pytest.raises(DataError, match="has columns b, a; want a, b"):
        forecaster.predict(3, frame, target=["b", "a"])
    assert np.array_equal(forecaster.predict(3, values).values, forecaster.predict(3).values)


def test_data_of_another_step_is_refused():
    import pandas as pd

    monthly = pd.DataFrame({"t": pd.date_range("2000-01-01", periods=60, freq="MS"), "v": np.arange(60.0)})
    yearly = pd.DataFrame({"t": pd.date_range("2000-01-01", periods=60, freq="YS"), "v": np.arange(60.0)})
    forecaster = Forecaster("rnn", **CHOICES)
    forecaster.fit(monthly, time="t")
    with pytest.raises(DataError, match="steps of 1y, and the network was trained on steps of 1mo"):
        forecaster.predict(3, yearly, time="t")


def test_what_says_how_to_read_is_refused_where_nothing_is_read():
    forecaster = Forecaster("rnn", **CHOICES)
    with pytest.raises(DataError, match="says how to read a file"):
        forecaster.fit(np.arange(60.0), target="v")
    with pytest.raises(DataError, match="did you mean 'time'"):
        forecaster.fit("wave:sine", tiem="t")
    with pytest.raises(DataError, match=r"is \(N,\) or \(N, C\)"):
        forecaster.fit(np.array(3.0))
    with pytest.raises(DataError, match="holds numbers"):
        forecaster.fit(["a"] * 50)
    with pytest.raises(DataError, match="holds numbers"):
        forecaster.fit(np.arange(60) * 1j)


def test_columns_of_unlike_units_are_scored_one_by_one_too():
    forecaster = Forecaster("rnn", **CHOICES)
    forecaster.fit(ramp(150, columns=2))
    result, part = forecaster.test(), forecaster.test_part()
    assert set(result["columns"]) == {"c0", "c1"}
    error = np.mean((part.prediction[..., 1] - part.truth[..., 1]) ** 2)
    assert result["columns"]["c1"]["mse"] == pytest.approx(error)


@pytest.mark.parametrize(
    "wrong", [{"hidden": 8.5}, {"hidden": "8"}, {"layers": 0}, {"layers": "2"}, {"hidden": [4, 0]}]
)
def test_sizes_are_whole_numbers(wrong):
    with pytest.raises(ElmanError, match=r"`(hidden|layers)`"):
        Forecaster("rnn", **wrong)
    assert Forecaster("rnn", hidden=np.int64(8)).network.hidden == (8,)


def test_what_a_forecast_leaves_is_drawn_where_there_is_enough_of_it(tmp_path):
    forecaster = Forecaster("rnn", **CHOICES)
    forecaster.fit(ramp(150, columns=2))
    drawn = forecaster.draw(tmp_path)
    assert set(drawn) == {"Predictions on the test part", "Residuals on the test part", "Loss of each epoch"}
    assert all(path.stat().st_size > 5000 for path in drawn.values())
    short = Forecaster("rnn", **{**CHOICES, "context": 4, "split": (80, 10, 10)})
    short.fit(ramp(60))
    assert "Residuals on the test part" not in short.draw(tmp_path)
