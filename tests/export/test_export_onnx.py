"""Exported ONNX in onnxruntime: every cell over sequences and steps, whole jobs, dynamic sizes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from test_export_c import classifier, generator

import elman
from elman.errors import ExportError
from elman.export import layer_as_onnx
from elman.export.onnx_layer import state_sizes
from elman.export.onnx_model import sequence_model, step_model
from elman.jobs import Classifier
from elman.stepping.stream import Stream
from exported_cells import CELLS, exactly, network, sequence
from trained import FORECASTS, WAVES, forecaster

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def session(model):
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def in_onnx(layer, x, extras, lengths, states):
    fed = {"x": x.numpy(), "lengths": lengths.numpy(), **{n: v.numpy() for n, v in {**extras, **states}.items()}}
    y, *finals = session(layer_as_onnx(layer)).run(None, fed)
    return y, finals


# Both directions hold what one does; one alone is asked of a cell of each kind.
@pytest.mark.parametrize(
    ("key", "both"), [*((key, True) for key in CELLS), *((k, False) for k in ("gru", "lem", "sru"))]
)
def test_a_layer_of_any_length_is_the_same(key, both):
    layer = network(key, torch.float32, bidirectional=both, merge="mean" if both else "concat")
    made = session(layer_as_onnx(layer))
    sizes = state_sizes(layer)
    for steps in (1, 7, 30):
        x, extras = sequence(layer, steps, 3)
        lengths = torch.tensor([steps, max(1, steps // 2), 1])
        states = {name: 0.1 * torch.ones(3, size) for name, size in sizes.items()}
        names = [*states]
        count = len(layer.program.states)
        each = [torch.stack([states[n] for n in names[i::count]]) for i in range(count)]
        (want, allowed), *ends = exactly(layer, x, extras, each[0] if count == 1 else tuple(each), lengths)
        fed = {"x": x.numpy(), "lengths": lengths.numpy()}
        fed |= {name: value.numpy() for name, value in {**extras, **states}.items()}
        y, *finals = made.run(None, fed)
        np.testing.assert_allclose(y, want, rtol=0, atol=allowed)
        for i, final in enumerate(finals):
            end, allowed = ends[i % count]
            np.testing.assert_allclose(final, end[i // count], rtol=0, atol=allowed)


@pytest.mark.parametrize(("key", "node"), [("lstm", "LSTM"), ("gru", "GRU"), ("rnn", "RNN"), ("gru_cho", "Scan")])
def test_the_standard_s_own_nodes_are_used_where_there_are_some(key, node):
    kinds = {n.op_type for n in layer_as_onnx(network(key, torch.float32)).graph.node}
    assert kinds & {"LSTM", "GRU", "RNN", "Scan"} == {node}


@pytest.mark.parametrize("more", [{"residual": True}, {"zoneout": 0.3}, {"bias": False}, {"nonlinearity": "relu"}])
def test_what_a_layer_adds_is_there(more):
    layer = network("rnn", torch.float32, **more)
    x, extras = sequence(layer, 5, 2)
    states = {name: torch.zeros(2, size) for name, size in state_sizes(layer).items()}
    y, _ = in_onnx(layer, x, extras, torch.tensor([5, 3]), states)
    want = layer(x, lengths=torch.tensor([5, 3]))[0].detach().numpy()
    np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", FORECASTS)
def test_a_forecast_of_many_series_at_once(name):
    job = forecaster(name)
    if name == "carried differences":
        with pytest.raises(ExportError, match="export its step"):
            sequence_model(job.portable())
        return
    made = session(sequence_model(job.portable()))
    read = np.stack([WAVES[-60:], WAVES[-90:-30]])
    fed = {i.name: np.zeros((2, i.shape[1]), np.float32) for i in made.get_inputs() if i.name != "values"}
    found = made.run(None, {"values": read, **fed})[0]
    for row, values in enumerate(read):
        stream = Stream(job.portable())
        for value in values:
            want = stream.push(value)
        np.testing.assert_allclose(found[row], want, rtol=1e-5)


def test_a_text_step_by_step_and_at_once():
    model = generator(layers=2).portable()
    step, whole = session(step_model(model)), session(sequence_model(model))
    state = {i.name: np.zeros((1, i.shape[1]), np.float32) for i in step.get_inputs() if i.name != "symbol"}
    begin = dict(state)
    for symbol in model.example[:40]:
        scores, *news = step.run(None, {"symbol": np.array([symbol]), **state})
        state = dict(zip(state, news, strict=True))
    symbols = np.array(model.example[:40])[:, None]
    every, *ended = whole.run(None, {"symbols": symbols, **begin})
    np.testing.assert_allclose(every[-1], scores, rtol=1e-4, atol=1e-5)
    for name, value in zip(state, ended, strict=True):
        np.testing.assert_allclose(value, state[name], rtol=1e-4, atol=1e-5)
    facts = {p.key: json.loads(p.value) for p in sequence_model(model).metadata_props}
    assert facts["tokens"] == list(model.tokens)


@pytest.mark.parametrize("pooling", ["last", "mean", "max", "attention"])
@pytest.mark.parametrize("directions", [1, 2])
def test_classes_of_sequences_of_unlike_lengths(pooling, directions):
    rng = np.random.default_rng(0)
    series = [np.sin(np.arange(10 + k % 5) / (2 + k % 2)) + 0.1 * rng.random(10 + k % 5) for k in range(40)]
    job = Classifier("gru", hidden=5, epochs=1, directions=directions, pooling=pooling)
    job.fit((series, ["slow" if k % 2 else "fast" for k in range(40)]))
    made = session(sequence_model(job.portable()))
    values = np.full((3, 14, 1), np.nan)
    for row in range(3):
        values[row, : len(series[row]), 0] = series[row]
    fed = {"values": np.nan_to_num(values, nan=7.0), "lengths": np.array([len(s) for s in series[:3]])}
    found = made.run(None, fed)[0]
    np.testing.assert_allclose(found, job.predict(series[:3]).probabilities, rtol=1e-4)


def test_a_bag_of_runs_is_there_too():
    job = Classifier("gru", hidden=4, epochs=1, network_alone=True, ngrams=3, pooling="mean")
    texts = [("abc" if k % 2 else "bca") * (1 + k % 4) for k in range(60)]
    job.fit((texts, ["x" if k % 2 else "y" for k in range(60)]))
    model = job.portable()
    made = session(sequence_model(model))
    read = job.task.read(texts[:3])
    symbols = torch.nn.utils.rnn.pad_sequence(read).numpy()
    found = made.run(None, {"symbols": symbols, "lengths": np.array([len(r) for r in read])})[0]
    np.testing.assert_allclose(found, job.predict(texts[:3]).probabilities, rtol=1e-4)
    with pytest.raises(ExportError, match="runs of tokens"):
        step_model(model)


def test_naive_bayes_and_a_line_are_said_not_to_leave():
    job = classifier()
    with torch.no_grad():
        job.model.bayes_weight.fill_(0.5)
    with pytest.raises(ExportError, match="naive Bayes counts beside"):
        job.portable()
    with pytest.raises(ExportError, match="a line alone has no single step"):
        step_model(forecaster("line alone").portable())


class Around(torch.nn.Module):
    """A model of a person's own, with a layer inside."""

    def __init__(self, cell):
        super().__init__()
        self.recurrent = elman.Recurrent(cell, 3, 5, num_layers=2)
        self.head = torch.nn.Linear(5, 2)

    def forward(self, x):
        return self.head(self.recurrent(x)[0])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("cell", ["lstm", "peephole"])
def test_torch_s_own_exporters_take_a_layer(cell, tmp_path):
    model, x = Around(cell).eval(), torch.randn(6, 4, 3)
    more = torch.randn(6, 9, 3)
    traced = torch.jit.trace(model, (x,))
    torch.testing.assert_close(traced(more), model(more))
    exported = torch.export.export(model, (x,), dynamic_shapes={"x": {1: torch.export.Dim("B")}}).module()
    torch.testing.assert_close(exported(more), model(more))
    for dynamo in (True, False):
        if dynamo:
            pytest.importorskip("onnxscript")
        file = tmp_path / f"{dynamo}.onnx"
        torch.onnx.export(model, (x,), str(file), dynamo=dynamo, verbose=False)
        made = session(onnx.load(str(file)))
        found = made.run(None, {made.get_inputs()[0].name: x.numpy()})[0]
        np.testing.assert_allclose(found, model(x).detach().numpy(), rtol=1e-5, atol=1e-6)


def test_further_inputs_are_named():
    layer = elman.Recurrent("cfc", 3, 4)
    assert [e.name for e in layer.program.extras] == [i.name for i in layer_as_onnx(layer).graph.input][3:]
