"""The peers that only infer: onnxruntime and OpenVINO, on a model of one ONNX RNN, GRU or LSTM node."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch

from elman.bench.cases import Work

# Where ONNX wants torch's gates (lstm: i, f, g, o as i, o, f, c; gru: r, z, n as z, r, h).
GATES = {"rnn": (0,), "gru": (1, 0, 2), "lstm": (0, 3, 1, 2)}


def model(work: Work) -> Any:
    """The case as an ONNX model, from x (T, B, I) to y (T, 1, B, H)."""
    from onnx import TensorProto, helper, numpy_helper

    B, T, I, H = work.shape.B, work.shape.T, work.shape.I, work.shape.H
    weights = work.weights()
    biases = torch.cat([_reordered(work.cell, weights[name]) for name in ("bias_ih", "bias_hh")])
    tensors = {
        "W": _reordered(work.cell, weights["weight_ih"]),
        "R": _reordered(work.cell, weights["weight_hh"]),
        "B": biases,
    }
    # torch's GRU resets after the product.
    options: dict[str, Any] = {"linear_before_reset": 1} if work.cell == "gru" else {}
    node = helper.make_node(work.cell.upper(), ["x", "W", "R", "B"], ["y"], hidden_size=H, **options)
    graph = helper.make_graph(
        [node],
        work.cell,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [T, B, I])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [T, 1, B, H])],
        [numpy_helper.from_array(tensor.unsqueeze(0).numpy(), name) for name, tensor in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _reordered(cell: str, tensor: torch.Tensor) -> torch.Tensor:
    gates = tensor.chunk(len(GATES[cell]))
    return torch.cat([gates[k] for k in GATES[cell]]).contiguous()


def _stands_aside(work: Work) -> str | None:
    if work.backward:
        return "only infers"
    return None if work.cell in GATES else "has no such cell"


def onnxruntime(work: Work) -> Callable[[], tuple[Any, ...]] | str:
    """onnxruntime's CPU provider, on as many threads as torch."""
    if reason := _stands_aside(work):
        return reason
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    session = onnxruntime.InferenceSession(model(work).SerializeToString(), options, providers=["CPUExecutionProvider"])
    x = work.x.numpy()
    return lambda: (session.run(None, {"x": x})[0][:, 0],)


def openvino(work: Work) -> Callable[[], tuple[Any, ...]] | str:
    """OpenVINO's CPU plugin, on as many threads as torch, in float32 and set for one request at a time."""
    if reason := _stands_aside(work):
        return reason
    # Importing it would fork this process to report the use to its vendor; without this module it does not.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    core = openvino.Core()
    settings = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
        # Where the processor has bfloat16 the plugin would take that.
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = core.compile_model(
        core.read_model(model(work).SerializeToString()), "CPU", settings
    ).create_infer_request()
    x = work.x.numpy()
    return lambda: (request.infer({"x": x}, share_inputs=True, share_outputs=True)[0][:, 0],)
