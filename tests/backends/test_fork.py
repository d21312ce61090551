"""After fork, and from many threads at once, a layer gives what it gives alone."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import elman

CHILD = """
import os, sys, torch, elman
torch.set_num_threads(2)
torch.manual_seed(0)
cell = sys.argv[1]
layer = elman.Recurrent(cell, 64, 256)
x = torch.randn(20, 64, 64)

def run():
    layer.zero_grad()
    output, _ = layer(x)
    output.square().sum().backward()
    return torch.cat([output.detach().flatten(), *(p.grad.flatten() for p in layer.parameters())])

before = run()            # OpenMP's threads exist now
child = os.fork()
if child == 0:
    after = run()
    same = torch.allclose(before, after, rtol=1e-3, atol=1e-3)
    os._exit(0 if same and torch.get_num_threads() == 1 else 7)
_, status = os.waitpid(child, 0)
assert torch.get_num_threads() == 2
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.full
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize("cell", ["lstm", "gru_cho"])
def test_a_forked_child_runs_on_one_thread_and_does_not_hang(cell):
    done = subprocess.run([sys.executable, "-c", CHILD, cell], timeout=120, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("cell", ["lstm", "gru", "gru_cho"])
def test_many_threads_call_one_layer(cell):
    torch.manual_seed(0)
    layer = elman.Recurrent(cell, 3, 8, num_layers=2)
    inputs = [torch.randn(9, 4, 3, requires_grad=True) for _ in range(16)]

    def run(x):
        output, _ = layer(x)
        return output, torch.autograd.grad(output.square().sum(), x)[0]

    alone = [run(x) for x in inputs]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(run, inputs))
    for (a, ga), (b, gb) in zip(alone, together, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(ga, gb)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru", "gru_cho"])
def test_a_retained_graph_gives_equal_bits_twice(cell):
    layer = elman.Recurrent(cell, 3, 8, bidirectional=True)
    x = torch.randn(9, 4, 3, requires_grad=True)
    output, _ = layer(x, lengths=[9, 3, 1, 0])
    wanted = [x, *layer.parameters()]
    first = torch.autograd.grad(output.square().sum(), wanted, retain_graph=True)
    second = torch.autograd.grad(output.square().sum(), wanted)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("part", [0, 1, 2])
def test_the_gradient_of_one_output_alone(part):
    torch.manual_seed(0)
    ours, theirs = elman.LSTM(3, 5, 2).double(), torch.nn.LSTM(3, 5, 2).double()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(7, 4, 3, dtype=torch.float64)
    for layer in (ours, theirs):
        output, (h, c) = layer(x)
        (output, h, c)[part].square().sum().backward()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a.grad, b.grad, rtol=1e-9, atol=1e-12)
