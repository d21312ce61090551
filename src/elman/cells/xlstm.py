"""The scalar memory of the extended LSTM."""

from elman.equations import blocks, cell, eq, exp, logsigmoid, maximum, minimum, sigmoid, tanh, where


@cell
def slstm(x, h, c, n, m, p, *, heads=1):
    """sLSTM: exponential gates, a normaliser n and a stabiliser m (Beck et al. 2024, arXiv:2405.04517).

    When: a memory must be revised by something stronger that comes later; units mix within each of the ``heads``.

    m only holds the exponents in range. A normaliser of 0 is one that has seen nothing: then m begins at the input
    gate, as in the authors' code, and never after is n below 1. Only then can the exponent of f be above 0.
    """
    h = blocks(h, heads)
    a, b, z, o = p.i(x, h), logsigmoid(p.f(x, h)), tanh(p.z(x, h)), sigmoid(p.o(x, h))
    top = where(eq(n, 0.0), a, maximum(b + m, a))
    i, f = exp(a - top), exp(minimum(b + m - top, 0.0))
    c, n = f * c + i * z, f * n + i
    return o * (c / n), c, n, top
