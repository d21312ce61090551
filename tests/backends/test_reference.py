"""The reference backend against loops written out by hand: the truth that all other backends are held to."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from cells_outside import OUTSIDE, readout
from elman.backends import BACKENDS, Call, Result, choose, report
from elman.backends.reference import Reference
from elman.cells import get
from elman.equations import Cell
from elman.errors import BackendError
from oracle import (
    CELLS,
    assert_close,
    assert_matches_reference,
    cast,
    error,
    leaves,
    make_call,
    off_by_a_rounding,
    outcome,
)

# total, units, blocks and antisymmetric work on symbols alone
USES_TRACING = {"layer_norm_lstm", "slstm", "antisymmetricrnn", "normed_gates", "joint_norm", "metered"}
OTHERS = [pytest.param(c, id=c.name) for c in OUTSIDE]
EAGER = [p for p in CELLS + OTHERS if p.values[0].name not in USES_TRACING]
FORMS = [
    {},
    {"reverse": True},
    {"lengths": [7, 0, 4]},
    {"lengths": [2, 5, 1], "reverse": True},
    {"reset": True},
    {"reset": True, "initial": True, "lengths": [7, 2, 6]},
    {"reset": True, "reverse": True, "lengths": [7, 3, 5]},
]


class Eager:
    """The ``p`` of a cell that is run as it stands, on tensors: found by who the operand is."""

    def __init__(self, call: Call, x: Tensor, states: tuple[Tensor, ...]) -> None:
        self.call = call
        self.letters = {id(x): "i"} | {id(s): n.name for n, s in zip(call.program.states, states, strict=True)}

    def __getattr__(self, name: str):
        return lambda *operands, size=None, bias=True: self.project(name, operands)

    def rows(self, parameter: str, name: str) -> Tensor | None:
        found = [p for p in self.call.program.parameters if p.name == parameter and name in dict(p.rows)]
        if not found:
            return None
        start, stop = found[0].span(name, self.call.sizes)
        return self.call.parameters[parameter][start:stop]

    def project(self, name: str, operands: tuple[Tensor, ...]) -> Tensor:
        if not operands:
            return self.rows(f"vector_{name}", name)
        letters = [self.letters.get(id(operand)) for operand in operands]
        computed = iter([f"weight_{name}", f"weight_{name}_2"])
        weights = [self.rows(f"weight_{letter}h" if letter else next(computed), name) for letter in letters]
        if "i" in letters:
            weights[letters.index("i")] = self.rows("weight_ih", name)
        value = sum(functional.linear(operand, weight) for operand, weight in zip(operands, weights, strict=True))
        names = {"bias", f"offset_{name}", "bias_ih", *(f"bias_{letter}h" for letter in letters if letter)}
        biases = [self.rows(bias, name) for bias in sorted(names)]
        return sum((b for b in biases if b is not None), value)


class PlainLoop:
    """Row by row and step by step, the cell's own function on tensors: no program, no mask."""

    name = "plain loop"

    def __init__(self, cell: Cell) -> None:
        self.cell = cell

    def refuses(self, call: Call) -> str | None:
        return None

    def run(self, call: Call) -> Result:
        rows = [self.row(call, b) for b in range(call.x.shape[1])]
        output = torch.stack([r[0] for r in rows], 1)
        return Result(output, tuple(torch.cat(states) for states in zip(*(r[1] for r in rows), strict=True)))

    def row(self, call: Call, b: int) -> tuple[Tensor, tuple[Tensor, ...]]:
        steps = call.x.shape[0]
        length = steps if call.valid is None else int(call.valid[:, b].sum())
        state = tuple(s[b : b + 1] for s in call.states)
        initial = state if call.initial is None else tuple(s[b : b + 1] for s in call.initial)
        outputs: dict[int, Tensor] = {}
        for t in reversed(range(length)) if call.reverse else range(length):
            if call.reset is not None and call.reset[t, b]:
                state = initial
            extras = {n: e[t, b : b + 1] if e.dim() == 3 else e[b : b + 1] for n, e in call.extras.items()}
            x = call.x[t, b : b + 1]
            result = self.cell(x, *state, Eager(call, x, state), **extras, **dict(call.program.options))
            values = result if isinstance(result, tuple) else (result,)
            outputs[t], state = values[0], values[-len(state) :]
        nothing = call.x.new_zeros(1, call.sizes[call.program.output_size])
        return torch.cat([outputs.get(t, nothing) for t in range(steps)]), state


def form_of(form: dict) -> dict:
    generator = torch.Generator().manual_seed(4)
    return form | ({"reset": torch.rand(7, 3, generator=generator) < 0.3} if form.get("reset") else {})


