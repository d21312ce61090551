"""The plain recurrent networks: Elman's feeds its hidden state back, Jordan's its output."""

from elman.equations import cell, identity, relu, sigmoid, tanh

ACTIVATIONS = {"tanh": tanh, "relu": relu, "sigmoid": sigmoid, "identity": identity}


def activation(name, known=ACTIVATIONS):
    """The activation of that name; raises ValueError with the known ones where there is none."""
    if name not in known:
        raise ValueError(f"nonlinearity {name!r}; it is one of {', '.join(known)}")
    return known[name]


@cell(bias="each")
def rnn(x, h, p, *, nonlinearity="tanh"):
    """Simple recurrent network (Elman 1990, Finding structure in time)."""
    return activation(nonlinearity)(p.h(x, h))


@cell(sizes={"y": "output_size"})
def jordan(x, y, p, *, nonlinearity="tanh", output="identity"):
    """Jordan network: the output is what is fed back (Jordan 1986, Serial order)."""
    h = activation(nonlinearity)(p.h(x, y))
    return activation(output)(p.y(h))
