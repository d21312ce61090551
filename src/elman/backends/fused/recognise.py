"""Which of torch's own networks a program is, told from its equations and not from its name.

Each new state is written as a polynomial of what cannot be taken apart: states, products, learned vectors, and
sigmoid, tanh or relu of such a polynomial. So the order of sums, ``n + z * (h - n)`` for ``(1 - z) * n + z * h``, and
the names of gates make no difference, and a step that differs in one term is another polynomial.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product as pairs

from elman.equations import Program
from elman.equations.node import Node

ACTIVATIONS = frozenset({"sigmoid", "tanh", "relu"})
LARGEST = 64  # terms of a polynomial that is still expanded: torch's networks have a dozen


@dataclass(frozen=True)
class Leaf:
    """What a polynomial is of: a ``state`` by name, a ``product`` or ``vector`` by node, or ``function`` of a sum."""

    kind: str
    name: str = ""
    node: int = -1
    of: Polynomial | None = None


Monomial = tuple[Leaf, ...]
Polynomial = frozenset[tuple[Monomial, float]]


@dataclass(frozen=True)
class Term:
    """``factor`` times rows of a parameter: part of what a gate sums."""

    parameter: str
    rows: str
    factor: float


@dataclass(frozen=True)
class Gate:
    """What stands inside a gate: terms that multiply x, terms that multiply h, and biases beside each."""

    x: tuple[Term, ...]
    h: tuple[Term, ...]
    x_bias: tuple[Term, ...]
    h_bias: tuple[Term, ...]


@dataclass(frozen=True)
class Network:
    """One of torch's networks: its ``kind``, its gates in torch's order, and the LSTM's projection, if any."""

    kind: str  # lstm, gru, rnn_tanh or rnn_relu
    gates: tuple[Gate, ...]
    projection: tuple[Term, ...] = ()

    @property
    def weight_names(self) -> tuple[str, ...] | None:
        """The program's parameters where they already are torch's own, whole and in order; else None."""
        groups = [[g.x for g in self.gates], [g.h for g in self.gates]]
        biases = [[g.x_bias for g in self.gates], [g.h_bias for g in self.gates]]
        groups += biases if any(terms for group in biases for terms in group) else []
        groups += [[self.projection]] if self.projection else []
        names = []
        for group in groups:
            if any(len(terms) != 1 or terms[0].factor != 1 for terms in group):
                return None
            if len({terms[0].parameter for terms in group}) != 1:
                return None
            names.append(group[0][0].parameter)
        return tuple(names)

    def rows(self, name: str) -> tuple[str, ...]:
        """The projections that a parameter of :attr:`weight_names` must hold, in torch's order."""
        terms = [t for gate in self.gates for group in (gate.x, gate.h, gate.x_bias, gate.h_bias) for t in group]
        return tuple(t.rows for t in [*terms, *self.projection] if t.parameter == name)


@functools.lru_cache(maxsize=256)
def recognise(program: Program) -> Network | None:
    """The network of torch's that ``program`` computes, or None.

    >>> import elman
    >>> recognise(elman.cells.get("gru").program()).kind
    'gru'
    >>> recognise(elman.cells.get("gru_cho").program()) is None
    True
    """
    if program.extras or program.output != program.states[0].new or len(program.states) > 2:
        return None
    try:
        polynomials = _polynomials(program)
        match = _lstm(program, polynomials) if len(program.states) == 2 else _one_state(program, polynomials)
    except _Unlike:
        return None
    return match if match is not None and _fits(program, match) else None


class _Unlike(Exception):
    """The program holds what none of torch's networks does."""


def _polynomials(program: Program) -> list[Polynomial | None]:
    """Each node as a polynomial; None where it holds what torch's networks do not."""
    written: list[Polynomial | None] = []
    for index, node in enumerate(program.nodes):
        try:
            written.append(_polynomial(index, node, written))
        except _Unlike:
            written.append(None)
    return written


