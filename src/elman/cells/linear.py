"""Recurrences with no matrix product of the state: each unit by itself, everything costly before the loop."""

from elman.equations import cell, logsigmoid, sigmoid, tanh, where


@cell
def sru(x, c, p, *, v=True, alpha=1.0):
    """Simple recurrent unit (Lei et al. 2018, arXiv:1709.02755).

    When: long sequences where an LSTM is too slow; v=False makes the recurrence linear.

    The highway adds x brought to the hidden size by a matrix, as the authors' code does where the sizes differ; alpha
    is the paper's scale on it.
    """
    f, r = p.f(x), p.r(x)
    if v:
        f, r = f + p.vf() * c, r + p.vr() * c
    f, r = sigmoid(f), sigmoid(r)
    c = f * c + (1 - f) * p.c(x, bias=False)
    return r * c + (1 - r) * (alpha * p.x(x, bias=False)), c


@cell
def qrnn(x, c, p, *, pooling="fo"):
    """Quasi-recurrent network's pooling, f, fo or ifo (Bradbury et al. 2017, arXiv:1611.01576).

    When: text and audio, over convolutions of your own; the gates here see one step of x (width 1).
    """
    if pooling not in ("f", "fo", "ifo"):
        raise ValueError(f"pooling {pooling!r}; it is one of f, fo, ifo")
    z, f = tanh(p.z(x)), sigmoid(p.f(x))
    i = sigmoid(p.i(x)) if "i" in pooling else 1 - f
    c = f * c + i * z
    return (sigmoid(p.o(x)) * c, c) if "o" in pooling else c


@cell
def mingru(x, h, p, *, positive=False):
    """minGRU: a GRU whose gates see x alone (Feng et al. 2024, arXiv:2410.01201).

    When: thousands of steps; positive=True is the paper's second form, whose candidates are above 0.
    """
    z, n = sigmoid(p.z(x)), p.n(x)
    if positive:
        n = where(n >= 0, n + 0.5, sigmoid(n))
    return (1 - z) * h + z * n


@cell
def minlstm(x, h, p, *, positive=False):
    """minLSTM: forget and input gate see x alone and sum to 1 (Feng et al. 2024, arXiv:2410.01201).

    When: as minGRU, with a forget and an input gate of their own.

    f / (f + i) is written with logarithms, which hold where both gates are nearly 0.
    """
    f = sigmoid(logsigmoid(p.f(x)) - logsigmoid(p.i(x)))
    n = p.n(x)
    if positive:
        n = where(n >= 0, n + 0.5, sigmoid(n))
    return f * h + (1 - f) * n
