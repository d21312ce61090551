"""Cells that are not in the catalogue: what people may write, and what the language must be enough for."""

from __future__ import annotations

import elman
from elman.equations import blocks, exp, logsigmoid, maximum, norm, relu, sigmoid, softplus, tanh, total, units, where


@elman.cell
def indrnn(x, h, p):
    """Independently recurrent network (Li et al. 2018)."""
    return relu(p.h(x) + p.u() * h)


@elman.cell
def layer_norm_lstm(x, h, c, p):
    """LSTM with layer normalisation (Ba et al. 2016): a norm a gate, and one of the memory."""
    i, f = sigmoid(p.gi() * norm(p.i(x, h)) + p.si()), sigmoid(p.gf() * norm(p.f(x, h)) + p.sf())
    g, o = tanh(p.gg() * norm(p.g(x, h)) + p.sg()), sigmoid(p.go() * norm(p.o(x, h)) + p.so())
    c = f * c + i * g
    return o * tanh(p.gc() * norm(c) + p.sc()), c


@elman.cell
def joint_norm(x, h, p):
    """One norm over several values, a learned vector among them, and over x itself."""
    a, b, v = norm(p.a(x), p.b(h), p.v())
    return tanh(a + b * v) * total(h, x) / units(h, x)


@elman.cell
def slstm(x, h, c, n, m, p, *, heads=1):
    """sLSTM (Beck et al. 2024, xLSTM): exponential gates held in range by the state m; h in heads."""
    h = blocks(h, heads)
    i, f, z, o = p.i(x, h), logsigmoid(p.f(x, h)), tanh(p.z(x, h)), sigmoid(p.o(x, h))
    top = maximum(f + m, i)
    i, f = exp(i - top), exp(f + m - top)
    c, n = f * c + i * z, f * n + i
    return o * c / maximum(n, 1.0), c, n, top


@elman.cell
def lem(x, y, z, p, *, dt=1.0):
    """Long expressive memory (Rusch et al. 2022)."""
    a, b = dt * sigmoid(p.a(x, y)), dt * sigmoid(p.b(x, y))
    z = (1 - a) * z + a * tanh(p.z(x, y))
    y = (1 - b) * y + b * tanh(p.y(x, z))
    return y, z


@elman.cell
def multiplicative_lstm(x, h, c, p):
    """Multiplicative LSTM (Krause et al. 2016)."""
    m = p.mx(x) * p.mh(h)
    i, f, g, o = sigmoid(p.i(x, m)), sigmoid(p.f(x, m)), tanh(p.g(x, m)), sigmoid(p.o(x, m))
    c = f * c + i * g
    return o * tanh(c), c


@elman.cell
def fast_grnn(x, h, p):
    """FastGRNN (Kusupati et al. 2018): one product, two learned numbers."""
    a = p.a(x, h, bias=False)
    z, n = sigmoid(a + p.bz()), tanh(a + p.bn())
    zeta, nu = sigmoid(p.zeta(size=1)), sigmoid(p.nu(size=1))
    return (zeta * (1 - z) + nu) * n + z * h


@elman.cell
def min_gru(x, h, p):
    """minGRU (Feng et al. 2024): gates that see x alone."""
    z = sigmoid(p.z(x))
    return (1 - z) * h + z * where(p.n(x) > 0, p.m(x), softplus(p.k(x)))


@elman.cell(sizes={"s": "context_size"})
def scrn(x, h, s, p, *, alpha=0.95):
    """Structurally constrained network (Mikolov et al. 2015): a slow context of a size of its own."""
    s = (1 - alpha) * p.s(x, size="context_size") + alpha * s
    return sigmoid(p.h(x, h, s)), s


@elman.cell
def cornn(x, y, z, p, *, dt=0.1, gamma=1.0, epsilon=0.5):
    """Coupled oscillators (Rusch & Mishra 2021)."""
    z = z + dt * (tanh(p.z(x, y, z)) - gamma * y - epsilon * z)
    return y + dt * z, z


@elman.cell(inputs={"gap": 1})
def cfc(x, h, p, *, gap):
    """Closed-form continuous-time network (Hasani et al. 2022), with the time since the last step."""
    b = tanh(p.b(x, h, size="backbone"))
    t = sigmoid(p.ta(b) * gap + p.tb(b))
    return tanh(p.f(b)) * (1 - t) + t * tanh(p.g(b))


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


OUTSIDE = [
    indrnn, layer_norm_lstm, joint_norm, slstm, lem, multiplicative_lstm, fast_grnn, min_gru, scrn, cornn, cfc, readout,
    metered, decay,
]  # fmt: skip
