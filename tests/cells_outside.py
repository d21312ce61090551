"""Cells that are not in the catalogue: what people may write, and what the language must be enough for."""

from __future__ import annotations

import elman
from elman.equations import norm, sigmoid, tanh, total, units


@elman.cell
def normed_gates(x, h, c, p):
    """LSTM with a norm for each gate, over what comes of x and h together, and one of the memory."""
    i, f = sigmoid(p.gi() * norm(p.i(x, h)) + p.si()), sigmoid(p.gf() * norm(p.f(x, h)) + p.sf())
    g, o = tanh(p.gg() * norm(p.g(x, h)) + p.sg()), sigmoid(p.go() * norm(p.o(x, h)) + p.so())
    c = f * c + i * g
    return o * tanh(p.gc() * norm(c) + p.sc()), c


@elman.cell
def joint_norm(x, h, p):
    """One norm over several values, a learned vector among them, and over x itself."""
    a, b, v = norm(p.a(x), p.b(h), p.v())
    return tanh(a + b * v) * total(h, x) / units(h, x)


@elman.cell(sizes={"x": "hidden"}, inputs={"mask": "hidden"})
def readout(x, h, p, *, mask):
    """Raw x, a further input of the hidden size, and an output that is no state."""
    h = tanh(p.h(h) + x * mask)
    return p.y(h, x, size="output_size"), h


@elman.cell(sizes={"m": 1}, bias="each")
def metered(x, h, m, p):
    """A state of one number, two biases a projection, computed operands, and a product of a learned vector."""
    r = sigmoid(p.r(x, h, m))
    n = tanh(p.n(x, r * h, m * h) + p.k(p.v(size="own")))
    m = 0.9 * m + total(n * r) / units(h)
    return r * h + (1 - r) * n * tanh(m), m


@elman.cell(inputs={"gap": 1})
def decay(x, h, p, *, gap):
    """A further input that is divided by: nothing there may be 0, and the padding is."""
    return tanh(p.a(x, h) / gap)


OUTSIDE = [normed_gates, joint_norm, readout, metered, decay]
