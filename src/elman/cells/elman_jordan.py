"""The plain recurrent networks: one nonlinearity, no gate."""

from elman.cells.activations import activation
from elman.equations import cell, sigmoid


@cell(bias="each")
def rnn(x, h, p, *, nonlinearity="tanh"):
    """Simple recurrent network (Elman 1990, Finding structure in time).

    When: short memory is enough, or as the baseline that a gate must beat.
    """
    return activation(nonlinearity)(p.h(x, h))


@cell(sizes={"y": "output_size"})
def jordan(x, y, p, *, nonlinearity="tanh", output="identity"):
    """Jordan network: the output is what is fed back (Jordan 1986, Serial order).

    When: the past output is the state of the thing modelled, as in control and in autoregression.
    """
    h = activation(nonlinearity)(p.h(x, y))
    return activation(output)(p.y(h))


@cell
def indrnn(x, h, p, *, nonlinearity="relu"):
    """Independently recurrent network: each unit sees its own past alone (Li et al. 2018, arXiv:1803.04831).

    When: very long sequences and deep stacks; a layer mixes its units only through the layer above.
    """
    return activation(nonlinearity)(p.h(x) + p.u() * h)


@cell(sizes={"s": "context_size"})
def scrn(x, h, s, p, *, alpha=0.95):
    """Structurally constrained network: a slow context beside the hidden units (Mikolov et al. 2015, arXiv:1412.7753).

    When: topics change slowly and words fast; the context s holds about 1 / (1 - alpha) steps.

    The output is the paper's before its softmax, which belongs to the task; its size is ``output_size``.
    """
    s = (1 - alpha) * p.s(x, bias=False) + alpha * s
    h = sigmoid(p.h(x, h, s))
    return p.y(h, s, size="output_size"), h, s
