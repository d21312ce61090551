"""A network on a linear forecast: it begins at the line, adds what helps, and neither reads what comes later."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import elman
from elman.data import Series, find_season
from elman.data.series.calendar import Step
from elman.data.series.seasons import usual_seasons
from elman.errors import DataError, ElmanError
from elman.jobs import Forecaster
from elman.jobs.baselines import verdict
from elman.jobs.forecaster import ForecastRun
from elman.linear import Line
from elman.metrics import drift, standard_error
from elman.tasks import NetworkOnLine
from elman.tasks.forecast_networks import Lines, inputs_of
from elman.tasks.shares import best_shares

STEPS = np.arange(240.0)
QUICK = {"hidden": 4, "epochs": 2}


def monthly(n=240, noise=1.0, columns=1, seed=0):
    """Values with a trend and a season of twelve."""
    t, random = np.arange(float(n)), np.random.default_rng(seed)
    rows = [100 + t / 4 + 9 * np.sin(2 * np.pi * t / 12 + c) + noise * random.normal(size=n) for c in range(columns)]
    return Series(np.stack(rows, 1), tuple(f"c{c}" for c in range(columns)))


def network(horizon=3, segment=1, columns=1, size=6):
    torch.manual_seed(0)
    model = NetworkOnLine(elman.Recurrent("gru", inputs_of(segment), 5), horizon, segment)
    random = np.random.default_rng(0)
    lines = [
        Line(random.normal(size=(2, horizon, size)) / size, np.zeros((2, horizon)), np.array([1.0, 0.0]), 1.0)
        for _ in range(columns)
    ]
    model.stand_on(Lines(lines, np.zeros(columns), np.ones(columns)), np.ones((2, columns)), np.ones(columns))
    return model.eval()


def awake(model):
    """``model`` with a head that is not 0."""
    torch.nn.init.normal_(model.head.weight)
    return model


# The network


def test_it_begins_at_the_line():
    model, x = network(columns=2), torch.randn(8, 5, 2)
    assert torch.equal(model(x)[0][0], model.line(x))
    awake(model)
    assert not torch.allclose(model(x)[0][0], model.line(x))
    model.use(0, 0)
    assert torch.equal(model(x)[0][0], model.line(x))
    model.use(0, 1)
    assert torch.allclose(model(x)[0][0], model.parts(x)[1])
    model.use(0.25, 0.5)
    added, beside = model.parts(x)
    assert torch.allclose(model(x)[0][0], 0.5 * model.line(x) + 0.25 * added + 0.5 * beside)
    assert torch.allclose(model.used(x), 0.25 * added + 0.5 * beside)


def test_columns_are_sequences_of_their_own():
    model, x = awake(network(columns=2)), torch.randn(8, 5, 2)
    changed = x.clone()
    changed[..., 1] += torch.randn(8, 5)
    assert torch.equal(model(x)[0][..., 0], model(changed)[0][..., 0])
    assert not torch.allclose(model(x)[0][..., 1], model(changed)[0][..., 1])


@pytest.mark.parametrize("segment", [1, 2, 3, 7])
def test_segments_end_at_the_last_value(segment):
    model, x = awake(network(segment=segment)), torch.randn(8, 2, 1)
    read, _ = model.sequences(x)
    assert read.shape == (8 // segment, 2, 2 * segment + 1)
    used = x[8 % segment :]
    spread = ((used - used[-1]).square().mean(0) + 0.01).sqrt()
    assert torch.allclose(read[-1, :, :segment] * spread + used[-1], x[8 - segment :, :, 0].T, atol=1e-6)
    assert torch.allclose(read[-1, :, segment:-1], x[8 - segment :, :, 0].T, atol=1e-6)
    assert model(x)[0].shape == (1, 2, 3, 1)


def test_what_it_says_follows_its_units_and_is_told_the_level():
    model, x = awake(network()), torch.rand(8, 4, 1)
    added, beside = model.parts(x)
    model.stand_on(model.line, units=np.array([[3.0], [5.0]]))
    assert torch.allclose(model.parts(x)[0], 3 * added, rtol=1e-5)
    assert torch.allclose(model.parts(x)[1] - x[-1].unsqueeze(1), 5 * (beside - x[-1].unsqueeze(1)), atol=1e-5)
    (read, size), (higher, same) = model.sequences(x), model.sequences(x + 0.5)
    assert torch.allclose(read[..., 0], higher[..., 0], atol=1e-5)
    assert torch.allclose(higher[..., 1] - read[..., 1], torch.tensor(0.5), atol=1e-5)
    assert torch.allclose(size, same, atol=1e-5)


# The task


@pytest.mark.parametrize("choices", [{}, {"horizon": 5}, {"horizon": 5, "strategy": "recursive"}, {"segment": 4}])
def test_every_choice_trains_is_kept_and_goes_on(tmp_path, choices):
    forecaster = Forecaster("gru", **QUICK, **choices)
    forecaster.fit(monthly(columns=2), run=tmp_path / "r")
    again = Forecaster.load(tmp_path / "r")
    assert again.test() == forecaster.test()
    assert np.array_equal(again.predict(7).values, forecaster.predict(7).values)
    assert forecaster.test()["windows"] == 48 - choices.get("horizon", 1) + 1
    config = json.loads((tmp_path / "r" / "config.json").read_text())
    assert config["forecast"]["season"] == 12
    assert config["forecast"]["context"] >= 12
    assert len(config["lines"]) == 2
    assert config["forecast"]["segment"] == choices.get("segment", -(-config["forecast"]["context"] // 32))


def test_a_recursive_forecast_feeds_one_step_back():
    forecaster = Forecaster("gru", **QUICK, horizon=4, strategy="recursive", context=13)
    forecaster.fit(monthly())
    task, part = forecaster.task, forecaster.task.split.test
    found = task.predict(part)
    x = torch.stack([task.z[w : w + 13] for w in part], 1)
    for step in range(4):
        one = task.model(x)[0][0, :, 0]
        assert torch.allclose(found[:, step], one, atol=1e-5)
        x = torch.cat([x[1:], one.unsqueeze(0)])


@pytest.mark.full
def test_noise_earns_no_share_or_by_chance_a_harmless_one_and_chaos_does():
    idle = 0
    for seed in range(1, 5):
        walk = Series(np.cumsum(np.random.default_rng(seed).normal(size=(600, 1)), axis=0), ("walk",))
        forecaster = Forecaster("gru", hidden=8, epochs=10)
        forecaster.fit(walk)
        used = forecaster.test()["test"]["mse"]
        said = any("adds nothing to the line" in note for note in forecaster.notes)
        assert said == (forecaster.model.shares == (0, 0))
        idle += said
        forecaster.model.use(0, 0)
        assert used <= 1.01 * forecaster.test()["test"]["mse"]
    assert idle >= 3
    tent, x = [0.3], 0.3
    for _ in range(1500):  # chaotic: no line forecasts it, and the next value is a function of the last
        x = 1.9 * min(x, 1 - x)
        tent.append(x)
    forecaster = Forecaster("gru", hidden=16, epochs=15, context=4)
    forecaster.fit(Series(np.array(tent)[:, None], ("tent",)))
    assert sum(forecaster.model.shares) > 0.8
    assert forecaster.test()["verdict"]["ratio"] < 0.5
    assert forecaster.test()["verdict"]["standard_errors"] > 2


def test_an_explanation_stands_on_the_line_that_the_test_part_is_scored_with():
    forecaster = Forecaster("gru", **QUICK, horizon=3, split=(80, 0, 20))
    forecaster.fit(monthly())
    forecaster.predict(2)  # on a line fitted to the test part, too
    made = forecaster.sample().result["forecast"][0][0]
    assert made == pytest.approx(forecaster.test_part().prediction[-1, 0, 0], rel=1e-5)


def test_without_a_validation_part_the_network_is_trusted_and_with_one_too_short_it_is_not():
    trusted, doubted = Forecaster("gru", **QUICK, split=(80, 0, 20)), Forecaster("gru", **QUICK, horizon=12)
    trusted.fit(monthly(60))
    doubted.fit(monthly(60))
    assert sum(trusted.model.shares) == 1
    assert doubted.model.shares == (0, 0)
    assert any("shorter than the horizon of 12" in note for note in doubted.notes)
    assert doubted.test()["windows"] == 1


CHOICES = st.fixed_dictionaries(
    {"horizon": st.sampled_from([1, 4]), "context": st.sampled_from([None, 13]), "season": st.sampled_from([None, 12])},
    optional={
        "strategy": st.just("recursive"),
        "segment": st.just(2),
        "network_alone": st.just(True),
        "scaler": st.sampled_from(["minmax", "none", "differences"]),
        "split": st.sampled_from([(60, 20, 20), (80, 0, 20)]),
    },
)


@pytest.mark.full
@settings(deadline=None, max_examples=12)
@given(choices=CHOICES, cut=st.integers(0, 30), seed=st.integers(0, 9))
def test_no_value_after_an_origin_changes_the_forecast_made_at_it(choices, cut, seed):
    if choices.get("network_alone") or choices.get("scaler") == "differences":
        choices = {key: value for key, value in choices.items() if key != "segment"}
    series = monthly(150, seed=seed)
    later = np.random.default_rng(seed).normal(size=150) * 1e3
    changed = series.values.copy()
    origin = 120 + cut  # the first value that is changed
    changed[origin:, 0] += later[origin:]
    forecasters = [Forecaster("rnn", hidden=3, epochs=1, **choices) for _ in range(2)]
    for forecaster, values in zip(forecasters, (series.values, changed), strict=True):
        forecaster.fit(Series(values, series.names))
    first, second = forecasters
    assert first.config == second.config
    assert first.task.blends == second.task.blends
    assert first.task.scaler.to_dict() == second.task.scaler.to_dict()
    for a, b in zip(first.model.state_dict().values(), second.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    made_before = first.test_part().first <= origin
    assert np.array_equal(first.test_part().prediction[made_before], second.test_part().prediction[made_before])


@pytest.mark.full
@given(st.integers(0, 200))
def test_the_shares_are_the_best_of_those_allowed(seed):
    random = np.random.default_rng(seed)
    own = torch.from_numpy(random.normal(size=(2, 30)) * random.lognormal(size=(2, 1)))
    left = torch.from_numpy(random.normal(size=30)) + random.normal() * own[0] + random.normal() * own[1]
    found = best_shares(own, left)
    assert (found >= 0).all()
    assert found.sum() <= 1 + 1e-9
    grid = torch.linspace(0, 1, 41, dtype=torch.float64)
    tried = [torch.stack([a, b]) for a in grid for b in grid if a + b <= 1]
    least = min(float((left - shares @ own).square().sum()) for shares in tried)
    assert float((left - found @ own).square().sum()) <= least + 1e-9


# What is found in the data


def test_the_season_is_that_of_the_dates_or_of_the_values():
    t = np.arange(400.0)
    weekly = np.cos(2 * np.pi * t / 7)
    assert find_season(weekly, Step(1, "d")) == 7
    assert find_season(weekly) == 7
    assert find_season(np.cos(2 * np.pi * t / 10), Step(1, "d")) == 0  # dates suggest no ten days
    assert find_season(np.ones(50)) == find_season(np.arange(50.0)) == find_season(np.ones(1)) == 0
    random = np.random.default_rng(0)
    assert sum(find_season(np.cumsum(random.normal(size=300))) > 0 for _ in range(100)) <= 5
    assert sum(find_season(random.normal(size=300), Step(1, "mo")) > 0 for _ in range(100)) <= 10


def test_of_a_day_and_a_week_the_one_that_repeats_better():
    t = np.arange(24 * 7 * 8)
    day, week = np.sin(2 * np.pi * t / 24), np.sin(2 * np.pi * t / 168)
    assert find_season(day, Step(3600, "s")) == 24
    assert find_season(day + week, Step(3600, "s")) == 168


@pytest.mark.parametrize(
    ("step", "seasons"),
    [
        (Step(1, "mo"), (12,)), (Step(12, "mo"), ()), (Step(5, "mo"), ()), (Step(1, "d"), (7,)), (Step(7, "d"), (52,)),
        (Step(1, "b"), (5,)), (Step(3600, "s"), (24, 168)), (Step(60, "s"), (60, 1440, 10080)), (Step(3, "d"), ()),
        (Step(1, "b", (0, 3_600_000_000)), (2, 10)), (Step(1, "d", (0, 3_600_000_000)), (2, 14)),
    ],
)  # fmt: skip
def test_the_seasons_a_step_suggests(step, seasons):
    assert usual_seasons(step) == seasons


def test_a_context_or_segment_that_cannot_be_is_refused():
    with pytest.raises(DataError, match="`segment`: got 9, more than the context of 8"):
        Forecaster("gru", **QUICK, context=8, segment=9).fit(monthly())
    with pytest.raises(ElmanError, match="a network alone reads value by value"):
        Forecaster("gru", network_alone=True, segment=2)
    with pytest.raises(ElmanError, match="strategy recursive"):
        Forecaster("gru", strategy="recursive", stateful=True)
    with pytest.raises(DataError, match="no window is left for training"):
        Forecaster("gru", **QUICK, context=200).fit(monthly())


def test_a_run_of_before_there_were_lines_is_of_a_network_alone():
    forecaster = Forecaster("gru", **QUICK, context=8, network_alone=True)
    forecaster.fit(monthly())
    config = forecaster._kept(data={}, scaler={}, lines=[], data_checksum="").model_dump()
    older = {key: value for key, value in config.items() if key != "lines"}
    older["forecast"] = {k: v for k, v in config["forecast"].items() if k in ("context", "horizon", "season")}
    assert ForecastRun.model_validate(older).forecast == forecaster.config
    assert ForecastRun.model_validate(older).lines == []


# What stands beside


def test_drift_goes_on_along_the_line_from_the_first_value():
    values = np.array([[0.0], [5.0], [2.0], [9.0]])
    assert drift(values, np.array([3, 4]), 2)[..., 0].tolist() == [[3.0, 4.0], [12.0, 15.0]]
    with pytest.raises(DataError, match="want 2"):
        drift(values, np.array([1]), 2)


def test_the_standard_error_of_overlapping_windows_counts_what_they_share():
    noise = np.random.default_rng(0).normal(size=4000)
    summed = np.convolve(noise, np.ones(5), "valid")
    assert standard_error(noise) == pytest.approx(noise.std() / np.sqrt(4000))
    assert standard_error(summed, 5) > 1.5 * standard_error(summed)
    assert standard_error(np.array([-1.0, 1.0] * 9), 6) >= 0


def test_the_verdict_names_the_best_and_how_sure_it_is():
    random, truth = np.random.default_rng(0), np.zeros((200, 1, 1))
    good, better = random.normal(size=(2, 200, 1, 1)) * [[[[2.0]]], [[[1.0]]]]
    found = verdict(better, truth, {"drift": good, "persistence": 3 * good})
    assert found["best"] == "drift"
    assert found["ratio"] == pytest.approx(0.25, rel=0.3)
    assert "more than chance" in found["words"]
    assert "worse than drift" in verdict(good, truth, {"drift": better})["words"]
    assert verdict(good, truth, {"drift": good})["words"].startswith("as good as drift")
    assert verdict(0 * good, truth, {"drift": 0 * good})["ratio"] == 1
    assert "one window" in verdict(good[:1], truth[:1], {"drift": 2 * good[:1]})["words"]


def test_an_ensemble_forecasts_the_mean_of_networks_that_learn_by_themselves():
    series = np.sin(np.arange(200.0) / 4) + 0.2 * np.random.default_rng(1).normal(size=200)
    forecaster = Forecaster("rnn", hidden=4, epochs=2, context=8, ensemble=3, season=0)
    forecaster.fit(series)
    task, model = forecaster.task, forecaster.model
    batch = next(task.batches(torch.Generator()))
    each = model.said(batch.inputs).parts
    assert each.shape[0] == 3
    assert torch.allclose(model.parts(batch.inputs), each.mean(0))
    assert not torch.allclose(each[0], each[1])
    # The loss is the mean of theirs, so that each has the gradient that it would have alone, a third of it.
    loss, _ = task.loss(batch)
    gradient = torch.autograd.grad(loss, model.others[0][1].weight)[0]
    line = model.line(batch.inputs)
    made = torch.stack([line + each[1, 0], each[1, 1]])
    own = ((made - batch.targets) / model.units[:, None, None]).square().mean((1, 2, 3)).sum()
    assert torch.allclose(gradient, torch.autograd.grad(own, model.others[0][1].weight)[0] / 3, atol=1e-7)
    with pytest.raises(ElmanError, match="ensemble: is of networks on a line"):
        Forecaster("rnn", ensemble=2, network_alone=True)


@pytest.mark.parametrize("name", ["mse", "mae"])
def test_the_loss_is_of_squared_or_of_absolute_errors(name):
    series, cost = np.sin(np.arange(120.0) / 4), {"mse": torch.square, "mae": torch.abs}[name]
    for choices in ({}, {"network_alone": True}, {"network_alone": True, "targets": "every"}):
        forecaster = Forecaster("rnn", hidden=4, epochs=1, context=8, season=0, loss=name, **choices)
        forecaster.fit(series)
        task, model = forecaster.task, forecaster.model
        batch = next(task.batches(torch.Generator()))
        if choices:
            made = model(batch.inputs)[0]
            wanted = cost((made if "targets" in choices else made[-1]) - batch.targets).mean()
        else:
            added, beside = model.parts(batch.inputs)
            made = torch.stack([model.line(batch.inputs) + added, beside])
            wanted = cost((made - batch.targets) / model.units[:, None, None]).mean((1, 2, 3)).sum()
        assert torch.allclose(task.loss(batch)[0], wanted)
