"""A cell of one's own: the minimal gated unit (Zhou et al. 2016), as its equations, then in every layer.

Also for the command line: elman train forecast wave:sine --cell examples/own_cell.py:mgu
"""

import torch

import elman
from elman.equations import equations, sigmoid, tanh


@elman.cell
def mgu(x, h, p):
    """Minimal gated unit (Zhou et al. 2016)."""
    f = sigmoid(p.f(x, h))
    n = tanh(p.n(x, f * h))
    return (1 - f) * h + f * n


if __name__ == "__main__":
    print("\n".join(equations(mgu.program())))
    layer = elman.Recurrent(mgu, input_size=3, hidden_size=8, num_layers=2, bidirectional=True)
    sequences = [torch.randn(5, 3), torch.randn(2, 3), torch.randn(9, 3)]  # any lengths, no padding to think of
    outputs, state = layer(sequences)
    print([tuple(o.shape) for o in outputs], tuple(state.shape))
    assert [len(o) for o in outputs] == [5, 2, 9]
    assert state.shape == (4, 3, 8)
