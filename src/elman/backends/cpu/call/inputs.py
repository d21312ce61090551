"""The tensors of a call, as kernels read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from elman.equations import Program


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
        if self.valid is None and self.reset is None and self._is_readable():
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

    def _is_readable(self) -> bool:
        for tensor in (self.x, *self.states, *self.initial, *self.extras):
            if not _is_in_order(tensor):
                return False
        return all(parameter.is_contiguous() for parameter in self.parameters)

    def fill(self, values: dict[str, int], names: Names) -> None:
        """Add to ``values`` what kernels are told of the tensors."""
        x, valid, reset = self.x, self.valid, self.reset
        values["steps"], values["batch"], _ = x.shape
        values["first"], values["stride"] = (len(x) - 1, -1) if self.reverse else (0, 1)
        values["x"], (values["x_step"], values["x_row"], _) = x.data_ptr(), x.stride()
        values["valid"] = 0 if valid is None else valid.data_ptr()
        values["reset"] = 0 if reset is None else reset.data_ptr()
        for own, state, initial in zip(names.states, self.states, self.initial or self.states, strict=True):
            values[own[0]], values[own[1]] = state.data_ptr(), state.stride(0)
            values[own[2]], values[own[3]] = initial.data_ptr(), initial.stride(0)
        for name, parameter in zip(names.parameters, self.parameters, strict=True):
            values[name] = parameter.data_ptr()
        for (at, step_of, row_of), extra in zip(names.extras, self.extras, strict=True):
            # One that is the same at every step, (B, n), has no way to go from step to step.
            values[at], (values[step_of], values[row_of]) = extra.data_ptr(), (0, *extra.stride())[-3:-1]


@dataclass(frozen=True)
class Names:
    """What the arguments of kernels are called that hold the states, the parameters and the further inputs."""

    states: tuple[tuple[str, str, str, str], ...]
    parameters: tuple[str, ...]
    extras: tuple[tuple[str, str, str], ...]

    @classmethod
    def of(cls, program: Program) -> Names:
        """Those of a program."""
        return cls(
            tuple(
                (f"initial:{s.name}", f"initial_row:{s.name}", f"anew:{s.name}", f"anew_row:{s.name}")
                for s in program.states
            ),
            tuple(f"parameter:{p.name}" for p in program.parameters),
            tuple((f"extra:{e.name}", f"extra:{e.name}_step", f"extra:{e.name}_row") for e in program.extras),
        )


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


def _is_in_order(tensor: Tensor) -> bool:
    return tensor.stride(-1) == 1 or tensor.shape[-1] == 1


def _in_order(tensor: Tensor) -> Tensor:
    return tensor if _is_in_order(tensor) else tensor.contiguous()
