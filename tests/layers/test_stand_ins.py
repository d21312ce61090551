"""The layers that stand in for torch.nn's: the tutorials' own checks, and results, gradients and weights compared."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import elman
from against_torch import EXACT, assert_equals_torch, pair
from oracle import error

SIZES = st.sampled_from([1, 3, 5, 17])
LAYERS = ["RNN", "LSTM", "GRU"]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def layer_of(cell, *args, **kwargs) -> elman.Recurrent:
    torch.manual_seed(1)
    return elman.Recurrent(cell, *args, dtype=torch.float64, **kwargs)


# The tutorials' own checks.


def test_the_hand_example():
    layer = elman.Recurrent("elman", 2, 2, bias=False, nonlinearity="identity")
    nn.init.ones_(layer.weight_ih_l0)
    nn.init.ones_(layer.weight_hh_l0)
    output, h_n = layer(torch.tensor([[1.0, 1.0], [1.0, 1.0], [2.0, 2.0]]).unsqueeze(1))
    # Two inputs and two units, all weights 1: 2 + 0; 2 + 2*2; 4 + 2*6. An output layer of ones doubles them.
    assert (output.sum(-1, keepdim=True).expand(3, 1, 2)).squeeze(1).tolist() == [[4, 4], [12, 12], [32, 32]]
    assert h_n.tolist() == [[[16, 16]]]


def test_the_hand_example_with_its_output_as_a_cell():
    @elman.cell
    def with_output(x, h, p):
        h = p.h(x, h)
        return p.y(h, size="output_size"), h

    layer = elman.Recurrent(with_output, 2, 2, bias=False, output_size=2)
    for parameter in layer.parameters():
        nn.init.ones_(parameter)
    output, _ = layer(torch.tensor([[1.0, 1.0], [1.0, 1.0], [2.0, 2.0]]))
    assert output.tolist() == [[4, 4], [12, 12], [32, 32]]


def test_a_stack_of_unlike_sizes():
    layer = elman.Recurrent("rnn", 100, [10, 20])
    output, state = layer(torch.zeros(7, 3, 100))
    assert output.shape == (7, 3, 20)
    assert [s.shape for s in state] == [(1, 3, 10), (1, 3, 20)]
    assert layer.weight_ih_l1.shape == (20, 10)
    again, _ = layer(torch.zeros(7, 3, 100), state)
    assert again.shape == (7, 3, 20)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize(("layers", "two"), [(1, False), (2, False), (2, True)])
def test_shapes_and_the_last_output(name, batch_first, layers, two):
    ours, theirs = pair(name, 100, 20, layers, batch_first=batch_first, bidirectional=two)
    for x in (torch.randn(10, 3, 100), torch.randn(10, 100)):
        found, want = ours(x), theirs(x)
        assert found[0].shape == want[0].shape
        states = [f[1] if name == "LSTM" else (f[1],) for f in (found, want)]
        assert [s.shape for s in states[0]] == [s.shape for s in states[1]]
    if not two:
        x = torch.randn(10, 3, 100)
        output, state = ours(x)
        h_n = state[0] if name == "LSTM" else state
        assert torch.equal(output[:, -1] if batch_first else output[-1], h_n[-1])


@pytest.mark.parametrize("order", ["ifgo", "figo"])
def test_an_lstm_written_by_hand_with_its_gates_in_one_product(order):
    """One tutorial stacks its gates f, i, g, o."""
    theirs = nn.LSTM(3, 5, dtype=torch.float64)
    ours = layer_of("lstm", 3, 5)
    where = {gate: slice(5 * k, 5 * k + 5) for k, gate in enumerate(order)}
    weights = {n: torch.cat([p[where[g]] for g in "ifgo"]) for n, p in theirs.named_parameters()}
    ours.load_state_dict(weights)
    W, U, b, c = (p.detach() for p in theirs.parameters())
    x, h, memory, outputs = normal(7, 2, 3), torch.zeros(2, 5).double(), torch.zeros(2, 5).double(), []
    for step in x:
        a = step @ W.T + h @ U.T + b + c
        i, f, g, o = (a[:, where[gate]] for gate in "ifgo")
        memory = f.sigmoid() * memory + i.sigmoid() * g.tanh()
        h = o.sigmoid() * memory.tanh()
        outputs.append(h)
    output, (h_n, c_n) = ours(x)
    for found, want in ((output, torch.stack(outputs)), (h_n[0], h), (c_n[0], memory)):
        torch.testing.assert_close(found, want, rtol=EXACT, atol=EXACT)
    if order == "ifgo":
        torch.testing.assert_close(output, theirs(x)[0], rtol=EXACT, atol=EXACT)


def test_one_linear_over_x_and_h_is_two_products():
    linear, x, h, outputs = nn.Linear(8, 5, dtype=torch.float64), normal(7, 2, 3), torch.zeros(2, 5).double(), []
    for step in x:
        h = torch.tanh(linear(torch.cat([step, h], -1)))
        outputs.append(h)
    layer = elman.Recurrent("rnn", 3, 5, dtype=torch.float64)
    W = linear.weight.detach()
    layer.load_state_dict(
        {
            "weight_ih_l0": W[:, :3], "weight_hh_l0": W[:, 3:],
            "bias_ih_l0": linear.bias.detach(), "bias_hh_l0": torch.zeros(5).double(),
        }
    )  # fmt: skip
    torch.testing.assert_close(layer(x)[0], torch.stack(outputs), rtol=EXACT, atol=EXACT)


def test_the_other_gru_equals_ours_after_negating_z():
    """Some tutorials write h = (1 - z) h + z n."""

    @elman.cell
    def other(x, h, p):
        r, z = elman.equations.sigmoid(p.r(x, h)), elman.equations.sigmoid(p.z(x, h))
        n = elman.equations.tanh(p.n(x, r * h))
        return (1 - z) * h + z * n

    ours, theirs = layer_of("gru_cho", 3, 5), layer_of(other, 3, 5)
    theirs.load_state_dict(ours.state_dict())
    x = normal(7, 2, 3)
    assert error(theirs(x)[0], ours(x)[0]) > 1e-2
    with torch.no_grad():
        for rows in theirs.rows("z").values():
            rows.neg_()
    torch.testing.assert_close(theirs(x)[0], ours(x)[0], rtol=EXACT, atol=EXACT)


# Against torch.nn.


@pytest.mark.full
@settings(max_examples=30, deadline=None)
@given(
    name=st.sampled_from(LAYERS), T=SIZES, B=SIZES, I=SIZES, H=SIZES, layers=st.integers(1, 3), two=st.booleans(),
    bias=st.booleans(), batch_first=st.booleans(), given_state=st.booleans(), project=st.booleans(), relu=st.booleans(),
)  # fmt: skip
def test_stand_ins_equal_torch(name, T, B, I, H, layers, two, bias, batch_first, given_state, project, relu):
    more = {"proj_size": (H + 1) // 2} if project and name == "LSTM" and H > 1 else {}
    more |= {"nonlinearity": "relu"} if relu and name == "RNN" else {}
    ours, theirs = pair(name, I, H, layers, bias=bias, batch_first=batch_first, bidirectional=two, **more)
    inputs = [normal(B, T, I) if batch_first else normal(T, B, I)]
    if given_state:
        states = [normal(layers * (1 + two), B, n, seed=k) for k, n in ((1, more.get("proj_size", H)), (2, H))]
        inputs.append(tuple(states) if name == "LSTM" else states[0])
    assert_equals_torch(ours, theirs, *inputs)


@pytest.mark.full
@settings(max_examples=20, deadline=None)
@given(
    name=st.sampled_from(["RNNCell", "LSTMCell", "GRUCell"]), B=SIZES, I=SIZES, H=SIZES, bias=st.booleans(),
    given_state=st.booleans(), unbatched=st.booleans(),
)  # fmt: skip
def test_cells_equal_torch(name, B, I, H, bias, given_state, unbatched):
    ours, theirs = pair(name, I, H, bias)
    rows = () if unbatched else (B,)
    inputs = [normal(*rows, I)]
    if given_state:
        h, c = normal(*rows, H, seed=1), normal(*rows, H, seed=2)
        inputs.append((h, c) if name == "LSTMCell" else h)
    assert_equals_torch(ours, theirs, *inputs)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("two", [False, True])
def test_unbatched(name, two):
    ours, theirs = pair(name, 3, 5, 2, bidirectional=two, batch_first=True)
    h = normal(2 * (1 + two), 5, seed=1)
    assert_equals_torch(ours, theirs, normal(7, 3), (h, h + 1) if name == "LSTM" else h)
    assert_equals_torch(ours, theirs, normal(7, 3))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("two", [False, True])
@pytest.mark.parametrize("lengths", [[7, 5, 5, 1], [1, 7, 2, 5]])
@pytest.mark.parametrize("given_state", [False, True])
def test_packed_sequences(name, two, lengths, given_state):
    ours, theirs = pair(name, 3, 5, 2, bidirectional=two)
    packed = pack_padded_sequence(normal(7, 4, 3), lengths, enforce_sorted=lengths == sorted(lengths)[::-1])
    h = normal(2 * (1 + two), 4, 5, seed=1)
    state = [((h, h + 1) if name == "LSTM" else h)] if given_state else []
    assert_equals_torch(ours, theirs, packed, *state)
    found, want = ours.double()(packed)[0], theirs.double()(packed)[0]
    for a, b in zip(found[1:], want[1:], strict=True):
        assert (a is None and b is None) or torch.equal(a, b)
    torch.testing.assert_close(pad_packed_sequence(found)[0], pad_packed_sequence(want)[0], rtol=EXACT, atol=EXACT)


@pytest.mark.parametrize("name", [*LAYERS, "RNNCell", "LSTMCell", "GRUCell"])
def test_same_seed_same_weights_same_repr(name):
    torch.manual_seed(5)
    theirs = getattr(nn, name)(3, 5)
    torch.manual_seed(5)
    ours = getattr(elman, name)(3, 5)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for key, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[key], value), key
    theirs.load_state_dict(ours.state_dict())


@pytest.mark.parametrize("name", LAYERS)
def test_recurrent_draws_what_torch_draws(name):
    torch.manual_seed(5)
    theirs = getattr(nn, name)(3, 5, num_layers=2, bidirectional=True)
    torch.manual_seed(5)
    ours = elman.Recurrent(name.lower(), 3, 5, num_layers=2, bidirectional=True)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for key, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[key], value), key
    x = torch.randn(7, 2, 3)
    torch.testing.assert_close(ours(x)[0], theirs(x)[0])


def test_repr_of_many_forms():
    for args, more in (((3, 5, 2), {"dropout": 0.5}), ((3, 5), {"bias": False, "batch_first": True})):
        assert repr(elman.LSTM(*args, **more)) == repr(nn.LSTM(*args, **more))
    assert repr(elman.LSTM(3, 5, proj_size=2)) == repr(nn.LSTM(3, 5, proj_size=2))
    assert repr(elman.Recurrent("rnn", 3, [4, 5], num_layers=2, batch_first=True)) == (
        "Recurrent('rnn', 3, [4, 5], num_layers=2, batch_first=True, nonlinearity='tanh')"
    )


@pytest.mark.parametrize("name", LAYERS)
def test_gradcheck_and_gradgradcheck(name):
    layer = getattr(elman, name)(2, 3, bidirectional=True, dtype=torch.float64)
    x = normal(3, 2, 2).requires_grad_()
    values = (x, *layer.parameters())
    names = [n for n, _ in layer.named_parameters()]

    def run(x, *weights):
        output, state = functional_call(layer, dict(zip(names, weights, strict=True)), (x,))
        return (output, *(state if isinstance(state, tuple) else (state,)))

    assert torch.autograd.gradcheck(run, values, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, values, fast_mode=True)


def test_dropout_acts_between_layers_in_training_only():
    torch.manual_seed(0)
    layer = elman.LSTM(3, 50, 2, dropout=0.5)
    x = torch.randn(7, 4, 3)
    layer.eval()
    whole = layer(x)[0]
    assert torch.equal(layer(x)[0], whole)
    layer.train()
    assert not torch.equal(layer(x)[0], whole)
    first = elman.LSTM(3, 50)
    first.load_state_dict({k: v for k, v in layer.state_dict().items() if k.endswith("_l0")})
    assert torch.equal(layer(x)[1][0][0], first(x)[1][0][0])
    with pytest.warns(UserWarning, match="one layer"):
        elman.Recurrent("rnn", 3, 5, dropout=0.5)
