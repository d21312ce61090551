"""The stand-ins held to torch's own module cases, its errors, and to figures from Keras and ONNX."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import elman
from against_torch import assert_equals_torch, pair, tensors

LAYERS, STEPS = ["RNN", "LSTM", "GRU"], ["RNNCell", "LSTMCell", "GRUCell"]


def module_cases(name: str, **more: Any) -> list[Any]:
    """The inputs that torch ships for testing nn.``name``."""
    pytest.importorskip("expecttest", reason="torch's own module cases need the package expecttest")
    from torch.testing._internal import common_modules as cases

    info = next(i for i in cases.module_db if i.module_cls is getattr(nn, name))
    return info.module_inputs_func(info, device="cpu", dtype=torch.float64, requires_grad=False, training=True, **more)


def error_cases(name: str) -> list[Any]:
    pytest.importorskip("expecttest", reason="torch's own module cases need the package expecttest")
    from torch.testing._internal import common_modules as cases

    info = next(i for i in cases.module_db if i.module_cls is getattr(nn, name))
    function = info.module_error_inputs_func
    if function is None:
        function = cases.module_error_inputs_torch_nn_RNN_GRU  # torch tries these on RNN and GRU alone
    return function(info, device="cpu", dtype=torch.float32, requires_grad=False, training=True)


@pytest.mark.full
@pytest.mark.parametrize("name", LAYERS + STEPS)
def test_torch_s_own_module_inputs(name):
    more = {"with_packed_sequence": True} if name in LAYERS else {}
    cases = module_cases(name, **more)
    assert len(cases) >= (8 if name in LAYERS else 2)
    for case in cases:
        args, kwargs = case.constructor_input.args, case.constructor_input.kwargs
        ours, theirs = pair(name, *args, **kwargs)
        assert not case.forward_input.kwargs
        assert_equals_torch(ours, theirs, *case.forward_input.args)


@pytest.mark.parametrize("name", LAYERS + STEPS)
def test_torch_s_own_error_inputs(name):
    for case in error_cases(name):
        given, module = case.module_error_input, getattr(elman, name)
        args, kwargs = given.constructor_input.args, given.constructor_input.kwargs
        if case.error_on.name == "CONSTRUCTION_ERROR":
            with pytest.raises(case.error_type, match=case.error_regex):
                module(*args, **kwargs)
            continue
        layer = module(*args, **kwargs)
        inputs = given.forward_input.args
        if name == "LSTMCell" and len(inputs) == 2 and isinstance(inputs[1], Tensor):
            inputs = (inputs[0], (inputs[1], inputs[1]))
        with pytest.raises(case.error_type, match=case.error_regex):
            layer(*inputs, **given.forward_input.kwargs)


# Errors: whatever torch's module raises, ours raises, of the same type and with the same words.


def fate(module: nn.Module, inputs: tuple[Any, ...]) -> str:
    try:
        values = module(*inputs)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "runs, " + ", ".join(str(tuple(v.shape)) for v in tensors(values))


def lstm_state(h: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
    return h, h if c is None else c


X = torch.zeros(7, 2, 3)
INPUTS: dict[str, tuple[Tensor, ...]] = {
    "right": (X, torch.zeros(2, 2, 5)),
    "one dimension": (torch.zeros(3),),
    "four dimensions": (torch.zeros(1, 7, 2, 3),),
    "input size": (torch.zeros(7, 2, 4),),
    "input size unbatched": (torch.zeros(7, 4),),
    "hidden batch": (X, torch.zeros(2, 3, 5)),
    "hidden size": (X, torch.zeros(2, 2, 4)),
    "hidden layers": (X, torch.zeros(3, 2, 5)),
    "hidden of two dimensions for a batch": (X, torch.zeros(2, 5)),
    "hidden of three dimensions unbatched": (torch.zeros(7, 3), torch.zeros(2, 1, 5)),
    "hidden size unbatched": (torch.zeros(7, 3), torch.zeros(2, 4)),
    "no steps": (torch.zeros(0, 2, 3),),
    "no steps unbatched": (torch.zeros(0, 3),),
    "no rows": (torch.zeros(7, 0, 3),),
    "float64": (X.double(),),
}


@pytest.mark.parametrize("case", INPUTS)
@pytest.mark.parametrize("name", LAYERS)
def test_errors_of_layers_are_torch_s(name, case):
    x, *states = INPUTS[case]
    inputs = (x, *((lstm_state(*states),) if name == "LSTM" and states else states))
    ours, theirs = pair(name, 3, 5, 2)
    assert fate(ours, inputs) == fate(theirs, inputs)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("rows", [2, 3])
def test_errors_of_packed_input_are_torch_s(name, rows):
    ours, theirs = pair(name, 3, 5)
    for size in (3, 4):
        packed = pack_padded_sequence(torch.zeros(7, 2, size), [7, 4])
        h = torch.zeros(1, rows, 5)
        inputs = (packed, lstm_state(h) if name == "LSTM" else h)
        found, want = fate(ours, inputs), fate(theirs, inputs)
        # torch.nn.LSTM does not check what is packed; the words are its kernel's.
        assert found.partition(":")[0] == want.partition(":")[0]
        assert name == "LSTM" or found == want


def test_errors_of_lstm_s_two_states_are_torch_s():
    for more in ({}, {"proj_size": 4}):
        ours, theirs = pair("LSTM", 3, 5, **more)
        for h, c in (((1, 2, 5), (1, 2, 4)), ((1, 2, 4), (1, 2, 5)), ((1, 2, 5), (1, 3, 5)), ((2, 5), (1, 2, 5))):
            inputs = (X, (torch.zeros(h), torch.zeros(c)))
            assert fate(ours, inputs) == fate(theirs, inputs)
        assert fate(ours, (X[:, 0], (torch.zeros(1, 2, 5), torch.zeros(1, 5)))) == fate(
            theirs, (X[:, 0], (torch.zeros(1, 2, 5), torch.zeros(1, 5)))
        )


STEP_INPUTS: dict[str, tuple[Tensor, ...]] = {
    "right": (torch.zeros(2, 3), torch.zeros(2, 5)),
    "input size": (torch.zeros(2, 4),),
    "input size unbatched": (torch.zeros(4),),
    "three dimensions": (torch.zeros(7, 2, 3),),
    "hidden size": (torch.zeros(2, 3), torch.zeros(2, 4)),
    "hidden batch": (torch.zeros(2, 3), torch.zeros(3, 5)),
    "hidden of three dimensions": (torch.zeros(2, 3), torch.zeros(1, 2, 5)),
    "no rows": (torch.zeros(0, 3),),
}


@pytest.mark.parametrize("case", STEP_INPUTS)
@pytest.mark.parametrize("name", STEPS)
def test_errors_of_cells_are_torch_s(name, case):
    x, *states = STEP_INPUTS[case]
    inputs = (x, *((lstm_state(*states),) if name == "LSTMCell" and states else states))
    ours, theirs = pair(name, 3, 5)
    assert fate(ours, inputs) == fate(theirs, inputs)


@pytest.mark.parametrize("arguments", [
    {"hidden_size": 0}, {"num_layers": 0}, {"hidden_size": 2.5}, {"dropout": 2}, {"dropout": True}, {"proj_size": -1},
    {"proj_size": 5}, {"bias": 1}, {"batch_first": "no"}, {"nonlinearity": "sigmoid"}, {"colour": 1},
])  # fmt: skip
@pytest.mark.parametrize("name", LAYERS)
def test_errors_of_constructors_are_torch_s(name, arguments):
    def built(module: type) -> str:
        try:
            return repr(module(**({"input_size": 3, "hidden_size": 5} | arguments)))
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert built(getattr(elman, name)) == built(getattr(nn, name))


def test_one_layer_with_dropout_warns_as_torch_does():
    with pytest.warns(UserWarning, match="dropout option adds dropout after all but last"):
        elman.LSTM(3, 5, dropout=0.5)


def test_an_unknown_nonlinearity_of_a_cell_fails_when_it_runs():
    for module in (nn.RNNCell, elman.RNNCell):
        with pytest.raises(RuntimeError, match="Unknown nonlinearity: sigmoid"):
            module(3, 5, nonlinearity="sigmoid")(torch.zeros(2, 3))


@pytest.mark.parametrize("which", [0, 1])
def test_lstm_cell_s_gradient_of_one_result_alone(which):
    ours, theirs = (m.double() for m in pair("LSTMCell", 3, 5))
    x = torch.randn(2, 3).double()
    found, want = (torch.autograd.grad(m(x)[which].sum(), m.parameters()) for m in (ours, theirs))
    for a, b in zip(found, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("two", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
def test_projections(two, layers):
    ours, theirs = pair("LSTM", 3, 5, layers, proj_size=2, bidirectional=two)
    assert "weight_hr_l0" in ours.state_dict()
    x = torch.randn(7, 2, 3)
    assert_equals_torch(ours, theirs, x)
    assert_equals_torch(ours, theirs, pack_padded_sequence(x, [3, 7], enforce_sorted=False))


def test_harmless_members():
    layer, theirs = pair("GRU", 3, 5, 2)
    layer.flatten_parameters()
    assert [[p.shape for p in ps] for ps in layer.all_weights] == [[p.shape for p in ps] for ps in theirs.all_weights]


def test_parametrizations():
    ours, theirs = pair("GRU", 3, 5)
    for layer in (ours, theirs):
        torch.manual_seed(1)
        nn.utils.parametrizations.weight_norm(layer, "weight_hh_l0")
        nn.utils.parametrizations.orthogonal(layer, "weight_ih_l0")
        with torch.no_grad():
            layer.parametrizations.weight_hh_l0.original0.mul_(2)
    x = torch.randn(7, 2, 3)
    torch.testing.assert_close(ours(x)[0], theirs(x)[0])
    ours(x)[0].sum().backward()
    assert ours.parametrizations.weight_hh_l0.original0.grad.abs().sum() > 0


def test_inputs_survive_and_threads_agree():
    from concurrent.futures import ThreadPoolExecutor

    layer, x = elman.LSTM(3, 5, 2, bidirectional=True), torch.randn(7, 4, 3)
    kept, want = x.clone(), layer(x)[0]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: layer(x)[0], range(8)))
    assert all(torch.equal(f, want) for f in found)
    assert torch.equal(x, kept)


# Figures from elsewhere.


def fill(layer: elman.Recurrent, **values: float) -> None:
    with torch.no_grad():
        for name, value in values.items():
            getattr(layer, name).fill_(value)


def keras_input() -> Tensor:
    return torch.arange(72.0).reshape(3, 6, 4)


@pytest.mark.parametrize("cell", ["lstm", "gru", "gru_cho"])
def test_keras(cell):
    layer = elman.Recurrent(cell, 4, 3, batch_first=True)
    for name, parameter in layer.named_parameters():
        fill(layer, **{name: 0.01 if name == "weight_ih_l0" else 0.02 if parameter.dim() == 2 else 0.03})
    if cell == "lstm":  # Keras has one bias, and that of the forget gate is 1
        fill(layer, bias_hh_l0=0.0)
        with torch.no_grad():
            layer.rows("f")["bias_ih"].fill_(1.0)
    want = {
        "lstm": [0.62887, 0.86899, 0.94608],
        "gru": [0.52173, 0.63717, 0.39385],
        "gru_cho": [0.51448, 0.64269, 0.40208],
    }[cell]
    found = layer(keras_input())[0][:, -1]
    torch.testing.assert_close(found, torch.tensor(want).unsqueeze(1).expand(3, 3), rtol=0, atol=6e-6)


ORDER = {"LSTM": "iofg", "GRU": "zrn", "RNN": "h"}  # ONNX's gates, in our letters


def onnx_cases() -> list[Any]:
    """The node cases of RNN, LSTM and GRU that the onnx package ships, or one that says it is not there."""
    try:
        from onnx.backend.test.case.node import _NodeTestCases, gru, lstm, rnn  # noqa: F401
    except ImportError:
        return [pytest.param(None, marks=pytest.mark.skip(reason="the onnx package is not installed"))]
    found = [c for c in _NodeTestCases if c.model.graph.node[0].op_type in ORDER]
    return [pytest.param(c, id=c.name) for c in found]


def gates(value: Any, count: int, op: str) -> dict[str, Tensor]:
    return dict(zip(ORDER[op] if count > 1 else "h", torch.tensor(value).chunk(count), strict=True))


def onnx_layer(op: str, given: dict[str, Any], attributes: dict[str, Any]) -> elman.Recurrent:
    """Our layer with the weights of an ONNX node."""
    W, R, H = given["W"], given["R"], attributes["hidden_size"]
    cell = {"LSTM": "lstm", "RNN": "rnn", "GRU": "gru" if attributes.get("linear_before_reset") else "gru_cho"}[op]
    cell = "peephole" if "P" in given else cell
    layer = elman.Recurrent(
        cell, W.shape[2], H, bidirectional=len(W) == 2, batch_first=bool(attributes.get("layout", 0)), bias="B" in given
    )
    for d in range(len(W)):
        count = W.shape[1] // H
        parts = {"ih": gates(W[d], count, op), "hh": gates(R[d], count, op)}
        if "B" in given:
            parts |= {
                "b": gates(given["B"][d][: count * H], count, op),
                "c": gates(given["B"][d][count * H :], count, op),
            }
        for gate in ORDER[op]:
            place(layer, gate, {k: v[gate] for k, v in parts.items()}, bool(d))
        if "P" in given:
            for name, value in zip(("ci", "co", "cf"), torch.tensor(given["P"][d]).chunk(3), strict=True):
                put(layer.rows(name, reverse=bool(d))[f"vector_{name}"], value)
    return layer


def put(rows: Tensor, value: Tensor) -> None:
    with torch.no_grad():
        rows.copy_(value)


def place(layer: elman.Recurrent, gate: str, parts: dict[str, Tensor], reverse: bool) -> None:
    """One gate's weights and two biases, in whichever parameters our cell has for them."""
    rows = layer.rows(gate, reverse=reverse)
    if gate == "n" and "weight_hh" not in rows and layer.program.name == "gru":
        rows = rows | {k: v for k, v in layer.rows("u", reverse=reverse).items() if k.endswith("hh")}
    put(rows["weight_ih"], parts["ih"])
    put(rows.get("weight_hh", rows.get(f"weight_{gate}")), parts["hh"])
    if "b" in parts:
        put(rows["bias" if "bias" in rows else "bias_ih"], parts["b"] + (parts["c"] if "bias" in rows else 0))
        if "bias_hh" in rows:
            put(rows["bias_hh"], parts["c"])


