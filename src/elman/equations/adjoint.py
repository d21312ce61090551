"""The adjoint of a step: its backward pass, written in the same nodes plus the transposed product.

A reverse walk over the program. What a value sends to its arguments is the table's derivative; a product sends
the transposed product; ``total`` and broadcasting are each other's adjoints. The gradients of weights are not
formed here: each use of a parameter is listed with the two values whose products, summed over all steps and
rows, give it, so that a backend can form them after the time loop as one large product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from elman.equations.graph import Graph, Size, Symbol
from elman.equations.node import Node
from elman.equations.ops import TABLE
from elman.equations.program import Program
from elman.equations.totals import total_of


@dataclass(frozen=True)
class Contribution:
    """One use of a parameter: its gradient is the sum over steps and rows of ``cotangent`` times ``operand``.

    Node indices of the adjoint; ``operand`` is None for a learned vector.
    """

    parameter: str
    rows: str
    cotangent: int
    operand: int | None
    blocks: int = 1


@dataclass(frozen=True)
class Adjoint:
    """The backward pass of one step. Its first nodes are the program's own.

    ``cotangent`` nodes are what arrives: of the output (name ``""``) and of each new state (its name). ``input``,
    ``extras`` and ``states`` are what leaves, towards x, the further inputs and the old states; None where none does.
    ``gradients`` are the whole cotangent of each of the program's nodes, all its uses within the step summed.
    """

    program: Program
    nodes: tuple[Node, ...]
    input: int | None
    extras: tuple[int | None, ...]
    states: tuple[int | None, ...]
    contributions: tuple[Contribution, ...]
    gradients: tuple[int | None, ...]


class _Backward:
    """The reverse walk: ``gradient[i]`` is the cotangent of node i, summed as its users are met."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.graph = Graph()
        for node in program.nodes:
            # A graph keeps sizes beside its nodes, so that what the derivatives compute again is found here.
            self.graph.append(replace(node, size="1"), Size(node.size))
        self.gradient: dict[int, Symbol] = {}
        self.wide: dict[int, list[Symbol]] = {}  # what values of one unit get from each unit of a row
        self.contributions: list[Contribution] = []

    def size(self, index: int) -> str:
        return self.graph.sizes[index].name

    def send(self, index: int, cotangent: Symbol) -> None:
        """Add ``cotangent`` to the gradient of node ``index``, in that node's size."""
        size, arriving = self.size(index), self.size(cotangent.index)
        if size == "1" and arriving != "1":
            self.wide.setdefault(index, []).append(cotangent)
            return
        if size != arriving:
            cotangent = cotangent * self.graph.add(Node("constant", size=size, value=1.0), Size(size))
        self.gradient[index] = self.gradient[index] + cotangent if index in self.gradient else cotangent

    def arrive(self) -> None:
        """The cotangents from outside: of the output, and of the new states."""
        arrivals = [("", self.program.output), *((s.name, s.new) for s in self.program.states)]
        for name, index in arrivals:
            self.send(index, self.graph.add(Node("cotangent", name=name), Size(self.size(index))))

    def visit(self, index: int) -> None:
        """Pass the gradient of node ``index`` on to its arguments."""
        node = self.program.nodes[index]
        if index in self.wide:
            self.send(index, total_of(self.graph, self.wide[index]))
        g = self.gradient.get(index)
        if g is None:
            return
        if node.op == "product":
            self.contributions.append(Contribution(node.name, node.rows, g.index, node.args[0], node.blocks))
            transposed = Node(
                "product", (g.index,), name=node.name, rows=node.rows, blocks=node.blocks, transposed=True
            )
            self.send(node.args[0], self.graph.add(transposed, Size(self.size(node.args[0]))))
        elif node.op == "vector":
            self.contributions.append(Contribution(node.name, node.rows, g.index, None))
        elif node.op == "total":
            for a in node.args:
                self.send(a, g)
        elif node.op in TABLE:
            self._visit_pointwise(index, node, g)

    def _visit_pointwise(self, index: int, node: Node, g: Symbol) -> None:
        row = TABLE[node.op]
        args = [Symbol(self.graph, a) for a in node.args]
        numbers = {i: self.program.nodes[node.args[i]].value for i in row.number_arguments}
        arguments = [numbers.get(i, arg) for i, arg in enumerate(args)]
        for a, cotangent in zip(node.args, row.derivative(g, Symbol(self.graph, index), *arguments), strict=False):
            if cotangent is not None and self.program.nodes[a].op != "constant":
                self.send(a, cotangent)


def adjoint(program: Program) -> Adjoint:
    """The backward pass of ``program``'s step.

    >>> import elman
    >>> backward = adjoint(elman.cells.get("rnn").program())
    >>> [(c.parameter, c.rows) for c in backward.contributions]
    [('bias_hh', 'h'), ('bias_ih', 'h'), ('weight_hh', 'h'), ('weight_ih', 'h')]
    """
    walk = _Backward(program)
    walk.arrive()
    for index in reversed(range(len(program.nodes))):
        walk.visit(index)
    nodes = tuple(replace(n, size=s.name) for n, s in zip(walk.graph.nodes, walk.graph.sizes, strict=True))
    leaving = {index: symbol.index for index, symbol in walk.gradient.items()}

    def of(op: str, names: Sequence[str]) -> tuple[int | None, ...]:
        where = {n.name: i for i, n in enumerate(program.nodes) if n.op == op}
        return tuple(leaving.get(where[name]) if name in where else None for name in names)

    return Adjoint(
        program=program,
        nodes=nodes,
        input=of("input", ["x"])[0],
        extras=of("extra", [e.name for e in program.extras]),
        states=tuple(leaving.get(s.old) for s in program.states),
        contributions=tuple(walk.contributions),
        gradients=tuple(leaving.get(i) for i in range(len(program.nodes))),
    )
