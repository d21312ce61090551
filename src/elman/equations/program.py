"""A program: a traced step as data. Backends run it, the adjoint differentiates it, run folders store it.

Its nodes stand in the order they were written, so every argument comes before its use:

    input, extra, state     what comes in: x, a further named input, an old state
    constant                a number, or a count of units (``units(...)``)
    vector                  rows of a learned vector: a bias, or ``p.name()``
    product                 rows of a weight matrix times one value
    total                   the sum over the units of one or more values
    (a row of the table)    pointwise, see :mod:`elman.equations.ops`
    cotangent               in an adjoint only: the gradient that arrives from outside

Sizes are symbols: ``input``, ``hidden``, ``1`` or a name of the cell's own.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor

from elman.equations.node import Extra, Node, Parameter, State
from elman.equations.validation import validate
from elman.errors import EquationError, ShapeError


@dataclass(frozen=True)
class Program:
    """A step, traced. Build one with :meth:`elman.Cell.program`."""

    name: str
    nodes: tuple[Node, ...]
    input_size: str
    states: tuple[State, ...]
    extras: tuple[Extra, ...]
    output: int
    parameters: tuple[Parameter, ...]
    names: tuple[tuple[int, str], ...]  # the equations' own names of values, by node
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def output_size(self) -> str:
        """The size of the output, as a symbol."""
        return self.nodes[self.output].size

    @functools.cached_property
    def size_names(self) -> tuple[str, ...]:
        """The sizes of the cell's own that a layer takes by keyword (``proj_size``, say)."""
        used = [node.size for node in self.nodes] + [p.columns for p in self.parameters if p.columns]
        return tuple(dict.fromkeys(s for s in used if s not in ("input", "hidden", "1")))

    def sizes(self, input_size: int, hidden_size: int, **named: int) -> dict[str, int]:
        """Every size symbol with its number; a name not given is ``hidden_size``.

        Raises :class:`ShapeError` where x goes into the equations raw and so must be of another size, or where
        a size does not divide into its blocks.
        """
        sizes = {"input": input_size, "hidden": hidden_size, "1": 1}
        sizes |= {name: named.get(name) or hidden_size for name in self.size_names}
        if sizes[self.input_size] != input_size:
            raise ShapeError(
                f"cell '{self.name}' uses x as it is, so input_size must equal its {self.input_size} size: "
                f"got {input_size} and {sizes[self.input_size]}"
            )
        for node in self.nodes:
            for size in (node.size, self.nodes[node.args[0]].size) if node.blocks > 1 else ():
                if sizes[size] % node.blocks:
                    raise ShapeError(
                        f"cell '{self.name}': {size} size {sizes[size]} is not a multiple of {node.blocks} blocks"
                    )
        return sizes

    @functools.cached_property
    def values(self) -> dict[str, int]:
        """The named values of the equations and their nodes.

        The name of a state stands for its new value.
        """
        return {name: i for i, name in self.names} | {state.name: state.new for state in self.states}

    def parameter(self, name: str) -> Parameter:
        """The parameter of that name."""
        return next(p for p in self.parameters if p.name == name)

    def weights(self, parameters: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the weights that the products of a step use.

        An antisymmetric parameter becomes W - W^T, others stay as they are. Ask here before running a program
        with the parameters of a layer.
        """
        skew = [p for p in self.parameters if p.antisymmetric]
        return {**parameters, **{p.name: _skew(parameters[p.name], len(p.rows)) for p in skew}} if skew else parameters

    @functools.cached_property
    def recurrent(self) -> frozenset[int]:
        """The nodes that depend on a state: all that must run inside the time loop."""
        return reached(self.nodes, (state.old for state in self.states))

    @functools.cached_property
    def levels(self) -> tuple[int, ...]:
        """How many products deep each node lies inside the loop.

        0 for what is hoisted out.
        """
        levels: list[int] = []
        for i, node in enumerate(self.nodes):
            above = max((levels[a] for a in node.args), default=0)
            levels.append(above + (node.op == "product" and i in self.recurrent))
        return tuple(levels)

    @property
    def kind(self) -> str:
        """The kind of recurrence.

        ``elementwise`` (no product in the loop), or how many stages it has: how many products deep a step is.
        """
        count = max((self.levels[i] for i in self.recurrent), default=0)
        return "elementwise" if count == 0 else "one stage" if count == 1 else f"{count} stages"

    def to_json(self) -> str:
        """The program as canonical JSON: equal programs, equal text. It is the identity of a cell."""
        return json.dumps(_plain(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Program:
        """Read the text that :meth:`to_json` wrote.

        Raises :class:`EquationError` if it is not a program.

        >>> import elman
        >>> gru = elman.cells.get("gru").program()
        >>> Program.from_json(gru.to_json()) == gru
        True
        """
        try:
            data = json.loads(text)
            program = cls(
                name=str(data["name"]),
                nodes=tuple(_node(n) for n in data["nodes"]),
                input_size=str(data["input_size"]),
                states=tuple(State(**s) for s in data["states"]),
                extras=tuple(Extra(**e) for e in data["extras"]),
                output=data["output"],
                parameters=tuple(
                    Parameter(**(p | {"rows": tuple((str(n), str(s)) for n, s in p["rows"])}))
                    for p in data["parameters"]
                ),
                names=tuple((i, str(n)) for i, n in data["names"]),
                options=tuple((str(k), v) for k, v in data["options"]),
            )
            validate(program)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError) as error:
            raise EquationError(f"this is no program of a cell: {error}") from error
        return program


def reached(nodes: Sequence[Node], sources: Iterable[int]) -> frozenset[int]:
    """The nodes that depend on one of ``sources``, and these."""
    reached_nodes = set(sources)
    for i, node in enumerate(nodes):
        if any(a in reached_nodes for a in node.args):
            reached_nodes.add(i)
    return frozenset(reached_nodes)


def _skew(weight: Tensor, projections: int) -> Tensor:
    each = weight.unflatten(0, (projections, -1))
    return (each - each.mT).flatten(0, 1)


_DEFAULTS = {f.name: f.default for f in fields(Node)}


def _plain(program: Program) -> dict[str, Any]:
    data = {field.name: getattr(program, field.name) for field in fields(program)}
    # A kind of weight that came later is written where it is there: programs of before keep their text.
    data["parameters"] = [
        {k: v for k, v in vars(p).items() if (k, v) != ("antisymmetric", False)} for p in program.parameters
    ]
    data["nodes"] = [{k: v for k, v in vars(node).items() if v != _DEFAULTS[k]} for node in program.nodes]
    return data | {"states": [*map(vars, program.states)], "extras": [*map(vars, program.extras)]}


def _node(data: dict[str, Any]) -> Node:
    value = data.get("value")
    value = tuple(value) if isinstance(value, list) else value
    return Node(**(data | {"args": tuple(data.get("args", ())), "value": value}))
