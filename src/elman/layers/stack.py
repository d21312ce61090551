"""Layers of one cell on top of each other, in one direction or two: how a program becomes a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from elman.backends import Call, Result, choose
from elman.backends.chunks import Recomputed, run_in_chunks
from elman.equations import Program
from elman.equations.node import Extra
from elman.equations.rewrite import DROP, ZONE, with_dropped_states, with_zoneout
from elman.errors import ShapeError, nearest
from elman.layers.dropout import dropout, ones_at_random

# One (B, n) tensor a state, for each direction of each layer.
States = list[list[tuple[Tensor, ...]]]


MERGES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "concat": lambda a, b: torch.cat([a, b], dim=-1),
    "sum": torch.add,
    "mean": lambda a, b: (a + b) / 2,
    "product": torch.mul,
    "max": torch.maximum,
}


@dataclass(frozen=True)
class Noise:
    """What training adds so that a network does not learn its data by heart; probabilities.

    ``dropout`` of what passes from layer to layer, as torch.nn's. ``recurrent_dropout`` of the states that enter
    products, one mask a sequence (Gal & Ghahramani 2016). ``zoneout`` of the states' change, drawn at each step; in
    evaluation its mean (Krueger et al. 2017). ``weight_drop`` of the states' weights, one mask a call
    (Merity et al. 2018).
    """

    dropout: float = 0.0
    recurrent_dropout: float = 0.0
    zoneout: float = 0.0
    weight_drop: float = 0.0

    def __post_init__(self) -> None:
        for name, p in vars(self).items():
            if not isinstance(p, int | float) or isinstance(p, bool) or not 0 <= p <= 1:
                raise ShapeError(f"{name}: got {p!r}, want a probability from 0 to 1")


@dataclass(frozen=True)
class Stack:
    """The shape of a network: one program, the sizes of each layer, and how the layers are joined."""

    program: Program
    sizes: tuple[Mapping[str, int], ...]
    bidirectional: bool = False
    merge: str = "concat"
    residual: bool = False
    noise: Noise = Noise()
    backend: str = "auto"
    recompute: int = 0  # steps in a chunk whose inner values the backward pass makes again; 0: none
    _names: list[list[dict[str, str]]] = field(init=False, repr=False, compare=False)
    _running: dict[bool, Program] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # What every call asks for is made once, and here: torch.compile cannot follow a cached property.
        own = [p.name for p in self.program.parameters]
        suffixes = [[f"_l{layer}", f"_l{layer}_reverse"][: self.directions] for layer in range(len(self.sizes))]
        names = [[{name: name + suffix for name in own} for suffix in layer] for layer in suffixes]
        dropped = with_dropped_states(self.program) if self.noise.recurrent_dropout else self.program
        running = {False: self.program, True: dropped}
        if self.noise.zoneout:
            running = {training: with_zoneout(program) for training, program in running.items()}
        object.__setattr__(self, "_names", names)
        object.__setattr__(self, "_running", running)

    @classmethod
    def of(
        cls,
        program: Program,
        input_size: int,
        hidden_sizes: list[int],
        named: Mapping[str, int] | None = None,
        *,
        bidirectional: bool = False,
        merge: str = "concat",
        residual: bool = False,
        noise: Noise | None = None,
        backend: str = "auto",
        recompute: int = 0,
    ) -> Stack:
        """The stack whose first layer takes ``input_size``; each further one the output of the one below."""
        if isinstance(recompute, bool) or not isinstance(recompute, int) or recompute < 0:
            raise ShapeError(f"recompute: got {recompute!r}, want the steps of a chunk, or 0 for none")
        if merge not in MERGES:
            raise ShapeError(f"merge: there is no {merge!r}; {nearest(merge, MERGES)}")
        sizes = []
        for hidden_size in hidden_sizes:
            sizes.append(program.sizes(input_size, hidden_size, **(named or {})))
            input_size = sizes[-1][program.output_size] * (1 + (bidirectional and merge == "concat"))
        return cls(program, tuple(sizes), bidirectional, merge, residual, noise or Noise(), backend, recompute)

    @property
    def directions(self) -> int:
        """1 or 2."""
        return 1 + self.bidirectional

    @property
    def output_size(self) -> int:
        """Of the whole network, both directions together."""
        return self.sizes[-1][self.program.output_size] * (1 + (self.bidirectional and self.merge == "concat"))

    def running_program(self, training: bool) -> Program:
        """The program with what the noise adds to it: zoneout always, dropout of the states in training."""
        return self._running[training]

    def parameter_names(self, layer: int, direction: int) -> dict[str, str]:
        """The program's parameter names and what they are called in this layer, as torch.nn calls them."""
        return self._names[layer][direction]

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Every parameter of the network with its shape, in order."""
        return {
            self.parameter_names(layer, direction)[p.name]: p.shape(sizes)
            for layer, sizes in enumerate(self.sizes)
            for direction in range(self.directions)
            for p in self.program.parameters
        }

    def initial_names(self, layer: int, direction: int) -> list[str]:
        """What the learned initial states of a layer are called, in the order of the cell's states."""
        suffix = f"_l{layer}" + ("_reverse" if direction else "")
        return [f"initial_{state.name}{suffix}" for state in self.program.states]

    def initial_shapes(self) -> dict[str, tuple[int, ...]]:
        """Every learned initial state with its shape (n,)."""
        return {
            name: (sizes[state.size],)
            for layer, sizes in enumerate(self.sizes)
            for direction in range(self.directions)
            for name, state in zip(self.initial_names(layer, direction), self.program.states, strict=True)
        }

    def zero_states(self, batch: int, like: Tensor) -> States:
        """States of zeros, in the dtype and on the device of ``like``."""
        return [
            [tuple(like.new_zeros(batch, sizes[s.size]) for s in self.program.states) for _ in range(self.directions)]
            for sizes in self.sizes
        ]


