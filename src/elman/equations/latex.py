r"""A program written out as equations, in LaTeX or as text, with the names its author gave the values.

An old state carries t-1, everything computed in the step carries t; W_{fx} is the weight of projection f for the
operand x, b_f its bias.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from elman.equations.node import Node
from elman.equations.ops import ATOM, COMPARISON, PRODUCT, SUM, TABLE
from elman.equations.program import Program

_GREEK = {
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "kappa", "lambda", "mu", "nu", "xi",
    "rho", "sigma", "tau", "phi", "chi", "psi", "omega",
}  # fmt: skip


def equations(program: Program, latex: bool = False) -> list[str]:
    """The step as a list of equations, in the order they are computed.

    >>> import elman
    >>> for line in equations(elman.cells.get("gru_cho").program()):
    ...     print(line)
    r[t] = sigmoid(W_rx x[t] + W_rh h[t-1] + b_r)
    z[t] = sigmoid(W_zx x[t] + W_zh h[t-1] + b_z)
    n[t] = tanh(W_nx x[t] + W_n (r[t] * h[t-1]) + b_n)
    h[t] = (1 - z[t]) * n[t] + z[t] * h[t-1]
    """
    writer = _Writer(program, latex)
    return [f"{writer.named(i)} = {writer.write(i, top=True)[0]}" for i in sorted(writer.names)]


@dataclass(frozen=True)
class Equation:
    """One equation of a step.

    As ``text``, with the ``node`` it computes, and its right side with ``{index}`` for each value in it.
    """

    node: int
    text: str
    values: str

    @property
    def operands(self) -> list[int]:
        """The nodes whose values stand in it."""
        return [int(index) for index in re.findall(r"{(\d+)}", self.values)]


def equations_by_node(program: Program) -> list[Equation]:
    """:func:`equations` as text, for whoever has the values of the nodes to put in.

    >>> import elman
    >>> written = equations_by_node(elman.cells.get("rnn").program())[0]
    >>> written.text, written.values
    ('h[t] = tanh(W_hx x[t] + W_hh h[t-1] + b_hx + b_hh)', 'tanh({2} + {3} + {4} + {5})')
    """
    places = _Places(program, latex=False)
    right = [(i, places.write(i, top=True)[0]) for i in sorted(places.names)]
    return [Equation(i, text, values) for (i, values), text in zip(right, equations(program), strict=True)]


@dataclass
class _Writer:
    program: Program
    latex: bool

    def __post_init__(self) -> None:
        results = [(s.new, s.name) for s in reversed(self.program.states)]
        output = self.program.output
        if output not in dict(results):
            results.append((output, "y"))
        self.names = dict(results) | dict(self.program.names)
        # A result that is a state's new value is called by the state, whatever the local variable was.
        self.names |= dict(results)
        self.names = {
            i: n for i, n in self.names.items() if self.program.nodes[i].op not in ("input", "extra", "state")
        }
        for count, i in enumerate(self.statistics(), start=1):
            self.names[i] = f"q_{count}"

    def statistics(self) -> list[int]:
        """The values with a total in them that have no name and are used more than once, as those inside a norm."""
        nodes, inside, used = self.program.nodes, set[int](), Counter[int]()
        for i, node in enumerate(nodes):
            used.update(node.args)
            if node.op == "total" or any(a in inside and a not in self.names for a in node.args):
                inside.add(i)
        return [i for i in sorted(inside) if i not in self.names and used[i] > 1]

    def symbol(self, name: str) -> str:
        if not self.latex:
            return name
        head, _, tail = name.partition("_")
        head = f"\\{head}" if head in _GREEK else head if len(head) == 1 else rf"\mathrm{{{head}}}"
        return f"{head}_{{{tail}}}" if tail else head

    def at(self, name: str, time: str) -> str:
        if not self.latex:
            return f"{name}[{time}]"
        symbol = self.symbol(name)
        return f"{symbol[:-1]},{time}}}" if symbol.endswith("}") and "_{" in symbol else f"{symbol}_{{{time}}}"

    def named(self, index: int) -> str:
        return self.at(self.names[index], "t")

    def write(self, index: int, top: bool = False) -> tuple[str, int]:
        """Node ``index`` as text, and how tightly that text binds."""
        node = self.program.nodes[index]
        if index in self.names and not top:
            return self.named(index), ATOM
        if node.op in ("input", "extra"):
            return self.at(node.name, "t"), ATOM
        if node.op == "state":
            return self.at(node.name, "t-1"), ATOM
        if node.op == "constant":
            return self.number(node), ATOM
        if node.op == "vector":
            return self.vector(node), ATOM
        if node.op == "product":
            return self.product(node), PRODUCT
        if node.op == "total":
            inner = " + ".join(self.write(a)[0] for a in node.args)
            return (rf"\textstyle\sum ({inner})" if self.latex else f"total({inner})"), ATOM
        return self.pointwise(index, node)

    def number(self, node: Node) -> str:
        if isinstance(node.value, tuple):
            return self.count(Counter(node.value))
        mantissa, _, exponent = f"{node.value:g}".partition("e")
        if not self.latex or not exponent:
            return f"{node.value:g}"
        return ("" if mantissa == "1" else rf"{mantissa} \cdot ") + f"10^{{{int(exponent)}}}"

    def count(self, sizes: Counter[str]) -> str:
        """How many units there are in sizes of these names: ``4 hidden``."""
        terms = [f"{n} {self.symbol(size)}" if n > 1 else self.symbol(size) for size, n in sizes.items()]
        return f"({' + '.join(terms)})" if len(terms) > 1 or sizes.total() > 1 else terms[0]

    def weight(self, letter: str, subscript: str) -> str:
        return f"{letter}_{{{subscript}}}" if self.latex else f"{letter}_{subscript}"

    def vector(self, node: Node) -> str:
        if node.name.startswith("vector_"):
            return self.symbol(node.rows)
        operand = node.name.removeprefix("bias_").removesuffix("h") if node.name.startswith("bias_") else ""
        operand = "x" if operand == "i" else operand
        return self.weight("b", node.rows + operand)

    def product(self, node: Node) -> str:
        operand, binds = self.write(node.args[0])
        source = self.program.nodes[node.args[0]]
        # A projection's second computed operand has a parameter of its own, weight_y_2.
        second = node.name.removeprefix(f"weight_{node.rows}").strip("_")
        subscript = node.rows + (source.name if source.op in ("input", "extra", "state") else second)
        if binds <= PRODUCT:
            operand = f"({operand})"
        weight = self.weight("W", subscript)
        if self.program.parameter(node.name).antisymmetric:
            weight = rf"\left({weight} - {weight}^\top\right)" if self.latex else f"({weight} - {weight}^T)"
        return f"{weight} {operand}"

    def terms(self, index: int) -> list[int]:
        """The terms of a chain of additions."""
        node = self.program.nodes[index]
        if node.op != "add":
            return [index]
        first, second = node.args
        inner = [first] if first in self.names else self.terms(first)
        return [*inner, second]

    def pointwise(self, index: int, node: Node) -> tuple[str, int]:
        if node.op == "add":
            terms = self.terms(index)
            if any(self.program.nodes[t].op == "product" for t in terms):
                # The program adds biases early, to take them out of the loop; people write them last.
                terms.sort(key=lambda t: self.program.nodes[t].op == "vector")
            return " + ".join(self.parenthesised(t, SUM) for t in terms), SUM
        row = TABLE[node.op]
        binds = row.argument_binds
        if self.latex and row.latex_argument_binds is not None:
            binds = row.latex_argument_binds
        args = [self.parenthesised(a, binds[i] if i < len(binds) else COMPARISON) for i, a in enumerate(node.args)]
        return (row.latex if self.latex else row.text).format(*args), row.binds

    def parenthesised(self, index: int, at_least: int) -> str:
        text, binds = self.write(index)
        return text if binds >= at_least else (rf"\left({text}\right)" if self.latex else f"({text})")


class _Places(_Writer):
    """Writes ``{index}`` for what is a value of its own: an input, a state, a product, a bias, a named value."""

    def write(self, index: int, top: bool = False) -> tuple[str, int]:
        leaf = self.program.nodes[index].op in ("input", "extra", "state", "product", "vector", "total")
        if (index in self.names and not top) or (leaf and index not in self.names):
            return f"{{{index}}}", ATOM
        return super().write(index, top)
