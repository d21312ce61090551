"""Cells that a search found."""

from elman.equations import cell, relu, sigmoid, tanh


@cell
def nas(x, h, c, p):
    """The cell that neural architecture search found (Zoph & Le 2017, arXiv:1611.01578), as in TensorFlow.

    When: language models at a fixed number of weights, if eight products a step are affordable.
    """
    a, b = sigmoid(p.a(x, h)), relu(p.b(x, h))
    d, e = sigmoid(p.d(x, h)), relu(p.ex(x, bias=False) * p.eh(h))
    f, g = tanh(p.f(x, h)), sigmoid(p.g(x, h))
    k, l = tanh(p.k(x, h)), sigmoid(p.l(x, h))
    c = tanh(tanh(a * b) + c) * tanh(d + e)
    return tanh(c * tanh(tanh(f * g) + sigmoid(k + l))), c
