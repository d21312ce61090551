"""Going on with newer data: read as the first was, from the weights that were there, into a run of its own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from elman.errors import DataError, ElmanError, RunError
from elman.jobs import Forecaster

QUICK = {"hidden": 4, "epochs": 2, "context": 8}


def wave(n):
    return 5 + np.sin(np.arange(float(n)) / 3) + np.random.default_rng(0).normal(size=n) / 9


@pytest.mark.parametrize("alone", [False, True])
def test_it_begins_at_the_weights_and_keeps_what_was_chosen(tmp_path, alone):
    forecaster = Forecaster("gru", **QUICK, network_alone=alone)
    forecaster.fit(wave(120), run=tmp_path / "a")
    before = {name: value.clone() for name, value in forecaster.model.state_dict().items()}
    blends, scaler, config = forecaster.task.blends, forecaster.task.scaler, forecaster.config
    forecaster.update(wave(150), run=tmp_path / "b", recipe={"epochs": 1, "lr": 1e-12})
    assert forecaster.task.blends == blends
    assert forecaster.task.scaler is scaler
    assert forecaster.config == config
    assert len(forecaster.series) == 150
    for name, value in forecaster.model.state_dict().items():
        if name != "gain":
            assert torch.allclose(value, before[name], atol=1e-6)
    again = Forecaster.load(tmp_path / "b")
    assert np.array_equal(again.predict(5).values, forecaster.predict(5).values)
    assert Forecaster.load(tmp_path / "a").series.values.shape == (120, 1)
    with pytest.raises(RunError):
        forecaster.update(wave(150), run=tmp_path / "a")


def test_an_interrupted_update_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    whole, cut = Forecaster("gru", **QUICK), Forecaster("gru", **QUICK)
    for forecaster, name in ((whole, "whole"), (cut, "cut")):
        forecaster.fit(wave(120))
        if name == "cut":
            monkeypatch.setattr("elman.jobs.job.fit", lambda *given, **named: (_ for _ in ()).throw(KeyboardInterrupt))
        try:
            forecaster.update(wave(150), run=tmp_path / name, recipe={"epochs": 3})
        except KeyboardInterrupt:
            monkeypatch.undo()
    resumed, _ = Forecaster.resume(tmp_path / "cut")
    for a, b in zip(whole.model.state_dict().values(), resumed.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_data_of_other_columns_is_refused_and_nothing_changes(tmp_path):
    forecaster = Forecaster("gru", **QUICK)
    forecaster.fit(wave(120))
    before = forecaster.test()
    with pytest.raises(DataError, match="has columns"):
        forecaster.update(np.stack([wave(120)] * 2, 1), run=tmp_path / "b")
    with pytest.raises(ElmanError, match="`lr`"):
        forecaster.update(wave(150), recipe={"lr": -1})
    with pytest.raises(DataError, match="shorter than context"):
        forecaster.update(wave(5))
    assert not (tmp_path / "b").exists()
    (tmp_path / "taken").mkdir()
    with pytest.raises(RunError):
        forecaster.update(wave(150), run=tmp_path / "taken", recipe={"epochs": 9})
    assert forecaster.recipe.epochs == QUICK["epochs"]
    assert forecaster.test() == before


def test_a_changed_recipe_is_the_one_that_trains():
    forecaster = Forecaster("gru", **QUICK)
    forecaster.fit(wave(120))
    forecaster.update(wave(150), recipe={"batch": 7})
    assert forecaster.task.batch == 7


def test_newer_files_are_read_as_the_first_was(elman):
    for name, n in (("old.csv", 100), ("new.csv", 130)):
        rows = [
            f"{1 + i % 12}/{1 + i // 12}/2020;{str(round(v, 3)).replace('.', ',')};x" for i, v in enumerate(wave(n))
        ]
        Path(name).write_text("tag;menge;rest\n" + "\n".join(rows) + "\n")
    # 1/2/2020 is the second of January or the first of February: it was said, once.
    how = ["--time", "none", "--target", "menge", "--decimal", "comma"]
    quick = ["--hidden", "3", "--epochs", "1", "--context", "8"]
    assert elman("train", "forecast", "old.csv", *how, *quick, "-o", "r")[0] == 0
    config = json.loads(Path("r/config.json").read_text())
    assert config["reading"]["decimal"] == "comma"
    code, out, _ = elman("forecast", "r", "--data", "new.csv", "--steps", 2, "--json")
    assert (code, json.loads(out)["names"]) == (0, ["menge"])
    code, out, _ = elman("update", "r", "--data", "new.csv", "--epochs", 1, "--json")
    assert (code, json.loads(out)["run"]) == (0, "r-2")
    assert Forecaster.load("r-2").series.values.shape == (130, 1)
    code, _, err = elman("update", "r")
    assert (code, "--data is missing" in err) == (2, True)
