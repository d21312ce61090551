"""What a layer is given beside x, brought to the form its stack runs on, and its final states brought back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from elman.errors import CellError, ShapeError
from elman.layers.stack import Stack, States
from elman.sequences import Batch
from elman.shapes import expect


def read_state(stack: Stack, state: Any, batch: Batch) -> States:
    """A state as a layer takes it: (L D, B, n) for each state of the cell, in a tuple where it has several.

    Where the layers differ in size, a tuple of L tensors (D, B, n) stands for each.
    """
    states = stack.program.states
    values = (state,) if len(states) == 1 else state
    if not isinstance(values, tuple | list) or len(values) != len(states):
        names = ", ".join(s.name for s in states)
        raise ShapeError(
            f"state: cell '{stack.program.name}' has the states ({names}); want a tuple of {len(states)} tensors"
        )
    per_state = [_layers(stack, s.name, s.size, value, batch) for s, value in zip(states, values, strict=True)]
    return [
        [tuple(layers[layer][d] for layers in per_state) for d in range(stack.directions)]
        for layer in range(len(stack.sizes))
    ]


def _layers(stack: Stack, name: str, size: str, value: Any, batch: Batch) -> list[Tensor]:
    """One state as a tensor (D, B, n) a layer."""
    sizes = [layer[size] for layer in stack.sizes]
    count, rows = stack.directions, batch.x.shape[1]
    if len(set(sizes)) == 1:
        if not isinstance(value, Tensor):
            raise ShapeError(f"state {name}: got a {type(value).__name__}, want a tensor (L D, B, H)")
        whole = batch.state_in(value)
        expect(whole, "LD B H", name=f"state {name}", sizes={"LD": len(sizes) * count, "B": rows, "H": sizes[0]})
        return list(whole.split(count))
    if not isinstance(value, tuple | list) or len(value) != len(sizes):
        raise ShapeError(f"state {name}: the layers differ in size; want a tuple of {len(sizes)} tensors (D, B, H)")
    layers = [batch.state_in(v) for v in value]
    for layer, (tensor, n) in enumerate(zip(layers, sizes, strict=True)):
        expect(tensor, "D B H", name=f"state {name} of layer {layer}", sizes={"D": count, "B": rows, "H": n})
    return layers


def write_state(stack: Stack, finals: States, batch: Batch) -> Any:
    """The reverse of :func:`read_state`."""
    if len(finals) == 1 and stack.directions == 1 and batch.form == "padded":  # nearly always
        states = [state.unsqueeze(0) for state in finals[0][0]]
        return states[0] if len(states) == 1 else tuple(states)
    written: list[Any] = []
    for k, state in enumerate(stack.program.states):
        layers = [[direction[k] for direction in layer] for layer in finals]
        alike = len({sizes[state.size] for sizes in stack.sizes}) == 1
        whole = [[s for layer in layers for s in layer]] if alike else layers
        arrays = [batch.state_out(stacked(states)) for states in whole]
        written.append(arrays[0] if alike else tuple(arrays))
    return written[0] if len(written) == 1 else tuple(written)


def stacked(states: list[Tensor]) -> Tensor:
    """(n, B, H) from n of (B, H); one alone is not copied."""
    return states[0].unsqueeze(0) if len(states) == 1 else torch.stack(states)


def read_reset(reset: Tensor | None, batch: Batch) -> Tensor | None:
    """A reset mask as (T, B), bool."""
    if reset is None:
        return None
    steps, rows = batch.x.shape[:2]
    reset = batch.steps_in(torch.as_tensor(reset, device=batch.x.device))
    expect(reset, "T B", name="reset", sizes={"T": steps, "B": rows})
    return reset.bool()


def read_extras(stack: Stack, extras: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
    """A cell's further inputs, each (T, B, n) or (B, n). Raises :class:`CellError` where one is missing or too many."""
    if not extras and not stack.program.extras:
        return {}
    wanted = {e.name: e.size for e in stack.program.extras}
    if extras.keys() != wanted.keys():
        missing, unknown = sorted(wanted.keys() - extras.keys()), sorted(extras.keys() - wanted.keys())
        what = f"needs the further input {', '.join(missing)}" if missing else f"has no input {', '.join(unknown)}"
        raise CellError(f"cell '{stack.program.name}' {what}; it takes {', '.join(['x', *wanted])}")
    for name, size in wanted.items():
        if len({sizes[size] for sizes in stack.sizes}) > 1:
            raise ShapeError(f"{name}: is of the {size} size, which differs from layer to layer; use one size for all")
    return {name: _extra(name, value, stack.sizes[0][wanted[name]], batch) for name, value in extras.items()}


def _extra(name: str, value: Tensor, n: int, batch: Batch) -> Tensor:
    steps, rows = batch.x.shape[:2]
    if value.shape == ((n,) if batch.form == "unbatched" else (rows, n)):
        return value.unsqueeze(0) if batch.form == "unbatched" else batch.rows_in(value, 0)
    value = batch.steps_in(value)
    value = value.unsqueeze(-1) if value.dim() == 2 and n == 1 else value
    expect(value, "T B n", name=name, sizes={"T": steps, "B": rows, "n": n})
    return value
