"""What stands in the padding reaches nothing, and a row in a batch is the sequence alone, on either backend."""

import math

import pytest
import torch
from torch import Tensor

import elman
from elman.cells import REGISTRY
from oracle import further_inputs

LENGTHS = [9, 4, 1, 0, 6]
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6}
# A norm divides by the spread of its five units, and every rounding before it with it.
AMPLIFIES = {"layer_norm_lstm": 8}


def layer_of(cell: str, dtype: torch.dtype) -> elman.Recurrent:
    torch.manual_seed(0)
    return elman.Recurrent(cell, 3, 5, num_layers=2, bidirectional=True, dtype=dtype)


def outcome(layer: elman.Recurrent, x: Tensor, lengths: list[int] | None) -> tuple[list[Tensor], list[Tensor]]:
    """(output, final states and the gradient of x), and the gradients of the parameters."""
    x = x.detach().requires_grad_()
    output, state = layer(x, lengths=lengths, **further_inputs(layer, x))
    states = list(state) if isinstance(state, tuple) else [state]
    loss = sum(t.square().sum() for t in (output, *states))
    gradients = torch.autograd.grad(loss, [x, *layer.parameters()])
    return [output, *states, gradients[0]], list(gradients[1:])


def padded(dtype: torch.dtype, filling: float) -> Tensor:
    torch.manual_seed(1)
    x = torch.randn(9, len(LENGTHS), 3, dtype=dtype)
    for row, length in enumerate(LENGTHS):
        x[length:, row] = filling
    return x


def off_by(a: Tensor, b: Tensor) -> float:
    return float((a - b).detach().abs().max() / b.detach().abs().max().clamp_min(1)) if b.numel() else 0.0


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("cell", REGISTRY)
def test_no_bit_depends_on_what_the_padding_holds(cell, dtype):
    layer = layer_of(cell, dtype)
    zeros, weights = outcome(layer, padded(dtype, 0.0), LENGTHS)
    for filling in (math.nan, math.inf, 1e30):
        found, gradients = outcome(layer, padded(dtype, filling), LENGTHS)
        assert all(torch.equal(a, b) for a, b in zip(found + gradients, zeros + weights, strict=True))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("cell", REGISTRY)
def test_no_bit_of_a_row_depends_on_the_other_rows(cell, dtype):
    layer = layer_of(cell, dtype)
    x = padded(dtype, 0.0)
    others = x * 3 + 1
    others[:, 1] = x[:, 1]
    for a, b in zip(outcome(layer, x, LENGTHS)[0], outcome(layer, others, LENGTHS)[0], strict=True):
        assert torch.equal(a[:, 1], b[:, 1])


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("cell", REGISTRY)
def test_a_row_is_the_sequence_alone_and_weight_gradients_are_the_sum(cell, dtype):
    layer, tolerance = layer_of(cell, dtype), TOLERANCE[dtype] * AMPLIFIES.get(cell, 1)
    x = padded(dtype, math.nan)
    (output, *states, input_gradient), weights = outcome(layer, x, LENGTHS)
    total = [torch.zeros_like(w) for w in weights]
    for row, length in enumerate(LENGTHS):
        (alone, *final, gradient), parts = outcome(layer, x[:length, row : row + 1], None)
        assert off_by(output[:length, row], alone[:, 0]) < tolerance
        assert off_by(input_gradient[:length, row], gradient[:, 0]) < tolerance
        assert torch.equal(output[length:, row], torch.zeros_like(output[length:, row]))
        assert torch.equal(input_gradient[length:, row], torch.zeros_like(input_gradient[length:, row]))
        assert all(off_by(s[:, row], f[:, 0]) < tolerance for s, f in zip(states, final, strict=True))
        total = [t + p for t, p in zip(total, parts, strict=True)]
    assert all(off_by(w, t) < tolerance for w, t in zip(weights, total, strict=True))
