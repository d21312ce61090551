"""The backend `torch`: which programs are torch's own networks, and that torch's kernels compute them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import elman
from elman import cells
from elman.backends.fused import Fused
from elman.backends.fused.recognise import recognise
from elman.backends.reference import Reference
from elman.equations import relu, sigmoid, tanh
from oracle import assert_matches_reference, make_call, outcome

FUSED = Fused()


@elman.cell
def my_lstm(inp, out, memory, p):
    """An LSTM by other names, in another order, one bias a gate."""
    forget, write = sigmoid(p.forget(inp, out)), sigmoid(p.write(out, inp))
    read, candidate = sigmoid(p.read(inp, out)), tanh(p.candidate(inp, out))
    memory = candidate * write + memory * forget
    return tanh(memory) * read, memory


@elman.cell
def my_gru(x, h, p):
    """A GRU whose update gate keeps where torch's replaces, as some tutorials write it."""
    z, r = sigmoid(p.z(x, h)), sigmoid(p.r(x, h))
    n = tanh(r * p.u(h) + p.n(x))
    return h + z * (n - h)


@elman.cell
def my_rnn(x, h, p):
    """A plain network in two products and a minus."""
    return relu(p.a(x) - p.b(h, bias=False))


@elman.cell(bias="each")
def half_biased(x, h, c, p):
    """An LSTM one of whose gates has no bias."""
    i, f, g, o = sigmoid(p.i(x, h)), sigmoid(p.f(x, h, bias=False)), tanh(p.g(x, h)), sigmoid(p.o(x, h))
    c = i * g + f * c
    return o * tanh(c), c


