"""Running a cell's function once on symbols, which gives its program."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import CodeType, FrameType
from typing import Any

from elman.equations import ops
from elman.equations.graph import Graph, Size, Symbol, here, place, refuse
from elman.equations.node import Extra, Node, Parameter, State
from elman.equations.program import Program
from elman.errors import EquationError

BIASES = ("one", "each", "none")


class _Placed(EquationError):
    """An error that names its own line, and not that of the return."""


@dataclass(frozen=True)
class Operand:
    """A value that enters a projection, and what its weight is: of ``blocks`` (heads), or antisymmetric, or neither."""

    value: Symbol
    blocks: int = 1
    antisymmetric: bool = False


def blocks(value: Any, count: int) -> Operand:
    """Make the weight of ``value`` in a projection block-diagonal.

    As in ``p.i(x, blocks(h, heads))``.

    The weight has shape (H, H / count); block b of its rows sees units b H / count ... of ``value`` alone.
    """
    if not isinstance(value, Symbol) or not isinstance(count, int) or isinstance(count, bool) or count < 1:
        refuse(f"blocks(value, count) takes a value of the step and a whole number of blocks, and got count={count!r}")
    return Operand(value, blocks=count)


def antisymmetric(value: Any) -> Operand:
    """Make the weight of ``value`` in a projection antisymmetric.

    ``p.a(x, antisymmetric(h))`` is V x + (W - W^T) h.

    What is learned is W, (H, H); the difference is formed once a call, so that a step has one product.
    """
    if not isinstance(value, Symbol):
        refuse(f"antisymmetric(value) takes a value of the step, and got a {type(value).__name__}")
    return Operand(value, antisymmetric=True)


def total(*values: Any) -> Any:
    """The sum over the units of all the values: size 1. The one reduction of the language."""
    graph, symbols = _symbols("total", values)
    if any(graph.is_truth(s) for s in symbols):
        refuse("total of a comparison; write total(where(condition, 1.0, 0.0))")
    return graph.add(Node("total", tuple(s.index for s in symbols)), Size("1"))


def units(*values: Any) -> Any:
    """How many units the values have together, as a value of size 1."""
    graph, symbols = _symbols("units", values)
    # The sizes may still be open: the node keeps its arguments until the trace ends, then takes their names.
    return graph.add(Node("constant", tuple(s.index for s in symbols), name="units"), Size("1"))


def norm(*values: Any, epsilon: float = 1e-5) -> Any:
    """Normalise over all units: subtract the mean, divide by the standard deviation.

    Layer normalisation without gain and bias (Ba et al. 2016).

    Layer normalisation without its gain and bias; these are learned vectors: ``p.gain() * norm(a) + p.shift()``.
    """
    mean = total(*values) / units(*values)
    centred = [value - mean for value in values]
    variance = total(*(c * c for c in centred)) / units(*values)
    scale = ops.rsqrt(variance + epsilon)
    normed = tuple(c * scale for c in centred)
    return normed if len(normed) > 1 else normed[0]


def _symbols(name: str, values: tuple[Any, ...]) -> tuple[Graph, list[Symbol]]:
    graph = next((v.graph for v in values if isinstance(v, Symbol)), None)
    if graph is None:
        refuse(f"{name}(...) takes values of the step")
    return graph, [graph.lift(v) for v in values]


class Projections:
    """The ``p`` of a cell: ``p.name(a, b)`` is the affine projection W a + U b + bias; ``p.name()`` a vector."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def __getattr__(self, name: str) -> Callable[..., Symbol]:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *operands, size=None, bias=True: self._tracer.project(name, operands, size, bias)

    def __getitem__(self, key: Any) -> Any:
        refuse("p has named projections, p.name(x, h), and no items")


@dataclass
class _Parameter:
    rows: list[tuple[str, Size]]
    columns: Size | None
    blocks: int
    place: int  # 0 input weights, 1 weights of the states, 2 biases, 3 the rest
    antisymmetric: bool = False


