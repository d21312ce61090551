"""The table of operations: each row's derivative, its second derivative and its subgradients, against torch."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from elman.equations import ops
from elman.equations.ops import COMPOSITES, TABLE, Operation

POSITIVE = {"log", "sqrt", "rsqrt"}
ABOVE_MINUS_ONE = {"log1p"}
TRUTHS = sorted(name for name, row in TABLE.items() if row.gives_truth)
NUMBERS = [2.0, 3.0, 0.5, -1.0, 1.0]
ROWS = [pytest.param(row, id=name) for name, row in TABLE.items() if not row.gives_truth]


def points(row: Operation, seed: int = 0, n: int = 40) -> list[Tensor]:
    """Random arguments inside the row's domain, numbers left out."""
    generator = torch.Generator().manual_seed(seed)
    count = row.text.count("{}") - len(row.number_arguments)
    found = [torch.randn(n, generator=generator, dtype=torch.float64) * 1.5 for _ in range(count)]
    if row.name in POSITIVE | {"power"}:
        found = [a.abs() + 0.1 for a in found]
    if row.name in ABOVE_MINUS_ONE:
        found = [a.abs() - 0.9 for a in found]
    if row.name == "div":
        found[1] = found[1].sign() * (found[1].abs() + 0.2)
    if row.truth_arguments:
        found = [a > 0 if i in row.truth_arguments else a for i, a in enumerate(found)]
    return found


def numbers_of(row: Operation) -> list[tuple[float, ...]]:
    if row.name == "clamp":
        return [(-0.7, 0.9)]
    return [(p,) for p in NUMBERS] if row.number_arguments else [()]


def by_the_table(row: Operation, g: Tensor, args: list[Tensor], numbers: tuple[float, ...]) -> list[Tensor]:
    """The cotangents of the arguments that are no numbers, zeros where the row says none flows."""
    found = row.derivative(g, row.torch(*args, *numbers), *args, *numbers)
    padded = [*found, *[None] * len(args)]
    return [torch.zeros_like(g) if f is None else f * torch.ones_like(g) for f in padded[: len(args)]]


def by_autograd(row: Operation, g: Tensor, args: list[Tensor], numbers: tuple[float, ...]) -> list[Tensor]:
    leaves = [a.detach().requires_grad_(a.is_floating_point()) for a in args]
    value = row.torch(*leaves, *numbers)
    wanted = [a for a in leaves if a.requires_grad]
    if not value.requires_grad:
        return [torch.zeros_like(g) for _ in leaves]
    found = iter(torch.autograd.grad(value, wanted, g, allow_unused=True, materialize_grads=True))
    return [next(found) if a.requires_grad else torch.zeros_like(g) for a in leaves]


@pytest.mark.parametrize("row", ROWS)
def test_derivative_equals_autograd(row):
    for numbers in numbers_of(row):
        args = points(row)
        g = torch.linspace(-2, 2, len(args[0]), dtype=torch.float64)
        for found, want in zip(by_the_table(row, g, args, numbers), by_autograd(row, g, args, numbers), strict=True):
            torch.testing.assert_close(found, want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("row", ROWS)
def test_second_derivative_equals_autograd(row):
    for numbers in numbers_of(row):
        args = [a.requires_grad_(a.is_floating_point()) for a in points(row, seed=1)]
        g = torch.linspace(-2, 2, len(args[0]), dtype=torch.float64).requires_grad_()
        wanted = [g, *(a for a in args if a.requires_grad)]
        firsts = [by_the_table(row, g, args, numbers)]
        value = row.torch(*args, *numbers)
        if value.requires_grad:
            own = torch.autograd.grad(
                value, wanted[1:], g, create_graph=True, allow_unused=True, materialize_grads=True
            )
            firsts.append([first for first in own if first.requires_grad])
        else:
            firsts.append([])
        seconds = []
        for first in firsts:
            whole = sum(
                (f * torch.cos(f.detach() + i)).sum() for i, f in enumerate(f for f in first if f.requires_grad)
            )
            seconds.append(
                [torch.zeros_like(w) for w in wanted]
                if isinstance(whole, int)
                else torch.autograd.grad(whole, wanted, allow_unused=True, materialize_grads=True)
            )
        for found, want in zip(*seconds, strict=True):
            torch.testing.assert_close(found, want, rtol=1e-8, atol=1e-10)


KINKS = {
    "relu": [(0.0,), (-0.0,)],
    "abs": [(0.0,), (-0.0,)],
    "sign": [(0.0,)],
    "maximum": [(1.5, 1.5), (0.0, -0.0), (-2.0, -2.0)],
    "minimum": [(1.5, 1.5), (0.0, -0.0), (-2.0, -2.0)],
    "clamp": [(-0.7,), (0.9,)],
    "power": [(0.0,)],
}


@pytest.mark.parametrize("name", KINKS)
def test_subgradients_are_torch_s_own(name):
    row, g = TABLE[name], torch.tensor([3.0], dtype=torch.float64)
    for numbers in numbers_of(row) if name != "power" else [(1.0,), (2.0,), (3.0,), (0.0,)]:
        for point in KINKS[name]:
            args = [torch.tensor([value], dtype=torch.float64) for value in point]
            assert by_the_table(row, g, args, numbers) == by_autograd(row, g, args, numbers), (point, numbers)


def test_stated_subgradients():
    g = torch.ones(1)
    assert by_the_table(TABLE["maximum"], g, [torch.ones(1), torch.ones(1)], ()) == [0.5, 0.5]
    assert by_the_table(TABLE["relu"], g, [torch.zeros(1)], ()) == [0.0]
    assert by_the_table(TABLE["abs"], g, [torch.zeros(1)], ()) == [0.0]
    assert by_the_table(TABLE["clamp"], g, [torch.ones(1)], (-1.0, 1.0)) == [1.0]


@pytest.mark.parametrize("name", TRUTHS)
def test_comparisons_let_no_gradient_through(name):
    row = TABLE[name]
    args = [torch.ones(2)] * row.text.count("{}")
    assert all(g is None for g in row.derivative(torch.ones(2), None, *args))


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in TABLE.items()])
def test_rows_are_whole(row):
    count = row.text.count("{}")
    assert count == row.latex.replace("{{", "").replace("}}", "").count("{}")
    assert all(0 <= i < count for i in (*row.truth_arguments, *row.number_arguments))
    assert len(row.argument_binds) <= count
    for alias in row.also:
        assert ops.find(alias) is row


