"""The network every tutorial computes by hand: all weights 1, no bias, identity activation, state 0.

Inputs [1, 1], [1, 1], [2, 2] give the outputs [4, 4], [12, 12], [32, 32].
"""

import torch

import elman
from elman.equations import identity


@elman.cell
def by_hand(x, h, p):
    h = identity(p.h(x, h))  # h_t = W x_t + U h_{t-1}
    return p.y(h, size="output_size"), h  # y_t = V h_t


layer = elman.Recurrent(by_hand, input_size=2, hidden_size=2, output_size=2, bias=False)
for parameter in layer.parameters():
    torch.nn.init.ones_(parameter)

x = torch.tensor([[1.0, 1.0], [1.0, 1.0], [2.0, 2.0]])  # (T, I)
output, state = layer(x)
print(output.tolist())
assert output.tolist() == [[4.0, 4.0], [12.0, 12.0], [32.0, 32.0]]