class Tracer:
    """Collects the nodes and parameters of one cell while its function runs."""

    def __init__(self, states: tuple[str, ...], sizes: Mapping[str, str], bias: str) -> None:
        self.graph: Graph = Graph()
        self.wanted = sizes
        self.bias = bias
        self.parameters: dict[str, _Parameter] = {}
        self.projections: dict[str, str] = {}  # by name, the line it stands on
        self.x: Symbol = self._leaf("input", "x", Size(sizes.get("x", "input")))
        self.states: dict[str, Symbol] = {s: self._leaf("state", s, Size(sizes.get(s, ""))) for s in states}
        self.recurrent: set[int] = {symbol.index for symbol in self.states.values()}

    def _leaf(self, op: str, name: str, size: Size) -> Symbol:
        return self.graph.add(Node(op, name=name), size)

    def extra(self, name: str, size: str) -> Symbol:
        """The symbol of a further named input."""
        return self._leaf("extra", name, Size(size))

    def project(self, name: str, operands: tuple[Any, ...], size: Any, bias: bool) -> Symbol:
        """Trace ``p.name(*operands)``."""
        if name in self.projections:
            refuse(f"the projection p.{name} is used twice; a name stands for one weight, used once")
        self.projections[name] = here()
        if size is not None and not (size == 1 or (isinstance(size, str) and size.isidentifier())):
            refuse(f'size= is the name of a size (such as "hidden" or "proj_size") or 1, and got {size!r}')
        out = Size("" if size is None else str(size))
        if not operands:
            return self._vector(f"vector_{name}", name, out, 3)
        terms = [self._product(name, self._operand(name, operand), out) for operand in operands]
        biases = [
            self._vector(b, name, out, 2 if b.startswith("bias") else 3) for b in self._bias_names(name, operands, bias)
        ]
        # What does not depend on a state comes first, biases with it, so that it all leaves the time loop.
        early = [t for t in terms if not self._depends_on_state(t)]
        late = [t for t in terms if self._depends_on_state(t)]
        value, *rest = [*early, *biases, *late] if early else [*late, *biases]
        for term in rest:
            value = ops.add(value, term)
        return value

    def _operand(self, name: str, operand: Any) -> Operand:
        if isinstance(operand, Symbol):
            operand = Operand(operand)
        if not isinstance(operand, Operand):
            refuse(f"p.{name} takes values of the step, and got a {type(operand).__name__}")
        if self.graph.is_truth(operand.value):
            refuse(f"p.{name} takes numbers and got a comparison; write where(condition, 1.0, 0.0)")
        return operand

    def _depends_on_state(self, symbol: Symbol) -> bool:
        nodes = self.graph.nodes
        open_, seen = [symbol.index], set()
        while open_:
            index = open_.pop()
            if index in self.recurrent:
                return True
            if index not in seen:
                seen.add(index)
                open_.extend(nodes[index].args)
        return False

    def _product(self, name: str, operand: Operand, out: Size) -> Symbol:
        node = self.graph.nodes[operand.value.index]
        columns = self.graph.sizes[operand.value.index]
        if operand.antisymmetric and not out.unite(columns):
            refuse(f"an antisymmetric weight is square, and p.{name} is of size '{out.name}' for '{columns.name}'")
        weight, at = f"weight_{name}", 3
        if node.op == "input":
            weight, at = "weight_ih", 0
        elif node.op == "state":
            weight, at = f"weight_{node.name}h", 1
        count = 2
        while weight in self.parameters and not self._takes(self.parameters[weight], name, operand):
            weight, at, count = f"weight_{name}" if at < 3 else f"weight_{name}_{count}", 3, count + (at == 3)
        self._rows(weight, name, out, columns, operand.blocks, at, operand.antisymmetric)
        return self.graph.add(
            Node("product", (operand.value.index,), name=weight, rows=name, blocks=operand.blocks), out
        )

    @staticmethod
    def _takes(parameter: _Parameter, name: str, operand: Operand) -> bool:
        """Whether rows ``name`` for ``operand`` may be stacked onto ``parameter``."""
        alike = (parameter.blocks, parameter.antisymmetric) == (operand.blocks, operand.antisymmetric)
        return alike and not any(r == name for r, _ in parameter.rows)

    def _vector(self, parameter: str, name: str, out: Size, at: int) -> Symbol:
        self._rows(parameter, name, out, None, 1, at)
        return self.graph.add(Node("vector", name=parameter, rows=name), out)

    def _rows(
        self, parameter: str, name: str, out: Size, columns: Size | None, blocks: int, at: int, skew: bool = False
    ) -> None:
        entry = self.parameters.setdefault(parameter, _Parameter([], columns, blocks, at, skew))
        if (entry.columns is None) != (columns is None) or entry.place != at or any(r == name for r, _ in entry.rows):
            refuse(f"the parameter of p.{name} would be called '{parameter}', which another has; rename p.{name}")
        entry.rows.append((name, out))

    def _bias_names(self, name: str, operands: tuple[Any, ...], wanted: bool) -> list[str]:
        if not wanted or self.bias == "none":
            return []
        if self.bias == "one":
            return ["bias"]
        kinds = [self.graph.nodes[(o.value if isinstance(o, Operand) else o).index] for o in operands]
        named = {"input": lambda n: "bias_ih", "state": lambda n: f"bias_{n.name}h"}
        return list(dict.fromkeys(named.get(n.op, lambda n: f"offset_{name}")(n) for n in kinds))

    def finish(
        self, name: str, result: Any, names: Mapping[str, Any], extras: tuple[str, ...], options: Any
    ) -> Program:
        """Check what the function returned, settle the sizes, and give the program."""
        output, new = self._returned(result)
        for (state, old), value in zip(self.states.items(), new, strict=True):
            sizes = self.graph.sizes
            if not sizes[old.index].unite(sizes[value.index]):
                raise EquationError(
                    f"the new {state} has size '{sizes[value.index].name}' and the old one '{sizes[old.index].name}'; "
                    f"they must be equal: see `sizes=`"
                )
            if sizes[old.index].name == "input" != self.wanted.get(state):
                raise EquationError(
                    f"x meets the state {state} as it is, which ties the hidden size to the input size; "
                    f'project it (p.name(x)), or say so: @elman.cell(sizes={{"x": "hidden"}})'
                )
        for size in [*self.graph.sizes, *(s for p in self.parameters.values() for _, s in p.rows)]:
            if not size.name:
                size.unite(Size("hidden"))
        self._check_all_used([output, *new])
        return self._program(name, output, new, names, extras, options)

    def _returned(self, result: Any) -> tuple[Symbol, list[Symbol]]:
        values = list(result) if isinstance(result, tuple | list) else [result]
        count = len(self.states)
        for value in values:
            if not isinstance(value, Symbol) or self.graph.is_truth(value):
                what = "comparison" if isinstance(value, Symbol) else type(value).__name__
                raise EquationError(f"a cell returns values of the step, and one of these is a {what}")
        if len(values) not in (count, count + 1):
            raise EquationError(
                f"a cell with the states {', '.join(self.states)} returns {count} values (the new states, the output "
                f"first) or {count + 1} (an output that is no state, then the states); this one returns {len(values)}"
            )
        return values[0], values[-count:]

    def _check_all_used(self, results: list[Symbol]) -> None:
        used = {r.index for r in results}
        for i in range(len(self.graph.nodes) - 1, -1, -1):
            if i in used:
                used.update(self.graph.nodes[i].args)
        for i, node in enumerate(self.graph.nodes):
            if node.op in ("product", "vector") and i not in used:
                line = self.projections[node.rows]
                raise _Placed(f"{line}p.{node.rows} is computed but nothing that is returned depends on it; remove it")

    def _program(
        self,
        name: str,
        output: Symbol,
        new: list[Symbol],
        names: Mapping[str, Any],
        extras: tuple[str, ...],
        options: Any,
    ) -> Program:
        graph = self.graph
        keep = _needed(graph, [output, *new, self.x, *self.states.values()])
        index = {old: i for i, old in enumerate(keep)}
        nodes = tuple(self._settled(graph.nodes[i], graph.sizes[i], index) for i in keep)
        local = {index[v.index]: n for n, v in reversed(list(names.items())) if v.index in index}
        parameters = sorted(self.parameters.items(), key=lambda item: item[1].place)
        return Program(
            name=name,
            nodes=nodes,
            input_size=graph.sizes[self.x.index].name,
            states=tuple(
                State(s, nodes[index[old.index]].size, index[old.index], index[value.index])
                for (s, old), value in zip(self.states.items(), new, strict=True)
            ),
            extras=tuple(Extra(n.name, graph.sizes[i].name) for i, n in enumerate(graph.nodes) if n.op == "extra"),
            output=index[output.index],
            parameters=tuple(
                Parameter(
                    n,
                    tuple((r, s.name) for r, s in p.rows),
                    p.columns.name if p.columns else "",
                    p.blocks,
                    p.antisymmetric,
                )
                for n, p in parameters
            ),
            names=tuple(sorted((i, n) for i, n in local.items() if nodes[i].op not in ("input", "extra", "state"))),
            options=tuple(sorted(options.items())),
        )

    def _settled(self, node: Node, size: Size, index: dict[int, int]) -> Node:
        if node.name == "units" and node.op == "constant":
            return Node("constant", value=tuple(self.graph.sizes[a].name for a in node.args))
        return replace(node, args=tuple(index[a] for a in node.args), size=size.name)


