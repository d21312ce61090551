"""Choosing by trial: on the validation part alone, gone on with, and kept whole."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from elman.errors import ElmanError, RunError
from elman.jobs import Forecaster, load, tune
from elman.jobs.tune import validation_error

pytest.importorskip("optuna")
SMALL = {"cell": "rnn", "epochs": 1, "hidden": 4, "layers": 1}


def series(n=160, noise=0.1):
    return np.sin(np.arange(n) / 3) + noise * np.random.default_rng(0).normal(size=n)


def test_the_best_trial_is_trained_and_kept(tmp_path):
    found = tune(series(), tmp_path / "t", trials=3, **SMALL)
    best = min(found.trials, key=lambda row: row["mse"])
    assert found.best == best["choices"]
    kept = load(tmp_path / "t" / "best")
    assert validation_error(kept) == pytest.approx(best["mse"], rel=1e-6)
    assert kept.network.cell == "rnn"  # what is given is not chosen
    assert {"cell", "hidden", "layers"}.isdisjoint(found.best)


def test_nothing_of_the_test_part_is_looked_at(tmp_path):
    changed = series()
    changed[130:] = 100.0 + np.arange(30)
    first, second = (
        tune(values, tmp_path / name, trials=3, **SMALL) for name, values in (("a", series()), ("b", changed))
    )
    assert [row["choices"] for row in first.trials] == [row["choices"] for row in second.trials]
    assert [row["mse"] for row in first.trials] == [row["mse"] for row in second.trials]


def test_the_same_call_goes_on_and_another_is_refused(tmp_path):
    first = tune(series(), tmp_path / "t", trials=2, **SMALL)
    again = tune(series(), tmp_path / "t", trials=3, **SMALL)
    assert again.trials[:2] == first.trials
    assert len(again.trials) == 3
    assert len({json.dumps(row["choices"]) for row in again.trials}) == 3
    with pytest.raises(RunError, match="holds a tuning of other data, or with other choices"):
        tune(series() + 1, tmp_path / "t", trials=3, **SMALL)
    with pytest.raises(RunError, match="holds a tuning of other data, or with other choices"):
        tune(series(), tmp_path / "t", trials=3, **{**SMALL, "hidden": 5})
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(RunError, match="holds no tuning"):
        tune(series(), tmp_path / "other", trials=1, **SMALL)


def test_an_interrupted_tuning_keeps_its_trials(tmp_path, monkeypatch):
    fit, calls = Forecaster.fit, []

    def interrupted(self, *arguments, **options):
        history = fit(self, *arguments, **options)
        calls.append(self)
        history.interrupted = len(calls) == 2
        return history

    monkeypatch.setattr(Forecaster, "fit", interrupted)
    found = tune(series(), tmp_path / "t", trials=5, **SMALL)
    assert found.interrupted
    assert len(found.trials) == 1
    assert not (tmp_path / "t" / "best").exists()
    monkeypatch.setattr(Forecaster, "fit", fit)
    assert tune(series(), tmp_path / "t", trials=4, **SMALL).forecaster is not None


def test_what_cannot_be_trained_is_left_out_and_said(tmp_path):
    with pytest.raises(ElmanError, match="`split`: leaves nothing to validate"):
        tune(series(), tmp_path / "t", split=(80, 0, 20), **SMALL)
    with pytest.raises(ElmanError, match="could be trained"):
        tune(series(20), tmp_path / "u", trials=1, horizon=15, **SMALL)


def test_without_optuna_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ElmanError, match=r"pip install 'elman\[tune\]'"):
        tune(series(), tmp_path / "t", **SMALL)


def test_the_command_line(elman, write):
    file = write("x\n" + "".join(f"{value}\n" for value in series()))
    small = ["--cell", "rnn", "--hidden", 4, "--epochs", 1, "--horizon", 2]
    code, out, err = elman("tune", file, "--trials", 2, *small, "-o", "t", "--json")
    assert code == 0, err
    result = json.loads(out)
    assert len(result["trials"]) == 2
    assert elman("test", result["best_run"])[0] == 0
    code, out, _ = elman("tune", file, "--trials", 2, *small, "-o", "t")
    assert (code, out.splitlines()[0]) == (0, "2 trials, the best on the validation part:")
    assert elman("tune", file, "--trials", 0)[0] == 2
    assert elman("tune")[0] == 2


def test_an_interrupt_in_the_first_trial_is_no_failure_and_no_trial(tmp_path, monkeypatch):
    fit = Forecaster.fit

    def interrupted(self, *arguments, **options):
        history = fit(self, *arguments, **options)
        history.interrupted = True
        return history

    monkeypatch.setattr(Forecaster, "fit", interrupted)
    found = tune(series(), tmp_path / "t", trials=2, **SMALL)
    assert (found.interrupted, found.trials, found.best) == (True, [], {})
    monkeypatch.setattr(Forecaster, "fit", fit)
    assert len(tune(series(), tmp_path / "t", trials=2, **SMALL).trials) == 2


@pytest.mark.full
def test_processes_share_the_trials(tmp_path):
    found = tune(series(), tmp_path / "t", trials=4, workers=2, **SMALL)
    assert 4 <= len(found.trials) <= 5
    assert len({row["trial"] for row in found.trials}) == len(found.trials)
    assert len({json.dumps(row["choices"]) for row in found.trials}) > 1
    assert found.best == min(found.trials, key=lambda row: row["mse"])["choices"]
    assert load(tmp_path / "t" / "best").run is not None
