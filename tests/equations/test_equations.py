"""The programs that tracing gives: their text, stages, parameters and sizes, and how they are written out."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

import elman
from cells_outside import OUTSIDE, readout
from elman.backends.reference import Reference
from elman.cells import REGISTRY, get
from elman.equations import (
    Program,
    eq,
    equations,
    gelu,
    maximum,
    norm,
    relu,
    sigmoid,
    tanh,
    total,
    units,
    where,
)
from elman.errors import ElmanError, EquationError, ShapeError
from oracle import CELLS, make_call, outcome

OTHERS = [pytest.param(c, id=c.name) for c in OUTSIDE]


# The program.


@pytest.mark.parametrize("cell", CELLS + OTHERS)
@pytest.mark.parametrize("bias", [True, False])
def test_json_goes_there_and_back(cell, bias):
    program = cell.program(bias=bias)
    text = program.to_json()
    again = Program.from_json(text)
    assert again == program
    assert hash(again) == hash(program)
    assert again.to_json() == text
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))


def test_json_tells_programs_apart():
    texts = {get("rnn").program(nonlinearity=n, bias=b).to_json() for n in ("tanh", "relu") for b in (True, False)}
    assert len(texts) == 4


def test_a_program_read_back_runs_the_same():
    call = make_call(readout.program())
    again = make_call(Program.from_json(readout.program().to_json()))
    for name, value in outcome(Reference(), call).items():
        assert torch.equal(value, outcome(Reference(), again)[name]), name


def spots(data: object, path: tuple = ()) -> list[tuple]:
    """The path of every value in a JSON document."""
    children = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(spot for key, child in children for spot in spots(child, (*path, key)))]


LSTM = json.loads(REGISTRY["lstm"].program().to_json())
SPOTS = spots(LSTM)[1:]
DAMAGE = [None, -1, 10**6, "?", [], {}, 0.5, True, [[]], [{}], "delete"]


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(SPOTS), st.sampled_from(DAMAGE))
def test_damaged_json_is_refused_or_harmless(spot, damage):
    data = json.loads(json.dumps(LSTM))
    *above, last = spot
    parent = data
    for key in above:
        parent = parent[key]
    if damage == "delete":
        del parent[last]
    else:
        parent[last] = damage
    try:
        program = Program.from_json(json.dumps(data))
        outcome(Reference(), make_call(program, T=2))
        equations(program)
    except ElmanError:
        pass


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[]", "3", '"lstm"', '{"nodes": "abc"}', json.dumps(LSTM)[:-20]]
    + [json.dumps({k: v for k, v in LSTM.items() if k != key}) for key in LSTM],
)
def test_what_is_no_program_is_refused(text):
    with pytest.raises(EquationError, match="no program"):
        Program.from_json(text)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("output", -1), ("output", 10**6), ("input_size", "nowhere"), ("nodes", []), ("states", []),
        ("states", [{"name": "h", "size": "hidden", "old": 0, "new": 1}]),
        ("states", [{"name": "h", "size": "hidden", "old": -1, "new": -1}]),
        ("parameters", []), ("parameters", LSTM["parameters"][:2]),
    ],
)  # fmt: skip
def test_programs_that_do_not_hang_together_are_refused(key, value):
    with pytest.raises(EquationError, match="no program"):
        Program.from_json(json.dumps(LSTM | {key: value}))


def test_nodes_that_cannot_be_are_refused():
    for change in ({"op": "tan"}, {"args": [0]}, {"args": [0, 1, 2]}, {"op": "clamp"}, {"size": "nowhere"}):
        data = json.loads(json.dumps(LSTM))
        at = next(i for i, n in enumerate(data["nodes"]) if n["op"] == "add")
        data["nodes"][at] |= change
        with pytest.raises(EquationError, match="no program"):
            Program.from_json(json.dumps(data))


KINDS = {
    "rnn": "one stage", "jordan": "2 stages", "lstm": "one stage", "lstm_projected": "2 stages",
    "peephole": "one stage", "gru": "one stage", "gru_cho": "2 stages", "indrnn": "elementwise",
    "mingru": "elementwise", "slstm": "one stage", "lem": "2 stages", "multiplicative_lstm": "2 stages",
    "fastgrnn": "one stage", "scrn": "2 stages", "mgu": "2 stages", "sru": "elementwise",
    "antisymmetricrnn": "one stage", "unicornn": "elementwise", "brc": "elementwise", "nas": "one stage",
    "cornn": "one stage", "cfc": "2 stages", "readout": "2 stages",
    "layer_norm_lstm": "one stage", "normed_gates": "one stage", "joint_norm": "one stage",
}  # fmt: skip


@pytest.mark.parametrize("cell", CELLS + OTHERS)
def test_levels_count_the_products_on_the_way(cell):
    program = cell.program()
    if cell.name in KINDS:
        assert program.kind == KINDS[cell.name]
    for i, node in enumerate(program.nodes):
        above = max((program.levels[a] for a in node.args), default=0)
        deeper = node.op == "product" and i in program.recurrent
        assert program.levels[i] == above + deeper, (cell.name, i)
        assert i in program.recurrent or program.levels[i] == 0


def test_what_depends_on_no_state_is_hoisted():
    program = get("mingru").program()
    inside = {program.nodes[i].op for i in program.recurrent}
    assert inside <= {"state", "mul", "add"}
    lstm = get("lstm").program()
    hoisted = [n for i, n in enumerate(lstm.nodes) if i not in lstm.recurrent]
    assert sum(n.op == "product" for n in hoisted) == 4
    assert sum(n.op == "vector" for n in hoisted) == 8
    assert all(lstm.levels[i] == 0 for i in range(len(lstm.nodes)) if i not in lstm.recurrent)
    assert sum(n.op == "product" for n in get("indrnn").program().nodes) == 1


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("rnn", torch.nn.RNN(3, 5)), ("lstm", torch.nn.LSTM(3, 5)), ("gru", torch.nn.GRU(3, 5)),
        ("lstm_projected", torch.nn.LSTM(3, 5, proj_size=2)),
    ],
)  # fmt: skip
def test_parameters_are_torch_s(ours, theirs):
    program = get(ours).program()
    named = {"proj_size": 2} if ours == "lstm_projected" else {}
    sizes = program.sizes(3, 5, **named)
    found = [(f"{p.name}_l0", p.shape(sizes)) for p in program.parameters]
    want = [(n, tuple(p.shape)) for n, p in theirs.named_parameters()]
    assert sorted(found) == sorted(want)
    assert [n for n, _ in found if not n.startswith("weight_hr")] == [n for n, _ in want if n != "weight_hr_l0"]


@pytest.mark.parametrize(
    ("cell", "names"),
    [
        (get("peephole"), "weight_ih weight_hh bias vector_ci vector_cf vector_co"),
        (get("gru_cho"), "weight_ih weight_hh bias weight_n"),
        (get("jordan"), "weight_ih weight_yh bias weight_y"),
        (get("fastgrnn"), "weight_ih weight_hh vector_bz vector_bn vector_zeta vector_nu"),
        (get("scrn"), "weight_ih weight_hh bias weight_h weight_y weight_y_2"),
        (readout, "weight_ih weight_hh bias weight_y"),
    ],
)
def test_names_and_order_of_parameters(cell, names):
    assert [p.name for p in cell.program().parameters] == names.split()


def test_rows_stand_in_call_order():
    assert [r for r, _ in get("lstm").program().parameter("weight_ih").rows] == list("ifgo")
    assert [r for r, _ in get("gru").program().parameter("weight_hh").rows] == list("rzu")
    assert [r for r, _ in get("gru").program().parameter("weight_ih").rows] == list("rzn")


def test_without_bias_nothing_of_it_is_left():
    for cell in REGISTRY.values():
        assert not any(p.name.startswith("bias") for p in cell.program(bias=False).parameters)


# Sizes.


def test_sizes_of_the_cell_s_own():
    program = get("lstm_projected").program()
    assert program.size_names == ("proj_size",)
    sizes = program.sizes(3, 5, proj_size=2)
    assert program.parameter("weight_hh").shape(sizes) == (20, 2)
    assert program.parameter("weight_hr").shape(sizes) == (2, 5)
    assert get("cfc").program().size_names == ("backbone",)
    assert {s.name: s.size for s in get("scrn").program().states} == {"h": "hidden", "s": "context_size"}
    assert readout.program().output_size == "output_size"


def test_scalars_and_vectors():
    sizes = get("fastgrnn").program().sizes(3, 5)
    assert get("fastgrnn").program().parameter("vector_zeta").shape(sizes) == (1,)
    assert get("indrnn").program().parameter("vector_u").shape(sizes) == (5,)


def test_raw_x_ties_the_sizes():
    assert readout.program().input_size == "hidden"
    with pytest.raises(ShapeError, match="input_size must equal"):
        readout.program().sizes(3, 5)


def test_blocks_make_narrow_weights():
    program = get("slstm").program(heads=4)
    sizes = program.sizes(3, 8)
    assert program.parameter("weight_hh").shape(sizes) == (32, 2)
    with pytest.raises(ShapeError, match="not a multiple of 4 blocks"):
        program.sizes(3, 10)


def test_blocks_see_their_own_units_alone():
    call = make_call(get("slstm").program(heads=4), T=1, H=8)
    (gradient,) = torch.autograd.grad(Reference().run(call).states[1][:, :2].sum(), call.states[0])
    assert gradient[:, :2].abs().min() > 0
    assert gradient[:, 2:].abs().max() == 0


def test_a_block_diagonal_weight_is_the_dense_one_with_zeros():
    narrow = make_call(get("slstm").program(heads=4), H=8)
    dense = make_call(get("slstm").program(heads=1), H=8)
    weight = torch.stack([torch.block_diag(*gate.split(2)) for gate in narrow.parameters["weight_hh"].split(8)])
    shared = dict(narrow.parameters) | {"weight_hh": weight.flatten(0, 1).detach()}
    whole = elman.backends.Call(dense.program, dense.sizes, shared, narrow.x, narrow.states)
    torch.testing.assert_close(Reference().run(whole).output, Reference().run(narrow).output, rtol=1e-13, atol=1e-14)


def test_norm_is_layer_norm():
    @elman.cell
    def f(x, h, p):
        a = p.a(x, h)
        return norm(a), a, norm(a, epsilon=1.0) * 0 + units(a) + total(h)

    @elman.cell
    def g(x, h, p):
        a = p.a(x, h)
        return norm(a, epsilon=1e-3), a

    call = make_call(g, T=1)
    result = Reference().run(call)
    want = functional.layer_norm(result.states[0], (5,), eps=1e-3)
    torch.testing.assert_close(result.output[0], want, rtol=1e-12, atol=1e-13)
    with pytest.raises(EquationError, match="returns 1 values"):
        f.program()


def test_total_and_units():
    @elman.cell
    def f(x, h, p):
        a = p.a(x, size="own")
        return total(a, h) / units(a, h) + 0 * h, h

    call = make_call(f, T=1)
    result = Reference().run(call)
    a = functional.linear(call.x[0], call.parameters["weight_ih"], call.parameters["bias"])
    want = torch.cat([a, call.states[0]], -1).mean(-1, keepdim=True).expand(3, 5)
    torch.testing.assert_close(result.output[0], want, rtol=1e-13, atol=1e-14)


def test_torch_s_own_functions_and_methods_may_be_used():
    @elman.cell
    def ours(x, h, p):
        a = p.a(x, h)
        return maximum(relu(a), sigmoid(h)) + gelu(a) - abs(a) + where(~eq(h, 0.0) & (a > 0), a, -h) + tanh(h)

    @elman.cell
    def theirs(x, h, p):
        a = p.a(x, h)
        top = torch.maximum(functional.relu(a), torch.sigmoid(h)) + functional.gelu(a) - torch.abs(a)
        return top + torch.where(torch.logical_and(~torch.eq(h, 0.0), a > 0), a, -h) + h.tanh()

    assert ours.program().nodes == theirs.program().nodes


# Written out.


def test_lstm_as_text():
    assert equations(get("lstm").program()) == [
        "i[t] = sigmoid(W_ix x[t] + W_ih h[t-1] + b_ix + b_ih)",
        "f[t] = sigmoid(W_fx x[t] + W_fh h[t-1] + b_fx + b_fh)",
        "g[t] = tanh(W_gx x[t] + W_gh h[t-1] + b_gx + b_gh)",
        "o[t] = sigmoid(W_ox x[t] + W_oh h[t-1] + b_ox + b_oh)",
        "c[t] = f[t] * c[t-1] + i[t] * g[t]",
        "h[t] = o[t] * tanh(c[t])",
    ]


def test_gru_cho_as_latex():
    assert equations(get("gru_cho").program(), latex=True) == [
        r"r_{t} = \sigma(W_{rx} x_{t} + W_{rh} h_{t-1} + b_{r})",
        r"z_{t} = \sigma(W_{zx} x_{t} + W_{zh} h_{t-1} + b_{z})",
        r"n_{t} = \tanh(W_{nx} x_{t} + W_{n} (r_{t} \odot h_{t-1}) + b_{n})",
        r"h_{t} = \left(1 - z_{t}\right) \odot n_{t} + z_{t} \odot h_{t-1}",
    ]


@pytest.mark.parametrize("cell", CELLS + OTHERS)
def test_every_result_has_an_equation(cell):
    program = cell.program()
    lines = equations(program)
    for state in program.states:
        assert sum(line.startswith(f"{state.name}[t] = ") for line in lines) == 1
    for line in equations(program, latex=True):
        assert line.count("{") == line.count("}")
        assert line.count(r"\left") == line.count(r"\right")
    named = {p.rows for p in program.nodes if p.op == "product"}
    assert all(any(f"W_{name}" in line for line in lines) for name in named)


def test_parentheses_stand_where_they_must():
    @elman.cell
    def f(x, h, p):
        a, b = p.a(x), p.b(h)
        q = (a - (b - h)) * (a / (b * h)) ** 2
        return -(a + b) * q - (-a) ** 2 + (a - b) / (a + b)

    assert equations(f.program())[2:] == [
        "q[t] = (a[t] - (b[t] - h[t-1])) * (a[t] / (b[t] * h[t-1]))**2",
        "h[t] = -(a[t] + b[t]) * q[t] - (-a[t])**2 + (a[t] - b[t]) / (a[t] + b[t])",
    ]
