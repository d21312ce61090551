"""Memory that kernels use again: whose it is, and when it comes back."""

from __future__ import annotations

import copy

import pytest
import torch

import elman
from elman.backends.cpu.call import workspace

LARGE = (64, 64, 128)  # 2 MiB of float32
LIKE = torch.zeros(1)


@pytest.fixture(autouse=True)
def nothing_free(monkeypatch):
    monkeypatch.setattr(workspace, "_FREE", {})


def free() -> int:
    return sum(size * len(buffers) for size, buffers in workspace._FREE.items())


def test_memory_comes_back_with_the_last_view():
    tensor = workspace.lent(LIKE, *LARGE)
    address, part = tensor.data_ptr(), tensor[3:5].fill_(7)
    del tensor
    assert free() == 0
    assert torch.equal(part, torch.full((2, 64, 128), 7.0))
    del part
    assert free() > 0
    again = workspace.lent(LIKE, *LARGE)
    assert again.data_ptr() == address
    assert workspace.lent(LIKE, *LARGE).data_ptr() != address  # this one is in use


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_lent_tensor_is_one_like_others(dtype):
    tensor = workspace.lent(LIKE.to(dtype), *LARGE)
    assert (tensor.shape, tensor.dtype, tensor.is_contiguous(), tensor._is_view()) == (LARGE, dtype, True, False)
    assert tensor.data_ptr() % 64 == 0
    tensor.normal_()
    assert torch.equal(copy.deepcopy(tensor), tensor.clone())


def test_what_is_kept_is_bounded(monkeypatch):
    monkeypatch.setattr(workspace, "_MOST", 1 << 20)
    sizes = [1 << 19, (1 << 19) + (1 << 17), 1 << 18]
    for size in sizes:
        workspace.give_back(workspace.take(size))
        assert free() <= 1 << 20
    assert list(workspace._FREE) == sizes[1:], "the size used longest ago goes first"
    workspace.give_back(workspace.take(1 << 21))
    assert (1 << 21) not in workspace._FREE


def test_results_of_one_call_outlive_the_next():
    layer, x = elman.Recurrent("lstm", 16, 64), torch.randn(100, 64, 16)
    expected = torch.autograd.grad(layer(x)[0].sum(), layer.weight_ih_l0)[0]
    first, second = layer(x)[0], layer(x + 1)[0]
    kept = first.detach().clone()
    second.sum().backward()
    layer(x - 1)[0].sum().backward()
    assert torch.equal(first, kept)
    assert torch.equal(torch.autograd.grad(first.sum(), layer.weight_ih_l0)[0], expected)


def test_a_large_output_may_be_changed_in_place():
    output = elman.Recurrent("lstm", 16, 64)(torch.randn(100, 64, 16))[0]
    expected = output.detach() * 2
    assert torch.equal(output.mul_(2.0).detach(), expected)
