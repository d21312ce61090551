"""A trained model as ONNX: of a whole sequence, and of one step."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from elman.errors import ExportError
from elman.export.onnx_graph import IR, OPSET, Graph, Steps
from elman.export.onnx_layer import initial_states, rows_of, state_sizes, valid_steps, write_layer
from elman.stepping.model import Model, Part, Standing

FLOAT, INT64, DOUBLE = 1, 7, 11


def sequence_model(model: Model) -> Any:
    """The model of whole sequences, of any number and length.

    A forecast: ``values`` (B, T, C) double, of which the last ``context`` count, to ``forecast`` (B, K, C); of a
    network that carries its state, states (B, n) beside, in and out. A text: ``symbols`` (T, B) int64 and the states to
    ``scores`` (T, B, V) and the states. A class: ``values`` (B, T, C) double or ``symbols`` (T, B), of several runs
    (T, B, N), and ``lengths`` (B,) to ``probabilities`` (B, K).
    """
    w = _Written(model)
    if model.task == "forecast":
        w.forecast()
    elif model.classes:
        w.classes()
    else:
        w.text()
    return w.made("sequence")


def step_model(model: Model) -> Any:
    """The model of one step: ``x`` (B, C), scaled values, or ``symbol`` (B,), and the states (B, n), to the result and
    the states. Raises :class:`ExportError` for a network without a step.
    """
    if len(model.networks) != 1:
        what = "a line alone has" if not model.networks else "an ensemble has"
        raise ExportError(f"{what} no single step; its whole sequence can be exported")
    w = _Written(model)
    flat, graph = model.networks[0], w.graph
    steps = Steps(graph, flat)
    sizes = {m.name: m.size for m in flat.memories}
    for name, i in flat.inputs.items():
        value = flat.values[i]
        w.input(name, ["B", value.size] if value.op == "input" else ["B"], FLOAT if value.op == "input" else INT64)
        steps.take({i: name})
    for memory in flat.memories:
        w.input(memory.name, ["B", memory.size])
        steps.take({memory.old: memory.name})
    steps.write(set(range(len(flat.values))), ahead=1)
    rows = rows_of(graph, next(iter(flat.inputs)), 0)
    for name, i in flat.outputs.items():
        w.output(name, steps.whole(i, rows), ["B", flat.values[i].size])
    for memory in flat.memories:
        w.output(f"{memory.name}_out", steps.whole(memory.new, rows), ["B", sizes[memory.name]])
    return w.made("step")


class _Written:
    def __init__(self, model: Model) -> None:
        self.model, self.graph = model, Graph()
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []

    def input(self, name: str, shape: Sequence[Any], kind: int = FLOAT) -> str:
        from onnx import helper

        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, name: str, value: str, shape: Sequence[Any], kind: int = FLOAT) -> None:
        from onnx import helper

        self.graph.called(value, name)
        self.outputs.append(helper.make_tensor_value_info(name, kind, shape))

    def made(self, name: str) -> Any:
        """The model, checked."""
        import onnx
        from onnx import helper

        graph, constants = self.graph, list(self.graph.constants.values())
        made = helper.make_model(
            helper.make_graph(graph.nodes, f"{self.model.task}_{name}", self.inputs, self.outputs, constants),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR,
            producer_name="Elman",
        )
        facts: dict[str, Any] = {"task": self.model.task, "columns": self.model.columns, "classes": self.model.classes}
        facts |= {"context": self.model.context, "horizon": self.model.horizon, "tokens": self.model.tokens}
        helper.set_model_props(made, {key: json.dumps(value) for key, value in facts.items() if value})
        onnx.checker.check_model(made)
        return made

    # Pieces

    def number(self, value: Any, dtype: Any = np.float64) -> str:
        return self.graph.constant(value, dtype)

    def ints(self, *values: int) -> str:
        return self.graph.constant(list(values), np.int64)

    def affine(self, layer: Any, x: str) -> str:
        graph = self.graph
        made = graph.add("MatMul", x, graph.constant(layer.weight.detach().float().cpu().numpy().T))
        bias = layer.bias
        return made if bias is None else graph.add("Add", made, graph.constant(bias.detach().float().cpu().numpy()))

    def scaled(self, values: str) -> str:
        """Values (.., C) double as the network reads them, float."""
        graph, model = self.graph, self.model
        away = graph.add("Sub", values, self.number(model.shift))
        return graph.add("Cast", graph.add("Div", away, self.number(model.scale)), to=FLOAT)

    def last(self, x: str, axis: int, count: int) -> str:
        """The last ``count`` of an axis."""
        end = self.ints(np.iinfo(np.int64).max)
        return self.graph.add("Slice", x, self.ints(-count), end, self.ints(axis))

    def initial(self, part: Part, rows: str) -> dict[str, str]:
        """What the states begin with."""
        graph, initial = self.graph, {}
        for name, value in initial_states(part.recurrent).items():
            shape = graph.add("Concat", rows, self.ints(len(value)), axis=0)
            initial[name] = graph.add("Expand", graph.constant(value), shape)
        return initial

    def layer(
        self, part: Part, x: str, states: Mapping[str, str], lengths: str | None = None
    ) -> tuple[str, dict[str, str]]:
        if part.recurrent.program.extras:
            names = ", ".join(e.name for e in part.recurrent.program.extras)
            raise ExportError(f"a cell with further inputs ({names}) has no exported task; export its layer")
        mark = f"n{self.model.parts.index(part)}_"
        return write_layer(self.graph, part.recurrent, x, states, lengths, mark=mark)

    # The tasks

    def text(self) -> None:
        """Symbols to scores."""
        (part,) = self.model.parts
        x = self.embedded(part, self.input("symbols", ["T", "B"], INT64), len(self.model.tokens))
        sizes = state_sizes(part.recurrent)
        states = {name: self.input(name, ["B", size]) for name, size in sizes.items()}
        output, finals = self.layer(part, x, states)
        scores = self.affine(part.head, output)
        self.output("scores", scores, ["T", "B", len(self.model.tokens)])
        for name, value in finals.items():
            self.output(f"{name}_out", value, ["B", sizes[name]])

    def embedded(self, part: Part, symbols: str, count: int) -> str:
        weight = np.eye(count) if part.embedding is None else part.embedding.weight.detach().float().cpu().numpy()
        return self.graph.add("Gather", self.graph.constant(weight), symbols, axis=0)

    def classes(self) -> None:
        """Sequences to probabilities."""
        (part,) = self.model.parts
        graph, model = self.graph, self.model
        bagged = None
        if model.tokens:
            runs = part.bag is not None
            symbols = self.input("symbols", ["T", "B", *(["N"] if runs else [])], INT64)
            lengths = self.input("lengths", ["B"], INT64)
            first = symbols
            if runs:
                first = graph.add(
                    "Squeeze", graph.add("Slice", symbols, self.ints(0), self.ints(1), self.ints(2)), self.ints(2)
                )
                bagged = self.bagged(part, symbols, lengths)
            x = self.embedded(part, first, len(model.tokens))
        else:
            values = self.input("values", ["B", "T", len(model.columns)], DOUBLE)
            lengths = self.input("lengths", ["B"], INT64)
            x = graph.add("Transpose", self.scaled(values), perm=[1, 0, 2])
        states = self.initial(part, rows_of(graph, x, 1))
        output, _ = self.layer(part, x, states, lengths)
        logits = self.affine(part.head, self.pooled(part, output, lengths))
        if bagged is not None:
            logits = graph.add("Add", logits, bagged)
        cooled = graph.add(
            "Div", graph.add("Sub", logits, graph.constant(model.prior)), graph.constant(model.temperature)
        )
        self.output("probabilities", graph.add("Softmax", cooled, axis=-1), ["B", len(model.classes)])

    def bagged(self, part: Part, symbols: str, lengths: str) -> str:
        graph = self.graph
        known = graph.add("Not", graph.add("Equal", symbols, self.number(0, np.int64)))
        counted = graph.add("Cast", graph.add("And", known, valid_steps(graph, symbols, lengths)), to=FLOAT)
        table = graph.constant(part.bag.weight.detach().float().cpu().numpy())
        scores = graph.add(
            "Mul", graph.add("Gather", table, symbols, axis=0), graph.add("Unsqueeze", counted, self.ints(3))
        )
        return graph.add("ReduceSum", scores, self.ints(0, 2), keepdims=0)

    def pooled(self, part: Part, output: str, lengths: str) -> str:
        graph = self.graph
        valid = valid_steps(graph, output, lengths)
        if part.pooling == "last":
            return self.last_read(part, output, lengths)
        if part.pooling == "mean":
            count = graph.add("Unsqueeze", graph.add("Cast", lengths, to=FLOAT), self.ints(1))
            there = graph.add("Where", valid, output, graph.constant(0.0))
            return graph.add("Div", graph.add("ReduceSum", there, self.ints(0), keepdims=0), count)
        if part.pooling == "max":
            there = graph.add("Where", valid, output, graph.constant(-np.inf))
            return graph.add("ReduceMax", there, axes=[0], keepdims=0)
        scores = graph.add("Where", valid, self.affine(part.attention, output), graph.constant(-np.inf))
        weighed = graph.add(
            "Mul", graph.add("Softmax", scores, axis=0), graph.add("Where", valid, output, graph.constant(0.0))
        )
        return graph.add("ReduceSum", weighed, self.ints(0), keepdims=0)

    def last_read(self, part: Part, output: str, lengths: str) -> str:
        """What each direction read last."""
        graph, size = self.graph, part.recurrent.output_size
        rows = rows_of(graph, output, 1)
        ends = graph.add("Unsqueeze", graph.add("Sub", lengths, self.number(1, np.int64)), self.ints(0, 2))
        index = graph.add("Expand", ends, graph.add("Concat", self.ints(1), rows, self.ints(size), axis=0))
        last = graph.add("Squeeze", graph.add("GatherElements", output, index, axis=0), self.ints(0))
        if not part.recurrent.stack.bidirectional:
            return last
        first = graph.add("Squeeze", graph.add("Slice", output, self.ints(0), self.ints(1), self.ints(0)), self.ints(0))
        half = self.ints(size // 2)
        ahead = graph.add("Slice", last, self.ints(0), half, self.ints(1))
        back = graph.add("Slice", first, half, self.ints(size), self.ints(1))
        return graph.add("Concat", ahead, back, axis=1)

    # Forecasts

    def forecast(self) -> None:
        """Values to the next ones."""
        model, graph = self.model, self.graph
        count = len(model.columns)
        values = self.input("values", ["B", "T", count], DOUBLE)
        if not model.context:
            return self.carried(values)
        window, made, steps = values, list[str](), 0
        kept = model.context + model.differences
        while steps < model.horizon:
            window = self.last(window, 1, kept)
            part = self.at_once(window)
            made.append(part)
            steps += model.at_once
            window = graph.add("Concat", window, part, axis=1)
        whole = made[0] if len(made) == 1 else graph.add("Concat", *made, axis=1)
        whole = graph.add("Slice", whole, self.ints(0), self.ints(model.horizon), self.ints(1))
        self.output("forecast", whole, ["B", model.horizon, count], DOUBLE)
        return None

    def differences(self, values: str) -> str:
        """Each value less the one before, scaled; of the first value of all, 0."""
        graph, model = self.graph, self.model
        far = self.ints(np.iinfo(np.int64).max)
        later = graph.add("Slice", values, self.ints(1), far, self.ints(1))
        earlier = graph.add("Slice", values, self.ints(0), self.ints(-1), self.ints(1))
        steps = graph.add("Sub", later, earlier)
        first = graph.add("Slice", values, self.ints(0), self.ints(1), self.ints(1))
        whole = graph.add("Concat", graph.add("Sub", first, first), steps, axis=1)
        return graph.add("Cast", graph.add("Div", whole, self.number(model.scale)), to=FLOAT)

    def read_off(self, output: str, last: str, horizon: int) -> str:
        """The head's numbers (B, K C) as values (B, K, C) double, after ``last`` (B, 1, C)."""
        graph, model = self.graph, self.model
        shaped = graph.add("Reshape", output, self.ints(0, horizon, len(model.columns)))
        scaled = graph.add("Mul", graph.add("Cast", shaped, to=DOUBLE), self.number(model.scale))
        if not model.differences:
            return graph.add("Add", scaled, self.number(model.shift))
        return graph.add("Add", graph.add("CumSum", scaled, self.number(1, np.int64)), last)

    def carried(self, values: str) -> None:
        model, graph = self.model, self.graph
        if model.differences:
            raise ExportError(
                "a network that carries its state and reads differences has no exported sequence: the value before the "
                "first is not among its states; export its step"
            )
        (part,) = model.parts
        x = graph.add("Transpose", self.scaled(values), perm=[1, 0, 2])
        sizes = state_sizes(part.recurrent)
        states = {name: self.input(name, ["B", size]) for name, size in sizes.items()}
        output, finals = self.layer(part, x, states)
        ended = graph.add("Squeeze", self.last(output, 0, 1), self.ints(0))
        made = self.read_off(self.affine(part.head, ended), "", model.horizon)
        self.output("forecast", made, ["B", model.horizon, len(model.columns)], DOUBLE)
        for name, value in finals.items():
            self.output(f"{name}_out", value, ["B", sizes[name]])

    def at_once(self, window: str) -> str:
        """The next steps (B, K, C) double after a window (B, context, C)."""
        model, graph = self.model, self.graph
        if model.standing is not None:
            return self.on_line(window, model.standing)
        (part,) = model.parts
        z = self.differences(window) if model.differences else self.scaled(window)
        x = self.last(graph.add("Transpose", z, perm=[1, 0, 2]), 0, model.context)
        output, _ = self.layer(part, x, self.initial(part, rows_of(graph, x, 1)))
        ended = graph.add("Squeeze", self.last(output, 0, 1), self.ints(0))
        return self.read_off(self.affine(part.head, ended), self.last(window, 1, 1), model.at_once)

    def mapped(self, s: Standing, which: int, values: str) -> str:
        """A line's map of values (B, R, C): (B, K, C)."""
        made = self.graph.add("Einsum", self.number(s.weights[which]), values, equation="ckr,brc->bkc")
        return self.graph.add("Add", made, self.number(s.biases[which].T))

    def on_line(self, window: str, s: Standing) -> str:
        model, graph, columns = self.model, self.graph, len(self.model.columns)
        last = self.last(window, 1, s.weights.shape[3])
        line = graph.add("Mul", self.mapped(s, 0, last), self.number(s.share[0]))
        if s.share[1].any():
            logs = self.mapped(s, 1, graph.add("Log", graph.add("Max", last, self.number(s.floor))))
            grown = graph.add("Exp", graph.add("Min", logs, self.number(s.largest)))
            line = graph.add("Add", line, graph.add("Mul", grown, self.number(s.share[1])))
        if not model.parts:
            return line
        z = graph.add("Div", graph.add("Sub", window, self.number(model.shift)), self.number(model.scale))
        used = self.last(z, 1, model.steps * s.segment)
        level = self.last(used, 1, 1)
        away = graph.add("Sub", used, level)
        square = graph.add("ReduceMean", graph.add("Mul", away, away), axes=[1], keepdims=1)
        calm = self.number((s.spread_floor * s.spread) ** 2)
        spread = graph.add("Sqrt", graph.add("Add", square, calm))  # (B, 1, C)
        size = graph.add("Div", spread, self.number(s.spread))
        clipped = graph.add("Max", graph.add("Min", used, self.number(s.furthest)), self.number(-s.furthest))
        # (B, T, C) each, to (S, B C, segment)
        shape = self.ints(0, model.steps, s.segment, columns)
        cut = [
            graph.add("Transpose", graph.add("Reshape", v, shape), perm=[1, 0, 3, 2])
            for v in (graph.add("Div", away, spread), clipped)
        ]
        logs = graph.add("Unsqueeze", graph.add("Transpose", graph.add("Log", size), perm=[1, 0, 2]), self.ints(3))
        rows = rows_of(graph, window, 0)
        broad = graph.add("Concat", self.ints(model.steps), rows, self.ints(columns, 1), axis=0)
        joined = graph.add("Concat", *cut, graph.add("Expand", logs, broad), axis=3)
        x = graph.add("Reshape", joined, self.ints(model.steps, -1, 2 * s.segment + 1))
        x = graph.add("Cast", x, to=FLOAT)
        outputs = []
        for part in model.parts:
            output, _ = self.layer(part, x, self.initial(part, rows_of(graph, x, 1)))
            ended = graph.add("Squeeze", self.last(output, 0, 1), self.ints(0))
            outputs.append(graph.add("Cast", self.affine(part.head, ended), to=DOUBLE))
        mean = graph.add("Div", graph.add("Sum", *outputs), self.number(len(outputs)))
        both = graph.add("Reshape", mean, self.ints(-1, columns, 2, model.at_once))  # (B, C, 2, K)
        split = graph.add("Split", graph.add("Transpose", both, perm=[2, 0, 3, 1]), outputs=2, axis=0)
        halves = [graph.add("Squeeze", half, self.ints(0)) for half in split]
        own = [
            graph.add("Mul", graph.add("Mul", half, self.number(s.units[k])), size) for k, half in enumerate(halves)
        ]  # (B, K, C)
        straight = graph.add("Div", graph.add("Sub", line, self.number(model.shift)), self.number(model.scale))
        beside = graph.add("Sub", graph.add("Add", level, own[1]), straight)
        made = graph.add("Add", straight, graph.add("Mul", own[0], self.number(s.gain[0])))
        made = graph.add("Add", made, graph.add("Mul", beside, self.number(s.gain[1])))
        return graph.add("Add", graph.add("Mul", made, self.number(model.scale)), self.number(model.shift))
