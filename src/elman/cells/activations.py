"""The activations that cells offer by name."""

from elman.equations import identity, relu, sigmoid, silu, tanh


def lecun(a):
    """1.7159 tanh(2 a / 3): variance 1 goes in and comes out (LeCun et al. 1998)."""
    return 1.7159 * tanh(2 / 3 * a)


ACTIVATIONS = {"tanh": tanh, "relu": relu, "sigmoid": sigmoid, "identity": identity, "silu": silu, "lecun": lecun}


def activation(name, known=ACTIVATIONS):
    """The activation of that name; raises ValueError with the known ones where there is none."""
    if name not in known:
        raise ValueError(f"nonlinearity {name!r}; it is one of {', '.join(known)}")
    return known[name]
