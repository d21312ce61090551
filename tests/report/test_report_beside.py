"""A run's memory beside that of other runs and of fresh cells; what of an explanation calls for doing something."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

import elman
from elman.cli import run as command
from elman.errors import ElmanError
from elman.insight import memory_by_gradient
from elman.jobs import Forecaster
from elman.report import Sample, compare, explain
from elman.report.beside import _fresh
from elman.report.page import page
from elman.report.sections import lines


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder, found = tmp_path_factory.mktemp("runs"), {}
    for cell, context in (("rnn", 30), ("lstm", 20)):
        found[cell] = Forecaster(cell, hidden=6, context=context, epochs=1, network_alone=True)
        found[cell].fit("wave:combined", run=folder / cell)
    return found


def test_each_is_measured_on_as_many_steps_of_its_own_data(runs):
    found = compare(explain(runs["rnn"]), {"gated": runs["lstm"]})
    chosen = {"this one": runs["rnn"].sample(), "gated": runs["lstm"].sample(30)}
    assert list(found.beside) == list(chosen)
    for name, one in chosen.items():
        want = memory_by_gradient(one.layer, one.x)
        torch.testing.assert_close(found.beside[name].memory.units, want.units)
        (facts,) = (row for row in found.facts["compared"] if row["name"] == name)
        assert (facts["length"], facts["what"]) == (want.length, one.what)
        assert facts["parameters"] == sum(p.numel() for p in one.layer.parameters())
    assert found.facts["compared"][0]["length"] == found.facts["memory"]["by gradient"]["length"]


def test_a_fresh_cell_has_the_size_and_the_sequence():
    layer = elman.Recurrent("rnn", 3, 12, 2, bidirectional=True, init="orthogonal")
    chosen = Sample.of(layer, torch.randn(15, 3))
    state = torch.get_rng_state()
    found = compare(explain(chosen), {"lstm": "lstm", "gru": elman.cells.get("gru")})
    assert torch.equal(torch.get_rng_state(), state)
    own = sum(p.numel() for p in layer.parameters())
    for row in found.facts["compared"][1:]:
        assert 0.7 * own < row["parameters"] <= own
        assert (row["cell"], row["fresh"]) == (row["name"], True)
        assert len(row["influence"]) == 15
    fresh = _fresh("lstm", chosen).layer
    assert (fresh.num_layers, fresh.stack.bidirectional, fresh.init) == (2, True, "orthogonal")
    with pytest.raises(ElmanError, match="did you mean 'lstm'"):
        compare(explain(chosen), {"a": "lstn"})


def test_an_open_forget_gate_remembers_longer_on_the_same_data():
    torch.manual_seed(0)
    x = torch.randn(200, 2)
    layers = {"rnn": elman.Recurrent("rnn", 2, 32), "lstm": elman.Recurrent("lstm", 2, 32, forget_bias=5.0)}
    chosen = {name: Sample.of(layer, x) for name, layer in layers.items()}
    plain, gated = compare(explain(chosen["rnn"]), {"lstm": chosen["lstm"]}).facts["compared"]
    assert gated["length"] >= 5 * plain["length"] > 0


@pytest.mark.full
def test_the_command_compares_a_run_with_a_run_and_with_a_cell(runs, tmp_path, capsys):
    other = str(runs["lstm"].run.path)
    arguments = ["explain", str(runs["rnn"].run.path), "--compare", other, "--compare", "gru", "--json"]
    assert command([*arguments, "--pictures", str(tmp_path), "-o", str(tmp_path / "a.html")]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [(row["name"], row["cell"]) for row in result["compared"]] == [
        ("this one", "rnn"), (other, "lstm"), ("gru", "gru"),
    ]  # fmt: skip
    assert [row["fresh"] for row in result["compared"]] == [False, False, True]
    assert str(tmp_path / "memories.png") in result["pictures"]
    text = (tmp_path / "a.html").read_text()
    assert "Gradient flow, beside that of others" in text
    assert "<td>fresh gru</td>" in text
    assert command(["explain", str(runs["rnn"].run.path), "--compare", "lstn"]) == 2
    assert "no run folder 'lstn', and" in capsys.readouterr().err.splitlines()[-1]


def said_of(layer, x, **more):
    found = explain(Sample.of(layer, x, **more))
    return found.facts["remarks"], "\n".join(lines(found.facts)), page(found, {}, "page")


def test_what_helps_is_said_of_each_verdict():
    layer = elman.Recurrent("rnn", 1, 4, nonlinearity="identity")
    for scale, words in ((0.5, "to remember longer: a gated cell"), (1.5, "to tame it: a clipped gradient")):
        nn.init.eye_(layer.weight_hh_l0.data).mul_(scale)
        (remark,), terminal, html = said_of(layer, torch.randn(40, 1))
        assert remark.startswith(words)
        assert f"remark: {remark}" in terminal
        assert words[1:] in html
    nn.init.eye_(layer.weight_hh_l0.data)
    assert not said_of(layer, torch.randn(40, 1))[0]


def test_a_network_that_reads_nothing_is_called_that():
    layer = elman.Recurrent("rnn", 2, 4, nonlinearity="relu")
    nn.init.constant_(layer.bias_ih_l0, -100.0)
    (remark,), terminal, html = said_of(layer, torch.randn(30, 2))
    assert remark.startswith("no input moves the last output")
    assert "gradient from within: nothing, its gradient is 0" in terminal
    assert "what matters for the last output: nothing, its gradient is 0" in terminal
    assert "Nothing, its gradient is 0." in html
    assert "nan" not in terminal.lower()


def test_of_a_constant_series_the_input_is_0_and_the_gradient_is_not(tmp_path):
    forecaster = Forecaster("rnn", hidden=4, context=8, epochs=2, network_alone=True, season=0)
    forecaster.fit(np.full(80, 3.0))
    facts = explain(forecaster).facts
    assert facts["shares"]["projected"][-1] is not None
    assert any(line.endswith("after the last step: nothing, its input is 0") for line in lines(facts))


def test_a_training_that_went_wrong_is_called_that():
    spiked = {"epoch": 1, "train_loss": 1.0, "validation_loss": None, "clipped": 0.0, "spikes": [9, 12]}
    rows = [spiked | {"gradients": {"head": [1.0] * 9 + [1e4], "recurrent.l0": [1.0] * 10}}]
    remarks, terminal, _ = said_of(elman.Recurrent("rnn", 2, 4), torch.randn(30, 2), training=rows)
    assert any("jumped at 2 steps" in remark for remark in remarks)
    assert any("gradient of head burst in training, 1e+04 at its largest, 1e+04 times" in remark for remark in remarks)
    assert not any("recurrent.l0 burst" in remark for remark in remarks)
    assert "training: 1 epoch, 0 % of its gradients clipped, 2 spikes of the loss" in terminal


def test_an_unfinished_training_is_called_that(runs):
    facts = explain(runs["rnn"]).facts
    assert facts["training"]["planned"] == 1
    assert "training: 1 epoch," in lines(facts)[-1]
    facts["training"]["planned"] = 40
    assert "training: 1 of 40 epochs," in lines(facts)[-1]
