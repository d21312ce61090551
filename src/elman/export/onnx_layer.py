"""A recurrent layer as ONNX: the standard's own LSTM, GRU or RNN where the cell is one of them, else a Scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from elman.backends import Call
from elman.backends.fused.kernel import weights_of
from elman.backends.fused.recognise import Network, recognise
from elman.export.onnx_graph import Graph, Steps
from elman.layers import Recurrent
from elman.layers.flat import flat_layer
from elman.stepping import Flat

# Where ONNX wants torch's gates (lstm: i, f, g, o as i, o, f, c; gru: r, z, n as z, r, h).
GATES = {"rnn_tanh": (0,), "rnn_relu": (0,), "gru": (1, 0, 2), "lstm": (0, 3, 1, 2)}
OPERATORS = {"rnn_tanh": "RNN", "rnn_relu": "RNN", "gru": "GRU", "lstm": "LSTM"}
MERGES = {"concat": "Concat", "sum": "Add", "mean": "Mean", "product": "Mul", "max": "Max"}


def state_names(layer: Recurrent) -> list[list[list[str]]]:
    """The states by layer and direction: ``h_l0``, ``c_l0``, ``h_l0_reverse``, ..."""
    stack = layer.stack
    return [
        [
            [f"{state.name}_l{k}" + "_reverse" * d for state in layer.program.states]
            for d in range(stack.directions)
        ]
        for k in range(len(stack.sizes))
    ]  # fmt: skip


def state_sizes(layer: Recurrent) -> dict[str, int]:
    """The size of each of these states."""
    return {
        name: sizes[state.size]
        for sizes, directions in zip(layer.stack.sizes, state_names(layer), strict=True)
        for names in directions
        for name, state in zip(names, layer.program.states, strict=True)
    }


def initial_states(layer: Recurrent) -> dict[str, Any]:
    """What each of these states begins with, (n,) float32."""
    initial = {}
    for name, size in state_sizes(layer).items():
        begins = getattr(layer, f"initial_{name}", None)
        initial[name] = np.zeros(size, np.float32) if begins is None else begins.detach().float().cpu().numpy()
    return initial


def write_layer(
    graph: Graph,
    layer: Recurrent,
    x: str,
    states: Mapping[str, str],
    lengths: str | None = None,
    extras: Mapping[str, str] | None = None,
    mark: str = "",
) -> tuple[str, dict[str, str]]:
    """Write ``layer`` on ``x`` (T, B, I) from ``states`` (B, n) by name; its output (T, B, O) and final states by name.

    ``lengths`` (B,) int64 says how many steps of each row count; ``extras`` are the cell's further inputs (T, B, n).
    Constants of one ``mark`` are written once.
    """
    example = torch.zeros(1, 1, layer.input_size, dtype=next(iter(layer.parameters())).dtype)
    inputs = {e.name: example.new_zeros(1, 1, layer.stack.sizes[0][e.size]) for e in layer.program.extras}
    calls, _ = layer.calls(example, **inputs)
    stack, finals = layer.stack, dict[str, str]()
    if stack.residual and lengths:
        # The sum with a layer's output is the one place where x itself comes out again.
        x = graph.add("Where", valid_steps(graph, x, lengths), x, graph.constant(0.0))
    for k, names in enumerate(state_names(layer)):
        outputs = []
        for d, own in enumerate(names):
            call = calls[k][d]
            network = recognise(call.program)
            initial = [states[name] for name in own]
            if network is not None and network.kind in OPERATORS and not network.projection:
                output, final = _standard(graph, call, network, x, initial, lengths, f"{mark}l{k}_{d}_")
            else:
                output, final = _scan(
                    graph, flat_layer(layer, k, d), bool(d), x, initial, lengths, extras or {}, f"{mark}l{k}_{d}_"
                )
            outputs.append(output)
            finals |= dict(zip(own, final, strict=True))
        made = outputs[0]
        if stack.bidirectional:
            attributes = {"axis": -1} if stack.merge == "concat" else {}
            made = graph.add(MERGES[stack.merge], *outputs, **attributes)
        wide = stack.sizes[k][stack.program.output_size] * (2 if stack.bidirectional and stack.merge == "concat" else 1)
        same = stack.sizes[k]["input"] == wide
        x = graph.add("Add", x, made) if stack.residual and same else made
    return x, finals


def _standard(
    graph: Graph, call: Call, network: Network, x: str, states: Sequence[str], lengths: str | None, prefix: str
) -> tuple[str, list[str]]:
    """The standard's own node."""
    kind = network.kind
    order = GATES[kind]

    def gates(tensor: torch.Tensor) -> Any:
        chunks = tensor.detach().float().cpu().chunk(len(order))
        return torch.cat([chunks[g] for g in order])

    weights = weights_of(call, network)
    biases = weights[2:4] if len(weights) >= 4 else [torch.zeros(len(weights[0]))] * 2
    tensors = [gates(weights[0]), gates(weights[1]), torch.cat([gates(b) for b in biases])]
    names = [graph.constant(t.unsqueeze(0).numpy(), name=prefix + n) for t, n in zip(tensors, "WRB", strict=True)]
    first = graph.constant([0], np.int64)
    initial = [graph.add("Unsqueeze", state, first) for state in states]
    counts = graph.add("Cast", lengths, to=6) if lengths else ""
    options: dict[str, Any] = {
        "hidden_size": call.sizes["hidden"],
        "direction": "reverse" if call.reverse else "forward",
    }
    options |= {"linear_before_reset": 1} if kind == "gru" else {}
    options |= {"activations": ["Relu"]} if kind == "rnn_relu" else {}
    inputs = [x, *names, counts, *initial]
    output, *final = graph.add(OPERATORS[kind], *inputs, outputs=1 + len(states), **options)
    return graph.add("Squeeze", output, graph.constant([1], np.int64)), [
        graph.add("Squeeze", state, first) for state in final
    ]