def _polynomial(index: int, node: Node, written: list[Polynomial | None]) -> Polynomial:
    if node.op == "constant":
        if not isinstance(node.value, float | int):
            raise _Unlike
        return _of({(): float(node.value)})
    if node.op == "state":
        return _leaf(Leaf("state", node.name))
    if node.op == "vector" or (node.op == "product" and node.blocks == 1):
        return _leaf(Leaf(node.op, node=index))
    args = [written[a] for a in node.args]
    known = [a for a in args if a is not None]
    if len(known) < len(args) or not args:
        raise _Unlike
    if node.op in ACTIVATIONS:
        return _leaf(Leaf(node.op, of=known[0]))
    if node.op == "neg":
        return _sum({}, known[0], -1.0)
    if node.op in ("add", "sub"):
        return _sum(dict(known[0]), known[1], 1.0 if node.op == "add" else -1.0)
    if node.op == "mul":
        return _times(known[0], known[1])
    raise _Unlike


def _leaf(leaf: Leaf) -> Polynomial:
    return frozenset({((leaf,), 1.0)})


def _of(terms: Mapping[Monomial, float]) -> Polynomial:
    return frozenset((m, f) for m, f in terms.items() if f)


def _sum(terms: dict[Monomial, float], other: Polynomial, sign: float) -> Polynomial:
    for monomial, factor in other:
        terms[monomial] = terms.get(monomial, 0.0) + sign * factor
    return _of(terms)


def _times(a: Polynomial, b: Polynomial) -> Polynomial:
    if len(a) * len(b) > LARGEST:
        raise _Unlike
    terms: dict[Monomial, float] = {}
    for (left, p), (right, q) in pairs(a, b):
        monomial = tuple(sorted((*left, *right), key=_order))
        terms[monomial] = terms.get(monomial, 0.0) + p * q
    return _of(terms)


def _order(leaf: Leaf) -> tuple[str, str, int, int]:
    return (leaf.kind, leaf.name, leaf.node, hash(leaf.of))


def _only(polynomial: Polynomial | None) -> Monomial:
    """The single term of a polynomial, which has the factor 1."""
    if polynomial is None or len(polynomial) != 1:
        raise _Unlike
    ((monomial, factor),) = polynomial
    if factor != 1:
        raise _Unlike
    return monomial


def _one_state(program: Program, written: list[Polynomial | None]) -> Network | None:
    state = program.states[0]
    new = written[state.new]
    if new is not None and len(new) == 1:
        (leaf,) = monomial if len(monomial := _only(new)) == 1 else _fail()
        if leaf.kind not in ("tanh", "relu"):
            return None
        return Network(f"rnn_{leaf.kind}", (_gate(program, leaf.of, state.name),))
    return _gru(program, new, state.name)


def _gru(program: Program, new: Polynomial | None, state: str) -> Network | None:
    """h = (1 - z) n + z h, that is n - z n + z h; or with z and 1 - z exchanged, h - z h + z n."""
    old = Leaf("state", state)
    if new is None or len(new) != 3:
        return None
    factors = dict(new)
    singles = [m[0] for m in factors if len(m) == 1 and factors[m] == 1]
    if len(singles) != 1:
        return None
    kept = singles[0]
    n = kept if kept != old else next((leaf for m in factors for leaf in m if leaf.kind == "tanh"), None)
    z = next((leaf for m in factors for leaf in m if leaf.kind == "sigmoid"), None)
    if n is None or z is None or n.kind != "tanh":
        return None
    one, two = _leaf(z), {n: _leaf(n), old: _leaf(old)}
    leaves, arrives = (n, old) if kept == n else (old, n)
    want = _sum(dict(_sum(dict(two[leaves]), _times(one, two[leaves]), -1.0)), _times(one, two[arrives]), 1.0)
    if new != want:
        return None
    update = _gate(program, z.of, state)
    update = update if kept == n else _negated(update)
    reset, candidate = _candidate(program, n.of, state)
    return Network("gru", (reset, update, candidate))