@pytest.mark.parametrize("form", FORMS, ids=lambda f: "-".join(f) or "plain")
@pytest.mark.parametrize("cell", EAGER)
def test_equals_the_function_run_as_it_stands(cell, form):
    assert_matches_reference(cell, PlainLoop(cell), **form_of(form))


@pytest.mark.parametrize("cell", EAGER)
@pytest.mark.parametrize(("B", "T", "I", "H"), [(1, 1, 1, 1), (5, 3, 17, 1), (1, 17, 1, 5), (2, 2, 3, 17)])
def test_sizes(cell, B, T, I, H):
    assert_matches_reference(cell, PlainLoop(cell), B=B, T=T, I=I, H=H)


@pytest.mark.parametrize("cell", [get("lstm"), get("gru_cho")])
def test_float32(cell):
    assert_matches_reference(cell, PlainLoop(cell), dtype=torch.float32, T=20)


@pytest.mark.parametrize("gap", [(), ("gap",)], ids=["per step", "per row"])
def test_further_inputs_per_step_and_per_row(gap):
    assert_matches_reference(get("cfc"), PlainLoop(get("cfc")), per_row=gap, lengths=[7, 2, 0])


def test_the_comparison_can_fail():
    class Off:
        name = "off"

        def refuses(self, call: Call) -> None:
            return None

        def run(self, call: Call) -> Result:
            result = Reference().run(call)
            return replace(result, output=result.output + 1e-9 * call.x.sum())

    with pytest.raises(AssertionError, match="output"):
        assert_matches_reference(get("gru"), Off())


@pytest.mark.parametrize("cell", CELLS + OTHERS)
def test_padding_reaches_nothing(cell):
    lengths = [7, 0, 4]
    poisoned = outcome(Reference(), make_call(cell, lengths=lengths))
    clean = make_call(cell, lengths=lengths)
    with torch.no_grad():
        for value in (clean.x, *(e for e in clean.extras.values() if e.dim() == 3)):
            value.nan_to_num_(0.0)
    for name, value in outcome(Reference(), clean).items():
        assert torch.isfinite(value).all(), name
        assert torch.equal(value, poisoned[name]), name
    assert poisoned["gradient of x"][4:, 2].abs().max() == 0


@pytest.mark.parametrize("cell", CELLS + OTHERS)
@pytest.mark.parametrize("reverse", [False, True])
def test_a_row_agrees_with_the_sequence_alone(cell, reverse):
    lengths = [7, 3, 5]
    call = make_call(cell, lengths=lengths, reverse=reverse)
    together = outcome(Reference(), call)
    sums = {n: torch.zeros_like(p) for n, p in call.parameters.items()}
    cotangents = slices(call, together)
    for b, length in enumerate(lengths):
        alone = replace(
            call,
            valid=None,
            x=own(call.x[:length, b : b + 1]),
            states=tuple(own(s[b : b + 1]) for s in call.states),
            parameters={n: own(p) for n, p in call.parameters.items()},
            extras={n: own(e[:length, b : b + 1]) for n, e in call.extras.items()},
        )
        result = Reference().run(alone)
        values = [result.output, *result.states]
        given = [cotangents[0][:length, b : b + 1], *(c[b : b + 1] for c in cotangents[1:])]
        wanted = leaves(alone)
        found = torch.autograd.grad(values, list(wanted.values()), given, materialize_grads=True, allow_unused=True)
        gradients = dict(zip(wanted, found, strict=True))
        assert error(result.output, together["output"][:length, b : b + 1]) < 1e-12
        assert error(gradients["x"], together["gradient of x"][:length, b : b + 1]) < 1e-12
        for state, value in zip(call.program.states, result.states, strict=True):
            assert error(value, together[f"final {state.name}"][b : b + 1]) < 1e-12
            initial = together[f"gradient of initial {state.name}"][b : b + 1]
            assert error(gradients[f"initial {state.name}"], initial) < 1e-12
        for name in sums:
            sums[name] += gradients[name]
    for name, value in sums.items():
        assert error(value, together[f"gradient of {name}"]) < 1e-12


def own(value: Tensor) -> Tensor:
    return value.detach().clone().requires_grad_()


def slices(call: Call, found: dict[str, Tensor]) -> list[Tensor]:
    """The cotangents that ``outcome`` drew."""
    generator = torch.Generator().manual_seed(1)
    names = ["output", *(f"final {s.name}" for s in call.program.states)]
    return [torch.randn(found[n].shape, generator=generator, dtype=torch.float64) for n in names]


