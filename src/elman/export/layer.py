"""A layer of one's own, outside any task: its step as one C file, its sequence as an ONNX model."""

from __future__ import annotations

from typing import Any

import torch

from elman.export.c import CStep
from elman.export.c_functions import preamble
from elman.export.expressions import c_name
from elman.export.onnx_graph import IR, OPSET, Graph
from elman.export.onnx_layer import state_sizes, write_layer
from elman.layers import Recurrent
from elman.layers.flat import flat_step

REALS = {torch.float32: "float", torch.float64: "double"}


def layer_as_c(layer: Recurrent, name: str = "layer") -> str:
    """Write one step of ``layer`` as C99, in the dtype of the layer.

    The functions are ``NAME_reset(s)`` and ``NAME_step(s, x, y)``, the state ``NAME_state``.

    The cell's further inputs come after x, by name. Raises :class:`ExportError` for a layer of two directions.

    >>> import elman
    >>> code = layer_as_c(elman.Recurrent("gru", input_size=1, hidden_size=4), "gru")
    >>> [line for line in code.splitlines() if line.startswith("void")][3]
    'void gru_step(gru_state *s, const float *in_x, float *out_y) {'
    """
    flat = flat_step(layer)
    real = REALS[next((p.dtype for p in layer.parameters()), torch.float32)]
    step = CStep(flat, name, real=real)
    parameters = [*(f"const {real} *in_{c_name(n)}" for n in flat.inputs), f"{real} *out_y"]
    unused = [f"    (void){parameter.split('*')[1]};" for parameter in parameters[:-1]]
    lines = [
        "#include <math.h>",
        "#include <stdint.h>",
        preamble(name, real, step.write.functions),
        *step.tables.values(),
        "typedef struct {",
        *(f"    {line}" for line in step.fields() or ["char none;"]),
        f"}} {name}_state;",
        "",
        f"void {name}_reset({name}_state *s);",
        f"void {name}_step({name}_state *s, {', '.join(parameters)});",
        f"void {name}_reset({name}_state *s) {{",
        "    (void)s;",
        *(f"    {line}" for line in step.reset()),
        "}",
        f"void {name}_step({name}_state *s, {', '.join(parameters)}) {{",
        "    (void)s;",
        *unused,
        *(f"    {line}" for line in step.body.splitlines()),
        "}",
    ]
    return "\n".join(lines) + "\n"


def layer_as_onnx(layer: Recurrent) -> Any:
    """Write ``layer`` as an ONNX model.

    From ``x`` (T, B, I), ``lengths`` (B,), the states (B, n) and the cell's further inputs (T, B, n) by name, to
    ``y`` (T, B, O) and the states, called ``NAME_out``.

    >>> import elman
    >>> model = layer_as_onnx(elman.Recurrent("peephole", input_size=3, hidden_size=5))
    >>> [given.name for given in model.graph.input]
    ['x', 'lengths', 'h_l0', 'c_l0']
    """
    import onnx
    from onnx import helper

    info, graph, sizes = helper.make_tensor_value_info, Graph(), state_sizes(layer)
    further = layer.program.extras
    extras = {extra.name: extra.name for extra in further}
    y, finals = write_layer(graph, layer, "x", {name: name for name in sizes}, "lengths", extras)
    graph.called(y, "y")
    inputs = [info("x", 1, ["T", "B", layer.input_size]), info("lengths", 7, ["B"])]
    inputs += [info(name, 1, ["B", size]) for name, size in sizes.items()]
    inputs += [info(extra.name, 1, ["T", "B", layer.stack.sizes[0][extra.size]]) for extra in further]
    outputs = [info("y", 1, ["T", "B", layer.output_size])]
    outputs += [info(graph.called(value, f"{name}_out"), 1, ["B", sizes[name]]) for name, value in finals.items()]
    made = helper.make_graph(graph.nodes, "layer", inputs, outputs, list(graph.constants.values()))
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(made, opset_imports=opset, ir_version=IR, producer_name="Elman")
    onnx.checker.check_model(model, full_check=True)
    return model
