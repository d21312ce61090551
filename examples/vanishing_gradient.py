"""Why a plain network forgets: what each step back does to a gradient, and what comes of it for the weights.

The gradient of the loss at step t towards the state at step k is a product of t - k Jacobians W' diag(f'). Small
weights make it fade. Large ones make it burst, unless the activation saturates: tanh with W = 1.5 I settles where its
slope is small and fades too; with a large W that turns the state it never settles, and bursts.
"""

import torch

import elman
from elman.insight import gradient_flow, gradient_shares, verdict

T, H = 100, 32
torch.manual_seed(0)
x = torch.randn(T, 1, 2)


def network(cell, scale=1.0, init="orthogonal", **options):
    """Recurrent weights that turn and stretch by ``scale``: at 1, a linear network would keep every gradient."""
    layer = elman.Recurrent(cell, 2, H, init=init, **options)
    for name, weight in layer.named_parameters():
        if name.startswith("weight_hh"):
            weight.data.mul_(scale)
    return layer


networks = {
    "tanh, W small (0.5)": network("rnn", 0.5),
    "tanh, W orthogonal": network("rnn"),
    "tanh, W large (1.5 I)": network("rnn", 1.5, init="identity"),
    "tanh, W large (3)": network("rnn", 3.0),
    "relu, W small (0.5)": network("rnn", 0.5, nonlinearity="relu"),
    "relu, W identity": network("rnn", nonlinearity="relu", init="identity"),
    "relu, W large (3)": network("rnn", 3.0, nonlinearity="relu"),
    "linear, W large (1.5)": network("rnn", 1.5, nonlinearity="identity"),
    "LSTM, forget bias 5": network("lstm", init="torch", forget_bias=5.0),
}
found = {}
print(f"{'gradient, steps back:':24}{'1':>9}{'10':>9}{'50':>9}   from 10   (of dL/dW)")
for name, layer in networks.items():
    fades, shares = gradient_flow(layer, x).by_distance(), gradient_shares(layer, x, within=[10])
    words = verdict(layer, x)
    found[name] = words.word, fades / fades[0], shares
    steps = "".join(f"{fades[d] / fades[0]:9.1e}" for d in (1, 10, 50))
    print(f"{name:24}{steps} {shares.projected()[0]:9.1%}   {words.word}, rate {words.rate:.2f}")

assert found["tanh, W small (0.5)"][0] == found["relu, W small (0.5)"][0] == "vanishing"
assert found["tanh, W large (1.5 I)"][0] == "vanishing"
assert found["relu, W large (3)"][0] == found["linear, W large (1.5)"][0] == "exploding"
assert found["LSTM, forget bias 5"][0] == found["relu, W identity"][0] == "healthy"

# The total gradient does not vanish: its near terms are there. But they are all there is of it.
word, fades, shares = found["tanh, W small (0.5)"]
whole = torch.cat([part[-1].flatten() for part in shares.parts.values()]).norm()
print(f"tanh, W small: ||dL/dW|| is {whole:.3g}, {shares.projected()[0]:.4%} of it from the last 10 steps of {T}")
assert whole > 1
assert shares.projected()[0] > 0.999
assert fades[50] < 1e-12
