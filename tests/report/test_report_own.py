"""A layer of one's own explained on a sequence of one's own: the numbers, the page, and what is refused."""

from __future__ import annotations

import json

import pytest
import torch
from test_report import Read
from torch import nn

import elman
from elman.errors import ElmanError, ShapeError
from elman.insight import attribution
from elman.report import Sample, draw, explain, write_page


def adding(T, rows):
    """Numbers and marks (T, B, 2), a mark in each half, and the sums of the marked (Hochreiter & Schmidhuber 1997)."""
    value, mark = torch.rand(T, rows), torch.zeros(T, rows)
    mark[torch.randint(0, T // 2, (rows,)), range(rows)] = 1
    mark[torch.randint(T // 2, T, (rows,)), range(rows)] = 1
    return torch.stack([value, mark], -1), (value * mark).sum(0)


def trained_to_add(T, cell, steps):
    """A layer and what reads the sum off its last output."""
    layer = elman.Recurrent(cell, 2, 32, init="orthogonal", forget_bias=1.0 if cell == "lstm" else None)
    head = nn.Linear(32, 1)
    parameters = [*layer.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(parameters, 0.01)
    smooth = 1.0
    for _ in range(steps):
        x, target = adding(T, 32)
        loss = ((head(layer(x)[0][-1])[:, 0] - target) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        smooth = 0.9 * smooth + 0.1 * loss.item()
        if smooth < 1e-3:
            break
    assert smooth < 2e-3, "it has not learned to add"
    return layer, lambda output: head(output[-1]).squeeze(-1)


def added_by_hand():
    """Two layers of one relu: max(0, number + mark - 1) is the number where it is marked, and the second adds up."""
    layer = elman.Recurrent("rnn", 2, 1, num_layers=2, nonlinearity="relu")
    for name, parameter in layer.named_parameters():
        nn.init.constant_(parameter, 1.0 if name in ("weight_ih_l0", "weight_ih_l1", "weight_hh_l1") else 0.0)
    nn.init.constant_(layer.bias_ih_l0, -1.0)
    return layer, lambda output: output[-1, :, 0]


def on_the_page(folder, layer, said, x, target):
    """The numbers that stand in the page of one row of ``x`` (T, 1, 2), and its text."""
    chosen = Sample.of(layer, x, said, lambda y: (said(y) - target) ** 2, what="two marks", question="the sum")
    explanation = explain(chosen)
    text = write_page(folder / "page.html", explanation, title="the adding problem").read_text()
    assert len(draw(explanation, folder)) == text.count("<img")
    return json.loads(Read(text).scripts["numbers"]), text


def expect_the_marked_steps(numbers, text, x, least):
    marked = x[:, 0, 1] > 0
    mass = torch.tensor(numbers["attribution"]["mass"])
    assert len(mass) == len(x)
    assert mass[marked].sum() > least
    steps = [t for t in range(len(x)) if marked[t]]
    assert sorted(one["step"] for one in numbers["attribution"]["top"][:2]) == steps
    rows = [f"<td>{one['step'] + 1}</td><td>{100 * one['share']:.3g} %</td>" for one in numbers["attribution"]["top"]]
    assert all(row in text for row in rows[:2])
    assert "Steps that matter for the sum" in text


@pytest.mark.full
def test_the_page_shows_the_marked_steps_of_the_adding_problem_by_hand(tmp_path):
    torch.manual_seed(0)
    x, target = adding(12, 1)
    numbers, text = on_the_page(tmp_path, *added_by_hand(), x, target)
    assert numbers["result"]["value"] == pytest.approx(target.item())
    assert f"The sum is {target.item():.4g}." in text
    expect_the_marked_steps(numbers, text, x, least=0.99999)


@pytest.mark.full
@pytest.mark.parametrize(
    ("T", "cell", "steps"), [(30, "gru", 800), pytest.param(200, "lstm", 3000, marks=pytest.mark.slow)]
)
def test_a_trained_network_shows_the_marked_steps_of_the_adding_problem(T, cell, steps, tmp_path):
    torch.manual_seed(0)
    untrained = elman.Recurrent(cell, 2, 32, init="orthogonal")
    x, _ = adding(T, 16)
    before = attribution(untrained, x).on(x[:, :, 1] > 0).mean()
    layer, said = trained_to_add(T, cell, steps)
    x, target = adding(T, 16)
    after = attribution(layer, x, said).on(x[:, :, 1] > 0)
    assert after.mean() > 0.8
    assert after.mean() > 2 * before
    numbers, text = on_the_page(tmp_path, layer, said, x[:, :1], target[:1])
    expect_the_marked_steps(numbers, text, x[:, :1], least=0.8)


def test_it_is_what_insight_says_of_the_layer():
    torch.manual_seed(0)
    layer, head = elman.Recurrent("lstm", 3, 5, 2, bidirectional=True), nn.Linear(10, 4)
    x = torch.randn(9, 1, 3)

    def said(output):
        return head(output[-1])[:, 2]

    chosen = Sample.of(layer, x, said)
    want = attribution(layer, x, said).mass[:, 0]
    facts = explain(chosen).facts
    torch.testing.assert_close(torch.tensor(facts["attribution"]["mass"]), want)
    assert facts["network"] == {
        "cell": "lstm", "input": 3, "hidden": [5, 5], "layers": 2, "bidirectional": True,
        "parameters": sum(p.numel() for p in layer.parameters()),
        "recurrent_parameters": sum(p.numel() for p in layer.parameters()),
    }  # fmt: skip
    output = layer(x)[0].detach().requires_grad_()
    (gradient,) = torch.autograd.grad(said(output).sum(), output)
    for found in (chosen.loss, chosen.trained, chosen.explained):
        torch.testing.assert_close(found, gradient)


def test_a_fresh_layer_needs_nothing_but_x(tmp_path):
    layer = elman.Recurrent("gru", 2, 4, dtype=torch.float64)
    chosen = Sample.of(layer, torch.randn(7, 2, dtype=torch.float64))
    assert chosen.loss.eq(1).all()
    assert chosen.explained.sum(2).flatten().tolist() == [0] * 6 + [4]
    explanation = explain(chosen)
    assert "gru, 1 layer of 4 units" in write_page(tmp_path / "a.html", explanation, {}, "fresh").read_text()


def test_the_loss_of_every_step_and_of_the_whole():
    layer = elman.Recurrent("rnn", 2, 4)
    x = torch.randn(6, 2)
    each = Sample.of(layer, x, loss=lambda y: y.square().sum((1, 2))).loss
    torch.testing.assert_close(each, 2 * layer(x[:, None])[0])
    torch.testing.assert_close(Sample.of(layer, x, loss=lambda y: y.square().sum()).loss, each)


def test_a_layer_that_has_the_batch_first():
    torch.manual_seed(0)
    layer = elman.Recurrent("gru", 2, 4, batch_first=True)
    x = torch.randn(1, 6, 2)
    facts = explain(Sample.of(layer, x, labels="abcdef")).facts
    assert layer.batch_first
    plain = elman.Recurrent("gru", 2, 4)
    plain.load_state_dict(layer.state_dict())
    want = explain(Sample.of(plain, x[0])).facts
    assert facts["attribution"]["mass"] == want["attribution"]["mass"]
    assert facts["attribution"]["top"][0]["label"] in "abcdef"


@pytest.mark.full
def test_it_is_explained_without_the_noise_of_training():
    torch.manual_seed(0)
    layer = elman.Recurrent("lstm", 2, 4, 2, zoneout=0.5, dropout=0.5)
    x = torch.randn(310, 2)
    first, second = (explain(Sample.of(layer, x)).facts for _ in range(2))
    assert layer.training
    assert first == second
    assert first["sample"]["measured"] == 300


def test_a_training_of_one_s_own_is_told(tmp_path):
    rows = [{"epoch": 1, "train_loss": 2.0, "validation_loss": 1.0, "clipped": 0.5, "gradients": {}, "spikes": [3]}]
    facts = explain(Sample.of(elman.Recurrent("rnn", 1, 2), torch.randn(5, 1), training=rows)).facts
    assert facts["training"]["spikes"] == [{"epoch": 1, "step": 3}]


def test_what_cannot_be_explained():
    layer, x = elman.Recurrent("rnn", 2, 4), torch.randn(5, 2)
    with pytest.raises(ShapeError, match=r"\(5, 3, 2\).*one row"):
        Sample.of(layer, torch.randn(5, 3, 2))
    with pytest.raises(ShapeError, match="want one a step, 5"):
        Sample.of(layer, x, labels="ab")
    with pytest.raises(ShapeError, match="loss: what it gives does not depend"):
        Sample.of(layer, x, loss=lambda y: y.detach())
    with pytest.raises(ShapeError, match="output: what it gives does not depend"):
        Sample.of(layer, x, lambda y: 3.0)
    with pytest.raises(ElmanError, match=r"got a LSTM, want an elman\.Recurrent.*load_state_dict"):
        Sample.of(elman.LSTM(2, 4), x)
    timed = next(name for name in elman.cells.REGISTRY if elman.cells.get(name).program().extras)
    with pytest.raises(ShapeError, match="beside x"):
        Sample.of(elman.Recurrent(timed, 2, 4), x)
