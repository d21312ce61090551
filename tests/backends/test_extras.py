"""What torch.nn's layers lack: residuals, merges, noise, initialisers, learned states, recording, torch.func."""

import math

import pytest
import torch
from torch.func import functional_call, grad, jvp, vmap

import elman
from elman.cells import REGISTRY
from elman.equations.rewrite import with_dropped_states, with_zoneout
from elman.errors import CellError, ShapeError
from elman.layers.dropout import dropout, ones_at_random
from elman.layers.initialise import SCHEMES
from oracle import further_inputs

EXACT = 1e-12


def layer_of(cell="gru", *args, **kwargs):
    torch.manual_seed(0)
    return elman.Recurrent(cell, *args, dtype=torch.float64, **kwargs)


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def close(a, b):
    return torch.allclose(a, b, rtol=0, atol=EXACT)


# Joining layers


@pytest.mark.parametrize("merge", ["concat", "sum", "mean", "product", "max"])
def test_merge_joins_the_two_directions(merge):
    layer = layer_of("gru", 3, 5, bidirectional=True, merge=merge)
    x = normal(7, 2, 3)
    both = layer_of("gru", 3, 5, bidirectional=True)
    both.load_state_dict(layer.state_dict())
    a, b = both(x)[0].split(5, dim=-1)
    want = {"concat": torch.cat([a, b], -1), "sum": a + b, "mean": (a + b) / 2, "product": a * b, "max": a.maximum(b)}
    output, state = layer(x)
    assert close(output, want[merge])
    assert output.shape[-1] == layer.output_size
    assert state.shape == (2, 2, 5)


def test_merged_layers_stack():
    layer = layer_of("lstm", 3, 5, num_layers=3, bidirectional=True, merge="sum")
    assert layer.weight_ih_l1.shape == (20, 5)
    assert layer(normal(4, 2, 3))[0].shape == (4, 2, 5)


def test_residual_adds_each_layers_input_where_the_sizes_agree():
    layer = layer_of("gru", 3, 5, num_layers=2, residual=True)
    first, second = layer_of("gru", 3, 5), layer_of("gru", 5, 5)
    state = layer.state_dict()
    first.load_state_dict({k: v for k, v in state.items() if k.endswith("_l0")})
    second.load_state_dict({k.replace("_l1", "_l0"): v for k, v in state.items() if k.endswith("_l1")})
    x = normal(7, 2, 3)
    middle = first(x)[0]  # 3 in, 5 out: nothing to add
    assert close(layer(x)[0], middle + second(middle)[0])
    alone = layer_of("gru", 5, 5)
    added = layer_of("gru", 5, 5, residual=True)
    y = normal(7, 2, 5)
    assert close(added(y)[0], y + alone(y)[0])


def test_residual_leaves_padding_at_zero():
    layer = layer_of("gru", 5, 5, residual=True)
    x = normal(7, 2, 5)
    x[3:, 1] = math.nan
    output, _ = layer(x, lengths=[7, 3])
    assert torch.equal(output[3:, 1], torch.zeros_like(output[3:, 1]))


# Noise


@pytest.mark.parametrize("name", ["recurrent_dropout", "zoneout", "weight_drop"])
def test_noise_draws_in_training_and_not_in_evaluation(name):
    layer = layer_of("lstm", 3, 5, **{name: 0.5})
    x = normal(7, 2, 3)
    a, b = layer(x)[0], layer(x)[0]
    assert not torch.equal(a, b)
    layer.eval()
    assert torch.equal(layer(x)[0], layer(x)[0])


@pytest.mark.parametrize("name", ["recurrent_dropout", "weight_drop"])
def test_dropout_in_evaluation_is_the_network_itself(name):
    layer, plain = layer_of("lstm", 3, 5, **{name: 0.5}).eval(), layer_of("lstm", 3, 5)
    x = normal(7, 2, 3)
    assert torch.equal(layer(x)[0], plain(x)[0])


