"""A step as C99: no dependency but the C library's mathematics, no allocation, weights as constants."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from elman.errors import ExportError
from elman.export.c_functions import EXACT, FAST
from elman.export.expressions import Expressions, c_name
from elman.stepping import Flat, Loop, Order, Products, order_of

BLOCKS = (64, 32, 16, 8, 4, 2, 1)  # rows of a product that are summed side by side
ITEMS: dict[str, np.dtype[Any]] = {"signed char": np.dtype("i1"), "float": np.dtype("<f4"), "double": np.dtype("<f8")}
COLUMNS = 100  # of a line of numbers


@dataclass
class CStep:
    """The C of one :class:`Flat`: ``tables`` of numbers, the ``state``'s fields, and the function's ``body``.

    ``prefix`` begins every name, and ``mark`` ends those of one network of several; ``real`` is float or double; with
    ``int8`` the weights of products are whole numbers of eight bits with a factor a row. With ``packed`` the tables
    go there as bytes, and the code finds them behind a pointer.
    """

    flat: Flat
    prefix: str
    mark: str = ""
    real: str = "float"
    int8: bool = False
    packed: bytearray | None = None
    tables: dict[str, str] = field(default_factory=dict)
    bytes: int = 0  # of all tables

    def __post_init__(self) -> None:
        # The new values that are written over the old ones, and where.
        memories = enumerate(self.flat.memories)
        known = EXACT if self.real == "double" else FAST
        self.order: Order = order_of(self.flat)
        self.in_place: dict[int, str] = {m.new: f"s->{c_name(m.name)}" for k, m in memories if k in self.order.in_place}
        self.write: Expressions = Expressions(self.flat, self.order, self.number, self._whole, f"{self.prefix}_")
        self.body: str = "\n".join(self._body())
        if missing := {f for f in self.write.functions if not f.startswith("product")} - known.keys():
            raise ExportError(f"operation '{min(missing)}' of the cell cannot be written as C")

    def number(self, value: float) -> str:
        """A number as C writes it."""
        return c_number(value, self.real)

    # What the step stands on

    def fields(self) -> list[str]:
        """The state as fields of a struct."""
        return [f"{self.real} {c_name(m.name)}[{m.size}];" for m in self.flat.memories]

    def reset(self, state: str = "s") -> list[str]:
        """The statements that set the state to its beginning."""
        lines = []
        for memory in self.flat.memories:
            to = f"{state}->{c_name(memory.name)}"
            if memory.initial is None:
                lines.append(f"for (int j = 0; j < {memory.size}; j++) {to}[j] = 0;")
            else:
                table = self.table(f"initial_{memory.name}", memory.initial.double().cpu().numpy())
                lines.append(f"for (int j = 0; j < {memory.size}; j++) {to}[j] = {table}[j];")
        return lines

    def table(self, name: str, values: NDArray[Any], kind: str = "") -> str:
        """A constant table of numbers, written once; what it is called."""
        name = f"{self.prefix}{self.mark}_{c_name(name)}"
        if name not in self.tables:
            kind = kind or self.real
            self.tables[name] = (
                self._packed(name, values, kind) if self.packed is not None else self._listed(name, values, kind)
            )
            self.bytes += values.size * ITEMS[kind].itemsize
        return name

    def _listed(self, name: str, values: NDArray[Any], kind: str) -> str:
        flat = values.ravel().tolist()
        texts = [str(v) for v in flat] if kind == "signed char" else [self.number(v) for v in flat]
        return f"static const {kind} {name}[{len(flat)}] = {{\n{wrapped(texts)}\n}};"

    def _packed(self, name: str, values: NDArray[Any], kind: str) -> str:
        assert self.packed is not None
        self.packed.extend(b"\0" * (-len(self.packed) % 64))
        at = len(self.packed)
        self.packed.extend(np.ascontiguousarray(values, dtype=ITEMS[kind]).tobytes())
        return f"#define {name} ((const {kind} *)({self.prefix}_weights + {at}))"

    def _numbers(self, tensor: str) -> NDArray[Any]:
        return self.flat.tensors[tensor].double().cpu().numpy()

    # The body

    def _whole(self, i: int) -> str:
        value = self.flat.values[i]
        if value.op == "constant":
            return self.number(value.number)
        where = self._array(i)
        return f"{where}[0]" if value.size == 1 else f"{where}[j]"

    def _array(self, i: int) -> str:
        """The array that holds a value."""
        value = self.flat.values[i]
        if value.op == "input":
            return f"in_{c_name(value.name)}"
        if value.op == "state":
            return f"s->{c_name(value.name)}"
        if value.op == "vector":
            table = self.table(value.name, self._numbers(value.name))
            return f"({table} + {value.first})" if value.first else table
        return self.in_place.get(i) or f"a_{self.write.names[i]}"

    def _body(self) -> Iterator[str]:
        flat, order = self.flat, self.order
        for piece in order.pieces:
            if isinstance(piece, Products):
                yield from self._products(piece.parts)
            elif isinstance(piece, Loop):
                yield from self._loop(piece)
            elif flat.values[piece.value].op == "row":
                yield from self._row(piece.value)
            else:
                yield from self._total(piece.value)
        late = [m for k, m in enumerate(flat.memories) if k not in order.in_place]
        # Of the others every new value is taken before the first is written: one may be another's old one.
        for m in late:
            yield f"{self.real} n_{c_name(m.name)}[{m.size}];"
            yield f"for (int j = 0; j < {m.size}; j++) n_{c_name(m.name)}[j] = {self._whole(m.new)};"
        outputs = [f"for (int j = 0; j < {flat.values[i].size}; j++) out_{c_name(name)}[j] = {self._whole(i)};"
                   for name, i in flat.outputs.items()]  # fmt: skip
        yield from outputs
        for m in late:
            yield f"for (int j = 0; j < {m.size}; j++) s->{c_name(m.name)}[j] = n_{c_name(m.name)}[j];"

    def _loop(self, loop: Loop) -> Iterator[str]:
        statements = [*self.write.statements(loop)]
        kept = [i for i in loop.values if i in self.order.kept]
        for i in kept:
            if i not in self.in_place:
                yield f"{self.real} {self._array(i)}[{loop.size}];"
        head = "{ const int j = 0; (void)j;" if loop.size == 1 else f"for (int j = 0; j < {loop.size}; j++) {{"
        yield head
        for _, name, text in statements:
            yield f"    const {self.real} {name} = {text};"
        for i in kept:
            yield f"    {self._array(i)}[j] = {self.write.names[i]};"
        yield "}"

    def _products(self, indices: Sequence[int]) -> Iterator[str]:
        values = [self.flat.values[i] for i in indices]
        first, rows = values[0].first, sum(v.size for v in values)
        matrix = self._numbers(values[0].name)[first : first + rows]
        operand = self._array(values[0].args[0])
        if self.flat.values[values[0].args[0]].op == "constant":
            raise ExportError("a product of a number and a matrix cannot be written as C")
        together = f"a_{self.write.names[indices[0]]}"
        yield f"{self.real} {together}[{rows}];"
        at = 0
        for i, value in zip(indices, values, strict=True):
            if at:
                yield f"{self.real} *const a_{self.write.names[i]} = {together} + {at};"
            at += value.size
        blocks, columns = values[0].blocks, matrix.shape[1]
        height = rows // blocks
        for b in range(blocks):
            name = f"{values[0].name}_{first}_{rows}" + (f"_{b}" if blocks > 1 else "")
            x = operand if not b else f"{operand} + {b * columns}"
            y = together if not b else f"{together} + {b * height}"
            yield from self._one_product(name, matrix[b * height : (b + 1) * height], x, y)

    def _one_product(self, name: str, matrix: NDArray[Any], x: str, y: str) -> Iterator[str]:
        rows, columns = matrix.shape
        suffix = ""
        if self.int8:
            factor = _factors(matrix)
            matrix = np.rint(matrix / factor[:, None]).astype(np.int64)
            suffix = "8"
        pieces, spans, at = [], [], 0
        for block in BLOCKS:
            count = (rows - at) // block
            if count:
                spans.append((block, count, at))
                part = matrix[at : at + count * block].reshape(count, block, columns)
                pieces.append(part.transpose(0, 2, 1).ravel())
                at += count * block
        kind = "signed char" if self.int8 else self.real
        table = self.table(name, np.concatenate(pieces), kind)
        for block, count, at in spans:
            call = f"{self.prefix}_product{suffix}_{block}"
            self.write.functions.add(f"product{suffix}_{block}")
            if count == 1:
                yield f"{call}({columns}, {table} + {at * columns}, {x}, {y} + {at});"
            else:
                yield f"for (int j = 0; j < {count}; j++)"
                step = block * columns
                yield f"    {call}({columns}, {table} + {at * columns} + j * {step}, {x}, {y} + {at} + j * {block});"
        if self.int8:
            factors = self.table(f"{name}_factor", factor)
            yield f"for (int j = 0; j < {rows}; j++) ({y})[j] *= {factors}[j];"

    def _row(self, i: int) -> Iterator[str]:
        value = self.flat.values[i]
        symbol = f"in_{c_name(self.flat.values[value.args[0]].name)}"
        matrix = self._numbers(value.name)
        table = self.table(f"{value.name}_rows", matrix)
        yield f"const {self.real} *const {self._array(i)} = {table} + (long){symbol} * {value.size};"

    def _total(self, i: int) -> Iterator[str]:
        value = self.flat.values[i]
        name = self._array(i)
        yield f"{self.real} {name}[1] = {{0}};"
        for a in value.args:
            yield f"for (int j = 0; j < {self.flat.values[a].size}; j++) {name}[0] += {self._whole(a)};"


def in_eight_bits(flat: Flat) -> Flat:
    """``flat`` with the weights of its products as eight bits and a factor a row can say them."""
    tensors = dict(flat.tensors)
    for name in {value.name for value in flat.values if value.op == "product"}:
        matrix = tensors[name].double().cpu().numpy()
        factor = _factors(matrix)[:, None]
        tensors[name] = torch.from_numpy(np.rint(matrix / factor) * factor).to(tensors[name].dtype)
    return replace(flat, tensors=tensors)


def _factors(matrix: NDArray[Any]) -> NDArray[Any]:
    """What a row is divided by to be whole numbers from -127 to 127."""
    peak = np.abs(matrix).max(1)
    return np.where(peak > 0, peak / 127, 1.0)


def c_number(value: float, real: str = "float") -> str:
    """A number as C writes it."""
    if not np.isfinite(value):
        return "NAN" if np.isnan(value) else "INFINITY" if value > 0 else "-INFINITY"
    return repr(float(value)) if real == "double" else f"{float(str(np.float32(value)))!r}f"


def wrapped(texts: Sequence[str]) -> str:
    """A list of numbers, broken into lines."""
    lines, line = list[str](), ""
    for text in texts:
        if line and len(line) + len(text) + 2 > COLUMNS:
            lines.append(line + ",")
            line = text
        else:
            line = f"{line}, {text}" if line else text
    return "\n".join([*lines, line])