def test_aliases_mean_in_torch_what_they_mean_here():
    """torch.rsub(a, b) is b - a, say: an alias must not turn its arguments round."""
    a, b = torch.tensor([3.0, 0.5]), torch.tensor([2.0, 4.0])
    for row in TABLE.values():
        for alias in (row.name, *row.also):
            theirs = getattr(torch, alias, None)
            if theirs is None or row.number_arguments or row.truth_arguments or alias.endswith("_"):
                continue
            args = (a, b)[: row.text.count("{}")]
            torch.testing.assert_close(theirs(*args), row.torch(*args), msg=alias, check_dtype=False)


OWN = {
    "identity": lambda a: a,
    "square": torch.square,
    "reciprocal": torch.reciprocal,
    "silu": functional.silu,
    "gelu": functional.gelu,
    "elu": functional.elu,
    "leaky_relu": functional.leaky_relu,
    "softsign": functional.softsign,
    # torch's own hardsigmoid has a derivative of 1/6 rounded to float32.
    "hardsigmoid": lambda a: functional.relu6(a + 3) / 6,
    "logsigmoid": functional.logsigmoid,
    "logaddexp": torch.logaddexp,
}


@pytest.mark.parametrize("name", COMPOSITES)
def test_composites_equal_torch_s(name):
    count = 2 if name == "logaddexp" else 1
    generator = torch.Generator().manual_seed(2)
    sides = [
        [torch.randn(60, generator=generator, dtype=torch.float64).mul_(3).requires_grad_() for _ in range(count)]
    ] * 2
    found, want = COMPOSITES[name](*sides[0]), OWN[name](*sides[1])
    torch.testing.assert_close(found, want, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        torch.autograd.grad(found.sum(), sides[0]), torch.autograd.grad(want.sum(), sides[1]), rtol=1e-9, atol=1e-12
    )


def test_tails_of_composites_stay_finite():
    far = torch.tensor([-800.0, -40.0, 40.0, 800.0], dtype=torch.float64, requires_grad=True)
    for name, function in COMPOSITES.items():
        value = function(far, -far) if name == "logaddexp" else function(far)
        (gradient,) = torch.autograd.grad(value.sum(), far)
        assert torch.isfinite(value).all(), name
        assert torch.isfinite(gradient).all(), name


def test_rows_take_plain_numbers_too():
    assert ops.tanh(0.5) == pytest.approx(math.tanh(0.5), abs=1e-15)
    assert ops.clamp(2.0, 0.0, 1.0) == 1.0
    assert ops.maximum(torch.tensor([1.0, -1.0]), 0.0).tolist() == [1.0, 0.0]
    assert ops.where(torch.tensor([True, False]), 1.0, torch.tensor([5.0, 6.0])).tolist() == [1.0, 6.0]


def test_softplus_leaves_nothing_out():
    """Torch's own, at its default threshold, is 20 + 0 at 20 and a little; in float64 that is 9 digits short."""
    for at in (19.0, 21.0, 25.0, 35.0, 41.0, 700.0):
        assert TABLE["softplus"](torch.tensor(at, dtype=torch.float64)).item() == pytest.approx(
            at + math.log1p(math.exp(-at)), rel=3e-16
        )
