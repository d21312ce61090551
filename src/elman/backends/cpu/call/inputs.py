"""The tensors of a call, as kernels read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a call is given, in the program's order; ``initial``, what a reset goes back to, may be empty."""

    x: Tensor
    states: Sequence[Tensor]
    initial: Sequence[Tensor]
    parameters: Sequence[Tensor]
    extras: Sequence[Tensor]
    valid: Tensor | None
    reset: Tensor | None
    reverse: bool

    def readable(self) -> Inputs:
        """Return the inputs as kernels read them: rows and masks in order in memory, resets of running rows only, and
        the first step's reset done."""
        if self.valid is None and self.reset is None and self._in_order():
            return self
        valid = None if self.valid is None else self.valid.contiguous()
        states, initial, reset = self.states, self.initial or self.states, self.reset
        if reset is not None:
            reset = reset.contiguous() if valid is None else reset & valid
            if self.initial:
                begins = reset[-1 if self.reverse else 0].unsqueeze(-1)
                states = [torch.where(begins, i, s) for i, s in zip(initial, states, strict=True)]
        return Inputs(
            _in_order(self.x),
            [_in_order(s) for s in states],
            [_in_order(s) for s in initial],
            [p.contiguous() for p in self.parameters],
            [_in_order(e) for e in self.extras],
            valid,
            reset,
            self.reverse,
        )

    def _in_order(self) -> bool:
        tensors = (self.x, *self.states, *self.initial, *self.parameters, *self.extras)
        return all(tensor.is_contiguous() for tensor in tensors)

    def table(self, team: int, chunks: int, ring: bool, packed: int) -> list[int]:
        """The first of a kernel's arguments, up to ``output``."""
        x, (steps, batch, _) = self.x, self.x.shape
        values = [
            team, chunks, steps, batch, steps - 1 if self.reverse else 0, -1 if self.reverse else 1, ring, packed,
            x.data_ptr(), *x.stride()[:2],
            0 if self.valid is None else self.valid.data_ptr(), 0 if self.reset is None else self.reset.data_ptr(),
        ]  # fmt: skip
        for state, initial in zip(self.states, self.initial or self.states, strict=True):
            values += (state.data_ptr(), state.stride(0), initial.data_ptr(), initial.stride(0))
        values += [p.data_ptr() for p in self.parameters]
        for extra in self.extras:
            # One that is the same at every step, (B, n), has no way to go from step to step.
            values += (extra.data_ptr(), *(0, *extra.stride())[-3:-1])
        return values


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which gradients are wanted, each in the order of :class:`Inputs`."""

    x: bool
    states: Sequence[bool]
    initial: Sequence[bool]
    parameters: Sequence[bool]
    extras: Sequence[bool]


def wanted(inputs: Inputs, needs: Sequence[bool]) -> Wanted:
    """Which gradients are wanted, from one list of them all."""
    counts = [len(group) for group in (inputs.states, inputs.initial, inputs.parameters)]
    first, second, third = 1 + counts[0], 1 + sum(counts[:2]), 1 + sum(counts)
    return Wanted(needs[0], needs[1:first], needs[first:second], needs[second:third], needs[third:])


def _in_order(tensor: Tensor) -> Tensor:
    return tensor if tensor.stride(-1) == 1 or tensor.shape[-1] == 1 else tensor.contiguous()
