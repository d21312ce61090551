"""Layers of any cell: lengths, resets, lists and packed sequences, further inputs, and being a module."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence, pad_packed_sequence

import elman
from against_torch import EXACT, assert_equals_torch, pair, results
from cells_outside import OUTSIDE, readout
from elman.errors import BackendError, CellError, ElmanError, ShapeError
from elman.layers.dropout import dropout
from oracle import CELLS, error

LAYERS = ["RNN", "LSTM", "GRU"]
EVERY = CELLS + [pytest.param(c, id=c.name) for c in OUTSIDE if c is not readout]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def layer_of(cell, *args, **kwargs) -> elman.Recurrent:
    torch.manual_seed(1)
    return elman.Recurrent(cell, *args, dtype=torch.float64, **kwargs)


def inputs_of(layer: elman.Recurrent, T: int, B: int) -> dict[str, Tensor]:
    sizes = layer.stack.sizes[0]
    return {e.name: normal(T, B, sizes[e.size], seed=9).abs() for e in layer.program.extras}


# Lengths, resets and forms of input.


@pytest.mark.parametrize("cell", EVERY)
@pytest.mark.parametrize("two", [False, True])
def test_lengths(cell, two):
    layer = layer_of(cell, 3, 4, num_layers=2, bidirectional=two)
    extras, lengths = inputs_of(layer, 7, 4), [7, 0, 3, 1]
    poisoned, clean = normal(7, 4, 3), normal(7, 4, 3)
    for b, length in enumerate(lengths):
        poisoned[length:, b], clean[length:, b] = torch.nan, 0.0
    found = layer(poisoned, lengths=lengths, **extras)
    want = layer(clean, lengths=torch.tensor(lengths), **extras)
    flat = [[r[0], *(r[1] if isinstance(r[1], tuple) else (r[1],))] for r in (found, want)]
    assert all(torch.equal(a, b) for a, b in zip(*flat, strict=True))
    for b, length in enumerate(lengths):
        assert flat[0][0][length:, b].abs().sum() == 0
        alone = layer(clean[:length, b], **{n: e[:length, b] for n, e in extras.items()})
        assert error(flat[0][0][:length, b], alone[0]) < EXACT
        states = alone[1] if isinstance(alone[1], tuple) else (alone[1],)
        assert all(error(s[:, b], a) < EXACT for s, a in zip(flat[0][1:], states, strict=True))


@pytest.mark.parametrize("name", ["lstm", "gru", "gru_cho"])
def test_no_row_s_bits_depend_on_another_row(name):
    layer = layer_of(name, 3, 4, num_layers=2, bidirectional=True)
    x = normal(7, 4, 3)
    other = x.clone()
    other[:, 1:] = normal(7, 3, 3, seed=8) * 100
    a, b = layer(x, lengths=[5, 7, 2, 0])[0], layer(other, lengths=[5, 1, 7, 7])[0]
    assert torch.equal(a[:, 0], b[:, 0])


def test_length_zero_gives_the_initial_state():
    layer = layer_of("lstm", 3, 4)
    h, c = normal(1, 2, 4), normal(1, 2, 4, seed=1)
    output, (h_n, c_n) = layer(normal(7, 2, 3), (h, c), lengths=[0, 7])
    assert output[:, 0].abs().sum() == 0
    assert torch.equal(h_n[:, 0], h[:, 0])
    assert torch.equal(c_n[:, 0], c[:, 0])


@pytest.mark.parametrize("two", [False, True])
def test_no_steps_and_no_rows(two):
    layer = layer_of("lstm", 3, 4, num_layers=2, bidirectional=two)
    D = 1 + two
    h, c = normal(2 * D, 5, 4), normal(2 * D, 5, 4, seed=1)
    output, (h_n, c_n) = layer(normal(0, 5, 3), (h, c))
    assert output.shape == (0, 5, 4 * D)
    assert torch.equal(h_n, h)
    assert torch.equal(c_n, c)
    output, (h_n, _) = layer(normal(7, 0, 3), lengths=[])
    assert output.shape == (7, 0, 4 * D)
    assert h_n.shape == (2 * D, 0, 4)
    output.sum().backward()
    assert all(p.grad.abs().sum() == 0 for p in layer.parameters())


def test_reset():
    layer = layer_of("gru", 3, 4, num_layers=2)
    x, h = normal(7, 2, 3), normal(2, 2, 4)
    reset = torch.zeros(7, 2, dtype=torch.bool)
    reset[3, 0] = reset[5, 1] = True
    output, h_n = layer(x, h, reset=reset)
    for b, cut in ((0, 3), (1, 5)):
        first, _ = layer(x[:cut, b], h[:, b])
        second, last = layer(x[cut:, b])  # anew: not from the state that was carried in
        assert error(output[:, b], torch.cat([first, second])) < EXACT
        assert error(h_n[:, b], last) < EXACT
    first_batch = elman.Recurrent("gru", 3, 4, num_layers=2, batch_first=True, dtype=torch.float64)
    first_batch.load_state_dict(layer.state_dict())
    assert error(first_batch(x.transpose(0, 1), h, reset=reset.T)[0].transpose(0, 1), output) < EXACT


@pytest.mark.parametrize("two", [False, True])
def test_lists_and_packed_sequences_agree_with_lengths(two):
    layer = layer_of("peephole", 3, 4, num_layers=2, bidirectional=two)
    x, lengths = normal(7, 4, 3), [2, 7, 1, 5]
    rows = [x[:length, b] for b, length in enumerate(lengths)]
    padded, states = layer(x, lengths=lengths)
    listed, of_list = layer(rows)
    for b, length in enumerate(lengths):
        assert torch.equal(listed[b], padded[:length, b])
    packed, of_packed = layer(pack_sequence(rows, enforce_sorted=False))
    unpacked, found = pad_packed_sequence(packed)
    assert found.tolist() == lengths
    assert error(unpacked, padded) < EXACT
    for a, b, c in zip(states, of_list, of_packed, strict=True):
        assert torch.equal(a, b)
        assert error(c, a) < EXACT


def test_resets_and_further_inputs_follow_the_rows_of_a_packed_sequence():
    layer = layer_of("cfc", 3, 4, backbone=6)
    x, gap, lengths = normal(7, 3, 3), normal(7, 3, seed=2).abs(), [2, 7, 5]
    reset = torch.zeros(7, 3, dtype=torch.bool)
    reset[1, 0] = reset[4, 1] = True
    h = normal(1, 3, 4, seed=5)
    want, state = layer(x, h, lengths=lengths, reset=reset, gap=gap)
    packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
    found, same = layer(packed, h, reset=reset, gap=gap)
    assert error(pad_packed_sequence(found)[0], want) < EXACT
    assert error(same, state) < EXACT
    per_row = gap[0].unsqueeze(-1)
    want = layer(x, h, lengths=lengths, gap=per_row)[0]
    assert error(pad_packed_sequence(layer(packed, h, gap=per_row)[0])[0], want) < EXACT


def test_further_inputs_in_all_their_forms():
    layer = layer_of("cfc", 3, 4, batch_first=True)
    assert layer.stack.sizes[0]["backbone"] == 4
    x, gap = normal(2, 7, 3), normal(2, 7, seed=2).abs()
    whole = layer(x, gap=gap)[0]
    assert torch.equal(layer(x, gap=gap.unsqueeze(-1))[0], whole)
    assert error(layer(x[0], gap=gap[0])[0], whole[0]) < EXACT
    assert error(layer(x[:1], gap=gap[:1])[0], whole[:1]) < EXACT
    same = gap[:, :1]
    assert error(layer(x, gap=same)[0], layer(x, gap=same.expand(2, 7))[0]) < EXACT
    assert error(layer(x[0], gap=same[0])[0], layer(x[0], gap=same[0].expand(7))[0]) < EXACT
    with pytest.raises(CellError, match="needs the further input gap"):
        layer(x)
    with pytest.raises(CellError, match="no input time"):
        layer(x, gap=gap, time=gap)
    with pytest.raises(ShapeError, match="gap"):
        layer(x, gap=gap[:, :5])


# Being a module.


@pytest.mark.parametrize("cell", EVERY)
def test_copies_pickles_and_calls_with_other_weights(cell):
    layer = layer_of(cell, 3, 4)
    x, extras = normal(7, 2, 3), inputs_of(layer, 7, 2)
    want = layer(x, **extras)[0]
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x, **extras)[0], want)
        assert twin.program == layer.program
    zeros = {n: torch.zeros_like(p) for n, p in layer.named_parameters()}
    assert not torch.equal(functional_call(layer, zeros, (x,), extras)[0], want)
    assert torch.equal(layer(x, **extras)[0], want)
    whole = torch.nn.Sequential()
    whole.layer = layer
    again = layer_of(cell, 3, 4)
    again.load_state_dict(layer.state_dict())
    assert torch.equal(again(x, **extras)[0], want)


@pytest.mark.parametrize("name", LAYERS)
def test_stand_ins_copy_and_pickle(name):
    layer = getattr(elman, name)(3, 5)
    x = torch.randn(7, 2, 3)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x)[0], layer(x)[0])
    assert isinstance(layer, getattr(nn, name))
    zeros = {n: torch.zeros_like(p) for n, p in layer.named_parameters()}
    assert functional_call(layer, zeros, (x,))[0].abs().sum() == 0


def test_a_program_stands_for_its_cell():
    layer = layer_of("peephole", 3, 4)
    program = elman.Program.from_json(layer.program.to_json())
    again = layer_of(program, 3, 4)
    assert torch.equal(again(normal(7, 2, 3))[0], layer(normal(7, 2, 3))[0])
    with pytest.raises(CellError, match="no size nonlinearity"):
        elman.Recurrent(program, 3, 4, nonlinearity="relu")


@pytest.mark.parametrize("name", ["lstm", "gru_cho", "rnn"])
def test_backward_twice_gives_equal_bits(name):
    layer = layer_of(name, 3, 4, num_layers=2, bidirectional=True)
    x = normal(7, 2, 3).requires_grad_()
    value = layer(x, lengths=[7, 4])[0].square().sum()
    wanted = [x, *layer.parameters()]
    a, b = (torch.autograd.grad(value, wanted, retain_graph=True) for _ in range(2))
    assert all(torch.equal(f, g) for f, g in zip(a, b, strict=True))


@pytest.mark.parametrize("which", [0, 1])
def test_the_gradient_of_one_result_alone(which):
    ours, theirs = pair("LSTM", 3, 5)
    found, want = (m.double()(normal(7, 2, 3))[1][which] for m in (ours, theirs))
    a, b = (torch.autograd.grad(v.sum(), m.parameters()) for v, m in ((found, ours), (want, theirs)))
    assert all(error(f, g) < EXACT for f, g in zip(a, b, strict=True))


def test_device_dtype_and_layout():
    assert elman.Recurrent("gru", 3, 4, dtype=torch.float64).weight_ih_l0.dtype == torch.float64
    assert elman.Recurrent("gru", 3, 4, device="meta").weight_ih_l0.device.type == "meta"
    ours, theirs = pair("GRU", 3, 5)
    strided = normal(3, 4, 14).transpose(0, 2)[::2]
    assert not strided.is_contiguous()
    assert_equals_torch(ours, theirs, strided)


@pytest.mark.parametrize("cell", CELLS)
def test_rows_give_views(cell):
    layer = layer_of(cell, 3, 4, num_layers=2, bidirectional=True)
    for name in {rows for p in layer.program.parameters for rows, _ in p.rows}:
        for at in ({}, {"layer": 1}, {"reverse": True}):
            for parameter, rows in layer.rows(name, **at).items():
                with torch.no_grad():
                    rows.fill_(7.0)
                suffix = f"_l{at.get('layer', 0)}" + ("_reverse" if at.get("reverse") else "")
                assert (getattr(layer, parameter + suffix) == 7.0).any()
    assert all((p == 7.0).all() for n, p in layer.named_parameters() if n.endswith("_l0"))
    with pytest.raises(CellError, match="no projection 'nothing'"):
        layer.rows("nothing")


REFUSED = [
    (lambda: elman.Recurrent("lstm", 0, 4), "input_size: got 0"),
    (lambda: elman.Recurrent("lstm", 3, -1), "hidden_size: got -1"),
    (lambda: elman.Recurrent("lstm", 3, 4, num_layers=0), "num_layers: got 0"),
    (lambda: elman.Recurrent("lstm", 3, [4, 5], num_layers=3), "got 2 sizes for num_layers=3"),
    (lambda: elman.Recurrent("lstm", 3, []), "got 0 sizes"),
    (lambda: elman.Recurrent("lstm", 3, 4, 2, dropout=1.5), "dropout: got 1.5"),
    (lambda: elman.Recurrent("lstm", 3, 4, colour=1), "no option 'colour'"),
    (lambda: elman.Recurrent("lstn", 3, 4), "did you mean 'lstm'"),
    (lambda: elman.Recurrent("lstm", 3, 4, backend="gpu"), "no backend 'gpu'"),
    (lambda: elman.Recurrent("lstm_projected", 3, 4, proj_size=0), "proj_size: got 0"),
    (lambda: LAYER(torch.zeros(7, 2, 4)), "want (T, B, I) with I=3"),
    (lambda: LAYER(torch.zeros(7)), "want (T, B, I)"),
    (lambda: LAYER("abc"), "x: got a str"),
    (lambda: LAYER([]), "empty list"),
    (lambda: LAYER([torch.zeros(3, 3), torch.zeros(3, 4)]), "x[1]: got (3, 4)"),
    (lambda: LAYER(X, lengths=[7, 2, 1]), "lengths: got (3,), want (B)"),
    (lambda: LAYER(X, lengths=[8, 2]), "lengths: got 2 to 8, want 0 to T=7"),
    (lambda: LAYER(X, lengths=[-1, 2]), "lengths: got -1 to 2"),
    (lambda: LAYER(X, lengths=[1.0, 2.0]), "want whole numbers"),
    (lambda: LAYER([torch.zeros(3, 3)], lengths=[3]), "leave lengths out"),
    (lambda: LAYER(X, torch.zeros(1, 2, 4)), "want a tuple of 2 tensors"),
    (lambda: LAYER(X, (torch.zeros(1, 2, 4), torch.zeros(1, 2, 5))), "state c: got (1, 2, 5)"),
    (lambda: LAYER(X, (torch.zeros(1, 2, 4), None)), "state c: got a NoneType"),
    (lambda: LAYER(X, reset=torch.zeros(2, 7, dtype=torch.bool)), "reset: got (2, 7)"),
]  # fmt: skip
LAYER, X = elman.Recurrent("lstm", 3, 4), torch.zeros(7, 2, 3)


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[m for _, m in REFUSED])
def test_refusals(call, message):
    with pytest.raises(ElmanError) as caught:
        call()
    assert message in str(caught.value)
    assert isinstance(caught.value, ShapeError | CellError | BackendError)


def test_the_whole_in_half_precision_stays_there():
    for dtype in (torch.float16, torch.bfloat16):
        layer = elman.Recurrent("lstm", 3, 4, dtype=dtype, bidirectional=True)
        output, states = layer(torch.randn(7, 2, 3, dtype=dtype), lengths=[7, 3])
        assert {output.dtype, *(s.dtype for s in states)} == {dtype}


def test_results_are_deterministic():
    ours, _ = pair("GRU", 3, 5, 2, bidirectional=True)
    a, b = (results(ours, [normal(7, 2, 3)], torch.float32) for _ in range(2))
    assert all(torch.equal(a[n], b[n]) for n in a)


@pytest.mark.parametrize("p", [0.0, 1e-6, 0.1, 0.5, 0.9, 1.0])
def test_dropout_drops_with_the_probability_asked_for(p):
    """Zeros come with probability p in every place of the 64-bit numbers they are drawn from, the rest is scaled."""
    ones = torch.ones(100_000, 5, requires_grad=True)
    dropped = dropout(ones, p)
    (gradient,) = torch.autograd.grad(dropped.sum(), ones)
    assert torch.equal(gradient, dropped.detach())
    assert set(dropped.detach().unique().tolist()) <= {0.0, torch.tensor(1.0).div(1 - p or 1).item()}
    share = (dropped == 0).double().mean(0)
    assert (share - p).abs().max() <= 5 * (p * (1 - p) / 100_000) ** 0.5 + 1e-5
    apart = (dropped == 0).view(-1, 4).double()  # four entries of one number are as independent as any others
    together = (apart.T @ apart)[torch.triu_indices(4, 4, 1).unbind()] / 125_000
    assert ((together - p * p).abs() <= 5 * (p * p * (1 - p * p) / 125_000) ** 0.5 + 1e-4).all()
    assert dropout(ones, p, training=False) is ones
