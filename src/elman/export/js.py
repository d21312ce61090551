"""A step as JavaScript: a function that makes a network of the weights it is given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.errors import ExportError
from elman.export.expressions import Expressions, c_name
from elman.stepping import Flat, Loop, Products, order_of

FUNCTIONS = {
    "abs": "Math.abs(a)",
    "sign": "a > 0 ? 1 : a < 0 ? -1 : 0",
    "exp": "Math.exp(a)",
    "expm1": "Math.expm1(a)",
    "log": "Math.log(a)",
    "log1p": "Math.log1p(a)",
    "sqrt": "Math.sqrt(a)",
    "rsqrt": "1 / Math.sqrt(a)",
    "sin": "Math.sin(a)",
    "cos": "Math.cos(a)",
    "atan": "Math.atan(a)",
    "erf": "erf(a)",
    "tanh": "Math.tanh(a)",
    "sigmoid": "1 / (1 + Math.exp(-a))",
    "relu": "a < 0 ? 0 : a",
    "softplus": "(a > 0 ? a : 0) + Math.log1p(Math.exp(-Math.abs(a)))",
    "maximum": "a > b || a !== a ? a : b",
    "minimum": "a < b || a !== a ? a : b",
    "clamp": "a < b ? b : a > c ? c : a",
    "power": "Math.pow(a, b)",
}
# The series near 0, and the continued fraction of what is left to 1 (Abramowitz & Stegun 7.1.6, 7.1.14).
ERF = """function erf(a) {
  const x = Math.abs(a);
  if (x !== x) return a;
  if (x < 2.5) {
    let term = x, sum = x;
    for (let n = 1; n < 60; n++) { term *= 2 * x * x / (2 * n + 1); sum += term; }
    return Math.sign(a) * 2 / Math.sqrt(Math.PI) * Math.exp(-x * x) * sum;
  }
  let tail = 0;
  for (let n = 60; n > 0; n--) tail = n / 2 / (x + tail);
  return Math.sign(a) * (1 - Math.exp(-x * x) / Math.sqrt(Math.PI) / (x + tail));
}"""
ARGUMENTS = {"maximum": "a, b", "minimum": "a, b", "clamp": "a, b, c", "power": "a, b"}


@dataclass
class JsStep:
    """The JavaScript of a :class:`Flat`: ``code`` is an expression, a function from a Float32Array to a network.

    The network has ``step(inputs)``, ``reset()``, the arrays ``state`` and ``named`` (the equations' own values) and
    ``out``. ``weights`` are the numbers it is made from.
    """

    flat: Flat

    def __post_init__(self) -> None:
        labelled = {i for i, v in enumerate(self.flat.values) if v.label}
        order = order_of(self.flat)
        self.order = replace(order, kept=order.kept | labelled)
        self.write: Expressions = Expressions(self.flat, self.order, _number, self._unit, "f_")
        self.tensors: dict[str, tuple[int, NDArray[Any]]] = {}
        self.size = 0
        self.arrays: dict[str, int] = {}
        self.in_place: dict[int, str] = {
            m.new: self._state(k) for k, m in enumerate(self.flat.memories) if k in order.in_place
        }
        body = "\n      ".join(self._body())
        if missing := self.write.functions - FUNCTIONS.keys():
            raise ExportError(f"operation '{min(missing)}' of the cell cannot be written as JavaScript")
        self.code: str = self._network(body)

    @property
    def weights(self) -> NDArray[np.float32]:
        """All numbers of the network, in the order the code finds them."""
        return np.concatenate([np.zeros(0), *(values.ravel() for _, values in self.tensors.values())]).astype("<f4")

    @property
    def functions(self) -> list[str]:
        """The functions the step calls."""
        used = sorted(self.write.functions)
        functions = [f"function f_{name}({ARGUMENTS.get(name, 'a')}) {{ return {FUNCTIONS[name]}; }}" for name in used]
        return [*([ERF] if "erf" in used else []), *functions]

    def _network(self, body: str) -> str:
        flat = self.flat
        tensors = "\n    ".join(
            f"const {name} = weights.subarray({at}, {at + values.size});" for name, (at, values) in self.tensors.items()
        )
        states = ", ".join(f"{m.name!r}: new Float64Array({m.size})" for m in flat.memories)
        arrays = "\n    ".join(f"const {name} = new Float64Array({size});" for name, size in self.arrays.items())
        resets = []
        for k, memory in enumerate(flat.memories):
            if memory.initial is None:
                resets.append(f"{self._state(k)}.fill(0);")
            else:
                numbers = ", ".join(_number(float(v)) for v in memory.initial.double())
                resets.append(f"{self._state(k)}.set([{numbers}]);")
        named = {flat.values[i].label: self._array(i) for i in range(len(flat.values)) if flat.values[i].label}
        shown = ", ".join(f"{label!r}: {array}" for label, array in named.items())
        outs = ", ".join(f"{name!r}: new Float64Array({flat.values[i].size})" for name, i in flat.outputs.items())
        return f"""function (weights) {{
    {tensors}
    const state = {{ {states} }}, out = {{ {outs} }};
    {arrays}
    const named = {{ {shown} }};
    function reset() {{ {" ".join(resets)} }}
    function step(inputs) {{
      {body}
      return out;
    }}
    reset();
    return {{ state, named, out, reset, step }};
  }}"""

    def _state(self, k: int) -> str:
        return f"state[{self.flat.memories[k].name!r}]"

    def _tensor(self, name: str, values: NDArray[Any]) -> str:
        name = f"w_{c_name(name)}"
        if name not in self.tensors:
            self.tensors[name] = (self.size, values)
            self.size += values.size
        return name

    def _numbers(self, name: str) -> NDArray[Any]:
        return self.flat.tensors[name].double().cpu().numpy()

    def _array(self, i: int) -> str:
        value = self.flat.values[i]
        if value.op in ("input", "symbol"):
            return f"inputs[{value.name!r}]"
        if value.op == "state":
            return next(self._state(k) for k, m in enumerate(self.flat.memories) if m.old == i)
        if i in self.in_place:
            return self.in_place[i]
        if value.op == "vector":
            name = f"{value.name}_{value.first}_{value.size}"
            return self._tensor(name, self._numbers(value.name)[value.first : value.first + value.size])
        name = f"a_{i}"
        self.arrays[name] = value.size
        return name

    def _unit(self, i: int) -> str:
        value = self.flat.values[i]
        if value.op == "constant":
            return _number(value.number)
        return f"{self._array(i)}[{'0' if value.size == 1 else 'j'}]"

    def _body(self) -> Iterator[str]:
        flat, order = self.flat, self.order
        for piece in order.pieces:
            if isinstance(piece, Products):
                for i in piece.parts:
                    yield from self._product(i)
            elif isinstance(piece, Loop):
                yield from self._loop(piece)
            elif flat.values[piece.value].op == "row":
                value = flat.values[piece.value]
                table = self._tensor(f"{value.name}_rows", self._numbers(value.name))
                at = f"inputs[{flat.values[value.args[0]].name!r}] * {value.size}"
                yield f"for (let j = 0; j < {value.size}; j++) {self._array(piece.value)}[j] = {table}[{at} + j];"
            else:
                name = self._array(piece.value)
                yield f"{name}[0] = 0;"
                for a in flat.values[piece.value].args:
                    yield f"for (let j = 0; j < {flat.values[a].size}; j++) {name}[0] += {self._unit(a)};"
        late = [(k, m) for k, m in enumerate(flat.memories) if k not in order.in_place]
        for k, m in late:
            self.arrays[f"n_{k}"] = m.size
            yield f"for (let j = 0; j < {m.size}; j++) n_{k}[j] = {self._unit(m.new)};"
        for name, i in flat.outputs.items():
            yield f"for (let j = 0; j < {flat.values[i].size}; j++) out[{name!r}][j] = {self._unit(i)};"
        for k, _ in late:
            yield f"{self._state(k)}.set(n_{k});"

    def _loop(self, loop: Loop) -> Iterator[str]:
        yield f"for (let j = 0; j < {loop.size}; j++) {{"
        for i, _, text in self.write.statements(loop):
            yield f"  const {self.write.names[i]} = {text};"
        for i in loop.values:
            if i in self.order.kept:
                yield f"  {self._array(i)}[j] = {self.write.names[i]};"
        yield "}"

    def _product(self, i: int) -> Iterator[str]:
        value = self.flat.values[i]
        matrix = self._numbers(value.name)[value.first : value.first + value.size]
        table = self._tensor(f"{value.name}_{value.first}_{value.size}", matrix)
        columns, height = matrix.shape[1], value.size // value.blocks
        x, y = self._array(value.args[0]), self._array(i)
        yield f"for (let r = 0, w = 0; r < {value.size}; r++) {{"
        start = f"Math.floor(r / {height}) * {columns}" if value.blocks > 1 else "0"
        yield f"  const x = {x}; let sum = 0, at = {start};"
        yield f"  for (let k = 0; k < {columns}; k++) sum += {table}[w++] * x[at++];"
        yield f"  {y}[r] = sum;"
        yield "}"


def _number(value: float) -> str:
    if np.isfinite(value):
        return repr(float(value))
    return "NaN" if np.isnan(value) else "Infinity" if value > 0 else "-Infinity"
