"""Layers of one cell on top of each other, in one direction or two: how a program becomes a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from elman.backends import Call, Result, choose
from elman.equations import Program

# One (B, n) tensor a state, for each direction of each layer.
States = list[list[tuple[Tensor, ...]]]


@dataclass(frozen=True)
class Stack:
    """The shape of a network: one program, the sizes of each layer, and how the layers are joined."""

    program: Program
    sizes: tuple[Mapping[str, int], ...]
    bidirectional: bool = False
    dropout: float = 0.0
    backend: str = "auto"

    @classmethod
    def of(
        cls,
        program: Program,
        input_size: int,
        hidden_sizes: list[int],
        named: Mapping[str, int] | None = None,
        bidirectional: bool = False,
        dropout: float = 0.0,
        backend: str = "auto",
    ) -> Stack:
        """The stack whose first layer takes ``input_size``; each further one the output of the one below."""
        sizes = []
        for hidden_size in hidden_sizes:
            sizes.append(program.sizes(input_size, hidden_size, **(named or {})))
            input_size = sizes[-1][program.output_size] * (1 + bidirectional)
        return cls(program, tuple(sizes), bidirectional, dropout, backend)

    @property
    def directions(self) -> int:
        """1 or 2."""
        return 1 + self.bidirectional

    @property
    def output_size(self) -> int:
        """Of the whole network, both directions together."""
        return self.sizes[-1][self.program.output_size] * self.directions

    def parameter_names(self, layer: int, direction: int) -> dict[str, str]:
        """The program's parameter names and what they are called in this layer, as torch.nn calls them."""
        suffix = f"_l{layer}" + ("_reverse" if direction else "")
        return {p.name: p.name + suffix for p in self.program.parameters}

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Every parameter of the network with its shape, in order."""
        return {
            self.parameter_names(layer, direction)[p.name]: p.shape(sizes)
            for layer, sizes in enumerate(self.sizes)
            for direction in range(self.directions)
            for p in self.program.parameters
        }

    def zero_states(self, batch: int, like: Tensor) -> States:
        """States of zeros, in the dtype and on the device of ``like``."""
        return [
            [tuple(like.new_zeros(batch, sizes[s.size]) for s in self.program.states) for _ in range(self.directions)]
            for sizes in self.sizes
        ]


@dataclass(frozen=True)
class Sequence:
    """What runs through a stack: x (T, B, I), its mask and resets (T, B), and the further inputs by name."""

    x: Tensor
    valid: Tensor | None = None
    reset: Tensor | None = None
    extras: Mapping[str, Tensor] = field(default_factory=dict)


def run(
    stack: Stack,
    parameter: Callable[[str], Tensor],
    sequence: Sequence,
    states: States,
    training: bool = False,
) -> tuple[Tensor, States]:
    """Run ``sequence`` through every layer: the output (T, B, D O) and the final states.

    ``parameter`` gives a tensor by its name in the network (``weight_ih_l0``). Dropout acts on what passes from one
    layer to the next, in training, as in torch.nn.
    """
    x, finals = sequence.x, []
    for layer, initial in enumerate(states):
        if layer and stack.dropout and training:
            x = functional.dropout(x, stack.dropout, training=True)
        results = [_run_direction(stack, parameter, sequence, x, layer, d, initial[d]) for d in range(stack.directions)]
        x = torch.cat([r.output for r in results], dim=-1) if stack.bidirectional else results[0].output
        finals.append([r.states for r in results])
    return x, finals


def _run_direction(
    stack: Stack,
    parameter: Callable[[str], Tensor],
    sequence: Sequence,
    x: Tensor,
    layer: int,
    direction: int,
    states: tuple[Tensor, ...],
) -> Result:
    call = Call(
        program=stack.program,
        sizes=stack.sizes[layer],
        parameters={own: parameter(name) for own, name in stack.parameter_names(layer, direction).items()},
        x=x,
        states=states,
        extras=sequence.extras,
        valid=sequence.valid,
        reset=sequence.reset,
        reverse=bool(direction),
    )
    return choose(call, stack.backend).run(call)
