"""A page about a network of one's own: which steps does it add? Two of 30 numbers are marked, the answer is their sum.

`elman explain` does this for a run; a layer in a model of one's own needs only the sequence it reads, and what follows
it as functions: the number asked about, and the loss. With 200 for 30 and an LSTM it takes half a minute.
"""

import torch

import elman
from elman import report

T, H = 30, 32
torch.manual_seed(0)


def draw(rows):
    """Numbers and marks (T, B, 2), one mark in each half, and the sums (B,)."""
    numbers, marks = torch.rand(T, rows), torch.zeros(T, rows)
    for start in (0, T // 2):
        marks[start + torch.randint(T // 2, (rows,)), torch.arange(rows)] = 1
    return torch.stack([numbers, marks], 2), (numbers * marks).sum(0)


layer, head = elman.Recurrent("gru", 2, H, init="orthogonal"), torch.nn.Linear(H, 1)
parameters = [*layer.parameters(), *head.parameters()]
optimizer = torch.optim.Adam(parameters, 0.01)
for _ in range(600):
    x, sums = draw(32)
    loss = ((head(layer(x)[0][-1])[:, 0] - sums) ** 2).mean()
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()

x, (target,) = draw(1)
chosen = report.Sample.of(
    layer, x,
    output=lambda y: head(y[-1]),  # what is asked about
    loss=lambda y: (head(y[-1]) - target) ** 2,
    what="thirty numbers, two of them marked", question="the sum",
    labels=[f"{number:.2f}{' marked' * bool(mark)}" for number, mark in x[:, 0]],
)  # fmt: skip
explanation = report.compare(report.explain(chosen), {"rnn": "rnn"})
page = report.write_page("adding.html", explanation, title="The adding problem")
print("\n".join(report.lines(explanation.facts)))
print(f"the page: {page}")

mass = torch.tensor(explanation.facts["attribution"]["mass"])[x[:, 0, 1] > 0].sum()
print(f"{mass:.0%} of the answer comes from the two marked steps; the sum is {target:.2f}")
assert mass > 0.8
