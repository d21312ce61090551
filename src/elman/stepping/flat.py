"""A network's step with every size a number: what its kernel, its stream and every export are written from.

A layer's program names its sizes and its parameters; a network has several layers, and before and after them what
scales, embeds and reads off. A :class:`Flat` is all of it as one list of values in the order of computing:

    input, symbol           what comes in: a vector of numbers, or one whole number (a symbol of a text)
    state                   the old value of a state
    constant                a number
    vector                  rows of a tensor: a bias, say
    product                 rows of a matrix times one value
    row                     the row of a matrix that a symbol names: an embedding
    total                   the sum over the units of one or more values
    (a row of the table)    pointwise, see :mod:`elman.equations.ops`; a value of size 1 goes with every unit
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from elman.equations import TABLE, Program

ZEROS = "zeros_"  # what the tensors are called that only make one number many
WIDE = frozenset({"product", "row", "total"})  # computed from whole values, not unit by unit
LEAVES = frozenset({"input", "symbol", "state", "constant", "vector"})


@dataclass(frozen=True)
class Value:
    """One value of the step: ``size`` numbers, computed from the values ``args``."""

    op: str
    args: tuple[int, ...] = ()
    size: int = 1
    name: str = ""  # of an input, symbol or state; of the tensor for a vector, product or row
    first: int = 0  # the first row of that tensor
    blocks: int = 1  # of a block-diagonal product
    number: float = 0.0  # of a constant
    label: str = ""  # what the equations call it


@dataclass(frozen=True)
class Memory:
    """A state: its old and new value, and what it begins with (None: zeros)."""

    name: str
    size: int
    old: int
    new: int
    initial: Tensor | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Flat:
    """A step: build one with :class:`Writer`. ``outputs`` are values by name."""

    values: tuple[Value, ...]
    memories: tuple[Memory, ...]
    outputs: Mapping[str, int]
    tensors: Mapping[str, Tensor] = field(compare=False)

    @property
    def inputs(self) -> dict[str, int]:
        """The values that come in, by name."""
        return _inputs(self.values)

    @property
    def operations(self) -> set[str]:
        """The rows of the table that it needs."""
        return {value.op for value in self.values if value.op in TABLE}

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of what was learned."""
        learned = (tensor.dtype for name, tensor in self.tensors.items() if not name.startswith(ZEROS))
        return next(learned, torch.get_default_dtype())


