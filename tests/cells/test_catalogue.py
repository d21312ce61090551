"""Every cell of the catalogue against its paper (tests/papers.py), through a layer, over several steps."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

import elman
import papers
from elman.cells import REGISTRY, get
from elman.cells.registry import ALIASES
from elman.equations import Program, antisymmetric, blocks, cell, equations, tanh
from elman.errors import EquationError
from oracle import make_call, outcome

# Each option of a cell away from its default; the default itself is the first case of every cell.
OPTIONS = {
    "rnn": [{"nonlinearity": "relu"}],
    "jordan": [{"nonlinearity": "sigmoid", "output": "tanh"}],
    "indrnn": [{"nonlinearity": "tanh"}],
    "scrn": [{"alpha": 0.5}],
    "layer_norm_lstm": [{"epsilon": 0.1}],
    "janet": [{"beta": 0.25}],
    "ugrnn": [{"nonlinearity": "relu"}],
    "ran": [{"nonlinearity": "identity"}],
    "fastrnn": [{"nonlinearity": "sigmoid"}],
    "sru": [{"v": False}, {"alpha": 1.5}],
    "qrnn": [{"pooling": "f"}, {"pooling": "ifo"}],
    "mingru": [{"positive": True}],
    "minlstm": [{"positive": True}],
    "antisymmetricrnn": [{"gated": True}, {"epsilon": 0.7, "gamma": 0.3}],
    "cornn": [{"dt": 0.5, "gamma": 2.0, "epsilon": 0.3}],
    "unicornn": [{"dt": 0.4, "alpha": 3.0}],
    "lem": [{"dt": 0.5}],
    "cfc": [{"nonlinearity": "silu"}, {"nonlinearity": "lecun", "gated": False}],
    "slstm": [{"heads": 3}],
}
SIZES = {
    "lstm_projected": {"proj_size": 4},
    "jordan": {"output_size": 4},
    "scrn": {"context_size": 2, "output_size": 3},
    "cfc": {"backbone": 7},
}
CASES = [
    pytest.param(name, options, id="-".join([name, *(f"{k}={v}" for k, v in options.items())]))
    for name in REGISTRY
    for options in [{}, *OPTIONS.get(name, [])]
]


def tables(layer):
    """The layer's parameters in numpy, split by projection."""
    sizes, found = layer.stack.sizes[0], {}
    for parameter in layer.program.parameters:
        value = getattr(layer, parameter.name + "_l0").detach().numpy()
        spans = {projection: parameter.span(projection, sizes) for projection, _ in parameter.rows}
        found[parameter.name] = {projection: value[start:stop] for projection, (start, stop) in spans.items()}
    return papers.Weights(found)


def by_the_paper(layer, name, options, x, states, extras):
    """The outputs (T, B, O) and the final states."""
    step, weights, outputs = getattr(papers, name), tables(layer), []
    for t in range(len(x)):
        output, states = step(weights, x[t], *states, **{k: v[t] for k, v in extras.items()}, **options)
        outputs.append(output)
    return np.stack(outputs), states


def layer_of(name, options, I, H, sizes):
    torch.manual_seed(1)
    layer = elman.Recurrent(name, I, H, dtype=torch.float64, backend="reference", **options, **sizes)
    with torch.no_grad():  # at its own scale a step is nearly linear, and mistakes hide
        for parameter in layer.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.8)
    return layer


def start_of(layer, name, B):
    """Random states; those of the sLSTM as it can reach them, with its normaliser above 0."""
    sizes = layer.stack.sizes[0]
    return [
        torch.rand(1, B, sizes[s.size], dtype=torch.float64) + 1.0
        if (name, s.name) == ("slstm", "n")
        else torch.randn(1, B, sizes[s.size], dtype=torch.float64)
        for s in layer.program.states
    ]


@pytest.mark.parametrize("given", [False, True], ids=["zeros", "state"])
@pytest.mark.parametrize(("B", "T", "I", "H"), [(3, 5, 2, 6), (1, 7, 1, 3), (2, 1, 5, 9)])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_computes_its_papers_formula(name, options, B, T, I, H, given):
    layer = layer_of(name, options, I, H, SIZES.get(name, {}))
    x = torch.randn(T, B, I, dtype=torch.float64)
    extras = {e.name: torch.rand(T, B, 1, dtype=torch.float64) * 2 for e in layer.program.extras}
    states = start_of(layer, name, B)
    if not given:
        states = [torch.zeros_like(s) for s in states]
    with torch.no_grad():
        output, final = layer(x, (states[0] if len(states) == 1 else tuple(states)) if given else None, **extras)
    finals = [final] if len(states) == 1 else list(final)
    want, ends = by_the_paper(
        layer, name, options, x.numpy(), [s[0].numpy() for s in states], {k: v.numpy() for k, v in extras.items()}
    )
    np.testing.assert_allclose(output.numpy(), want, rtol=1e-10, atol=1e-12)
    for state, end in zip(finals, ends, strict=True):
        np.testing.assert_allclose(state[0].numpy(), end, rtol=1e-10, atol=1e-12)


def test_every_option_is_tried():
    for name, found in REGISTRY.items():
        tried = {option for options in OPTIONS.get(name, []) for option in options}
        assert tried == set(found.options), name