def _scan(
    graph: Graph,
    flat: Flat,
    reverse: bool,
    x: str,
    states: Sequence[str],
    lengths: str | None,
    extras: Mapping[str, str],
    prefix: str,
) -> tuple[str, list[str]]:
    """A Scan over time. What no state reaches is computed for all steps before it."""
    from onnx import helper

    steps = Steps(graph, flat, prefix)
    rows = rows_of(graph, x, 1)
    inputs = {i: x if name == "x" else extras[name] for name, i in flat.inputs.items()}
    steps.take(inputs)
    every = set(range(len(flat.values)))
    steps.write(every - steps.recurrent, ahead=2)
    outside = dict(steps.values)
    needed = (
        {a for i in steps.recurrent for a in flat.values[i].args} | {flat.outputs["y"]} | {m.new for m in flat.memories}
    )
    scanned = [i for i in sorted(needed - steps.recurrent) if i in steps.stepwise]
    with graph.body() as nodes:
        ins = {i: graph.name("at") for i in scanned}
        olds = [graph.name(f"old_{m.name}") for m in flat.memories]
        steps.take(ins | {m.old: old for m, old in zip(flat.memories, olds, strict=True)})
        steps.write(steps.recurrent, ahead=1)
        news = [steps.whole(m.new, rows) for m in flat.memories]
        y = steps.whole(flat.outputs["y"], rows)
        time = graph.name("time")
        if lengths:
            on = graph.add("Unsqueeze", graph.add("Less", time, lengths), graph.constant([-1], np.int64))
            news = [graph.add("Where", on, new, old) for new, old in zip(news, olds, strict=True)]
            y = graph.add("Where", on, y, graph.constant(0.0))
        news = [graph.add("Identity", new) for new in news]
        y = graph.add("Identity", y)
    sizes = [m.size for m in flat.memories]
    body_in = [*map(_info, olds, sizes), *(_info(ins[i], flat.values[i].size) for i in scanned), _info(time, None, 7)]
    body_out = [*map(_info, news, sizes), _info(y, flat.values[flat.outputs["y"]].size)]
    body = helper.make_graph(nodes, f"{prefix}step", body_in, body_out)
    sequences = [outside[i].value for i in scanned]
    zero, one = graph.constant(0, np.int64), graph.constant(1, np.int64)
    length = graph.add("Squeeze", rows_of(graph, x, 0), graph.constant([0], np.int64))
    sequences.append(graph.add("Range", zero, length, one))
    count = len(sequences)
    made = graph.add(
        "Scan", *states, *sequences, outputs=len(states) + 1, body=body, num_scan_inputs=count,
        scan_input_directions=[int(reverse)] * count, scan_output_directions=[int(reverse)],
    )  # fmt: skip
    made = made if isinstance(made, list) else [made]
    return made[-1], made[:-1]


def valid_steps(graph: Graph, x: str, lengths: str) -> str:
    """Whether each step of ``x`` (T, B, ..) is there, (T, B, 1)."""
    zero, one = graph.constant(0, np.int64), graph.constant(1, np.int64)
    length = graph.add("Squeeze", rows_of(graph, x, 0), graph.constant([0], np.int64))
    times = graph.add("Unsqueeze", graph.add("Range", zero, length, one), graph.constant([1], np.int64))
    return graph.add("Unsqueeze", graph.add("Less", times, lengths), graph.constant([2], np.int64))


def rows_of(graph: Graph, x: str, axis: int) -> str:
    """The length of ``x`` along an axis, a tensor (1,)."""
    return graph.add("Gather", graph.add("Shape", x), graph.constant([axis], np.int64))


def _info(name: str, size: int | None, kind: int = 1) -> Any:
    from onnx import helper

    return helper.make_tensor_value_info(name, kind, [] if size is None else [None, size])
