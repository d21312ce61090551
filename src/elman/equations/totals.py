"""Totals of values that are linear in others: what is the same for all units comes out of the sum.

The cotangent of a norm's mean is total(g s + k d), where s and k are one number a row. Written s total(g) + k total(d),
its totals need not wait until k is known, and a backend goes over the units once less.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from elman.equations.graph import Graph, Size, Symbol
from elman.equations.node import Node

Factor = Symbol | None  # a value of size 1; None is 1


class _Linear:
    """A sum of terms: how often ``factor * total(leaf)`` is in it, and how often ``factor * units(size)``."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.totals: dict[tuple[int, int], float] = defaultdict(float)  # by factor and leaf
        self.units: dict[tuple[int, str], float] = defaultdict(float)  # by factor and size

    def add(self, value: Symbol, factor: Factor, times: float, size: str) -> None:
        """Add ``times * factor * total(value)``, over the units of ``size``."""
        node = self.graph.nodes[value.index]
        args = [Symbol(self.graph, a) for a in node.args]
        if self.graph.has(Node("total", (value.index,))):
            self.totals[_index(factor), value.index] += times
        elif (single := self._single(value)) is not None:
            self.units[_index(_times(factor, single)), size] += times
        elif node.op in ("add", "sub"):
            self.add(args[0], factor, times, size)
            self.add(args[1], factor, -times if node.op == "sub" else times, size)
        elif node.op == "neg":
            self.add(args[0], factor, -times, size)
        elif node.op == "mul" and (first := self._single(args[0])) is not None:
            self.add(args[1], _times(factor, first), times, size)
        elif node.op == "mul" and (second := self._single(args[1])) is not None:
            self.add(args[0], _times(factor, second), times, size)
        else:
            self.totals[_index(factor), value.index] += times

    def _single(self, value: Symbol) -> Factor:
        """The number that a value has for all its units, if it has one."""
        node = self.graph.nodes[value.index]
        if self.graph.sizes[value.index].name == "1":
            return value
        if node.op == "constant":
            return self.graph.constant(float(node.value))  # type: ignore[arg-type]
        if node.op == "mul":
            first, second = (self._single(Symbol(self.graph, a)) for a in node.args)
            return None if first is None or second is None else _times(first, second)
        return None

    def value(self) -> Symbol:
        """The sum as nodes: those with one factor and number of times in one total."""
        together: dict[tuple[int, float], list[int]] = defaultdict(list)
        for (factor, leaf), times in self.totals.items():
            if times:
                together[factor, times].append(leaf)
        terms = [
            self._term(self.graph.add(Node("total", tuple(sorted(leaves))), Size("1")), factor, times)
            for (factor, times), leaves in together.items()
        ]
        for (factor, size), times in self.units.items():
            count = self.graph.add(Node("constant", value=(size,)), Size("1"))
            terms += [self._term(count, factor, times)] if times else []
        result, *rest = terms or [self.graph.constant(0.0)]
        for term in rest:
            result = result + term
        return result

    def _term(self, value: Symbol, factor: int, times: float) -> Symbol:
        value = value if times == 1 else -value if times == -1 else value * times
        return value if factor < 0 else value * Symbol(self.graph, factor)


def _index(factor: Factor) -> int:
    return -1 if factor is None else factor.index


def _times(first: Factor, second: Symbol) -> Symbol:
    return second if first is None else first * second


def total_of(graph: Graph, values: Sequence[Symbol]) -> Symbol:
    """The sum of ``values`` over all their units, in totals of what is linear in no other value."""
    linear = _Linear(graph)
    for value in values:
        linear.add(value, None, 1.0, graph.sizes[value.index].name)
    return linear.value()
