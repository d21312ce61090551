"""A packed batch of sequences of 500 to 1000 steps: elman's layers against torch.nn's, forward and backward."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import elman
from elman.bench import interleave, ratio


def packed(batch: int, shortest: int, longest: int, width: int) -> PackedSequence:
    """Random sequences (T, B, I) of random lengths, packed."""
    lengths = torch.randint(shortest, longest + 1, (batch,))
    lengths[0] = longest
    return pack_padded_sequence(torch.randn(longest, batch, width), lengths, enforce_sorted=False)


def training_step(layer: nn.Module, sequence: PackedSequence, cotangent: Tensor) -> Callable[[], Any]:
    """What runs forward, then backward to the weights and the input."""
    data = sequence.data.clone().requires_grad_()
    x = PackedSequence(data, *sequence[1:])
    leaves = [data, *layer.parameters()]
    return lambda: torch.autograd.grad(layer(x)[0].data, leaves, cotangent)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cell", choices=("RNN", "GRU", "LSTM"), default="LSTM")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--shortest", type=int, default=500)
    parser.add_argument("--longest", type=int, default=1000)
    parser.add_argument("--input", type=int, default=64)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.manual_seed(0)
    sequence = packed(options.batch, options.shortest, options.longest, options.input)
    cotangent = torch.randn(len(sequence.data), options.hidden)
    layers = {
        "elman": getattr(elman, options.cell)(options.input, options.hidden),
        "torch.nn": getattr(nn, options.cell)(options.input, options.hidden),
    }
    layers["torch.nn"].load_state_dict(layers["elman"].state_dict())
    runs = {name: training_step(layer, sequence, cotangent) for name, layer in layers.items()}
    (ours, theirs) = (run()[0] for run in runs.values())
    error = float((ours - theirs).abs().max() / theirs.abs().max())
    times = interleave(runs, options.rounds)
    for name, seconds in times.items():
        print(f"{name:10}{1e3 * median(seconds):10.2f} ms")
    print(f"ratio     {ratio(times['torch.nn'], times['elman']):10.2f}   (largest relative difference {error:.1e})")


if __name__ == "__main__":
    main()