@pytest.mark.parametrize("case", onnx_cases())
def test_onnx_node_cases(case):
    node = case.model.graph.node[0]
    attributes = {a.name: a.s.decode() if a.type == a.STRING else a.i for a in node.attribute}
    inputs, outputs = case.data_sets[0]
    given = dict(zip(("X", "W", "R", "B", "sequence_lens", "h", "c", "P"), named(node.input, inputs), strict=False))
    given = {k: v for k, v in given.items() if v is not None}
    layer = onnx_layer(node.op_type, given, attributes)
    x, backwards = torch.tensor(given["X"]), attributes.get("direction") == "reverse"
    output, state = layer(x.flip(0) if backwards else x, lengths=given.get("sequence_lens"))
    output = (output.flip(0) if backwards else output).unflatten(-1, (-1, layer.hidden_size))
    states = state if isinstance(state, tuple) else (state,)
    found = dict(zip(("Y_h", "Y_c"), (s.transpose(0, 1) if layer.batch_first else s for s in states), strict=False))
    found["Y"] = output if layer.batch_first else output.transpose(1, 2)
    want = {name: value for name, value in zip(node.output, named(node.output, outputs), strict=True) if name}
    assert want
    for name, value in want.items():
        torch.testing.assert_close(found[name], torch.tensor(value), rtol=1e-5, atol=1e-6)


def named(names: Any, values: Any) -> list[Any]:
    """The values of a node's inputs, None where one is left out."""
    left = iter(values)
    return [next(left) if name else None for name in names]