def rnn_by_hand(layer, x, step):
    """h = tanh(W x + b + U' h'), with U' and h' as ``step(t, h)`` makes them, then the new h as it makes it."""
    h, output = torch.zeros(x.shape[1], 5, dtype=x.dtype), []
    for t in range(len(x)):
        weight, seen, after = step(t, h)
        new = torch.tanh(x[t] @ layer.weight_ih_l0.T + layer.bias_ih_l0 + seen @ weight.T + layer.bias_hh_l0)
        h = after(new)
        output.append(h)
    return torch.stack(output)


def test_recurrent_dropout_is_one_mask_a_sequence_on_the_state_in_products():
    layer = layer_of("rnn", 3, 5, recurrent_dropout=0.4)
    x = normal(9, 2, 3)
    torch.manual_seed(7)
    output, _ = layer(x)
    torch.manual_seed(7)
    mask = dropout(torch.ones(2, 5, dtype=x.dtype), 0.4)
    assert set(mask.unique().tolist()) <= {0.0, 1 / 0.6}
    assert close(output, rnn_by_hand(layer, x, lambda t, h: (layer.weight_hh_l0, h * mask, lambda new: new)))


def test_recurrent_dropout_leaves_the_leak_of_a_gru_alone():
    """(1 - z) n + z h sees h itself: only the products see the mask."""
    program = with_dropped_states(REGISTRY["gru"].program())
    masked = {a for n in program.nodes if n.op == "product" for a in n.args if program.nodes[a].op == "mul"}
    assert len(masked) == 1
    final = program.nodes[program.output]
    kept = {a for term in final.args for a in program.nodes[term].args}
    assert program.states[0].old in kept


def test_weight_drop_masks_the_states_weights_alone():
    layer = layer_of("rnn", 3, 5, weight_drop=0.4)
    x = normal(9, 2, 3)
    torch.manual_seed(7)
    output, _ = layer(x)
    torch.manual_seed(7)
    weight = dropout(layer.weight_hh_l0, 0.4)
    assert close(output, rnn_by_hand(layer, x, lambda t, h: (weight, h, lambda new: new)))


def test_zoneout_keeps_the_old_state_at_random_and_in_evaluation_its_mean():
    layer = layer_of("rnn", 3, 5, zoneout=0.3)
    x = normal(9, 2, 3)
    torch.manual_seed(7)
    output, _ = layer(x)
    torch.manual_seed(7)
    zone = ones_at_random(x, (9, 2, 5), 0.3)
    by_hand = rnn_by_hand(layer, x, lambda t, h: (layer.weight_hh_l0, h, lambda n: torch.where(zone[t] > 0, h, n)))
    assert close(output, by_hand)
    layer.eval()
    by_hand = rnn_by_hand(layer, x, lambda t, h: (layer.weight_hh_l0, h, lambda n: 0.3 * h + 0.7 * n))
    assert close(layer(x)[0], by_hand)


@pytest.mark.parametrize("cell", REGISTRY)
def test_every_cell_takes_every_noise_with_lengths(cell):
    layer = layer_of(cell, 3, 4, num_layers=2, dropout=0.2, recurrent_dropout=0.2, zoneout=0.2, weight_drop=0.2)
    x = normal(7, 3, 3)
    x[4:, 1] = math.nan
    output, _ = layer(x, lengths=[7, 4, 1], **further_inputs(layer, x))
    output.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in layer.parameters())
    assert torch.equal(output[4:, 1], torch.zeros_like(output[4:, 1]))
    assert torch.isfinite(layer.eval()(x, lengths=[7, 4, 1], **further_inputs(layer, x))[0]).all()


def test_zoned_programs_keep_the_cells_names():
    program = with_zoneout(with_dropped_states(REGISTRY["lstm"].program()))
    assert set(program.values) == {"i", "f", "g", "o", "c", "h"}
    assert program.nodes[program.values["h"]].op == "add"


@pytest.mark.parametrize("p", [-0.1, 1.1, "half", True])
def test_noise_is_a_probability(p):
    with pytest.raises(ShapeError, match="zoneout: got"):
        layer_of("gru", 3, 5, zoneout=p)


# Beginning


@pytest.mark.parametrize("cell", REGISTRY)
@pytest.mark.parametrize("init", SCHEMES)
def test_every_initialiser_fills_every_parameter(cell, init):
    layer = layer_of(cell, 3, 5, num_layers=2, init=init)
    for name, parameter in layer.named_parameters():
        assert torch.isfinite(parameter).all()
        vector = parameter.dim() == 1
        assert (parameter.abs().sum() == 0) == (vector and init != "torch"), name


