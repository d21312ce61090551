"""One step from Python, and tokens a second: microseconds of a step of batch 1, beside torch's cells and onnxruntime.

python benchmarks/step.py [--save docs/step.json]
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

import elman

TURNS, ROUNDS = 2000, 7


def microseconds(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The median of each over rounds that take turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            start = time.perf_counter()
            for _ in range(TURNS):
                call()
            times[name].append((time.perf_counter() - start) / TURNS * 1e6)
    return {name: round(statistics.median(found), 2) for name, found in times.items()}


def of_a_cell(cell: str, hidden: int) -> dict[str, float]:
    """Elman, torch's cell under no_grad, and onnxruntime on a model of one step."""
    layer = elman.Recurrent(cell, 1, hidden).eval()
    step, number = layer.stepper(), np.full((1, 1), 0.3, np.float32)
    calls: dict[str, Callable[[], object]] = {"elman": lambda: step(number)}
    twin = {"lstm": torch.nn.LSTMCell, "gru": torch.nn.GRUCell}[cell](1, hidden).eval()
    x = torch.full((1, 1), 0.3)
    state = (torch.zeros(1, hidden),) * 2 if cell == "lstm" else torch.zeros(1, hidden)
    calls["torch cell"] = lambda: twin(x, state)
    with suppress(ImportError):
        calls["onnxruntime"] = in_onnx(cell, hidden)
    with torch.no_grad():
        return microseconds(calls)


def in_onnx(cell: str, hidden: int) -> Callable[[], object]:
    """onnxruntime on one step of the same kind of network."""
    import onnxruntime
    from onnx import helper

    from elman.export.onnx_graph import IR, OPSET, Graph
    from elman.export.onnx_layer import state_sizes, write_layer

    layer, graph = elman.Recurrent(cell, 1, hidden).eval(), Graph()
    sizes = state_sizes(layer)
    y, finals = write_layer(graph, layer, "x", {name: name for name in sizes})
    names = [graph.called(y, "y"), *(graph.called(value, f"{name}_out") for name, value in finals.items())]
    inputs = [helper.make_tensor_value_info("x", 1, [1, 1, 1])]
    inputs += [helper.make_tensor_value_info(name, 1, [1, size]) for name, size in sizes.items()]
    outputs = [helper.make_tensor_value_info(name, 1, None) for name in names]
    made = helper.make_graph(graph.nodes, "step", inputs, outputs, list(graph.constants.values()))
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    fed = {"x": np.full((1, 1, 1), 0.3, np.float32)}
    fed |= {name: np.zeros((1, size), np.float32) for name, size in sizes.items()}
    return lambda: session.run(None, fed)


def tokens_a_second() -> dict[str, float]:
    """Of a text model of two LSTMs of 256, one text, temperature 1."""
    from elman.jobs import Generator

    text = " ".join(f"{a} times {b} is {a * b}." for a in range(60) for b in range(40)).encode()
    generator = Generator("lstm", hidden=256, layers=2, dropout=0, epochs=1, max_time=5, split=(100, 0, 0))
    generator.fit(text)
    generator.generate("1", length=50)
    found = {}
    for length in (200, 2000):
        times = []
        for _ in range(5):
            start = time.perf_counter()
            generator.generate("1", length=length)
            times.append(length / (time.perf_counter() - start))
        found[f"length {length}"] = round(statistics.median(times))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = {
        "machine": {"processor": platform.processor() or platform.machine(), "torch": torch.__version__},
        "microseconds": {f"{c} {h}": of_a_cell(c, h) for c in ("gru", "lstm") for h in (8, 16, 32, 64, 256)},
        "tokens a second": tokens_a_second(),
    }
    print(json.dumps(found, indent=1))
    if args.save:
        args.save.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
