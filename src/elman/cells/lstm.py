"""Long short-term memory and its relatives."""

from elman.equations import cell, sigmoid, tanh


@cell(bias="each")
def lstm(x, h, c, p):
    """Long short-term memory with a forget gate (Hochreiter & Schmidhuber 1997; Gers et al. 2000)."""
    i, f, g, o = sigmoid(p.i(x, h)), sigmoid(p.f(x, h)), tanh(p.g(x, h)), sigmoid(p.o(x, h))
    c = f * c + i * g
    return o * tanh(c), c


@cell(sizes={"h": "proj_size"}, bias="each")
def lstm_projected(x, h, c, p):
    """LSTM whose output is projected to a smaller size (Sak et al. 2014), as torch.nn.LSTM's proj_size."""
    i, f, g, o = sigmoid(p.i(x, h)), sigmoid(p.f(x, h)), tanh(p.g(x, h)), sigmoid(p.o(x, h))
    c = f * c + i * g
    return p.hr(o * tanh(c), bias=False), c


@cell
def peephole(x, h, c, p):
    """LSTM whose gates see the memory cell (Gers & Schmidhuber 2000; Gers et al. 2002)."""
    i, f = sigmoid(p.i(x, h) + p.ci() * c), sigmoid(p.f(x, h) + p.cf() * c)
    c = f * c + i * tanh(p.g(x, h))
    o = sigmoid(p.o(x, h) + p.co() * c)
    return o * tanh(c), c
