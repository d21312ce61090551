"""Whether a program read from text hangs together: every later step may then trust it."""

from __future__ import annotations

from typing import Any, Protocol

from elman.equations.node import Extra, Node, Parameter, State
from elman.equations.ops import TABLE


class _Traced(Protocol):
    """A program, as far as it is looked at here."""

    @property
    def nodes(self) -> tuple[Node, ...]: ...
    @property
    def input_size(self) -> str: ...
    @property
    def states(self) -> tuple[State, ...]: ...
    @property
    def extras(self) -> tuple[Extra, ...]: ...
    @property
    def output(self) -> int: ...
    @property
    def parameters(self) -> tuple[Parameter, ...]: ...
    @property
    def names(self) -> tuple[tuple[int, str], ...]: ...
    @property
    def options(self) -> tuple[tuple[str, Any], ...]: ...


def validate(program: _Traced) -> None:
    """Raise ValueError, naming the node or state, where ``program`` could not have come from a trace."""
    names = [p.name for p in program.parameters]
    _demand(len(set(names)) == len(names), "two parameters have one name")
    for p in program.parameters:
        square = p.blocks == 1 and all(size == p.columns for _, size in p.rows)
        _demand(p.antisymmetric is False or (p.antisymmetric is True and square), f"{p.name} cannot be antisymmetric")
    for i, node in enumerate(program.nodes):
        try:
            _check_node(program, i, node)
        except ValueError as error:
            raise ValueError(f"node {i}: {error}") from None
    _demand(len(program.states) > 0, "it has no state")
    for state in program.states:
        old, new = _node(program, state.old), _node(program, state.new)
        _demand(
            (old.op, old.name, old.size) == ("state", state.name, state.size), f"state {state.name} has no old value"
        )
        _demand(new.size == state.size and not _is_truth(new), f"state {state.name} has no new value of its size")
    _demand(not _is_truth(_node(program, program.output)), "its output is a comparison")
    for index, _ in program.names:
        _node(program, index)
    for name, value in program.options:
        _demand(value is None or isinstance(value, str | int | float), f"option {name} is {value!r}")


def _demand(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _node(program: _Traced, index: int) -> Node:
    _demand(type(index) is int and 0 <= index < len(program.nodes), f"there is no node {index!r}")
    return program.nodes[index]


def _is_truth(node: Node) -> bool:
    return node.op in TABLE and TABLE[node.op].gives_truth


def _check_node(program: _Traced, i: int, node: Node) -> None:
    for text in (node.op, node.size, node.name, node.rows):
        _demand(isinstance(text, str), f"{text!r} where a name stands")
    _demand(type(node.blocks) is int and node.blocks > 0, f"it has {node.blocks!r} blocks")
    _demand(node.transposed is False, "a transposed product belongs to an adjoint")
    _demand(all(type(a) is int and 0 <= a < i for a in node.args), f"{node.args} are not values that come before it")
    args = [program.nodes[a] for a in node.args]
    if node.op in ("vector", "product"):
        _check_use(program, node, args)
    elif node.op == "total":
        _demand(bool(args) and node.size == "1" and not any(map(_is_truth, args)), "it is no sum of values")
    elif node.op == "constant":
        _check_constant(program, node)
    elif node.op in TABLE:
        _check_pointwise(node, args)
    else:
        _check_leaf(program, node)


def _check_use(program: _Traced, node: Node, args: list[Node]) -> None:
    parameter = next((p for p in program.parameters if p.name == node.name), None)
    _demand(
        parameter is not None and (node.rows, node.size) in parameter.rows,
        f"rows {node.rows!r} of {node.name!r} of its size are not there",
    )
    assert parameter is not None
    columns = [parameter.columns] if node.op == "product" else []
    _demand(
        [a.size for a in args] == columns and not any(map(_is_truth, args)), f"it does not fit {node.name}'s columns"
    )
    _demand(parameter.blocks == node.blocks and (node.op == "product") == bool(parameter.columns), "wrong blocks")


def _check_constant(program: _Traced, node: Node) -> None:
    _demand(not node.args and node.size == "1", "a constant is one number")
    if isinstance(node.value, tuple):
        known = {"input", "hidden", "1", *(n.size for n in program.nodes)}
        _demand(bool(node.value) and set(node.value) <= known, f"{node.value} are no sizes")
    else:
        _demand(type(node.value) in (int, float), f"its number is {node.value!r}")


def _check_pointwise(node: Node, args: list[Node]) -> None:
    row = TABLE[node.op]
    _demand(len(args) == row.text.count("{}"), f"{node.op} of {len(args)} values")
    sizes = {a.size for a in args} - {"1"} or {"1"}
    _demand(sizes == {node.size}, f"its size is {node.size!r} and that of its arguments {', '.join(sorted(sizes))}")
    for k, arg in enumerate(args):
        _demand(_is_truth(arg) == (k in row.truth_arguments), f"{node.op} of a wrong kind of value")
        number = arg.op == "constant" and not isinstance(arg.value, tuple)
        _demand(k not in row.number_arguments or number, f"{node.op} takes a number")


def _check_leaf(program: _Traced, node: Node) -> None:
    known = {("input", "x", program.input_size)}
    known |= {("extra", e.name, e.size) for e in program.extras}
    known |= {("state", s.name, s.size) for s in program.states}
    _demand((node.op, node.name, node.size) in known and not node.args, f"there is no {node.op} {node.name!r}")