class Writer:
    """Builds a :class:`Flat`, value by value; what is added comes back as its number."""

    def __init__(self) -> None:
        self.values: list[Value] = []
        self.memories: list[Memory] = []
        self.outputs: dict[str, int] = {}
        self.tensors: dict[str, Tensor] = {}

    def _add(self, value: Value) -> int:
        self.values.append(value)
        return len(self.values) - 1

    @property
    def inputs(self) -> dict[str, int]:
        """The values that come in, by name."""
        return _inputs(self.values)

    def input(self, name: str, size: int) -> int:
        """What comes in, ``size`` numbers."""
        return self._add(Value("input", (), size, name))

    def symbol(self, name: str) -> int:
        """A whole number that comes in."""
        return self._add(Value("symbol", (), 1, name))

    def constant(self, number: float) -> int:
        """A number."""
        return self._add(Value("constant", number=float(number)))

    def tensor(self, name: str, tensor: Tensor) -> str:
        """Keep ``tensor`` under ``name``, and return the name."""
        self.tensors[name] = tensor.detach()
        return name

    def vector(self, name: str, tensor: Tensor) -> int:
        """A learned or fitted vector (n,)."""
        return self._add(Value("vector", (), len(tensor), self.tensor(name, tensor)))

    def product(self, name: str, matrix: Tensor, operand: int) -> int:
        """``matrix`` (n, m) times a value of m numbers."""
        return self._add(Value("product", (operand,), len(matrix), self.tensor(name, matrix)))

    def row(self, name: str, matrix: Tensor, symbol: int) -> int:
        """The row of ``matrix`` (N, n) that ``symbol`` names."""
        return self._add(Value("row", (symbol,), matrix.shape[1], self.tensor(name, matrix)))

    def affine(self, layer: torch.nn.Linear, operand: int, name: str) -> int:
        """What a linear layer makes of a value."""
        made = self.product(f"{name}_weight", layer.weight, operand)
        return made if layer.bias is None else self("add", made, self.vector(f"{name}_bias", layer.bias))

    def memory(self, name: str, size: int, initial: Tensor | None = None) -> int:
        """The old value of a state of its own; :meth:`remember` says what the new one is."""
        old = self._add(Value("state", (), size, name))
        self.memories.append(Memory(name, size, old, old, initial))
        return old

    def remember(self, old: int, new: int) -> int:
        """Let ``new`` follow the state's value ``old``, and return it."""
        self.memories = [replace(m, new=new) if m.old == old else m for m in self.memories]
        return new

    def __call__(self, op: str, *args: int) -> int:
        """An operation of the table, pointwise."""
        values = [self.values[a] for a in args]
        if all(v.op == "constant" for v in values):
            return self.constant(TABLE[op](*(v.number for v in values)))
        return self._add(Value(op, args, max(v.size for v in values)))

    def cell(
        self,
        program: Program,
        sizes: Mapping[str, int],
        parameters: Mapping[str, Tensor],
        x: int,
        extras: Mapping[str, int],
        suffix: str = "",
        initial: Sequence[Tensor] | None = None,
    ) -> int:
        """Add a cell's step on the value ``x``; return its output.

        ``parameters`` by the program's names, ``extras`` the values of further inputs; ``suffix`` tells the
        states and tensors of one layer from another's.
        """
        weights = {name: self.tensor(name + suffix, w) for name, w in program.weights(parameters).items()}
        owner = {p.name: p for p in program.parameters}
        names = dict(program.names)
        at: list[int] = []
        for i, node in enumerate(program.nodes):
            args, size = tuple(at[a] for a in node.args), sizes[node.size]
            if node.op == "input":
                at.append(x)
            elif node.op == "extra":
                at.append(extras[node.name])
            elif node.op == "state":
                at.append(self._add(Value("state", (), size, node.name + suffix)))
            elif node.op == "constant":
                number = node.value or 0.0
                at.append(self.constant(sum(sizes[s] for s in number) if isinstance(number, tuple) else number))
            elif node.op in ("vector", "product"):
                first, stop = owner[node.name].span(node.rows, sizes)
                at.append(self._add(Value(node.op, args, stop - first, weights[node.name], first, node.blocks)))
            elif node.op == "total":
                # A value of one number for all units counts once a unit.
                terms = [self._whole(a, sizes[program.nodes[n].size]) for a, n in zip(args, node.args, strict=True)]
                at.append(self._add(Value("total", tuple(terms))))
            else:
                at.append(self(node.op, *args))
            if i in names and self.values[at[-1]].op in TABLE:
                self.values[at[-1]] = replace(self.values[at[-1]], label=names[i] + suffix)
        for i, state in enumerate(program.states):
            begins = None if initial is None else initial[i].detach()
            size = sizes[state.size]
            new = self._whole(at[state.new], size)
            if self.values[new].op in TABLE and not self.values[new].label:
                self.values[new] = replace(self.values[new], label=state.name + suffix)
            self.memories.append(Memory(state.name + suffix, size, at[state.old], new, begins))
        return self._whole(at[program.output], sizes[program.output_size])

    def _whole(self, value: int, size: int) -> int:
        """``value`` with ``size`` numbers: equations may give one number for all units."""
        if self.values[value].size == size:
            return value
        return self("add", value, self.vector(f"{ZEROS}{size}", torch.zeros(size, dtype=torch.float64)))

    def flat(self, **outputs: int) -> Flat:
        """The step whose results are these values. What nothing needs is left out."""
        needed = {*outputs.values(), *(m.new for m in self.memories), *(m.old for m in self.memories)}
        for i in range(len(self.values) - 1, -1, -1):
            if i in needed or self.values[i].op in ("input", "symbol"):
                needed |= {i, *self.values[i].args}
        moved = {old: new for new, old in enumerate(sorted(needed))}
        values = tuple(replace(self.values[i], args=tuple(moved[a] for a in self.values[i].args)) for i in moved)
        used = {v.name for v in values if v.op in ("vector", "product", "row")}
        return Flat(
            values,
            tuple(replace(m, old=moved[m.old], new=moved[m.new]) for m in self.memories),
            {name: moved[i] for name, i in outputs.items()},
            {name: tensor for name, tensor in self.tensors.items() if name in used},
        )


def _inputs(values: Sequence[Value]) -> dict[str, int]:
    return {v.name: i for i, v in enumerate(values) if v.op in ("input", "symbol")}
