"""Gated recurrent units."""

from elman.equations import cell, sigmoid, tanh


@cell(bias="each")
def gru(x, h, p):
    """Gated recurrent unit, reset after the product, as torch.nn.GRU and cuDNN (Cho et al. 2014, v1)."""
    r, z = sigmoid(p.r(x, h)), sigmoid(p.z(x, h))
    n = tanh(p.n(x) + r * p.u(h))
    return (1 - z) * n + z * h


@cell
def gru_cho(x, h, p):
    """Gated recurrent unit, reset before the product (Cho et al. 2014)."""
    r, z = sigmoid(p.r(x, h)), sigmoid(p.z(x, h))
    n = tanh(p.n(x, r * h))
    return (1 - z) * n + z * h
