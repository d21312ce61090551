"""The parts of a training that are not the model: optimizer and randomness, as named tensors and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

Tensors = dict[str, Tensor]


def under(prefix: str, tensors: Mapping[str, Tensor]) -> Tensors:
    """Put every name under ``prefix``.

    >>> under("best", {"w": torch.tensor(1)})
    {'best.w': tensor(1)}
    """
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def below(prefix: str, tensors: Mapping[str, Tensor]) -> Tensors:
    """Take what :func:`under` put under ``prefix``.

    >>> below("best", {"best.w": torch.tensor(1), "model.w": torch.tensor(2)})
    {'w': tensor(1)}
    """
    start = prefix + "."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the weights and buffers of ``model``."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Tensors:
    """Return the state of ``optimizer``: for AdamW the moments and the count of steps, by parameter."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{name}": value for index, kept in state.items() for name, value in kept.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Undo :func:`optimizer_tensors`; rates and betas are left, being set anew at every step."""
    state: dict[int, Tensors] = {}
    for name, value in tensors.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value.clone()
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def random_tensors(generator: torch.Generator, device: torch.device) -> Tensors:
    """Return the states of ``generator`` and of torch's own generators for the CPU and ``device``."""
    states = {"shuffle": generator.get_state(), "cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore_random(tensors: Mapping[str, Tensor], generator: torch.Generator, device: torch.device) -> None:
    """Undo :func:`random_tensors`."""
    generator.set_state(tensors["shuffle"])
    torch.set_rng_state(tensors["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(tensors["cuda"], device)


@contextmanager
def own_randomness(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's generators for the CPU and ``device`` inside; outside they are as if nothing had been.

    >>> before = torch.get_rng_state()
    >>> with own_randomness(0, torch.device("cpu")):
    ...     _ = torch.rand(3)
    >>> torch.equal(before, torch.get_rng_state())
    True
    """
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        # Not torch.manual_seed, which seeds every device there is.
        torch.default_generator.manual_seed(seed)
        for one in cuda:
            with torch.cuda.device(one):
                torch.cuda.manual_seed(seed)
        yield


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Word how the terms of two trainings differ; empty if they do not.

    >>> differences({"steps": 3, "recipe": {"lr": 0.1}}, {"steps": 3, "recipe": {"lr": 0.2}})
    'lr: was 0.1, got 0.2'
    """
    was = {"steps an epoch": old["steps"], **old["recipe"]}
    now = {"steps an epoch": new["steps"], **new["recipe"]}
    return "; ".join(f"{name}: was {was[name]}, got {now.get(name)}" for name in was if was[name] != now.get(name))
