"""Who is measured: Elman, and what people use instead. A file a library, each imported when it is measured.

A peer takes the case's :class:`Work` and returns what runs it once, or a text: why it stands aside. What runs returns
arrays or tensors: the output (T, B, O) and, with a backward pass, the gradient of x (T, B, I) after it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from elman.bench.cases import Work
from elman.bench.onnx_model import onnxruntime, openvino
from elman.bench.scan import scan
from elman.layers import Recurrent

Run = Callable[[], tuple[Any, ...]]
Peer = Callable[[Work], Run | str]

NO_COUNTERPART = "has no such cell"


def elman(work: Work) -> Run | str:
    """The layer of the case itself."""
    return _in_torch(lambda x: work.layer(x, **work.extras)[0], list(work.layer.parameters()), work)


def reference(work: Work) -> Run | str:
    """The cell step by step in torch's operations, as Elman's own reference runs it: the products of x are hoisted."""
    layer = Recurrent(work.cell, work.shape.I, work.shape.H, backend="reference", **work.options)
    layer.load_state_dict(work.layer.state_dict())
    return _in_torch(lambda x: layer(x, **work.extras)[0], list(layer.parameters()), work)


def torch_layer(work: Work) -> Run | str:
    """``torch.nn.RNN``, ``GRU`` or ``LSTM``."""
    if work.cell not in THREE:
        return NO_COUNTERPART
    layer = getattr(nn, work.cell.upper())(work.shape.I, work.shape.H)
    layer.load_state_dict(work.layer.state_dict())
    return _in_torch(lambda x: layer(x)[0], list(layer.parameters()), work)


def torch_loop(work: Work) -> Run | str:
    """A loop over ``torch.nn.RNNCell``, ``GRUCell`` or ``LSTMCell``, as a person writes it."""
    if work.cell not in THREE:
        return NO_COUNTERPART
    cell = getattr(nn, work.cell.upper() + "Cell")(work.shape.I, work.shape.H)
    cell.load_state_dict(work.weights())

    def loop(x: Tensor) -> Tensor:
        state, outputs = None, []
        for step in x:
            state = cell(step, state)
            outputs.append(state[0] if isinstance(state, tuple) else state)
        return torch.stack(outputs)

    return _in_torch(loop, list(cell.parameters()), work)


def _in_torch(forward: Callable[[Tensor], Tensor], weights: list[Tensor], work: Work) -> Run:
    x = work.x.clone().requires_grad_(work.backward)
    leaves = [x, *weights]

    def infer() -> tuple[Tensor, ...]:
        with torch.inference_mode():
            return (forward(x),)

    def train() -> tuple[Tensor, ...]:
        output = forward(x)
        gradients = torch.autograd.grad(output, leaves, work.cotangent, allow_unused=True)
        return output, gradients[0]

    return train if work.backward else infer


THREE = ("rnn", "gru", "lstm")
OURS, LOOP = "elman", "reference loop"
PEERS: Mapping[str, Peer] = {
    OURS: elman,
    "torch.nn": torch_layer,
    "torch loop": torch_loop,
    LOOP: reference,
    "jax scan": scan,
    "onnxruntime": onnxruntime,
    "openvino": openvino,
}
# Modules that a peer needs beside torch: the extra `elman[bench]`.
NEEDS = {"jax scan": ("jax",), "onnxruntime": ("onnx", "onnxruntime"), "openvino": ("onnx", "openvino")}


def missing(name: str) -> str | None:
    """Which module a peer lacks, worded, or None.

    >>> missing("torch.nn") is None
    True
    """
    lacking = [module for module in NEEDS.get(name, ()) if importlib.util.find_spec(module) is None]
    return f"{' and '.join(lacking)} not installed: pip install 'elman[bench]'" if lacking else None
