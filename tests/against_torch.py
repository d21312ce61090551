"""Comparing a stand-in with the module of torch.nn that it stands for: outputs and every gradient."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

import elman
from oracle import error

# In float32 ours may err from float64 by this many times what torch errs, plus the floor.
# A gradient may be the small difference of large terms, which torch may meet by chance.
TIMES_TORCH, FLOOR = 4.0, 1e-5
EXACT = 1e-12


def pair(name: str, *args: Any, **kwargs: Any) -> tuple[nn.Module, nn.Module]:
    """Our module and torch's, with torch's weights moved by state_dict."""
    torch.manual_seed(0)
    theirs = getattr(nn, name)(*args, **kwargs)
    ours = getattr(elman, name)(*args, **kwargs)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def tensors(value: Any) -> list[Tensor]:
    """All tensors of a result."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, PackedSequence):
        return [value.data]
    return [t for v in value for t in tensors(v)]


def with_leaves(value: Any, dtype: torch.dtype, leaves: list[Tensor]) -> Any:
    """A copy of an input in ``dtype`` whose tensors ask for gradients; they are added to ``leaves``."""
    if isinstance(value, Tensor):
        leaf = value.detach().to(dtype).clone(memory_format=torch.preserve_format).requires_grad_()
        leaves.append(leaf)
        return leaf
    if isinstance(value, PackedSequence):
        return PackedSequence(with_leaves(value.data, dtype, leaves), *value[1:])
    if isinstance(value, tuple):
        return tuple(with_leaves(v, dtype, leaves) for v in value)
    return value


def results(module: nn.Module, inputs: Sequence[Any], dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """Results, and gradients of inputs and parameters, of a copy of ``module`` in ``dtype``."""
    module = copy.deepcopy(module).to(dtype)
    leaves: list[Tensor] = []
    given = [with_leaves(value, dtype, leaves) for value in inputs]
    values = tensors(module(*given))
    generator = torch.Generator().manual_seed(3)
    cotangents = [torch.randn(v.shape, generator=generator, dtype=torch.float64).to(dtype) for v in values]
    wanted = {f"input {i}": leaf for i, leaf in enumerate(leaves)} | dict(module.named_parameters())
    found = torch.autograd.grad(values, list(wanted.values()), cotangents, allow_unused=True, materialize_grads=True)
    named = {f"result {i}": v.detach() for i, v in enumerate(values)}
    return named | {f"gradient of {n}": g for n, g in zip(wanted, found, strict=True)}


def assert_same(found: Mapping[str, Tensor], want: Mapping[str, Tensor], allowed: Mapping[str, float]) -> None:
    """Equal names and shapes, and errors within what is allowed."""
    assert list(found) == list(want)
    for name in want:
        assert found[name].shape == want[name].shape, name
        assert error(found[name], want[name]) <= allowed[name], f"{name}: {error(found[name], want[name]):.2e}"


def assert_equals_torch(ours: nn.Module, theirs: nn.Module, *inputs: Any, narrow: bool = True) -> None:
    """All results and gradients equal in float64, and in float32 no worse than a few times torch's own error."""
    truth = results(theirs, inputs)
    assert_same(results(ours, inputs), truth, dict.fromkeys(truth, EXACT))
    if narrow:
        single = results(theirs, inputs, torch.float32)
        allowed = {name: TIMES_TORCH * error(single[name], truth[name]) + FLOOR for name in truth}
        assert_same(results(ours, inputs, torch.float32), truth, allowed)
