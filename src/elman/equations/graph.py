"""Building a program's nodes: the symbols a cell's equations run on while they are traced.

A symbol stands for one value of the step. Operators and the table's functions on it add nodes; everything that
tracing cannot see (an ``if`` on data, ``float()``, numpy, an unknown operation) raises an
:class:`EquationError` naming the line, the operation and what to write instead.
"""

from __future__ import annotations

import linecache
import numbers
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import numpy
import torch

from elman.equations.node import Node
from elman.equations.ops import TABLE, Expression, Operation, find
from elman.errors import EquationError, nearest

# Frames that are no one's equations: ours, those of the libraries a value may be given to, and generated code.
_NO_CELLS = (
    *(str(Path(file).parent) + os.sep for file in (__file__, torch.__file__, numpy.__file__)),
    "<string>",
    "<frozen",
    "<__array_function__",
)


def _user_frame() -> FrameType | None:
    """The innermost frame that is neither ours nor a library's: the line of the cell that is running."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if not frame.f_code.co_filename.startswith(_NO_CELLS):
            return frame
        frame = frame.f_back
    return None


def place(file: str, line: int) -> str:
    """Word a source line for an error: ``cells.py:12: `h = max(h, 0)` ``."""
    source = linecache.getline(file, line).strip()
    return f"{Path(file).name}:{line}: " + (f"`{source}`: " if source else "")


def here() -> str:
    """The line of the cell that is running, worded for an error."""
    frame = _user_frame()
    return place(frame.f_code.co_filename, frame.f_lineno) if frame else ""


def refuse(message: str) -> NoReturn:
    """Raise an :class:`EquationError` that names the line of the cell that is running."""
    raise EquationError(here() + message)


class Size:
    """A size that may still be open; sizes that meet are united."""

    __slots__ = ("_name", "_same")

    def __init__(self, name: str = "") -> None:
        self._name = name
        self._same: Size | None = None

    def root(self) -> Size:
        """The representative of all the sizes united with this one."""
        return self if self._same is None else self._same.root()

    @property
    def name(self) -> str:
        """The symbol, or "" while it is open."""
        return self.root()._name

    def unite(self, other: Size) -> bool:
        """Make two sizes one; False where they have different names."""
        a, b = self.root(), other.root()
        if a is b or (a._name and a._name == b._name):
            return True
        if a._name and b._name:
            return False
        a, b = (a, b) if a._name else (b, a)
        b._same = a
        return True


class Graph:
    """Nodes under construction. The same operation on the same arguments is one node."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.sizes: list[Size] = []
        self._known: dict[Node, int] = {}

    def add(self, node: Node, size: Size) -> Symbol:
        """Add ``node`` (or find it) and return its symbol."""
        return Symbol(self, self._known[node]) if node in self._known else self.append(node, size)

    def has(self, node: Node) -> bool:
        """Whether ``node`` is there already."""
        return node in self._known

    def append(self, node: Node, size: Size) -> Symbol:
        """Add ``node`` even where its like is there already: an adjoint begins with its program's own nodes."""
        index = len(self.nodes)
        self._known.setdefault(node, index)
        self.nodes.append(node)
        self.sizes.append(size)
        return Symbol(self, index)

    def constant(self, value: float) -> Symbol:
        """The symbol of a number."""
        return self.add(Node("constant", value=float(value)), Size("1"))

    def lift(self, value: Any) -> Symbol:
        """The symbol of ``value``: a symbol of this graph, or a number."""
        if isinstance(value, Symbol):
            if value.graph is not self:
                refuse("this value belongs to another trace; a step may use its own arguments only")
            return value
        if isinstance(value, numbers.Real) and not isinstance(value, bool):
            return self.constant(float(value))
        refuse(
            f"a step works on its arguments and on numbers, and this is a {type(value).__name__}; "
            "learned values come from p, further inputs from `inputs=`"
        )

    def join(self, args: Sequence[Symbol]) -> Size:
        """The size of values that meet pointwise: they unite, and ``1`` broadcasts."""
        size = Size("1")
        for arg in args:
            other = self.sizes[arg.index]
            if other.name == "1":
                continue
            if size.name == "1":
                size = other
            elif not size.unite(other):
                refuse(
                    f"values of size '{size.name}' and '{other.name}' meet; bring them to one size with a "
                    f'projection such as p.name(value, size="{size.name}"), or say in `sizes=` that they are equal'
                )
        return size

    def pointwise(self, operation: Operation, args: Sequence[Any]) -> Symbol:
        """Add ``operation(*args)``."""
        if len(args) != operation.text.count("{}"):
            refuse(f"{operation.name} takes {operation.text.count('{}')} arguments and got {len(args)}")
        for i in operation.number_arguments:
            if isinstance(args[i], Symbol):
                refuse(f"argument {i + 1} of {operation.name} must be a number; a power by a value is exp(b * log(a))")
        symbols = [self.lift(arg) for arg in args]
        for i, symbol in enumerate(symbols):
            is_truth = self.is_truth(symbol)
            if is_truth != (i in operation.truth_arguments):
                refuse(
                    "a comparison is good as the condition of where(condition, a, b) only"
                    if is_truth
                    else f"argument {i + 1} of {operation.name} must be a comparison such as h > 0"
                )
        return self.add(Node(operation.name, tuple(s.index for s in symbols)), self.join(symbols))

    def is_truth(self, symbol: Symbol) -> bool:
        """Whether the value is a comparison and not a number."""
        row = TABLE.get(self.nodes[symbol.index].op)
        return row is not None and row.gives_truth