@pytest.mark.parametrize("cell", [get("lstm"), get("gru_cho"), get("slstm"), readout])
def test_reset_equals_splitting(cell):
    reset = torch.zeros(7, 3, dtype=torch.bool)
    reset[3] = True
    call = make_call(cell, reset=reset)
    whole = Reference().run(call)
    parts = [
        Reference().run(replace(call, reset=None, x=call.x[part], extras={n: e[part] for n, e in call.extras.items()}))
        for part in (slice(0, 3), slice(3, 7))
    ]
    assert error(torch.cat([part.output for part in parts]), whole.output) < 1e-13
    for a, b in zip(whole.states, parts[1].states, strict=True):
        assert error(a, b) < 1e-13


def test_reset_in_the_padding_means_nothing():
    reset = torch.zeros(7, 3, dtype=torch.bool)
    reset[5:] = True
    for reverse in (False, True):
        call = make_call(get("gru"), lengths=[5, 2, 4], reset=reset, reverse=reverse)
        plain = outcome(Reference(), replace(call, reset=None))
        for name, value in outcome(Reference(), call).items():
            assert torch.equal(value, plain[name]), name


@pytest.mark.parametrize("cell", CELLS + OTHERS)
def test_no_steps_and_no_rows(cell):
    nothing = make_call(cell, T=0)
    result = Reference().run(nothing)
    assert result.output.shape[:2] == (0, 3)
    assert all(torch.equal(a, b) for a, b in zip(result.states, nothing.states, strict=True))
    empty = make_call(cell, B=0)
    found = outcome(Reference(), empty)
    assert found["output"].shape[:2] == (7, 0)
    assert all(found[f"gradient of {n}"].abs().sum() == 0 for n in empty.parameters)


@pytest.mark.parametrize("cell", CELLS + OTHERS)
def test_two_runs_give_equal_bits(cell):
    a, b = (outcome(Reference(), make_call(cell, lengths=[7, 4, 1], dtype=torch.float32)) for _ in range(2))
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("cell", CELLS + OTHERS)
def test_records_any_value_of_every_step(cell):
    program = cell.program()
    wanted = tuple(i for i, n in enumerate(program.nodes) if n.op != "constant")
    for form in ({}, {"lengths": [7, 0, 4]}, {"reverse": True}):
        call = make_call(cell, **form)
        result = Reference().run(replace(call, record=wanted))
        for i in wanted:
            assert result.recorded[i].shape == (7, 3, call.sizes[program.nodes[i].size])
        if program.output in wanted:
            assert torch.equal(result.recorded[program.output], result.output)


def test_recorded_gates_are_the_equations_own():
    call = make_call(get("lstm"))
    names = {name: i for i, name in call.program.names}
    result = Reference().run(replace(call, record=tuple(names.values())))
    value = {name: result.recorded[i] for name, i in names.items()}
    torch.testing.assert_close(value["o"] * torch.tanh(value["c"]), result.output, rtol=1e-13, atol=1e-14)
    assert torch.equal(value["c"][-1], result.states[1])


@pytest.mark.parametrize("cell", [get("lstm"), get("gru"), get("gru_cho"), get("peephole"), get("cfc"), get("slstm")])
def test_first_and_second_derivatives(cell):
    call = make_call(cell, B=2, T=3, I=1, H=2, lengths=[3, 2])
    named = leaves(call)
    with torch.no_grad():
        for value in (call.x, *call.extras.values()):
            value.nan_to_num_(0.5)

    def run(*values: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(named, values, strict=True))
        again = replace(
            call,
            x=given["x"],
            states=tuple(given[f"initial {s.name}"] for s in call.program.states),
            extras={n: given[n] for n in call.extras},
            parameters={n: given[n] for n in call.parameters},
        )
        result = Reference().run(again)
        return (result.output, *result.states)

    assert torch.autograd.gradcheck(run, tuple(named.values()), fast_mode=True)
    assert torch.autograd.gradgradcheck(run, tuple(named.values()), fast_mode=True)


def test_hoisting_runs_x_s_products_once():
    from torch.utils.flop_counter import FlopCounterMode

    call = make_call(get("lstm"), T=7)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        Reference().run(call)
    B, T, I, H = 3, 7, 2, 5
    assert counter.get_total_flops() == 2 * T * B * 4 * H * (I + H)


def test_choice():
    call = make_call(get("lstm"))
    assert choose(call, "reference").name == "reference"
    assert report(call)["reference"] == "takes it"
    assert set(report(call)) == set(BACKENDS)
    with pytest.raises(BackendError, match="did you mean 'reference'"):
        choose(call, "referense")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_dtypes(dtype):
    call = make_call(get("lstm"), dtype=dtype)
    found, truth = outcome(Reference(), call), outcome(Reference(), cast(call, torch.float64))
    assert_close(found, [outcome(Reference(), off_by_a_rounding(call, dtype, 0))], truth, dtype)
