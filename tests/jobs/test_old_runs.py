"""Runs that an older Elman wrote load and mean what they meant, or are refused by name with what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from elman.data import Labelled
from elman.errors import RunError
from elman.jobs import Classifier, Forecaster, load
from elman.training import load_tensors, save_tensors
from elman.training.config import digest


def aged(run: Path, older: Callable[[dict], None], without: tuple[str, ...] = ()) -> Path:
    """``run`` as an older Elman would have written it: its config changed, its weights some that are missing."""
    config = json.loads((run / "config.json").read_text())
    older(config)
    (run / "config.json").write_text(json.dumps(config))
    for file in run.glob("*.safetensors"):
        tensors, metadata = load_tensors(file)
        if "config" in metadata:
            kept = {name: value for name, value in tensors.items() if name not in without}
            save_tensors(file, kept, metadata | {"config": digest(config)})
    return run


@pytest.fixture
def series() -> np.ndarray:
    return np.sin(np.arange(120.0) / 4) + 0.1 * np.random.default_rng(0).normal(size=120)


def test_a_forecast_from_before_there_were_lines_is_of_a_network_alone(tmp_path, series):
    forecaster = Forecaster("rnn", hidden=4, context=10, epochs=2, network_alone=True, season=0)
    forecaster.fit(series, run=tmp_path / "r")
    after = forecaster.predict(5).values

    def older(config):
        del config["lines"], config["reading"]
        config["forecast"] = {
            name: config["forecast"][name]
            for name in ("context", "horizon", "split", "scaler", "targets", "stateful", "season")
        }

    found = load(aged(tmp_path / "r", older))
    assert not found.config.on_line
    assert np.array_equal(found.predict(5).values, after)
    assert found.test()["windows"] == forecaster.test()["windows"]


def test_a_classification_from_before_naive_bayes_is_of_its_network(tmp_path):
    texts = [f"film {i} was {'good' if i % 2 else 'bad'}" for i in range(40)]
    classifier = Classifier("gru", hidden=4, epochs=2, network_alone=True, prior_shift=0)
    classifier.fit(Labelled(texts, ["ab"[i % 2] for i in range(40)]), run=tmp_path / "r")
    before = classifier.predict(texts[:5]).probabilities

    def older(config):
        for name in ("prior_shift", "network_alone"):
            del config["classify"][name]

    found = load(aged(tmp_path / "r", older, without=("bayes_weight",)))
    assert np.array_equal(found.predict(texts[:5]).probabilities, before)


def test_a_run_without_a_checksum_of_its_data_is_refused_with_what_to_do(tmp_path, series):
    Forecaster("rnn", hidden=4, context=10, epochs=1).fit(series, run=tmp_path / "r")
    with pytest.raises(RunError, match="has no checksum of data"):
        load(aged(tmp_path / "r", lambda config: config.pop("data_checksum")))


def test_weights_that_do_not_fit_are_refused_in_one_line(tmp_path, series):
    Forecaster("rnn", hidden=4, context=10, epochs=1).fit(series, run=tmp_path / "r")
    with pytest.raises(RunError, match=r"does not fit config.json: .*Missing key") as caught:
        load(aged(tmp_path / "r", lambda config: None, without=("recurrent.weight_ih_l0",)))
    assert "\n" not in str(caught.value)
    assert torch.is_grad_enabled()