def test_the_catalogue_is_whole():
    wanted = """rnn jordan lstm peephole lstm_projected coupled_lstm layer_norm_lstm gru gru_cho mgu ugrnn minimalrnn
    ligru indrnn brc nbrc cornn unicornn fastgrnn antisymmetricrnn janet ran atr cfn star multiplicative_lstm lem slstm
    sru qrnn mingru minlstm scrn cfc nas"""
    assert len(wanted.split()) == 35
    assert set(wanted.split()) <= set(REGISTRY)
    assert not set(ALIASES) & set(REGISTRY)
    assert set(ALIASES.values()) <= set(REGISTRY)


@pytest.mark.parametrize("name", REGISTRY)
def test_says_where_it_comes_from_and_when_to_use_it(name):
    found = get(name)
    assert re.search(r"\((.*\b(19|20)\d\d\b.*)\)", found.source), found.source
    assert found.when.endswith("."), found.when
    assert len(found.source) < 160


def test_lem_sees_the_new_z():
    """With the old z the output differs: a library that people use has it so."""
    layer = layer_of("lem", {}, 2, 3, {})
    x = torch.randn(1, 1, 2, dtype=torch.float64)
    y, z = torch.zeros(1, 1, 3, dtype=torch.float64), torch.randn(1, 1, 3, dtype=torch.float64)
    output, (_, new) = layer(x, (y, z))
    w = tables(layer)
    from_x = x[0].numpy() @ w.W("y", "x").T + w.b("y")
    e = papers.sigmoid(x[0].numpy() @ w.W("b", "x").T + w.b("b"))
    by_new = e * np.tanh(new[0].detach().numpy() @ w.W("y", "").T + from_x)
    by_old = e * np.tanh(z[0].numpy() @ w.W("y", "").T + from_x)
    np.testing.assert_allclose(output[0].detach().numpy(), by_new, rtol=1e-12)
    assert np.abs(by_new - by_old).max() > 1e-2


def test_slstm_stays_in_range_where_its_exponentials_do_not():
    for dtype in (torch.float32, torch.float64):
        layer = elman.Recurrent("slstm", 2, 6, heads=2, dtype=dtype, backend="reference")
        x = 1e4 * torch.randn(20, 3, 2, dtype=dtype, generator=torch.Generator().manual_seed(3))
        output, (_, _, n, _) = layer(x)
        gradients = torch.autograd.grad(output.sum(), list(layer.parameters()))
        assert torch.isfinite(output).all()
        assert all(torch.isfinite(g).all() for g in gradients)
        assert n.min() >= 1
        assert output.abs().max() <= 1


def test_minlstm_holds_where_both_gates_close():
    layer = elman.Recurrent("minlstm", 1, 3, backend="reference")
    with torch.no_grad():
        for gate in ("f", "i"):
            layer.rows(gate)["bias"].fill_(-200.0)
            layer.rows(gate)["weight_ih"].zero_()
        layer.rows("n")["weight_ih"].zero_()
        layer.rows("n")["bias"].fill_(2.0)
    assert torch.allclose(layer(torch.zeros(1, 1, 1))[0], torch.ones(3))


# Antisymmetric weights.


def test_an_antisymmetric_weight_is_learned_as_a_whole():
    layer = layer_of("antisymmetricrnn", {"gated": True}, 2, 5, {})
    x = torch.randn(4, 3, 2, dtype=torch.float64)

    def run(*parameters):
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))[0]

    names = [name for name, _ in layer.named_parameters()]
    assert torch.autograd.gradcheck(run, [p.detach().requires_grad_() for p in layer.parameters()])
    (gradient,) = torch.autograd.grad(layer(x)[0].square().sum(), [layer.weight_hh_l0])
    assert torch.allclose(gradient, -gradient.T, rtol=0, atol=1e-12)
    assert gradient.abs().max() > 0


def test_antisymmetric_weights_of_several_projections_stand_by_themselves():
    @cell
    def two(x, h, p):
        return tanh(p.a(x, antisymmetric(h))) + p.b(antisymmetric(h)) + p.c(h)

    program = two.program()
    assert [(p.name, p.antisymmetric) for p in program.parameters if p.columns] == [
        ("weight_ih", False), ("weight_hh", True), ("weight_c", False),
    ]  # fmt: skip
    weights = {p.name: torch.randn(p.shape(program.sizes(2, 3))) for p in program.parameters}
    skew = program.weights(weights)["weight_hh"]
    a, b = weights["weight_hh"].split(3)
    assert torch.equal(skew, torch.cat([a - a.T, b - b.T]))
    assert Program.from_json(program.to_json()) == program
    assert "(W_ah - W_ah^T) h[t-1]" in equations(program)[0]
    assert r"\left(W_{ah} - W_{ah}^\top\right) h_{t-1}" in equations(program, latex=True)[0]
    outcome(elman.backends.BACKENDS["reference"], make_call(program))


def test_antisymmetric_weights_are_square_and_of_values():
    @cell(sizes={"h": "small"})
    def oblong(x, h, p):
        return p.y(tanh(p.a(antisymmetric(h), size="hidden")))

    with pytest.raises(EquationError, match="square"):
        oblong.program()

    @cell
    def both(x, h, p):
        return p.a(antisymmetric(blocks(h, 2)))

    with pytest.raises(EquationError, match="takes a value of the step"):
        both.program()
    text = get("antisymmetricrnn").program().to_json()
    with pytest.raises(EquationError, match="antisymmetric"):
        Program.from_json(text.replace('"columns":"hidden"', '"columns":"input"'))


def test_programs_without_one_keep_their_text():
    assert "antisymmetric" not in get("lstm").program().to_json()
