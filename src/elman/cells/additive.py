"""Gated networks whose state is a weighted sum of what came in, with little or no nonlinearity on its way."""

from elman.cells.activations import activation
from elman.equations import cell, sigmoid, tanh


@cell
def ran(x, h, c, p, *, nonlinearity="tanh"):
    """Recurrent additive network: the memory is a gated sum of mapped inputs (Lee et al. 2017, arXiv:1705.07393).

    When: language models, and where one wants to read off how much each past input counts.
    """
    i, f = sigmoid(p.i(x, h)), sigmoid(p.f(x, h))
    c = i * p.c(x, bias=False) + f * c
    return activation(nonlinearity)(c), c


@cell
def atr(x, h, p):
    """Twin-gated network: sum and difference of two products are its gates (Zhang et al. 2018, arXiv:1810.12546).

    When: translation and other long sentences; two matrices in all.
    """
    a, b = p.a(x), p.b(h)
    i, f = sigmoid(a + b), sigmoid(a - b)
    return i * a + f * h


@cell
def cfn(x, h, p):
    """Chaos free network: without input every unit relaxes to 0 (Laurent & von Brecht 2017, arXiv:1612.06212).

    When: predictable inner dynamics are wanted; language models.
    """
    f, i = sigmoid(p.f(x, h)), sigmoid(p.i(x, h))
    return f * tanh(h) + i * tanh(p.c(x, bias=False))


@cell
def star(x, h, p):
    """Stackable recurrent cell: gradients keep their size through depth (Turkoglu et al. 2019, arXiv:1911.11033).

    When: stacks of many layers, with few weights a layer.
    """
    k, z = sigmoid(p.k(x, h)), tanh(p.z(x))
    return tanh((1 - k) * h + k * z)


@cell
def fastrnn(x, h, p, *, nonlinearity="tanh"):
    """FastRNN: a plain network with a residual and two learned numbers (Kusupati et al. 2018, arXiv:1901.02358).

    When: the smallest devices; it trains more steadily than the plain network at two weights more.
    """
    alpha, beta = sigmoid(p.alpha(size=1)), sigmoid(p.beta(size=1))
    return alpha * activation(nonlinearity)(p.n(x, h)) + beta * h


@cell
def fastgrnn(x, h, p):
    """FastGRNN: gate and candidate share their matrices (Kusupati et al. 2018, arXiv:1901.02358).

    When: gates on small devices, at the weights of a plain network and two biases.
    """
    a = p.a(x, h, bias=False)
    z, n = sigmoid(a + p.bz()), tanh(a + p.bn())
    zeta, nu = sigmoid(p.zeta(size=1)), sigmoid(p.nu(size=1))
    return (zeta * (1 - z) + nu) * n + z * h
