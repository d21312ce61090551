"""Writing ONNX in words: nodes, constants, the body of a Scan; and a step as such nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from elman.equations import TABLE
from elman.equations.ops import Expression, Operation
from elman.errors import ExportError
from elman.stepping import Flat, Loop, Products, order_of

OPSET, IR = 17, 8


class Graph:
    """A graph being written. Values are known by their names."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self.count = 0

    def name(self, hint: str = "v") -> str:
        """A name that is not taken."""
        self.count += 1
        return f"{hint}_{self.count}"

    def constant(self, value: Any, dtype: Any = np.float32, name: str = "") -> str:
        """A tensor that is part of the model; written once where it has a ``name``."""
        from onnx import numpy_helper

        if name and name in self.constants:
            return name
        name = name or self.name("constant")
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value, dtype=dtype), name)
        return name

    def add(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """A node; the name of its output, or the names of several."""
        from onnx import helper

        names = [self.name(op.lower()) for _ in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def called(self, value: str, name: str) -> str:
        """Give a value a second name, and return that name."""
        from onnx import helper

        self.nodes.append(helper.make_node("Identity", [value], [name]))
        return name

    @contextmanager
    def body(self) -> Iterator[list[Any]]:
        """The nodes written inside are a body's own, and not the graph's."""
        outside, self.nodes = self.nodes, []
        try:
            yield self.nodes
        finally:
            self.nodes = outside


class Symbolic(Expression):
    """A value of the graph that an operation's own form in other operations is written with."""

    __slots__ = ("steps", "truth", "value")

    def __init__(self, steps: Steps, value: str, truth: bool = False) -> None:
        self.steps: Steps = steps
        self.value: str = value
        self.truth: bool = truth

    def pointwise(self, operation: Operation, args: Sequence[Any]) -> Symbolic:
        """Add the node."""
        return self.steps.pointwise(operation, args)


class Steps:
    """A :class:`Flat` as nodes, for values (B, n), or (T, B, n) of what no state reaches.

    ``values`` maps the numbers of values that are known already to their names.
    """

    def __init__(self, graph: Graph, flat: Flat, prefix: str = "") -> None:
        self.graph: Graph = graph
        self.flat: Flat = flat
        self.prefix: str = prefix
        self.order = order_of(flat)
        self.values: dict[int, Symbolic] = {}
        self.recurrent: set[int] = self._reached({m.old for m in flat.memories})
        self.stepwise: set[int] = self._reached({*flat.inputs.values()})

    def _reached(self, sources: set[int]) -> set[int]:
        reached = set(sources)
        for i, value in enumerate(self.flat.values):
            if reached & set(value.args):
                reached.add(i)
        return reached

    def take(self, names: Mapping[int, str]) -> None:
        """Values that are known."""
        self.values |= {i: Symbolic(self, name) for i, name in names.items()}

    def write(self, wanted: set[int], ahead: int) -> None:
        """Write the nodes of the values ``wanted``; ``ahead`` dimensions stand before that of the units."""
        for piece in self.order.pieces:
            if isinstance(piece, Products):
                self._products([i for i in piece.parts if i in wanted and i not in self.values], ahead)
            else:
                for i in piece.values if isinstance(piece, Loop) else (piece.value,):
                    if i in wanted and i not in self.values:
                        self.values[i] = self._one(i)

    def value(self, i: int) -> Symbolic:
        """Value ``i``, a leaf written where it is wanted first."""
        if i not in self.values:
            leaf = self.flat.values[i]
            if leaf.op == "constant":
                self.values[i] = Symbolic(self, self.graph.constant(leaf.number))
            elif leaf.op == "vector":
                rows = self._tensor(leaf.name)[leaf.first : leaf.first + leaf.size]
                name = f"{self.prefix}{leaf.name}_{leaf.first}_{leaf.size}"
                self.values[i] = Symbolic(self, self.graph.constant(rows[None], name=name))
            else:
                raise ExportError(f"'{leaf.name}' is not known where the step needs it")
        return self.values[i]

    def whole(self, i: int, rows: str) -> str:
        """Value ``i`` as (B, n), ``rows`` the name of B as a tensor (1,)."""
        value, size = self.number(self.value(i)), self.flat.values[i].size
        if i in self.recurrent or i in self.stepwise:
            return value
        shape = self.graph.add("Concat", rows, self.graph.constant([size], np.int64), axis=0)
        return self.graph.add("Expand", value, shape)

    def _tensor(self, name: str) -> Any:
        return self.flat.tensors[name].float().cpu().numpy()

    def _products(self, indices: Sequence[int], ahead: int) -> None:
        if not indices:
            return
        values = [self.flat.values[i] for i in indices]
        first, rows = values[0].first, sum(v.size for v in values)
        matrix = self._tensor(values[0].name)[first : first + rows]
        operand = self.number(self.value(values[0].args[0]))
        name = f"{self.prefix}{values[0].name}_{first}_{rows}"
        graph, blocks = self.graph, values[0].blocks
        if blocks > 1:
            weight = graph.constant(matrix.reshape(blocks, -1, matrix.shape[1]), name=name)
            shape = graph.constant([0] * ahead + [blocks, matrix.shape[1]], np.int64)
            cut = graph.add("Reshape", operand, shape)
            made = graph.add("Einsum", cut, weight, equation="...nc,nrc->...nr")
            made = graph.add("Reshape", made, graph.constant([0] * ahead + [rows], np.int64))
        else:
            made = graph.add("MatMul", operand, graph.constant(matrix.T, name=name))
        if len(indices) == 1:
            self.values[indices[0]] = Symbolic(self, made)
            return
        sizes = graph.constant([v.size for v in values], np.int64)
        names = graph.add("Split", made, sizes, outputs=len(indices), axis=-1)
        self.values |= {i: Symbolic(self, part) for i, part in zip(indices, names, strict=True)}

    def _one(self, i: int) -> Symbolic:
        value, graph = self.flat.values[i], self.graph
        if value.op == "row":
            matrix = self._tensor(value.name)
            table = graph.constant(matrix, name=f"{self.prefix}{value.name}_rows")
            return Symbolic(self, graph.add("Gather", table, self.value(value.args[0]).value, axis=0))
        if value.op == "total":
            axes = graph.constant([-1], np.int64)
            sums = [graph.add("ReduceSum", self.number(self.value(a)), axes, keepdims=1) for a in value.args]
            return Symbolic(self, sums[0] if len(sums) == 1 else graph.add("Sum", *sums))
        row = TABLE[value.op]
        numbers = row.number_arguments
        args = [self.flat.values[a].number if k in numbers else self.value(a) for k, a in enumerate(value.args)]
        return row.onnx(*args) if callable(row.onnx) else self.pointwise(row, args)

    def pointwise(self, row: Operation, args: Sequence[Any]) -> Symbolic:
        """The node of a row of the table; arguments are values or numbers."""
        if callable(row.onnx):
            return row.onnx(*args)
        graph = self.graph
        names = []
        for k, arg in enumerate(args):
            known = arg if isinstance(arg, Symbolic) else Symbolic(self, graph.constant(float(arg)))
            names.append(self.truth(known) if k in row.truth_arguments else self.number(known))
        return Symbolic(self, graph.add(row.onnx, *names), row.gives_truth)

    def number(self, value: Symbolic) -> str:
        """A value as numbers."""
        return self.graph.add("Cast", value.value, to=1) if value.truth else value.value

    def truth(self, value: Symbolic) -> str:
        """A value as truth."""
        return value.value if value.truth else self.graph.add("Cast", value.value, to=9)
