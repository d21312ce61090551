"""Cells of no catalogue that the CPU backend is tried on: each asks for something the catalogue's do not."""

from __future__ import annotations

from elman import cells
from elman.equations import (
    TABLE,
    Cell,
    blocks,
    cell,
    clamp,
    exp,
    maximum,
    relu,
    rsqrt,
    sigmoid,
    sqrt,
    tanh,
    total,
    units,
    where,
)  # fmt: skip


@cell
def coupled(x, h, c, p):
    """LSTM with coupled input and forget gates and a peephole."""
    f = sigmoid(p.f(x, h) + p.cf() * c)
    c = f * c + (1 - f) * tanh(p.g(x, h))
    return sigmoid(p.o(x, h)) * tanh(c), c


@cell
def indrnn(x, h, p):
    """Elementwise recurrence (Li et al. 2018)."""
    return relu(p.w(x) + p.u() * h)


@cell
def mingru(x, h, p):
    """Gates of the input alone (Feng et al. 2024)."""
    z = sigmoid(p.z(x))
    return (1 - z) * h + z * p.n(x)


@cell
def odd(x, h, p):
    """Comparisons, choices and powers."""
    a = 2 * tanh(p.a(x, h))
    b = where((a > 0.1) & ~(a > 0.8), clamp(a, 0.2, 0.5) ** 2, maximum(a, -0.5) * 0.5)
    return 0.5 * h + 0.5 * where(h < 0, b, tanh(a + p.u(h))) + relu(a) ** 3 * 0.01


@cell(sizes={"s": "context"})
def slow_and_fast(x, h, s, p):
    """Two states of two sizes, both in products."""
    return tanh(p.h(x, h, s)), 0.9 * s + 0.1 * p.s(x)


@cell
def squashed_operand(x, h, p):
    """A product of a value computed from the state."""
    return p.a(x, tanh(h * p.u())) * 0.5 + 0.1 * h


@cell(inputs={"gap": 1, "gain": "hidden"})
def gaps(x, h, p, *, gap, gain):
    """A time gap of one number a row, and a gain a unit."""
    return exp(-gap.stop_gradient()) * h + gain * tanh(p.a(x, h))


@cell(inputs={"other": 3})
def two_inputs(x, h, p, *, other):
    """A product of a further input."""
    return tanh(p.a(x, other, h))


@cell(sizes={"x": "hidden"})
def raw(x, h, p):
    """x as it is, and one learned number for all units."""
    return tanh(x + p.scale(size=1) * h + p.a(h))


@cell
def readout(x, h, p):
    """An output that is no state."""
    new = tanh(p.h(x, h))
    return new * new - h, new


@cell(inputs={"other": 3})
def scalar_gate(x, h, p, *, other):
    """Projections of size 1, one of them two products deep, and what they gate."""
    g = sigmoid(p.g(x, h, size=1))
    n = tanh(p.n(g * h, other) + p.s(h, size=1))
    return h + g * (n - h)


@cell(sizes={"s": "embedding"})
def delayed(x, h, s, old, p):
    """A product of a product of x alone, a state that another's old value becomes, and a product of a new state."""
    e = tanh(p.e(p.d(x, size="narrow"), size="embedding"))
    h = tanh(p.h(e, h, old) + p.b(s))
    return h, 0.5 * s + p.s(h, e), h + old


@cell
def centred(x, h, c, p):
    """Totals of totals, of values of two stages, and one that only a learned number's gradient needs."""
    a = p.a(x, h)
    a = a - total(a) / units(a)
    scale = rsqrt(total(a * a, c) ** 2 / units(a) + 1.0)
    c = 0.5 * c + p.c(a * scale) * p.size(size=1)
    return tanh(a * total(c * scale)) * scale + 0.1 * h, c


@cell(sizes={"s": "context"})
def in_blocks(x, h, s, p):
    """Products in two and in four blocks, from one size to another, and of a value computed in the step."""
    a = tanh(p.a(x, blocks(h, 4), s))
    s = 0.5 * s + 0.5 * tanh(p.s(blocks(a, 2), blocks(s, 4)))
    return tanh(p.h(blocks(a * h, 2), size="hidden")) + 0.1 * h, s


@cell
def three_heads(x, h, c, n, m, p):
    """sLSTM in three heads, of a normaliser that is never near 0."""
    return cells.get("slstm")(x, h, c, 1.0 + tanh(n) ** 2, m, p, heads=3)


@cell
def four_heads(x, h, c, n, m, p):
    """sLSTM in four heads, of a normaliser that is never near 0."""
    return cells.get("slstm")(x, h, c, 1.0 + tanh(n) ** 2, m, p, heads=4)


OWN = [
    coupled, indrnn, mingru, odd, slow_and_fast, squashed_operand, gaps, two_inputs, raw, readout, scalar_gate,
    delayed, centred, in_blocks, three_heads, four_heads,
]  # fmt: skip

# What each row is tried on: a value from about -2 to 2, brought to where the row and its derivative are tame.
_POSITIVE = {"log", "sqrt", "rsqrt", "log1p"}


def _try(name, a, b):
    row = TABLE[name]
    if row.gives_truth:
        args = (a > 0, b > 0) if row.truth_arguments else (a, b)
        condition = row(*args[: row.text.count("{}")])
        return where(condition, a, b)
    if name == "where":
        return row(a > b, a, b)
    if name == "clamp":
        return row(a, -0.3, 0.7)
    if name == "power":
        return row(sqrt(a * a + 0.1), 2.5) + row(a, 3) + row(a * a + 0.5, -2)
    if name == "div":
        return row(a, b * b + 1)
    if row.text.count("{}") == 2:
        return row(a, b)
    return row(a * a + 0.1 if name in _POSITIVE else a)


def rows_cell(names: list[str]) -> Cell:
    """A cell of four states, each of which uses one row of the table."""

    def rows(x, s, t, u, v, p):
        a, b = 2 * tanh(p.a(x, s)), 2 * tanh(p.b(x))
        values = [0.2 * old + 0.1 * b + 0.2 * _try(name, a, b) for name, old in zip(names, (s, t, u, v), strict=True)]
        return tuple(values)

    return cell(rows)


def row_groups() -> list[list[str]]:
    """The table's names, four at a time."""
    names = list(TABLE)
    names += names[: -len(names) % 4]
    return [names[i : i + 4] for i in range(0, len(names), 4)]
