"""The adjoint of one step, evaluated node by node, against autograd through the same step."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from cells_outside import OUTSIDE
from elman.backends import Call
from elman.backends.reference import Interpreter, Reference
from elman.cells import get
from elman.equations import Program, adjoint, maximum, norm, relu, sigmoid, tanh, total, units
from elman.equations.adjoint import Adjoint, Contribution
from elman.equations.cell import cell
from oracle import CELLS, error, make_call, outcome

OTHERS = [pytest.param(c, id=c.name) for c in OUTSIDE]


def cotangents(call: Call, seed: int = 1) -> dict[str, Tensor]:
    """The random cotangents that ``outcome`` uses: of the output (named "") and of each new state."""
    generator = torch.Generator().manual_seed(seed)
    program, batch = call.program, call.x.shape[1]
    shapes = {"": (1, batch, call.sizes[program.output_size])}
    shapes |= {s.name: (batch, call.sizes[s.size]) for s in program.states}
    found = {n: torch.randn(shape, generator=generator, dtype=torch.float64) for n, shape in shapes.items()}
    return found | {"": found[""].squeeze(0)}


def by_the_adjoint(backward: Adjoint, call: Call) -> dict[str, Tensor]:
    """Every gradient of a call of one step, from the adjoint's nodes alone."""
    program, detached = backward.program, {n: p.detach() for n, p in call.parameters.items()}
    interpreter = Interpreter(backward.nodes, program.parameters, detached, call.sizes, call.x)
    arriving, values = cotangents(call), {}
    given = {"input": {"x": call.x[0]}, "extra": {n: e[0] if e.dim() == 3 else e for n, e in call.extras.items()}}
    given["state"] = {s.name: v for s, v in zip(program.states, call.states, strict=True)}
    given["cotangent"] = arriving
    for i, node in enumerate(backward.nodes):
        if node.op in given:
            values[i] = given[node.op][node.name].detach()
    interpreter.run(interpreter.plan(i for i in range(len(backward.nodes)) if i not in values), values)

    for i, node in enumerate(backward.nodes):
        assert values[i].dim() == 0 or values[i].shape[-1] == call.sizes[node.size], (i, node)

    def leaving(index: int | None, like: Tensor) -> Tensor:
        return torch.zeros_like(like) if index is None else values[index].reshape(like.shape)

    found = {"gradient of x": leaving(backward.input, call.x)}
    for state, index, old in zip(program.states, backward.states, call.states, strict=True):
        found[f"gradient of initial {state.name}"] = leaving(index, old)
    for extra, index in zip(program.extras, backward.extras, strict=True):
        found[f"gradient of {extra.name}"] = leaving(index, call.extras[extra.name])
    gradients = {n: torch.zeros_like(p) for n, p in detached.items()}
    for use in backward.contributions:
        start, stop = program.parameter(use.parameter).span(use.rows, call.sizes)
        assert call.sizes[backward.nodes[use.cotangent].size] == stop - start, use
        gradients[use.parameter][start:stop] += contributed(use, values, call.x.shape[1])
    return found | {f"gradient of {n}": g for n, g in gradients.items()}


def contributed(use: Contribution, values: dict[int, Tensor], batch: int) -> Tensor:
    g = values[use.cotangent]
    if use.operand is None:
        return g.sum(0)
    operand = values[use.operand].expand(batch, -1)
    g, operand = g.unflatten(-1, (use.blocks, -1)), operand.unflatten(-1, (use.blocks, -1))
    return torch.einsum("bnr,bnc->nrc", g, operand).flatten(0, 1)


def assert_equals_autograd(program: Program, backward: Adjoint | None = None, H: int = 5, seed: int = 0) -> None:
    call = make_call(program, B=3, T=1, I=2, H=H, seed=seed)
    found = by_the_adjoint(backward or adjoint(program), call)
    want = {n: v for n, v in outcome(Reference(), call).items() if n.startswith("gradient")}
    assert found.keys() == want.keys()
    for name in want:
        assert error(found[name], want[name]) < 1e-9, name


@pytest.mark.parametrize("cell", CELLS + OTHERS)
@pytest.mark.parametrize("bias", [True, False])
def test_every_gradient_of_every_cell(cell, bias):
    assert_equals_autograd(cell.program(bias=bias))


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid", "identity"])
def test_options(activation):
    from elman.cells import get

    assert_equals_autograd(get("rnn").program(nonlinearity=activation))
    assert_equals_autograd(get("jordan").program(nonlinearity=activation, output="tanh"))


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_heads(heads):
    assert_equals_autograd(get("slstm").program(heads=heads), H=8)


@cell
def two_counts(x, h, p):
    """Values whose sizes are one only in the end: two counts of units that turn out the same node."""
    a, b = p.a(x), p.b(h)
    return tanh(a / units(a) + b / units(b) * total(b))


@cell
def ties(x, h, p):
    """maximum of equals, an unused old state, a learned vector as a product's operand."""
    return maximum(p.a(x), p.b(p.v(size="own"))) + relu(maximum(p.c(h), 0.0)) ** 2


@cell
def one_value_everywhere(x, h, c, p):
    """One value is the output and both states; a scalar, a repeated argument, a norm of one unit."""
    s = p.s(x, h, size=1)
    new = h * s + total(c, c) * p.v() + norm(c) * sigmoid(s)
    return new, new


@cell
def only_summed(x, h, c, p):
    """Products, a state and a learned vector of which nothing but a sum is used."""
    return tanh(p.b(x) + total(p.a(h), c) * total(p.v(size="own"))), p.k(x)


UNUSUAL = [two_counts, ties, one_value_everywhere, only_summed]


@pytest.mark.parametrize("program", [c.program() for c in UNUSUAL], ids=lambda p: p.name)
@pytest.mark.parametrize("H", [1, 5])
def test_unusual_shapes(program, H):
    assert_equals_autograd(program, H=H)


def test_the_program_s_own_nodes_come_first():
    for c in [*OUTSIDE, two_counts]:
        program = c.program()
        own = adjoint(program).nodes[: len(program.nodes)]
        assert own == program.nodes, c.name


def test_as_many_product_levels_as_forward():
    for c in [*OUTSIDE, *(p.values[0] for p in CELLS)]:
        program = c.program()
        transposed: list[int] = []
        nodes = adjoint(program).nodes
        for node in nodes:
            above = max((transposed[a] for a in node.args), default=0)
            transposed.append(above + node.transposed)
        inner = max(program.levels)
        assert max(transposed) in (inner, inner + 1), c.name  # one more where x alone goes through two products


def dropped(backward: Adjoint, k: int) -> Adjoint:
    """The adjoint without the k-th of its own additions: a term lost."""
    own = [i for i, n in enumerate(backward.nodes) if n.op == "add" and i >= len(backward.program.nodes)]
    nodes = list(backward.nodes)
    nodes[own[k]] = replace(nodes[own[k]], op="maximum")
    return replace(backward, nodes=tuple(nodes))


@pytest.mark.parametrize("name", ["lstm", "gru", "gru_cho"])
def test_a_lost_term_is_seen(name):
    from elman.cells import get

    program = get(name).program()
    whole = adjoint(program)
    additions = sum(n.op == "add" for n in whole.nodes[len(program.nodes) :])
    for k in range(additions):
        with pytest.raises(AssertionError):
            assert_equals_autograd(program, dropped(whole, k))
    for k in range(len(whole.contributions)):
        fewer = replace(whole, contributions=whole.contributions[:k] + whole.contributions[k + 1 :])
        with pytest.raises(AssertionError):
            assert_equals_autograd(program, fewer)
