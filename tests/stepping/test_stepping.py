"""One step at a time is the whole sequence: of every cell, and of whole jobs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import elman
from elman.errors import ExportError, ShapeError
from elman.jobs import Classifier, Forecaster, Generator
from elman.layers.flat import flat_step
from elman.stepping import order_of
from elman.stepping.flat import LEAVES, WIDE
from elman.stepping.interpret import Interpreted
from elman.stepping.stream import Stream
from exported_cells import CELLS, exactly, network, sequence
from trained import FORECASTS, WAVES, forecaster


def stepped(layer, x, extras, dtype=None):
    """The output of each step, and the state after the last."""
    step = Interpreted(flat_step(layer), dtype)
    state, outputs = step.initial(x.shape[1]), []
    for t in range(len(x)):
        given = {"x": x[t], **{name: value[t] for name, value in extras.items()}}
        out, state = step({name: given[name] for name in step.flat.inputs}, state)
        outputs.append(out["y"])
    return torch.stack(outputs), state


@pytest.mark.parametrize("key", CELLS)
def test_steps_are_the_sequence(key):
    layer = network(key)
    x, extras = sequence(layer)
    want, states = layer(x, **extras)
    found, ended = stepped(layer, x, extras)
    torch.testing.assert_close(found, want, rtol=1e-12, atol=1e-12)
    states = states if isinstance(states, tuple) else (states,)
    assert len(ended) == 2 * len(states)
    for k, state in enumerate(states):
        for number in range(2):
            torch.testing.assert_close(ended[number * len(states) + k], state[number], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("key", ["lstm", "gru", "layer_norm_lstm", "slstm", "mingru"])
def test_steps_of_float32_are_as_near_as_the_sequence(key):
    layer, exact = network(key, torch.float32), network(key)
    exact.load_state_dict({name: value.double() for name, value in layer.state_dict().items()})
    x, extras = sequence(layer)
    own, found = [], []
    for scale in (0.8, 0.9, 1.0, 1.1, 1.2):  # one sequence alone may err little by chance
        want = exact(scale * x.double(), **{k: v.double() for k, v in extras.items()})[0]
        own.append((layer(scale * x, **extras)[0] - want).abs().max())
        found.append((stepped(layer, scale * x, extras)[0] - want).abs().max())
    assert max(found) <= 4 * max(own) + 1e-6


@pytest.mark.parametrize(
    "more", [{"residual": True}, {"zoneout": 0.3}, {"learn_state": True}, {"bias": False}, {"dropout": 0.2}]
)
def test_what_a_layer_adds_is_in_its_step(more):
    layer = network("lstm", **more)
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if name.startswith("initial"):
                parameter.uniform_(-1, 1)
    x, extras = sequence(layer)
    torch.testing.assert_close(stepped(layer, x, extras)[0], layer(x)[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("key", "dtype"),
    [*((key, torch.float64) for key in CELLS), *((key, torch.float32) for key in [*CELLS][::4])],
)
def test_a_stepper_is_the_sequence(key, dtype):
    layer = network(key, dtype)
    x, extras = sequence(layer, 12, 3)
    (want, allowed), *ends = exactly(layer, x, extras)
    exact = dtype == torch.float64
    allowed = 1e-12 * np.abs(want).max() if exact else allowed
    step = layer.stepper(rows=3)
    found = [step(x[t], **{n: v[t] for n, v in extras.items()}).copy() for t in range(len(x))]
    np.testing.assert_allclose(found, want, rtol=0, atol=allowed)
    states = step.state if isinstance(step.state, tuple) else (step.state,)
    for own, (end, bound) in zip(states, ends, strict=True):
        np.testing.assert_allclose(own, end, rtol=0, atol=1e-12 * max(1.0, np.abs(end).max()) if exact else bound)
    step.reset()
    step.state = layer(x[:5], **{n: v[:5] for n, v in extras.items()})[1]
    again = [step(x[t], **{n: v[t] for n, v in extras.items()}).copy() for t in range(5, len(x))]
    np.testing.assert_allclose(again, found[5:], rtol=0, atol=2 * allowed)


def test_a_stepper_takes_changed_weights_and_two_runs_are_the_same_bits():
    layer = network("lstm", torch.float32)
    step, x = layer.stepper(), np.linspace(-1, 1, 12, dtype=np.float32)[None]
    first = [step(x).copy() for _ in range(5)]
    step.reset()
    np.testing.assert_array_equal([step(x).copy() for _ in range(5)], first)
    with torch.no_grad():
        layer.weight_hh_l0.mul_(2.0)
    step.reset()
    found = [step(x).copy()[0] for _ in range(5)]
    want = layer(torch.from_numpy(x).expand(5, 1, 12))[0][:, 0].detach().numpy()
    np.testing.assert_allclose(found, want, rtol=1e-5)
    assert np.abs(np.array(found)[:, None] - first).max() > 1e-3


def test_a_stepper_says_what_it_cannot_take():
    step = network("gru", torch.float32).stepper(rows=2)
    with pytest.raises(ShapeError, match=r"x: want \(2, 12\)"):
        step(np.zeros((3, 12)))
    with pytest.raises(ShapeError, match="no further input gap"):
        step(np.zeros((2, 12)), gap=1.0)
    with pytest.raises(ShapeError, match="state h: got"):
        step.state = torch.zeros(2, 2, 5)
    with pytest.raises(ShapeError, match="further input"):
        network("cfc", torch.float32).stepper()(np.zeros((1, 12)))


def test_a_step_of_a_layer_has_gradients():
    layer = network("gru", batch_first=True)
    x = torch.randn(3, 4, 12, dtype=torch.float64)
    state, outputs = None, []
    for t in range(4):
        y, state = layer.step(x[:, t], state)
        outputs.append(y)
    want, _ = layer(x)
    torch.testing.assert_close(torch.stack(outputs, 1), want)
    assert outputs[-1].requires_grad
    with pytest.raises(ShapeError, match="want \\(B, I\\)"):
        layer.step(x)


def test_two_directions_have_no_step():
    with pytest.raises(ExportError, match="two directions"):
        flat_step(elman.Recurrent("gru", 3, 4, bidirectional=True))


@pytest.mark.parametrize("key", CELLS)
def test_every_value_is_ordered_once_and_after_its_arguments(key):
    flat = flat_step(network(key))
    order = order_of(flat)
    done = {i for i, v in enumerate(flat.values) if v.op in LEAVES}
    for piece in order.pieces:
        made = getattr(piece, "parts", None) or getattr(piece, "values", None) or (piece.value,)
        for i in made:
            inside = set() if flat.values[i].op in WIDE else {a for a in made if a < i}
            assert set(flat.values[i].args) <= done | inside
            assert i not in done
        done |= set(made)
    assert done == set(range(len(flat.values)))


# Jobs


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("name", FORECASTS)
def test_a_stream_of_values_forecasts_as_the_job(name, columns):
    job = forecaster(name, columns)
    stream, context = job.stream(), job.task.context
    read = WAVES[:, :columns] if job.config.stateful else WAVES[-context - 3 :, :columns]
    said = [stream.push(value if columns > 1 else value[0]) for value in read]
    np.testing.assert_allclose(said[-1], job.predict(job.config.horizon).values, rtol=1e-6)
    assert np.ptp([s for s in said if s is not None]) > 0
    if not job.config.stateful:
        assert [s is None for s in said] == [True] * (context - 1) + [False] * 4


def test_a_series_with_dates_is_an_example_too(write):
    rows = "".join(f"{2000 + k // 12}-{1 + k % 12:02d}-01,{np.sin(k)}\n" for k in range(80))
    job = Forecaster("gru", hidden=4, epochs=1, context=8, season=0)
    job.fit(write("date,value\n" + rows))
    model = job.portable()
    stream = job.stream()
    for value in model.example:
        said = stream.push(value)
    np.testing.assert_allclose(said, model.said(), rtol=1e-6)


def test_streams_side_by_side_are_each_alone():
    job = forecaster("alone")
    together, alone = job.stream(rows=2), job.stream()
    for t in range(60):
        if t == 20:
            together.reset([1])
        found = together.push(np.stack([WAVES[t], WAVES[t + 100]]))
    for value in WAVES[:60]:
        want = alone.push(value)
    np.testing.assert_allclose(found[0], want, rtol=1e-6)
    alone.reset()
    for value in WAVES[120:160]:
        want = alone.push(value)
    np.testing.assert_allclose(found[1], want, rtol=1e-6)


def test_a_stream_of_symbols_scores_as_the_network():
    job = Generator("lstm", hidden=8, layers=2, epochs=1, split=(100, 0, 0))
    job.fit(b"to be or not to be, that is the question " * 8)
    model = job.portable()
    stream = job.stream()
    for symbol in model.example:
        said = stream.push(symbol)
    np.testing.assert_allclose(said, model.said(), rtol=1e-5, atol=1e-6)
    with pytest.raises(ShapeError, match="symbols are numbers from 0 to"):
        stream.push(len(model.tokens))
    with pytest.raises(ShapeError, match="want the number of a symbol"):
        stream.push("a")


@pytest.mark.parametrize("pooling", ["last", "mean", "max", "attention"])
def test_a_stream_of_a_class_is_the_classifier(pooling):
    rng = np.random.default_rng(0)
    series = [np.sin(np.arange(20) / (2 + k % 2)) + 0.1 * rng.random(20) for k in range(60)]
    job = Classifier("gru", hidden=6, epochs=2, directions=1, pooling=pooling)
    job.fit((series, ["slow" if k % 2 else "fast" for k in range(60)]))
    stream = job.stream()
    for value in series[3]:
        said = stream.push(value)
    np.testing.assert_allclose(said, job.predict([series[3]]).probabilities[0], rtol=1e-5)
    np.testing.assert_allclose(said.sum(), 1)


def test_what_a_stream_cannot_read_is_named():
    job = forecaster("alone", 2)
    with pytest.raises(ShapeError, match="got 1 numbers a stream, want 2"):
        job.stream().push(1.0)
    with pytest.raises(ShapeError, match="want finite numbers"):
        job.stream().push([1.0, np.nan])
    with pytest.raises(ShapeError, match="rows: got 0"):
        Stream(job.portable(), rows=0)
