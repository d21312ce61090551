"""A run explained: the numbers of each task, the page of them, and what is refused."""

from __future__ import annotations

import base64
import json
import math
import re
from datetime import datetime, timedelta
from html.parser import HTMLParser
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import torch

import elman
from elman.cli import run as command
from elman.equations import equations, equations_by_node
from elman.errors import ElmanError
from elman.insight import gradient_flow, memory_by_gradient, verdict
from elman.jobs import Classifier, Forecaster, Generator
from elman.report import draw, explain, walk
from elman.report.facts import MEASURED
from elman.report.page import page


@pytest.fixture(scope="module")
def forecaster(tmp_path_factory):
    job = Forecaster("lstm", hidden=5, context=17, epochs=2, network_alone=True)
    job.fit("wave:sine", run=tmp_path_factory.mktemp("runs") / "forecast")
    return job


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    job = Generator("gru", hidden=5, layers=2, dropout=0, epochs=1, embedding=3)
    job.fit(b"to be or </script> not to be, " * 60, run=tmp_path_factory.mktemp("runs") / "generate")
    return job


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    texts = ["abab", "ba", "abbaab", "xyx", "yy", "xxyxyxy"] * 5
    job = Classifier("rnn", hidden=3, epochs=2, batch=4, embedding=4)
    job.fit((texts, ["ab", "ab", "ab", "xy", "xy", "xy"] * 5), run=tmp_path_factory.mktemp("runs") / "classify")
    return job


@pytest.fixture(params=["forecaster", "generator", "classifier"])
def job(request):
    return request.getfixturevalue(request.param)


def floats(text, width):
    return np.frombuffer(base64.b64decode(text), "<f4").reshape(-1, width)


def test_the_numbers_of_every_task(job):
    facts = explain(job, steps=12).facts
    json.dumps(facts, allow_nan=False)
    assert facts["task"] == job.task.name
    assert facts["sample"]["steps"] <= 12
    assert facts["network"]["parameters"] == sum(p.numel() for p in job.model.parameters())
    layer = job.model.recurrent
    assert len(facts["verdicts"]) == len(facts["values"]) == layer.num_layers * layer.stack.directions
    assert facts["verdict"]["layer"] == layer.num_layers - 1
    assert facts["verdict"]["direction"] == 0
    assert set(facts["values"][0]["names"]) == set(layer.program.values)
    assert facts["shares"]["projected"][-1] == pytest.approx(1)
    assert sum(facts["attribution"]["mass"]) == pytest.approx(1, abs=1e-5)
    assert facts["training"]["epochs"] == len(job.run.metrics())
    assert set(facts["training"]["gradients"]) == set(job.run.metrics()[0]["gradients"])


def test_they_are_those_of_insight(forecaster):
    found = explain(forecaster)
    chosen = found.sample
    assert len(chosen) == 17  # the context
    assert found.facts["memory"]["by gradient"]["length"] == memory_by_gradient(chosen.layer, chosen.x).length
    # The loss of every step, written out: the head is linear and its error squared.
    targets = torch.from_numpy(forecaster.task.scaler.transform(np.array(chosen.result["truth"])))

    def loss(output):
        head = forecaster.model.head
        return (output @ head.weight.double().T + head.bias.double() - targets[:, None])[:, 0, 0].square()

    torch.testing.assert_close(found.flow.heat, gradient_flow(chosen.layer, chosen.x, loss).heat, rtol=1e-4, atol=1e-7)


def test_a_forecast_is_that_of_the_test_part(forecaster):
    part, result = forecaster.test_part(), forecaster.sample().result
    np.testing.assert_allclose(result["forecast"][-1], part.prediction[-1, 0], rtol=1e-5)
    np.testing.assert_allclose(result["truth"][-1], part.truth[-1, 0])