@dataclass(frozen=True)
class Sequence:
    """What runs through a stack: x (T, B, I), its mask and resets (T, B), and the further inputs by name.

    ``initial`` are the states a reset goes back to; those the run begins with where None.
    """

    x: Tensor
    valid: Tensor | None = None
    reset: Tensor | None = None
    initial: States | None = None
    extras: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Ran:
    """What came out: ``output`` (T, B, O), the final ``states``, and the values recorded by layer and direction.

    ``calls``, where they were kept, are what the backend was given, by layer and direction.
    """

    output: Tensor
    states: States
    recorded: list[list[dict[str, Tensor]]]
    calls: list[list[Call]]


def run(
    stack: Stack,
    parameter: Callable[[str], Tensor],
    sequence: Sequence,
    states: States,
    training: bool = False,
    record: tuple[str, ...] = (),
    keep_calls: bool = False,
) -> Ran:
    """Run ``sequence`` through every layer.

    ``parameter`` gives a tensor by its name in the network (``weight_ih_l0``); ``record`` names the values of the
    equations that are wanted for every step; ``keep_calls`` whether the calls are.
    """
    program = stack.running_program(training)
    nodes = {name: program.values[name] for name in record}
    wanted = tuple(nodes.values())
    x, finals, recorded, kept = sequence.x, [], [], []
    if stack.residual and sequence.valid is not None:
        # The sum with a layer's output is the one place where x itself comes out again.
        x = torch.where(sequence.valid.unsqueeze(-1), x, 0.0)
    for layer, initial in enumerate(states):
        if layer and stack.noise.dropout and training:
            x = dropout(x, stack.noise.dropout)
        calls = [
            _call(stack, program, parameter, sequence, x, (layer, d), initial[d], training, wanted)
            for d in range(stack.directions)
        ]
        results = [_run(stack, call) for call in calls]
        outputs = [r.output for r in results]
        output = MERGES[stack.merge](*outputs) if stack.bidirectional else outputs[0]
        x = x + output if stack.residual and x.shape == output.shape else output
        finals.append([r.states for r in results])
        if record:
            recorded.append([{name: r.recorded[i] for name, i in nodes.items()} for r in results])
        if keep_calls:
            kept.append(calls)
    return Ran(x, finals, recorded, kept)


def _run(stack: Stack, call: Call) -> Result:
    backend = choose(call, stack.backend)
    if 0 < stack.recompute < len(call.x) and not call.record and torch.is_grad_enabled():
        return run_in_chunks(Recomputed(backend), call, stack.recompute)
    return backend.run(call)


def _call(
    stack: Stack,
    program: Program,
    parameter: Callable[[str], Tensor],
    sequence: Sequence,
    x: Tensor,
    place: tuple[int, int],
    states: tuple[Tensor, ...],
    training: bool,
    record: tuple[int, ...],
) -> Call:
    layer, direction = place
    sizes = stack.sizes[layer]
    parameters = {own: parameter(name) for own, name in stack.parameter_names(layer, direction).items()}
    if stack.noise.weight_drop and training:
        parameters |= _drop_weights(program, parameters, stack.noise.weight_drop)
    weights = program.weights(parameters)
    return Call(
        program=program,
        sizes=sizes,
        parameters=weights,
        x=x,
        states=states,
        extras={**sequence.extras, **_noise_inputs(stack, program, sizes, x, training)},
        valid=sequence.valid,
        reset=sequence.reset,
        initial=None if sequence.initial is None else sequence.initial[layer][direction],
        reverse=bool(direction),
        record=record,
    )


def _drop_weights(program: Program, parameters: Mapping[str, Tensor], p: float) -> dict[str, Tensor]:
    names = {f"weight_{state.name}h" for state in program.states} & parameters.keys()
    return {name: dropout(parameters[name], p) for name in sorted(names)}


def _noise_inputs(
    stack: Stack, program: Program, sizes: Mapping[str, int], x: Tensor, training: bool
) -> dict[str, Tensor]:
    """The further inputs that :meth:`Stack.running_program` gave the program."""
    if program is stack.program:
        return {}
    steps, rows = x.shape[:2]
    drop, zone = stack.noise.recurrent_dropout, stack.noise.zoneout

    def draw(extra: Extra) -> Tensor:
        n = sizes[extra.size]
        if extra.name.startswith(DROP):
            return dropout(x.new_ones(rows, n), drop)
        return ones_at_random(x, (steps, rows, n), zone) if training else x.new_full((rows, n), zone)

    passed = {extra.name for extra in stack.program.extras}
    return {e.name: draw(e) for e in program.extras if e.name not in passed and e.name.startswith((DROP, ZONE))}