def _needed(graph: Graph, results: list[Symbol]) -> list[int]:
    used = {r.index for r in results} | {i for i, n in enumerate(graph.nodes) if n.op == "extra"}
    for i in range(len(graph.nodes) - 1, -1, -1):
        if i in used:
            used.update(graph.nodes[i].args)
    return sorted(used)


def trace(
    name: str,
    function: Callable[..., Any],
    states: tuple[str, ...],
    *,
    sizes: Mapping[str, str],
    inputs: Mapping[str, str],
    bias: str,
    options: Mapping[str, Any],
) -> Program:
    """Run ``function`` once on symbols and return its program.

    Raises :class:`EquationError` naming the source line for whatever tracing cannot see.
    """
    tracer = Tracer(states, sizes, bias)
    extras = {extra: tracer.extra(extra, size) for extra, size in inputs.items()}
    arguments = (tracer.x, *tracer.states.values(), Projections(tracer))
    watch = _Locals(function.__code__)
    try:
        with watch:
            result = function(*arguments, **extras, **options)
    except EquationError:
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        at = next((f for f in reversed(frames) if f.filename == function.__code__.co_filename), frames[-1])
        where = place(at.filename, at.lineno or 0)
        raise EquationError(f"{where}{type(error).__name__}: {error}") from error
    try:
        local = {n: v for n, v in watch.found.items() if isinstance(v, Symbol)}
        return tracer.finish(name, result, local, tuple(extras), options)
    except _Placed:
        raise
    except EquationError as error:
        raise EquationError(place(function.__code__.co_filename, watch.line) + str(error)) from None


class _Locals:
    """Catches a function's local variables as it returns: the equations' own names for their values."""

    def __init__(self, code: CodeType) -> None:
        self.code = code
        self.found: dict[str, Any] = {}
        self.line = code.co_firstlineno

    def _watch(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "return" and frame.f_code is self.code:
            self.found = dict(frame.f_locals)
            self.line = frame.f_lineno

    def __enter__(self) -> None:
        self.before = sys.getprofile()
        sys.setprofile(self._watch)

    def __exit__(self, *_: Any) -> None:
        sys.setprofile(self.before)
