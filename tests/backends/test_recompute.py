"""Recomputation changes what is kept, and nothing of the result."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import elman
from elman.cells import REGISTRY
from elman.errors import ShapeError


def layer_of(cell: str, recompute: int, dtype: torch.dtype = torch.float64) -> elman.Recurrent:
    torch.manual_seed(0)
    return elman.Recurrent(
        cell, 3, 5, num_layers=2, bidirectional=True, learn_state=True, recompute=recompute, dtype=dtype
    )


def outcome(layer, x, lengths=None, reset=None):
    x = x.detach().requires_grad_()
    output, state = layer(x, lengths=lengths, reset=reset)
    states = list(state) if isinstance(state, tuple) else [state]
    loss = sum(t.square().sum() for t in (output, *states))
    return [output, *states, *torch.autograd.grad(loss, [x, *layer.parameters()])]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("cell", [name for name in REGISTRY if not elman.cells.get(name).inputs])
def test_results_and_gradients_are_those_without(cell, dtype):
    torch.manual_seed(1)
    x, reset = torch.randn(11, 4, 3, dtype=dtype), torch.rand(11, 4) < 0.2
    lengths = [11, 4, 0, 7]
    found = outcome(layer_of(cell, 3, dtype), x, lengths, reset)
    expected = outcome(layer_of(cell, 0, dtype), x, lengths, reset)
    tolerance = 1e-10 if dtype == torch.float64 else 3e-5
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@given(steps=st.integers(1, 9), chunk=st.integers(1, 12))
@settings(max_examples=20, deadline=None)
def test_any_length_of_chunk(steps, chunk):
    x = torch.randn(steps, 2, 3, dtype=torch.float64)
    for a, b in zip(outcome(layer_of("gru", chunk), x), outcome(layer_of("gru", 0), x), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_what_is_kept_is_less():
    def kept(recompute: int) -> int:
        total = 0

        def count(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal total
            total += tensor.numel()
            return tensor

        layer = elman.Recurrent("lstm", 8, 16, recompute=recompute)
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            layer(torch.randn(200, 4, 8))
        return total

    assert kept(20) < kept(0) / 3


@pytest.mark.parametrize("value", [-1, 1.5, True])
def test_a_chunk_that_is_none_is_refused(value):
    with pytest.raises(ShapeError, match="recompute"):
        elman.Recurrent("rnn", 1, 2, recompute=value)
