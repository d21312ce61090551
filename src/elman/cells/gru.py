"""Gated recurrent units and their relatives: one state, kept or renewed."""

from elman.cells.activations import activation
from elman.equations import cell, relu, sigmoid, tanh


@cell(bias="each")
def gru(x, h, p):
    """Gated recurrent unit, reset after the product, as torch.nn.GRU and cuDNN (Cho et al. 2014, v1).

    When: as often as the LSTM, with three quarters of its weights and one state.
    """
    r, z = sigmoid(p.r(x, h)), sigmoid(p.z(x, h))
    n = tanh(p.n(x) + r * p.u(h))
    return (1 - z) * n + z * h


@cell
def gru_cho(x, h, p):
    """Gated recurrent unit, reset before the product (Cho et al. 2014).

    When: weights or results of the paper, of Theano or of Keras with reset_after=False are to be had again.
    """
    r, z = sigmoid(p.r(x, h)), sigmoid(p.z(x, h))
    n = tanh(p.n(x, r * h))
    return (1 - z) * n + z * h


@cell
def mgu(x, h, p):
    """Minimal gated unit: one gate that resets and updates (Zhou et al. 2016, arXiv:1603.09420).

    When: a GRU at two thirds of the weights, for little data.
    """
    f = sigmoid(p.f(x, h))
    n = tanh(p.n(x, f * h))
    return (1 - f) * h + f * n


@cell
def ugrnn(x, h, p, *, nonlinearity="tanh"):
    """Update gate network: a plain network with one gate (Collins et al. 2017, arXiv:1611.09913).

    When: one gate more than the plain network, and easy to train.
    """
    g = sigmoid(p.g(x, h))
    c = activation(nonlinearity)(p.c(x, h))
    return g * h + (1 - g) * c


@cell
def minimalrnn(x, h, p):
    """Minimal network: x is mapped once, then only a gate acts (Chen 2017, arXiv:1711.06788).

    When: a state that is to stay readable: it is an average of what x was mapped to.
    """
    z = tanh(p.z(x))
    u = sigmoid(p.u(h, z))
    return u * h + (1 - u) * z


@cell
def ligru(x, h, p):
    """Light GRU: no reset gate, relu inside (Ravanelli et al. 2018, arXiv:1803.10225).

    When: speech and other long inputs of many columns.

    Without the batch norm that the paper puts on W x: give x normed. relu may grow without it: clip gradients.
    """
    z = sigmoid(p.z(x, h))
    n = relu(p.n(x, h))
    return z * h + (1 - z) * n


@cell
def brc(x, h, p):
    """Bistable recurrent cell: each unit latches by its own past (Vecoven et al. 2021, arXiv:2006.05252).

    When: a thing seen once must be kept for hundreds of steps.
    """
    c, a = sigmoid(p.c(x) + p.wc() * h), 1 + tanh(p.a(x) + p.wa() * h)
    return c * h + (1 - c) * tanh(p.h(x, bias=False) + a * h)


@cell
def nbrc(x, h, p):
    """Bistable cell with neuromodulation: its gates see all units (Vecoven et al. 2021, arXiv:2006.05252).

    When: as brc, and what to latch depends on the other units.
    """
    c, a = sigmoid(p.c(x, h)), 1 + tanh(p.a(x, h))
    return c * h + (1 - c) * tanh(p.h(x, bias=False) + a * h)