class Symbol(Expression):
    """One value of a step while it is traced."""

    __slots__ = ("graph", "index")
    __hash__ = object.__hash__

    def __init__(self, graph: Graph, index: int) -> None:
        self.graph: Graph = graph
        self.index: int = index

    def pointwise(self, operation: Operation, args: Sequence[Any]) -> Symbol:
        return self.graph.pointwise(operation, args)

    def __repr__(self) -> str:
        return f"<value {self.index}: {self.graph.nodes[self.index].op}>"

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        name = func.__name__
        row = find(name)
        if row is None:
            refuse(f"torch.{name} is not in the table of operations; {nearest(name, TABLE)}")
        if name == "softplus" and (kwargs or len(args) > 1):
            refuse("softplus has no options here; write softplus(beta * a) / beta")
        return row(*args, **{k: v for k, v in (kwargs or {}).items() if k != "inplace" and v is not None})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        row = find(name)
        if row is None:
            refuse(
                f"a value of the step has no '{name}'; write it with the table's operations: {', '.join(sorted(TABLE))}"
            )
        return lambda *args: row(self, *args)

    def __bool__(self) -> bool:
        refuse(
            "a value of the step is not known while its equations are traced, so `if`, `and`, `max()` and the like "
            "cannot see it; write where(condition, a, b), maximum(a, b) or clamp(a, low, high)"
        )

    def __float__(self) -> float:
        refuse(
            "a value of the step has no number yet, so float(), int() and the functions of math cannot take it; "
            "use elman.equations' functions (tanh, exp, ...)"
        )

    __int__ = __index__ = __complex__ = __float__

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        refuse("numpy cannot take a value of the step; use elman.equations' functions (tanh, exp, ...)")

    def __array_ufunc__(self, ufunc: Any, *_: Any, **__: Any) -> NoReturn:
        refuse(
            f"numpy.{ufunc.__name__} cannot take a value of the step; use elman.equations' functions (tanh, exp, ...)"
        )

    def __getitem__(self, key: Any) -> NoReturn:
        refuse(
            "a step works on whole vectors and cannot slice them; use a projection for each part, p.a(x, h) and "
            "p.b(x, h) (they become one product)"
        )

    def __iter__(self) -> NoReturn:
        refuse("a step works on whole vectors and cannot walk through their units")

    def __len__(self) -> int:
        refuse("a size is not known while the equations are traced; units(value) is the count as a value")

    def __matmul__(self, other: Any) -> NoReturn:
        refuse("a product with learned weights is written p.name(value)")

    __rmatmul__ = __matmul__

    def __eq__(self, other: object) -> NoReturn:
        refuse("`==` between values of a step is not part of the language; use eq(a, b) inside where")

    def __ne__(self, other: object) -> NoReturn:
        refuse("`!=` between values of a step is not part of the language; use ~eq(a, b) inside where")

    def _floor(self, other: Any) -> NoReturn:
        refuse("`//` and `%` have no derivative and are not part of the language")

    __floordiv__ = __mod__ = __rfloordiv__ = __rmod__ = _floor

    def __rpow__(self, base: Any) -> Any:
        refuse("a power by a value is written exp(value * log(base))")
