"""What gates change: an LSTM learns to carry one number over 40 steps of noise, and its gates show how."""

import torch

import elman
from elman.insight import activity, attribution, memory_by_gradient

T, H = 40, 16


def batch(rows):
    """Noise, and in the first step a mark beside the number to be said at the end."""
    x = torch.randn(T, rows, 2) * torch.tensor([1.0, 0.0])
    x[0, :, 1] = 1.0
    return x, x[0, :, 0]


def trained(cell, steps=300, **options):
    """A layer and a head that recall the first number; the loss of the last batches."""
    torch.manual_seed(0)
    layer, head = elman.Recurrent(cell, 2, H, **options), torch.nn.Linear(H, 1)
    parameters = [*layer.parameters(), *head.parameters()]
    optimizer, losses = torch.optim.Adam(parameters, 0.01), []
    for _ in range(steps):
        x, target = batch(64)
        loss = ((head(layer(x)[0][-1])[:, 0] - target) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        losses.append(loss.item())
    return layer, head, sum(losses[-20:]) / 20


rnn, rnn_head, rnn_loss = trained("rnn")
lstm, lstm_head, lstm_loss = trained("lstm", forget_bias=3.0)
x, target = batch(32)
for name, layer, head, loss in (("RNN", rnn, rnn_head, rnn_loss), ("LSTM", lstm, lstm_head, lstm_loss)):
    mass = attribution(layer, x, lambda y, head=head: head(y[-1])[:, 0]).mass[0].mean()
    reach = memory_by_gradient(layer, x).length
    print(f"{name:5} loss {loss:.3f}; memory of {reach} steps; {mass:.0%} of its answer is from the marked step")
assert lstm_loss < 0.1 < 0.5 < rnn_loss  # guessing 0 would cost 1

values = activity(lstm, x)[0][0]
print("\ngate     mean at the mark   mean after   saturated   stuck units   dead units")
for name in ("i", "f", "o"):
    gate = values[name]
    at, after = gate.values[0].mean(), gate.values[1:].mean()
    print(f"{name:8} {at:16.2f} {after:12.2f} {gate.saturated:11.0%} {len(gate.stuck):13} {len(gate.dead):12}")

# The forget gate keeps what the input gate let in, which is open at the mark and shut against the noise.
i, f = values["i"].values, values["f"].values
carries = (i[0].mean(0) - i[1:].mean((0, 1))).argmax()
print(f"\nunit {carries} carries: its input gate is {i[0, :, carries].mean():.2f} at the mark and", end=" ")
print(f"{i[1:, :, carries].mean():.2f} after it, its forget gate {f[1:, :, carries].mean():.2f}")
assert i[0, :, carries].mean() > 2 * i[1:, :, carries].mean()
assert f[1:, :, carries].mean() > 0.9