def _candidate(program: Program, inside: Polynomial | None, state: str) -> tuple[Gate, Gate]:
    """Of n = tanh(W x + b + r (U h + c)) the gate r, and the terms of n."""
    plain: dict[Monomial, float] = {}
    gated: dict[Monomial, float] = {}
    resets = set()
    for monomial, factor in inside or ():
        gates = [leaf for leaf in monomial if leaf.kind == "sigmoid"]
        if not gates:
            plain[monomial] = factor
        elif len(gates) == 1 and len(monomial) == 2:
            resets.add(gates[0])
            gated[tuple(leaf for leaf in monomial if leaf.kind != "sigmoid")] = factor
        else:
            raise _Unlike
    if len(resets) != 1:
        raise _Unlike
    outer, inner = _gate(program, _of(plain), state), _gate(program, _of(gated), state)
    if outer.h or inner.x:
        raise _Unlike
    h_bias = inner.x_bias + inner.h_bias
    return _gate(program, resets.pop().of, state), Gate(outer.x, inner.h, outer.x_bias + outer.h_bias, h_bias)


def _lstm(program: Program, written: list[Polynomial | None]) -> Network | None:
    """c = f c + i g, h = o tanh(c), or a product of that."""
    hidden, cell = program.states
    memory, old = written[cell.new], Leaf("state", cell.name)
    output = written[hidden.new]
    projection: tuple[Term, ...] = ()
    if memory is None or len(memory) != 2:
        return None
    last = program.nodes[hidden.new]
    if last.op == "product" and last.blocks == 1:
        output, projection = written[last.args[0]], (Term(last.name, last.rows, 1.0),)
    squashed = Leaf("tanh", of=memory)
    opens = [leaf for leaf in _only(output) if leaf != squashed]
    if len(_only(output)) != 2 or len(opens) != 1 or opens[0].kind != "sigmoid":
        return None
    forgets = [leaf for m, f in memory if f == 1 and old in m for leaf in m if leaf.kind == "sigmoid" and len(m) == 2]
    enters = [m for m, f in memory if f == 1 and old not in m and len(m) == 2]
    if len(forgets) != 1 or len(enters) != 1 or {leaf.kind for leaf in enters[0]} != {"sigmoid", "tanh"}:
        return None
    i, g = sorted(enters[0], key=lambda leaf: leaf.kind)
    gates = tuple(_gate(program, leaf.of, hidden.name) for leaf in (i, forgets[0], g, opens[0]))
    return Network("lstm", gates, projection)


def _gate(program: Program, inside: Polynomial | None, state: str) -> Gate:
    """What is summed inside an activation, where that is products of x and of ``state`` and learned vectors alone."""
    groups: dict[str, list[Term]] = {"x": [], "h": [], "x_bias": [], "h_bias": []}
    vectors: list[tuple[int, Term]] = []
    if inside is None:
        raise _Unlike
    for monomial, factor in inside:
        if len(monomial) != 1 or monomial[0].node < 0:
            raise _Unlike
        index = monomial[0].node
        node = program.nodes[index]
        term = Term(node.name, node.rows, factor)
        if node.op == "vector":
            vectors.append((index, term))
            continue
        operand = program.nodes[node.args[0]]
        if operand.op == "input":
            groups["x"].append(term)
        elif operand.op == "state" and operand.name == state:
            groups["h"].append(term)
        else:
            raise _Unlike
    # Two biases are one beside x and one beside h, as torch has them; further ones are added to the first.
    for number, (_, term) in enumerate(sorted(vectors, key=lambda pair: pair[0])):
        groups["h_bias" if number == 1 else "x_bias"].append(term)
    return Gate(*(tuple(sorted(terms, key=lambda t: (t.parameter, t.rows))) for terms in groups.values()))


def _negated(gate: Gate) -> Gate:
    def turned(terms: tuple[Term, ...]) -> tuple[Term, ...]:
        return tuple(Term(t.parameter, t.rows, -t.factor) for t in terms)

    return Gate(turned(gate.x), turned(gate.h), turned(gate.x_bias), turned(gate.h_bias))


def _fits(program: Program, network: Network) -> bool:
    """Whether every row is as wide as torch has it: hidden for a gate, the projection's size for the state."""
    hidden = program.states[0].size if not network.projection else program.states[1].size
    sizes = {(p.name, name): size for p in program.parameters for name, size in p.rows}
    terms = [t for g in network.gates for group in (g.x, g.h, g.x_bias, g.h_bias) for t in group]
    wide = all(sizes[t.parameter, t.rows] == hidden for t in terms)
    return wide and all(sizes[t.parameter, t.rows] == program.states[0].size for t in network.projection)


def _fail() -> tuple[Leaf]:
    raise _Unlike
