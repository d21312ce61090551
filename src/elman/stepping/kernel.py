"""A step as one native function on a block of memory: inputs, states, outputs and what is between stand in it.

Nothing is allocated after the first step. Every array is padded to whole vectors, so that no loop has a rest; what the
padding holds is read by no sum. The weights of a product lie as it takes them: for a tile of rows, column by column.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray
from torch import Tensor

from elman.backends.cpu.functions.lowering import LOWERINGS
from elman.backends.cpu.llvm import compiler, machine, threads
from elman.backends.cpu.llvm.code import I64, PTR, Code, suffix
from elman.backends.cpu.llvm.compiler import Compiled
from elman.backends.cpu.llvm.kernel import Flushed
from elman.backends.cpu.llvm.machine import Vectors
from elman.equations import TABLE
from elman.stepping.flat import Flat, Memory, Value
from elman.stepping.order import Loop, Order, Products, order_of

LINE = 64  # bytes that every array begins at a multiple of
TILE = 8  # vectors of rows that are summed side by side
HEADER = 64  # bytes before the rows: the address of the weights, and how many rows there are


@dataclass
class Layout:
    """Where arrays stand: their offsets in numbers, by key, in an area that grows."""

    item: int
    at: dict[Any, int] = field(default_factory=dict)
    size: int = 0

    def place(self, key: Any, count: int) -> int:
        """Room for ``count`` numbers under ``key``, made once."""
        if key not in self.at:
            self.at[key] = self.size
            line = LINE // self.item
            self.size += -(-max(count, 1) // line) * line
        return self.at[key]


@dataclass(frozen=True)
class Built:
    """A compiled step, and where in its memory things stand."""

    code: Compiled  # which holds what is called
    call: Any
    rows: Layout  # of one row's area
    weights: Layout
    products: dict[Any, tuple[Any, ...]]  # what of which tensors is packed where


class KernelStep:
    """A :class:`Flat` in native code, for ``rows`` at once, in float32 or float64.

    Write into ``inputs`` (rows, n) by name, symbols (rows,); call it; read ``outputs`` (rows, n) by name. ``state`` are
    the states (rows, n) in the order of the flat's memories, and may be written, too. All are views that stay.
    """

    def __init__(self, flat: Flat, rows: int = 1, dtype: Any = np.float32) -> None:
        self.flat: Flat = flat
        self.rows: int = rows
        self.dtype = np.dtype(dtype)
        self.built: Built = _built(_key(flat), machine.width(), self.dtype.itemsize)
        stride = self.built.rows.size * self.dtype.itemsize
        self._memory = _aligned(HEADER + rows * stride)
        self._weights = _aligned(max(1, self.built.weights.size) * self.dtype.itemsize)
        header = self._memory[:16].view(np.int64)
        header[0], header[1] = self._weights.ctypes.data, rows
        self._address = self._memory.ctypes.data
        self.inputs: dict[str, NDArray[Any]] = {
            name: self._view(i, flat.values[i].size, np.int64 if flat.values[i].op == "symbol" else None)
            for name, i in flat.inputs.items()
        }
        self.state: list[NDArray[Any]] = [self._view(("state", k), m.size) for k, m in enumerate(flat.memories)]
        self.outputs: dict[str, NDArray[Any]] = {
            name: self._view(("out", name), flat.values[i].size) for name, i in flat.outputs.items()
        }
        self.pack(flat.tensors)
        self.reset()

    def _view(self, key: Any, count: int, kind: Any = None) -> NDArray[Any]:
        built, dtype = self.built.rows, np.dtype(kind or self.dtype)
        start = HEADER + built.at[key] * self.dtype.itemsize
        strides = (built.size * self.dtype.itemsize, dtype.itemsize)
        if kind is not None:
            return NDArray[Any]((self.rows,), dtype, self._memory.data, start, strides[:1])
        return NDArray[Any]((self.rows, count), dtype, self._memory.data, start, strides)

    def pack(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the weights anew."""
        weights = self._weights.view(self.dtype)
        for key, (name, first, size, blocks, tiles) in self.built.products.items():
            values = tensors[name].detach().cpu().double().numpy()
            part = values[first : first + size] if size else values
            at = self.built.weights.at[key]
            if key[0] == "rows":
                width = -(-part.shape[1] // (LINE // self.dtype.itemsize)) * (LINE // self.dtype.itemsize)
                table = weights[at : at + len(part) * width].reshape(len(part), width)
                table[:, : part.shape[1]] = part
            elif not tiles:
                weights[at : at + len(part)] = part
            else:
                for b in range(blocks):
                    block = part.reshape(blocks, -1, part.shape[1])[b]
                    for start, wide in tiles:
                        rows = block[start : start + wide]
                        tile = weights[at : at + wide * block.shape[1]].reshape(block.shape[1], wide)
                        tile[:, : len(rows)] = rows.T
                        at += wide * block.shape[1]

    def reset(self, rows: Sequence[int] | slice = slice(None)) -> None:
        """Begin anew."""
        for memory, state in zip(self.flat.memories, self.state, strict=True):
            state[rows] = 0 if memory.initial is None else memory.initial.cpu().numpy()

    def __call__(self) -> None:
        """One step."""
        self.built.call(self._address)


def _aligned(size: int) -> NDArray[np.uint8]:
    whole = np.zeros(size + LINE, dtype=np.uint8)
    start = -whole.ctypes.data % LINE
    return whole[start : start + size]


def _key(flat: Flat) -> Any:
    memories = tuple((m.name, m.size, m.old, m.new) for m in flat.memories)
    shapes = tuple((name, tuple(t.shape)) for name, t in flat.tensors.items())
    return flat.values, memories, tuple(flat.outputs.items()), shapes


@functools.lru_cache(maxsize=64)
def _built(key: Any, width: int, item: int) -> Built:
    values, memories, outputs, shapes = key
    flat = Flat(values, tuple(Memory(*m) for m in memories), dict(outputs), {})
    return _Written(flat, dict(shapes), Vectors(width, item)).built()


class _Written:
    """Writes the function of a step."""

    def __init__(self, flat: Flat, shapes: Mapping[str, tuple[int, ...]], vectors: Vectors) -> None:
        self.flat, self.shapes, self.vectors = flat, shapes, vectors
        self.order: Order = order_of(flat)
        self.rows, self.weights = Layout(vectors.item), Layout(vectors.item)
        self.products: dict[Any, tuple[Any, ...]] = {}
        self.in_place = {m.new: k for k, m in enumerate(flat.memories) if k in self.order.in_place}
        for i in flat.inputs.values():
            self.rows.place(i, flat.values[i].size + 2)  # a symbol is 8 bytes
        for k, memory in enumerate(flat.memories):
            self.rows.place(("state", k), memory.size)
        for name, i in flat.outputs.items():
            self.rows.place(("out", name), flat.values[i].size)
        self.old = {m.old: ("state", k) for k, m in enumerate(flat.memories)}

    def built(self) -> Built:
        """Write and compile it."""
        # The size of a row's area is known once all is written: first into a module that is thrown away.
        for _ in range(2):
            module = ir.Module(name="step")
            self.c = c = Code(module, "step", [PTR], self.vectors)
            (table,) = c.function.args
            self.base = c.b.inttoptr(c.load(table, I64, 8), PTR)
            count = c.load(c.at(table, 1, I64), I64, 8)
            stride = self.rows.size * c.item
            with Flushed(c), c.loop(0, count) as row:
                at = c.add(c.mul(row.index, stride), HEADER)
                self.row = c.b.gep(table, [at], source_etype=ir.IntType(8))
                self._body()
            c.finish()
        code = compiler.build_text(str(module), self.vectors.floats)
        return Built(code, threads.caller(code.address("step")), self.rows, self.weights, self.products)

    # Where values are

    def _array(self, i: int) -> Any:
        """The address of the numbers of value ``i``."""
        value = self.flat.values[i]
        if value.op == "vector":
            key = ("vector", value.name, value.first, value.size)
            self.weights.place(key, value.size)
            self.products[key] = (value.name, value.first, value.size, 1, ())
            return self.c.at(self.base, self.weights.at[key])
        return self.c.at(self.row, self.rows.place(self._place(i), value.size))

    def _place(self, i: int) -> Any:
        if i in self.old:
            return self.old[i]
        return ("state", self.in_place[i]) if i in self.in_place else i

    def _load(self, i: int, j: Any, size: int) -> Any:
        """The vector at unit ``j`` of value ``i``, for a loop over ``size`` units."""
        value, c = self.flat.values[i], self.c
        if value.op == "constant":
            return c.splat(value.number)
        if value.size == 1 and size > 1:
            return c.spread(c.load(self._array(i)))
        return c.load_vector(c.at(self._array(i), j))

    # The pieces

    def _body(self) -> None:
        flat, c = self.flat, self.c
        for piece in self.order.pieces:
            if isinstance(piece, Products):
                self._products(piece.parts)
            elif isinstance(piece, Loop):
                self._loop(piece)
            elif flat.values[piece.value].op == "row":
                self._row(piece.value)
            else:
                self._total(piece.value)
        late = [(k, m) for k, m in enumerate(flat.memories) if k not in self.order.in_place]
        for k, memory in late:
            self._copy(memory.new, ("new", k), memory.size)
        for name, i in flat.outputs.items():
            self._copy(i, ("out", name), flat.values[i].size)
        for k, memory in late:
            source = c.at(self.row, self.rows.place(("new", k), memory.size))
            to = c.at(self.row, self.rows.at["state", k])
            with c.loop(0, _whole(memory.size, c.width), c.width) as j:
                c.store_vector(c.load_vector(c.at(source, j.index)), c.at(to, j.index))

    def _copy(self, i: int, key: Any, size: int) -> None:
        c = self.c
        to = c.at(self.row, self.rows.place(key, size))
        with c.loop(0, _whole(size, c.width), c.width) as j:
            c.store_vector(self._load(i, j.index, size), c.at(to, j.index))

    def _loop(self, loop: Loop) -> None:
        c, flat = self.c, self.flat
        with c.loop(0, _whole(loop.size, c.width), c.width) as j:
            made: dict[int, Any] = {}
            for i in loop.values:
                value = flat.values[i]
                row = TABLE[value.op]
                args = []
                for k, a in enumerate(value.args):
                    if k in row.number_arguments:
                        args.append(flat.values[a].number)
                        continue
                    arg = made.get(a)
                    arg = self._load(a, j.index, loop.size) if arg is None else arg
                    args.append(self._truth(arg) if k in row.truth_arguments else self._number(arg))
                made[i] = LOWERINGS[value.op](c, *args)
            for i in loop.values:
                if i in self.order.kept:
                    c.store_vector(self._number(made[i]), c.at(self._array(i), j.index))

    def _number(self, value: Any) -> Any:
        one = isinstance(value.type, ir.VectorType) and value.type.element == ir.IntType(1)
        return self.c.b.select(value, self.c.splat(1.0), self.c.splat(0.0)) if one else value

    def _truth(self, value: Any) -> Any:
        one = value.type.element == ir.IntType(1)
        return value if one else self.c.b.fcmp_unordered("!=", value, self.c.splat(0.0))

    def _total(self, i: int) -> None:
        c = self.c
        total = ir.Constant(c.real, 0.0)
        for a in self.flat.values[i].args:
            size = self.flat.values[a].size
            full = size - size % c.width
            sums = c.splat(0.0)
            if full:
                with c.loop(0, full, c.width, carry=[sums]) as j:
                    j.next = [c.b.fadd(j.values[0], self._load(a, j.index, size))]
                sums = j.values[0]
            if size > full:
                rest = c.load_vector(c.at(self._array(a), full), c.lanes(size - full))
                sums = c.b.fadd(sums, rest)
            total = c.call(f"llvm.vector.reduce.fadd.{suffix(sums.type)}", c.real, total, sums)
        c.store(total, self._array(i))

    def _row(self, i: int) -> None:
        value, c = self.flat.values[i], self.c
        count, width = self.shapes[value.name]
        line = LINE // c.item
        padded = -(-width // line) * line
        key = ("rows", value.name)
        self.weights.place(key, count * padded)
        self.products[key] = (value.name, 0, 0, 1, ())
        symbol = c.load(self._array(value.args[0]), I64, 8)
        source = c.at(c.at(self.base, self.weights.at[key]), c.mul(symbol, padded))
        with c.loop(0, _whole(width, c.width), c.width) as j:
            c.store_vector(c.load_vector(c.at(source, j.index)), c.at(self._array(i), j.index))

    def _products(self, indices: Sequence[int]) -> None:
        values = [self.flat.values[i] for i in indices]
        size, blocks = sum(v.size for v in values), values[0].blocks
        together = self._one_array(indices, values, size)
        columns = self.shapes[values[0].name][1]
        height = size // blocks
        tiles = _tiles(height, self.c.width)
        key = ("product", values[0].name, values[0].first, size)
        self.weights.place(key, columns * blocks * sum(wide for _, wide in tiles))
        self.products[key] = (values[0].name, values[0].first, size, blocks, tiles)
        at = self.weights.at[key]
        operand = self._array(values[0].args[0])
        for b in range(blocks):
            for start, wide in tiles:
                x = self.c.at(operand, b * columns)
                self._tile(at, wide, columns, x, self.c.at(together, b * height + start), height - start)
                at += wide * columns

    def _one_array(self, indices: Sequence[int], values: Sequence[Value], size: int) -> Any:
        """Room for the products together; each of them is a part of it."""
        first = self.rows.place(("together", indices[0]), size + TILE * self.c.width)
        at = first
        for i, value in zip(indices, values, strict=True):
            self.rows.at.setdefault(i, at)
            at += value.size
        return self.c.at(self.row, first)

    def _tile(self, at: int, wide: int, columns: int, x: Any, y: Any, left: int) -> None:
        c = self.c
        count = wide // c.width
        weights = c.at(self.base, at)
        with c.loop(0, columns, carry=[c.splat(0.0)] * count) as k:
            factor = c.spread(c.load(c.at(x, k.index)))
            column = c.at(weights, c.mul(k.index, wide))
            k.next = [c.fma(c.load_vector(c.at(column, v * c.width)), factor, k.values[v]) for v in range(count)]
        for v, total in enumerate(k.values):
            # What is beyond the rows belongs to what follows.
            mask = c.lanes(left - v * c.width)
            c.store_vector(total, c.at(y, v * c.width), mask)


def _whole(size: int, width: int) -> int:
    return -(-size // width) * width


def _tiles(rows: int, width: int) -> tuple[tuple[int, int], ...]:
    """The rows of a product in tiles: where each begins, and how many it is wide, in whole vectors."""
    tiles, at = [], 0
    while at < rows:
        wide = min(TILE * width, _whole(rows - at, width))
        tiles.append((at, wide))
        at += wide
    return tuple(tiles)