TAKEN = {
    "lstm": cells.get("lstm"), "gru": cells.get("gru"), "rnn": cells.get("rnn"), "my_lstm": my_lstm, "my_gru": my_gru,
    "my_rnn": my_rnn, "half_biased": half_biased, "lstm_projected": cells.get("lstm_projected"),
}  # fmt: skip
SHAPES = [
    pytest.param({"B": 3, "T": 7, "I": 2, "H": 5}, id="plain"),
    pytest.param({"B": 5, "T": 6, "I": 3, "H": 4, "lengths": [6, 0, 3, 1, 6]}, id="lengths"),
    pytest.param({"B": 4, "T": 5, "I": 3, "H": 4, "lengths": [2, 5, 0, 5], "reverse": True}, id="both"),
    pytest.param({"B": 1, "T": 3, "I": 1, "H": 1, "reverse": True}, id="reverse"),
    pytest.param({"B": 2, "T": 3, "I": 2, "H": 2, "lengths": [0, 0]}, id="nothing"),
]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["double", "single"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", TAKEN)
def test_equals_the_reference(name, shape, dtype):
    assert FUSED.refuses(make_call(TAKEN[name])) is None
    assert_matches_reference(TAKEN[name], FUSED, dtype=dtype, **shape)


@pytest.mark.parametrize("options", [{"bias": False}, {"nonlinearity": "relu"}], ids=str)
def test_options_of_the_catalogue(options):
    program = cells.get("rnn").program(**options)
    assert recognise(program).kind == ("rnn_relu" if "nonlinearity" in options else "rnn_tanh")
    assert_matches_reference(program, FUSED)


def test_the_catalogue_has_no_other_that_is_taken():
    taken = {name for name, cell in cells.REGISTRY.items() if recognise(cell.program()) is not None}
    assert taken == {"rnn", "gru", "lstm", "lstm_projected"}


@elman.cell
def coupled(x, h, c, p):
    """i = 1 - f."""
    f, g, o = sigmoid(p.f(x, h)), tanh(p.g(x, h)), sigmoid(p.o(x, h))
    c = f * c + (1 - f) * g
    return o * tanh(c), c


@elman.cell
def no_squash(x, h, c, p):
    """The memory leaves without a tanh."""
    i, f, g, o = sigmoid(p.i(x, h)), sigmoid(p.f(x, h)), tanh(p.g(x, h)), sigmoid(p.o(x, h))
    c = f * c + i * g
    return o * c, c


@elman.cell
def peeps(x, h, c, p):
    """A gate that sees the memory."""
    i, f, g, o = sigmoid(p.i(x, h)), sigmoid(p.f(x, c)), tanh(p.g(x, h)), sigmoid(p.o(x, h))
    c = f * c + i * g
    return o * tanh(c), c


@elman.cell
def doubled(x, h, c, p):
    """Twice what enters."""
    i, f, g, o = sigmoid(p.i(x, h)), sigmoid(p.f(x, h)), tanh(p.g(x, h)), sigmoid(p.o(x, h))
    c = f * c + 2 * i * g
    return o * tanh(c), c


@elman.cell
def late_reset(x, h, p):
    """The reset gate acts before the product."""
    r, z = sigmoid(p.r(x, h)), sigmoid(p.z(x, h))
    return (1 - z) * tanh(p.n(x, r * h)) + z * h


@elman.cell
def no_candidate_reset(x, h, p):
    """No reset gate."""
    z = sigmoid(p.z(x, h))
    return (1 - z) * tanh(p.n(x, h)) + z * h


@elman.cell
def more_than_a_mean(x, h, p):
    """(1 + z) n + z h."""
    r, z = sigmoid(p.r(x, h)), sigmoid(p.z(x, h))
    return (1 + z) * tanh(p.n(x) + r * p.u(h)) + z * h


@elman.cell
def reads_h(x, h, p):
    """The output is no state."""
    h = tanh(p.h(x, h))
    return p.y(h), h


@elman.cell
def plus_one(x, h, p):
    """A constant inside the activation."""
    return tanh(p.h(x, h) + 1)


@elman.cell
def leaves_h(x, h, p):
    """A residual."""
    return tanh(p.h(x, h)) + h


UNLIKE = [
    coupled,
    no_squash,
    peeps,
    doubled,
    late_reset,
    no_candidate_reset,
    more_than_a_mean,
    reads_h,
    plus_one,
    leaves_h,
]


@pytest.mark.parametrize("cell", UNLIKE, ids=lambda c: c.name)
def test_a_step_that_differs_in_one_term_is_not_taken(cell):
    assert recognise(cell.program()) is None
    assert "none of them" in FUSED.refuses(make_call(cell))


def test_refusals():
    call = make_call(cells.get("lstm"))
    assert "record" in FUSED.refuses(replace(call, record=(3,)))
    assert "reset" in FUSED.refuses(replace(call, reset=torch.zeros(7, 3, dtype=torch.bool)))
    assert "one dtype" in FUSED.refuses(replace(call, x=call.x.float()))
    assert "step" in FUSED.refuses(replace(call, x=call.x[:0]))
    asked = []
    torch.func.vmap(lambda x: asked.append(FUSED.refuses(replace(call, x=x))) or x)(torch.stack([call.x] * 2))
    assert "torch.func" in asked[0]


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_second_derivatives(name):
    call = make_call(cells.get(name), B=2, T=3, I=2, H=3)

    def second(backend):
        output = backend.run(call).output
        (first,) = torch.autograd.grad(output.square().sum(), call.x, create_graph=True)
        return torch.autograd.grad(first.square().sum(), list(call.parameters.values()))

    for found, want in zip(second(FUSED), second(Reference()), strict=True):
        torch.testing.assert_close(found, want)


def test_a_retained_graph_gives_the_same_bits_twice():
    call = make_call(cells.get("gru"), dtype=torch.float32)
    loss = FUSED.run(call).output.square().sum()
    wanted = [call.x, *call.parameters.values()]
    first = torch.autograd.grad(loss, wanted, retain_graph=True)
    again = torch.autograd.grad(loss, wanted)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_as_torch_has_it(dtype):
    call = make_call(cells.get("gru"), dtype=dtype)
    output = outcome(FUSED, call)["output"]
    assert output.dtype == dtype
    truth = outcome(Reference(), make_call(cells.get("gru")))["output"]
    torch.testing.assert_close(output.double(), truth, atol=0.05, rtol=0)


def test_a_layer_takes_it_by_name():
    layer = elman.Recurrent("lstm", 3, 5, num_layers=2, bidirectional=True, backend="torch")
    stock = torch.nn.LSTM(3, 5, 2, bidirectional=True)
    stock.load_state_dict(layer.state_dict())
    x = [torch.randn(n, 3) for n in (4, 1, 6)]
    output, (h, c) = layer(x)
    packed = torch.nn.utils.rnn.pack_sequence(x, enforce_sorted=False)
    want, (want_h, want_c) = stock(packed)
    torch.testing.assert_close(torch.cat(output), torch.cat(torch.nn.utils.rnn.unpack_sequence(want)))
    torch.testing.assert_close((h, c), (want_h, want_c))