def test_initialisers_take_each_gate_alone():
    orthogonal = layer_of("lstm", 3, 5, init="orthogonal")
    identity = layer_of("gru", 3, 5, init="identity")
    for gate in "ifgo":
        rows = orthogonal.rows(gate)["weight_hh"]
        assert close(rows @ rows.T, torch.eye(5, dtype=torch.float64))
    for gate in "rzu":
        assert torch.equal(identity.rows(gate)["weight_hh"], torch.eye(5, dtype=torch.float64))
    glorot = layer_of("rnn", 30, 50, init="glorot").weight_ih_l0
    assert glorot.abs().max() <= math.sqrt(6 / 80)
    assert glorot.abs().max() > 0.9 * math.sqrt(6 / 80)


def test_forget_bias_is_the_sum_of_the_gates_biases():
    for cell in ("lstm", "peephole"):
        layer = layer_of(cell, 3, 5, num_layers=2, bidirectional=True, forget_bias=1.0)
        for k in range(2):
            biases = [v for n, v in layer.rows("f", k, reverse=True).items() if n.startswith("bias")]
            assert torch.equal(sum(biases), torch.ones(5, dtype=torch.float64))
            assert layer.rows("i", k)["weight_hh"].abs().sum() > 0
    with pytest.raises(CellError, match="no bias of a projection f"):
        layer_of("gru", 3, 5, forget_bias=1.0)
    with pytest.raises(CellError, match="did you mean 'orthogonal'"):
        layer_of("gru", 3, 5, init="orthogonl")


def test_a_learned_initial_state_begins_at_zero_and_learns():
    layer, plain = layer_of("lstm", 3, 5, num_layers=2, bidirectional=True, learn_state=True), None
    plain = layer_of("lstm", 3, 5, num_layers=2, bidirectional=True)
    x = normal(7, 2, 3)
    assert close(layer(x)[0], plain(x)[0])
    assert layer.initial_c_l1_reverse.shape == (5,)
    layer(x)[0].sum().backward()
    names = [n for n, _ in layer.named_parameters() if n.startswith("initial")]
    assert len(names) == 8
    assert all(getattr(layer, n).grad.abs().sum() > 0 for n in names)
    with torch.no_grad():
        for n in names:
            getattr(layer, n).normal_()
    h, c = (
        torch.stack([getattr(layer, f"initial_{s}_l{k}{r}") for k in (0, 1) for r in ("", "_reverse")]) for s in "hc"
    )
    given = tuple(s.unsqueeze(1).expand(-1, 2, -1) for s in (h, c))
    assert close(layer(x)[0], plain(x, given)[0])
    layer.reset_parameters()
    assert layer.initial_h_l0.abs().sum() == 0


def test_a_reset_goes_back_to_the_learned_state_and_not_to_the_one_given():
    layer = layer_of("gru", 3, 5, learn_state=True)
    torch.nn.init.normal_(layer.initial_h_l0)
    x, carried = normal(7, 2, 3), normal(1, 2, 5)
    reset = torch.zeros(7, 2, dtype=torch.bool)
    reset[3] = True
    output, _ = layer(x, carried, reset=reset)
    assert close(output[:3], layer(x[:3], carried)[0])
    assert close(output[3:], layer(x[3:])[0])


# Recording


def test_recording_gives_every_value_of_every_step_layer_and_direction():
    layer = layer_of("lstm", 3, 5, num_layers=2, bidirectional=True)
    x = normal(7, 2, 3)
    recording = layer.record(x, lengths=[7, 4])
    output, (h, _) = layer(x, lengths=[7, 4])
    # Recording runs on the reference, the layer on whichever backend is fastest.
    assert close(recording.output, output)
    assert close(recording.state[0], h)
    top = recording.values[1]
    assert torch.equal(torch.cat([top[0]["h"], top[1]["h"]], -1), recording.output)
    for values in (v for layer_values in recording.values for v in layer_values):
        assert set(values) == {"i", "f", "g", "o", "c", "h"}
        assert all(torch.equal(v[4:, 1], torch.zeros_like(v[4:, 1])) for v in values.values())
    first = recording.values[0][0]
    assert close(first["o"] * torch.tanh(first["c"]), first["h"])
    assert layer.record(x, names=["f"]).values[0][0].keys() == {"f"}
    with pytest.raises(CellError, match="no value 'forget'"):
        layer.record(x, names=["forget"])


