"""A layer's step, written for one time step with every size a number."""

from __future__ import annotations

from elman.equations.rewrite import ZONE
from elman.errors import ExportError
from elman.layers.recurrent import Recurrent
from elman.stepping import Flat, Writer


def write_step(layer: Recurrent, w: Writer, x: int, name: str = "") -> int:
    """Write one step of ``layer`` on the value ``x``, as it runs in evaluation, and return its output.

    The cell's further inputs become inputs of the step. States are called as in the equations, with the layer's number,
    behind ``name``. Raises :class:`ExportError` for a layer of two directions: its second reads from the end.
    """
    stack = layer.stack
    if stack.bidirectional:
        raise ExportError(
            "a network of two directions reads a sequence from its end too, and has no step; train one of one direction"
        )
    for k, sizes in enumerate(stack.sizes):
        output = _write_one(layer, w, x, k, 0, name)
        same = sizes["input"] == w.values[output].size
        x = w("add", x, output) if stack.residual and same else output
    return x


def flat_layer(layer: Recurrent, k: int, direction: int) -> Flat:
    """One step of layer ``k`` in one direction alone: from ``x`` to ``y``."""
    w = Writer()
    return w.flat(y=_write_one(layer, w, w.input("x", layer.stack.sizes[k]["input"]), k, direction))


def _write_one(layer: Recurrent, w: Writer, x: int, k: int, direction: int, name: str = "") -> int:
    stack, sizes, extras = layer.stack, layer.stack.sizes[k], dict[str, int]()
    program = stack.running_program(training=False)
    for extra in program.extras:
        if extra.name.startswith(ZONE) and extra not in stack.program.extras:
            extras[extra.name] = w.constant(stack.noise.zoneout)
        else:
            known = w.inputs.get(extra.name)
            extras[extra.name] = w.input(extra.name, sizes[extra.size]) if known is None else known
    parameters = {own: getattr(layer, full) for own, full in stack.parameter_names(k, direction).items()}
    initial = [getattr(layer, n) for n in stack.initial_names(k, direction)] if layer.learn_state else None
    return w.cell(program, sizes, parameters, x, extras, f"{name}_l{k}", initial)


def flat_step(layer: Recurrent) -> Flat:
    """One step of ``layer``: from the input ``x`` to the output ``y``.

    >>> import elman
    >>> step = flat_step(elman.Recurrent("lstm", input_size=3, hidden_size=5, num_layers=2))
    >>> [memory.name for memory in step.memories]
    ['h_l0', 'c_l0', 'h_l1', 'c_l1']
    """
    w = Writer()
    return w.flat(y=write_step(layer, w, w.input("x", layer.input_size)))
