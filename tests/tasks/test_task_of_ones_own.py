"""A fourth task: from the one file that registers it, it is trained, tested, drawn, explained and resumed."""

from __future__ import annotations

import json

import pytest
import torch

from adding_task import Adder
from elman import jobs


@pytest.fixture
def run(tmp_path):
    numbers = torch.rand(8, 64, generator=torch.Generator().manual_seed(0)).numpy()
    Adder(epochs=60, batch=8, lr=0.03).fit(numbers, run=tmp_path / "run")
    return tmp_path / "run"


def test_it_is_trained_opened_and_tested(run, elman):
    assert isinstance(jobs.load(run), Adder)
    code, out, err = elman("test", str(run), "--json")
    assert (code, err) == (0, "warning: only a toy\n")
    result = json.loads(out)
    assert result["test"]["mse"] < 0.2 * result["baselines"]["mean"]["mse"]
    assert elman("test", str(run))[1].startswith("mse 0.")


def test_it_is_drawn(run, elman):
    code, out, _ = elman("plot", str(run), "--json")
    assert code == 0
    assert json.loads(out)["pictures"] == [str(run / "loss.png")]
    code, _, err = elman("plot", str(run), "--steps", 3)
    assert code == 2
    assert "--steps: nothing follows the end of a run of task 'add'" in err


@pytest.mark.full
def test_it_is_explained(run, elman):
    code, out, _ = elman("explain", str(run), "--compare", "rnn")
    assert code == 0
    assert out.startswith("add: gru, 1 layer of 8 units")
    page = (run / "report.html").read_text()
    assert "What it adds up to" in page
    assert "The sum is" in page


def test_it_is_resumed_to_the_same_bits(run):
    again, history = Adder.resume(run)
    assert history.epochs == 60
    for name, weight in again.task.model.state_dict().items():
        assert torch.equal(weight, jobs.load(run).task.model.state_dict()[name])


def test_a_task_that_nobody_registered_is_named(run, elman):
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"task": "multiply"}))
    code, _, err = elman("test", str(run))
    assert code == 2
    assert "is a run of task 'multiply', which this Elman has not" in err