def test_recording_with_noise_records_what_ran():
    layer = layer_of("lstm", 3, 5, zoneout=0.5, recurrent_dropout=0.5)
    recording = layer.record(normal(7, 2, 3))
    assert torch.equal(recording.values[0][0]["h"], recording.output)


# torch.func


@pytest.mark.parametrize("cell", REGISTRY)
def test_per_sample_gradients(cell):
    layer = layer_of(cell, 3, 4)
    parameters = dict(layer.named_parameters())
    x = normal(6, 3, 3)

    def loss(p, row):
        row = row.unsqueeze(1)
        return functional_call(layer, p, (row,), further_inputs(layer, row))[0].square().sum()

    each = vmap(grad(loss), in_dims=(None, 1))(parameters, x)
    for b in range(3):
        alone = grad(loss)(parameters, x[:, b])
        assert all(close(each[n][b], alone[n]) for n in parameters)
    layer(x, **further_inputs(layer, x))[0].square().sum().backward()
    assert all(torch.allclose(each[n].sum(0), p.grad, rtol=1e-9, atol=1e-12) for n, p in layer.named_parameters())


@pytest.mark.parametrize("cell", REGISTRY)
def test_forward_derivatives(cell):
    layer = layer_of(cell, 3, 4)
    x, direction = normal(6, 2, 3), normal(6, 2, 3)

    def run(v):
        return layer(v, **further_inputs(layer, v))[0]

    _, along = jvp(run, (x,), (direction,))
    step = 1e-6
    difference = (run(x + step * direction) - run(x - step * direction)) / (2 * step)
    assert torch.allclose(along, difference, atol=1e-8)


def test_vmap_over_sequences_and_over_models():
    layer = layer_of("lstm", 3, 4)
    x = normal(5, 6, 2, 3)
    assert close(vmap(lambda v: layer(v)[0])(x), torch.stack([layer(v)[0] for v in x]))
    models = [layer_of("gru", 3, 4) for _ in range(3)]
    for model in models:
        model.reset_parameters()
    stacked, _ = torch.func.stack_module_state(models)
    many = vmap(lambda p: functional_call(models[0], p, (x[0],))[0])(stacked)
    assert close(many, torch.stack([model(x[0])[0] for model in models]))


# Names


def test_names_of_the_layers_own_are_refused_in_a_cell():
    @elman.cell
    def with_option(x, h, p, *, dropout=0.5):
        return p.h(x, h) * dropout

    @elman.cell(inputs={"state": 1})
    def with_input(x, h, p, *, state):
        return p.h(x, h) * state

    for cell, name in ((with_option, "dropout"), (with_input, "state")):
        with pytest.raises(CellError, match=f"{name} is a name of the layer's own"):
            elman.Recurrent(cell, 3, 4)


def test_an_input_of_the_hidden_size_needs_layers_of_one_size():
    @elman.cell(inputs={"drive": "hidden"})
    def driven(x, h, p, *, drive):
        return torch.tanh(p.h(x, h) + drive)

    x = normal(5, 2, 3)
    assert layer_of(driven, 3, 4, num_layers=2)(x, drive=normal(5, 2, 4))[0].shape == (5, 2, 4)
    with pytest.raises(ShapeError, match="differs from layer to layer"):
        layer_of(driven, 3, [4, 6])(x, drive=normal(5, 2, 4))


def test_a_cell_with_nothing_to_learn_runs():
    @elman.cell(sizes={"x": "hidden"})
    def smoothing(x, h, p):
        return 0.5 * x + 0.5 * h

    x = normal(5, 2, 3)
    output, state = layer_of(smoothing, 3, 3)(x)
    assert close(output[0], 0.5 * x[0])
    assert close(state[0], output[-1])
    assert elman.Recurrent(smoothing, 3, 3)(x.float())[0].shape == (5, 2, 3)