def test_a_stateful_forecast_has_read_what_lies_before():
    torch.manual_seed(0)
    job = Forecaster("lstm", hidden=4, context=10, epochs=1, stateful=True, targets="every")
    job.fit("wave:combined")
    part, found = job.test_part(), explain(job, 12)
    np.testing.assert_allclose(found.facts["result"]["forecast"][-1], part.prediction[-1, 0], rtol=1e-5)
    z = job.task.z[:, None]
    end = len(z) - job.config.horizon
    (place,) = walk(found.sample.layer, found.sample.x, **found.sample.given)
    whole = job.model.recurrent.record(z[:end]).values[0][0]["c"][-12:, 0]
    node = found.sample.layer.program.values["c"]
    shown = floats(place["values"][str(node)]["data"], 4)
    np.testing.assert_allclose(shown, whole.detach(), rtol=1e-4, atol=1e-6)
    values = found.activities[0][0]["c"].values[:, 0]
    np.testing.assert_allclose(values, whole.detach(), rtol=1e-4, atol=1e-6)
    x = z[:end].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(job.model(x)[0][-1].sum(), x)
    mass = (gradient * x).abs()[-12:, 0, 0]
    np.testing.assert_allclose(found.facts["attribution"]["mass"], (mass / mass.sum()).detach(), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("steps", [5, 60])
def test_the_verdict_is_on_the_last_steps_and_begins_with_the_state_before_them(forecaster, steps, monkeypatch):
    monkeypatch.setattr("elman.report.facts.LARGEST_CHAIN", 20 * 10**2)  # 20 steps of 5 + 5 numbers
    found = explain(forecaster, steps)
    layer, x = found.sample.layer, found.sample.x
    state = layer(x[:-20])[1] if steps > 20 else None
    want = verdict(layer, x[-20:], state=state)
    assert found.facts["verdict"]["rate"] == pytest.approx(want.rate)
    assert found.facts["verdict"]["text"] == str(want)


def test_a_class_is_that_which_is_predicted(classifier):
    chosen = classifier.sample()
    found = classifier.predict(["".join(chosen.labels).removesuffix("end")])  # its last step
    assert found.labels == (chosen.result["predicted"],)
    odds = [chosen.result["probabilities"][name] for name in found.classes]
    np.testing.assert_allclose(odds, found.probabilities[0], rtol=1e-5)
    assert len(classifier.sample(3)) <= 3


def test_a_text_is_read_from_the_validation_part(generator):
    chosen, part = generator.sample(20), generator.task.validation
    tokens = generator.task.alphabet.tokens
    assert chosen.labels == tuple(tokens[i] for i in generator.task.ids.block(part.start, part.start + 20))


def test_long_sequences_are_measured_at_their_end(forecaster):
    found = explain(forecaster, steps=MEASURED + 40)
    assert found.facts["sample"] == found.facts["sample"] | {"steps": MEASURED + 40, "measured": MEASURED}
    whole = gradient_flow(found.sample.layer, found.sample.x, found.sample.loss).heat
    torch.testing.assert_close(found.flow.heat, whole[40:, 40:], rtol=1e-4, atol=1e-9)
    assert len(found.facts["attribution"]["mass"]) == MEASURED + 40


@pytest.mark.parametrize("cell", elman.cells.REGISTRY)
def test_the_walk_holds_every_cell_s_values(cell):
    layer = elman.Recurrent(cell, 4, 4, 2, bidirectional=cell in ("rnn", "lstm")) if not _extras(cell) else None
    if layer is None:
        pytest.skip(f"{cell} needs inputs beside x, which no run has")
    x = torch.randn(5, 1, 4)
    values = layer.record(x).values
    for number, place in enumerate(walk(layer, x)):
        recorded = values[number // layer.stack.directions][number % layer.stack.directions]
        for name, node in layer.program.values.items():
            kept = place["values"].get(str(node))
            if kept is not None:
                want = recorded[name][:, 0, kept["units"]].detach().numpy()
                got = floats(kept["data"], len(kept["units"]))
                np.testing.assert_allclose(np.broadcast_to(got, want.shape), want, rtol=1e-4, atol=1e-6)


def _extras(cell):
    return elman.cells.get(cell).program().extras


def test_an_equation_with_its_values_is_true():
    torch.manual_seed(0)
    layer = elman.Recurrent("lstm", 3, 5)
    (place,) = walk(layer, torch.randn(7, 1, 3))
    functions = {"tanh": np.tanh, "sigmoid": lambda v: 1 / (1 + np.exp(-v))}
    for one in place["equations"]:
        right = re.sub(r"{(\d+)}", r"v[\1]", one["values"])
        v = {int(i): floats(kept["data"], len(kept["units"])) for i, kept in place["values"].items()}
        np.testing.assert_allclose(eval(right, functions, {"v": v}), v[one["node"]], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("cell", elman.cells.REGISTRY)
def test_equations_with_places_are_the_equations(cell):
    program = elman.cells.get(cell).program()
    written = equations_by_node(program)
    assert [one.text for one in written] == equations(program)
    assert all(index < one.node for one in written for index in one.operands)


def test_units_are_those_that_move_most_and_the_rest_is_summed():
    torch.manual_seed(0)
    layer, x = elman.Recurrent("lstm", 1, 9), torch.randn(6, 1, 1)
    (place,) = walk(layer, x, units=3)
    h = layer.record(x).values[0][0]["h"][:, 0]
    kept = place["values"][str(layer.program.values["h"])]
    assert kept["units"] == sorted(h.std(0).argsort(descending=True)[:3].tolist())
    want = torch.stack([h.mean(1), h.amin(1), h.amax(1)], 1)
    np.testing.assert_allclose(floats(kept["summary"], 3), want.detach(), rtol=1e-5, atol=1e-7)


class Read(HTMLParser):
    """The page's elements, its scripts' texts by id, and what it would fetch."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.fetched, self._in = [], {}, [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append((tag, given))
        self._in = given.get("id", "code") if tag == "script" else None
        source = given.get("src") or given.get("href") or ""
        self.fetched += [source] if source and not source.startswith("data:") else []

    def handle_data(self, data):
        if self._in:
            self.scripts[self._in] = self.scripts.get(self._in, "") + data

    def handle_endtag(self, tag):
        self._in = None


@pytest.mark.full
def test_the_page_and_pictures(job, tmp_path, capsys):
    path, folder = tmp_path / "page.html", tmp_path / "pictures"
    arguments = ["explain", str(job.run.path), "--steps", "9", "-o", str(path), "--pictures", str(folder), "--json"]
    assert command(arguments) == 0
    result = json.loads(capsys.readouterr().out)
    text = path.read_text()
    read = Read(text)
    assert not read.fetched
    assert "http" not in re.sub(r"data:image[^\"]*", "", text).replace("http-equiv", "")
    numbers = json.loads(read.scripts["numbers"])
    assert numbers == {name: result[name] for name in numbers}
    assert json.loads(read.scripts["walk"])["steps"] == numbers["sample"]["steps"]
    images = [given for tag, given in read.tags if tag == "img"]
    assert len(images) == len(result["pictures"])
    assert all(given["alt"] and base64.b64decode(given["src"].split(",")[1])[1:4] == b"PNG" for given in images)
    names = {"gradient_flow.png", "memory.png", "shares.png", "gates.png", "loss.png"}
    assert names | ({"text.png"} if job.task.name != "forecast" else set()) <= {p.name for p in folder.iterdir()}


@pytest.mark.full
def test_bad_input_is_one_line(forecaster, tmp_path, capsys):
    run, empty = str(forecaster.run.path), tmp_path / "empty"
    empty.mkdir()
    for arguments, word in [
        ([str(tmp_path / "none")], "none"),
        ([str(empty)], "empty"),
        ([run, "--steps", "0"], "--steps"),
        ([run, "-o", str(tmp_path)], ".html"),
        ([run, "-o", str(tmp_path / "no" / "page.html"), "--pictures", str(tmp_path)], "No such"),
    ]:
        capsys.readouterr()
        assert command(["explain", *arguments]) == 2, arguments
        last = capsys.readouterr().err.splitlines()[-1]
        assert word in last
        assert last.startswith("elman: ")


def test_an_untrained_run_is_refused(forecaster, tmp_path, capsys):
    import shutil

    bare = tmp_path / "bare"
    shutil.copytree(forecaster.run.path, bare)
    (bare / "model.safetensors").unlink()
    assert command(["explain", str(bare)]) == 2
    assert "--resume" in capsys.readouterr().err
    with pytest.raises(ElmanError, match="not trained"):
        explain(Forecaster())


def test_one_step(job):
    assert explain(job, steps=1).facts["sample"]["steps"] == 1


def test_pictures_of_the_last_steps_call_them_by_their_numbers(forecaster, tmp_path, monkeypatch):
    seen = {}
    for name in ("gradient_flow", "activity"):
        monkeypatch.setattr(f"elman.pictures.draw_{name}", lambda *a, name=name, **k: seen.update({name: (a, k)}))
    found = explain(forecaster, steps=MEASURED + 40)
    draw(found, tmp_path)
    assert seen["gradient_flow"][0][-1] == 41
    assert seen["activity"][1]["first"] == 41
    assert len(next(iter(seen["activity"][0][1].values())).values) == 300


def test_no_text_ends_the_page_s_data(generator):
    found = explain(generator, steps=5)
    found.facts["result"]["sample"] = "</script><b>bold</b>"
    read = Read(page(found, {}, "<i>run</i>"))
    assert json.loads(read.scripts["numbers"]) == found.facts
    assert not {"b", "i"} & {tag for tag, _ in read.tags}


def test_steps_are_named_in_the_time_of_the_clock_on_the_wall(tmp_path):
    begin = datetime(2021, 3, 27, tzinfo=ZoneInfo("UTC"))
    times = [(begin + timedelta(hours=i)).astimezone(ZoneInfo("Europe/Berlin")) for i in range(60)]
    file = tmp_path / "hourly.csv"
    file.write_text("time,x\n" + "".join(f"{t.isoformat()},{math.sin(i / 3)}\n" for i, t in enumerate(times)))
    forecaster = Forecaster("rnn", hidden=4, context=30, epochs=1, network_alone=True, season=0)
    forecaster.fit(file, zone="Europe/Berlin")
    labels = forecaster.sample().labels
    assert [datetime.fromisoformat(label) for label in labels] == [t.replace(tzinfo=None) for t in times[-31:-1]]
