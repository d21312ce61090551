"""The unrolled network as the stepper walks it: every number of every step's equations, of some of the units."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from elman.backends import Call, choose
from elman.backends.reference import Interpreter
from elman.equations import equations_by_node
from elman.layers import Recurrent

UNITS = 16  # shown of each value, those that move most; of all there are the mean, the least and the largest
MOST = 1 << 22  # numbers kept of a layer and direction: 16 MB
AT_ONCE = 1 << 20  # numbers of one value computed together


@torch.no_grad()
def walk(layer: Recurrent, x: Tensor, units: int = UNITS, **given: Any) -> list[dict[str, Any]]:
    """Collect the equations and values of every layer over ``x`` (T, 1, I).

    ``given`` may be the state before it. ``values[node]`` has the ``units`` that are kept, ``data``, (T, units) or
    (1, units) where it is the same at every step, as float32 in base64, and of what has more units ``summary``, (T, 3).

    >>> import torch, elman
    >>> place = walk(elman.Recurrent("rnn", 1, 4), torch.zeros(5, 1, 1))[0]
    >>> place["equations"][0]["values"], place["values"]["4"]["units"]
    ('tanh({2} + {3} + {4} + {5})', [0, 1, 2, 3])
    """
    calls, _ = layer.calls(x, **given)
    several = len(calls[0]) > 1
    return [
        {"name": _name(k, d if several else None, len(calls)), "layer": k, **_place(call, units)}
        for k, row in enumerate(calls)
        for d, call in enumerate(row)
    ]


def _name(layer: int, direction: int | None, layers: int) -> str:
    name = f"layer {layer + 1} of {layers}"
    return name if direction is None else f"{name}, {('forwards', 'backwards')[direction]} in time"


def _place(call: Call, most: int) -> dict[str, Any]:
    program, written = call.program, equations_by_node(call.program)
    before = "t+1" if call.reverse else "t-1"
    states = {s.old for s in program.states}
    inputs = states | {i for i, node in enumerate(program.nodes) if node.op in ("input", "extra")}
    nodes = sorted(inputs.union(*({one.node, *one.operands} for one in written)))
    old, new = _states(call)
    most = max(1, min(most, MOST // (len(call.x) * len(nodes))))
    pairs = [*zip(program.states, new, strict=True)][::-1]  # of states of one size the first says which units
    chosen = {state.size: _most_moving(value, most) for state, value in pairs}
    kept: dict[int, list[Tensor]] = {i: [] for i in nodes}
    summed: dict[int, list[Tensor]] = {i: [] for i in nodes}
    units = {i: chosen.get(program.nodes[i].size, list(range(most))) for i in nodes}
    for values in _computed(call, old, nodes):
        for i, value in values.items():
            units[i] = [u for u in units[i] if u < value.shape[1]]
            kept[i].append(value[:, units[i]])
            if value.shape[1] > len(units[i]):
                summed[i].append(torch.stack([value.mean(1), value.amin(1), value.amax(1)], dim=1))
    names = {i: program.nodes[i].name for i in inputs} | {i: n for n, i in program.values.items()}
    return {
        "equations": [
            {
                "node": e.node,
                "name": names.get(e.node),
                "text": e.text.replace("[t-1]", f"[{before}]"),
                "values": e.values,
            }
            for e in written
        ],
        "inputs": [{"node": i, "name": names[i], "at": before if i in states else "t"} for i in sorted(inputs)],
        "values": {str(i): _packed(units[i], kept[i], summed[i]) for i in nodes},
    }


def _states(call: Call) -> tuple[list[Tensor], list[Tensor]]:
    """Each state (T, 1, n) before and after each step."""
    asked = replace(call, record=tuple({s.new for s in call.program.states}))
    recorded = choose(asked).run(asked).recorded
    new = [recorded[s.new] for s in call.program.states]
    if call.reverse:
        return [torch.cat([n[1:], s[None]]) for n, s in zip(new, call.states, strict=True)], new
    return [torch.cat([s[None], n[:-1]]) for n, s in zip(new, call.states, strict=True)], new


def _most_moving(value: Tensor, most: int) -> list[int]:
    """The units of ``value`` (T, 1, n) whose deviation is largest, in their own order."""
    spread = value[:, 0].std(0, correction=0)
    return sorted(spread.argsort(descending=True, stable=True)[:most].tolist())


def _computed(call: Call, old: Sequence[Tensor], nodes: Sequence[int]) -> Iterator[dict[int, Tensor]]:
    """The values (T, n) of ``nodes``, so many steps at a time as fit; what is the same at every step comes once."""
    program, count = call.program, max(1, AT_ONCE // max(call.sizes.values()))
    interpreter = Interpreter(program.nodes, program.parameters, call.parameters, call.sizes, call.x)
    before = {s.old: value for s, value in zip(program.states, old, strict=True)}
    inputs = call.inputs(program.nodes)
    for start in range(0, len(call.x), count):
        part = slice(start, start + count)
        values = {i: value[part] for i, value in (before | inputs).items()}
        interpreter.run(interpreter.plan(i for i in range(len(program.nodes)) if i not in values), values)
        yield {i: values[i].flatten(1, -1) if values[i].dim() == 3 else values[i].reshape(1, -1) for i in nodes
               if values[i].dim() == 3 or not start}  # fmt: skip


def _packed(units: list[int], kept: list[Tensor], summed: list[Tensor]) -> dict[str, Any]:
    values: dict[str, Any] = {"units": units, "data": packed(torch.cat(kept))}
    return values | ({"summary": packed(torch.cat(summed))} if summed else {})


def packed(values: Tensor) -> str:
    """Numbers as float32, row after row, little-endian, in base64.

    >>> packed(torch.tensor([1.0]))
    'AACAPw=='
    """
    return b64encode(values.detach().cpu().float().contiguous().numpy().astype("<f4").tobytes()).decode()
