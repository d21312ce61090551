"""Writing LLVM IR in words: loops, vectors that may be partly filled, pointers by element."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

from elman.backends.cpu.llvm.machine import Vectors

# llvmlite says nothing of its types.
F32: Any = ir.FloatType()
F64: Any = ir.DoubleType()
I1: Any = ir.IntType(1)
I8: Any = ir.IntType(8)
I32: Any = ir.IntType(32)
I64: Any = ir.IntType(64)
PTR: Any = ir.PointerType()
VOID: Any = ir.VoidType()


def i64(value: int) -> Any:
    """A whole number as a constant."""
    return ir.Constant(I64, value)


def outside(module: ir.Module, symbol: str, result: Any, arguments: Sequence[Any], is_variadic: bool = False) -> Any:
    """A function that is known to the compiler by its name."""
    kind = ir.FunctionType(result, arguments, is_variadic)
    return module.globals.get(symbol) or ir.Function(module, kind, symbol)


_CONSTANTS: dict[tuple[Any, str], Any] = {}
_MOST = 1 << 10  # constants that are kept


def constant(kind: Any, *values: float) -> Any:
    """A vector of these lanes, or of one value in all of them. Each is made once: llvmlite takes long to write them."""
    key = kind, repr(values)  # 0.0 and -0.0 are equal, and two constants
    if key not in _CONSTANTS:
        if len(_CONSTANTS) >= _MOST:
            _CONSTANTS.clear()
        _CONSTANTS[key] = ir.Constant(kind, list(values) if len(values) > 1 else [*values] * kind.count)
    return _CONSTANTS[key]


class Loop:
    """Inside a loop: its index, and the values carried from turn to turn (set ``next`` before the turn ends)."""

    def __init__(self, index: Any, values: Sequence[Any]) -> None:
        self.index = index
        self.values: list[Any] = list(values)
        self.next: list[Any] = list(values)


class Code:
    """One function being written."""

    def __init__(
        self, module: ir.Module, name: str, arguments: Sequence[Any], vectors: Vectors, internal: bool = False
    ) -> None:
        self.module: Any = module
        self.function: Any = ir.Function(module, ir.FunctionType(VOID, arguments), name)
        if internal:
            self.function.linkage = "internal"
        self.vectors: Vectors = vectors
        self.width: int = vectors.lanes
        self.item: int = vectors.item
        self.real: Any = F64 if self.item == 8 else F32
        self.vector: Any = ir.VectorType(self.real, self.width)
        self.line: int = self.item * self.width  # bytes of a vector
        self.entry: Any = self.function.append_basic_block("entry")
        self.b: Any = ir.IRBuilder(self.entry)

    def finish(self) -> None:
        """Return."""
        self.b.ret_void()

    # Numbers

    def splat(self, value: float) -> Any:
        """A constant in every lane."""
        return constant(self.vector, float(value))

    def spread(self, scalar: Any) -> Any:
        """A scalar in every lane."""
        vector = ir.VectorType(scalar.type, self.width)
        anything = ir.Constant(vector, ir.Undefined)
        one = self.b.insert_element(anything, scalar, ir.Constant(I32, 0))
        return self.b.shuffle_vector(one, anything, constant(ir.VectorType(I32, self.width), 0))

    def shuffled(self, a: Any, b: Any, lanes: Sequence[int]) -> Any:
        """A vector of lanes of two others, ``b``'s counted on from ``a``'s."""
        return self.b.shuffle_vector(a, b, constant(ir.VectorType(I32, self.width), *lanes))

    def call(self, name: str, result: Any, *args: Any) -> Any:
        """Call an intrinsic."""
        kind = ir.FunctionType(result, [a.type for a in args])
        function = self.module.globals.get(name) or ir.Function(self.module, kind, name)
        return self.b.call(function, args)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """a b + c, rounded once where the processor can."""
        return self.call(f"llvm.fmuladd.{suffix(a.type)}", a.type, a, b, c)

    def mul(self, a: Any, b: Any) -> Any:
        """a b, of indices."""
        return self.b.mul(a, b if not isinstance(b, int) else i64(b))

    def add(self, a: Any, b: Any) -> Any:
        """a + b, of indices."""
        return self.b.add(a, b if not isinstance(b, int) else i64(b))

    def least(self, a: Any, b: Any) -> Any:
        """The smaller of two indices."""
        return self.b.select(self.b.icmp_signed("<", a, b), a, b)

    # Memory

    def at(self, pointer: Any, index: Any, kind: Any = None) -> Any:
        """The address of element ``index``."""
        kind = kind or self.real
        return self.b.gep(pointer, [i64(index) if isinstance(index, int) else index], source_etype=kind)

    def load(self, pointer: Any, kind: Any = None, align: int = 0) -> Any:
        """One element."""
        return self.b.load(pointer, typ=kind or self.real, align=align or self.item)

    def store(self, value: Any, pointer: Any) -> None:
        """Write one number."""
        self.b.store(value, pointer, align=self.item)

    def load_vector(self, pointer: Any, mask: Any = None, align: int = 0) -> Any:
        """``width`` numbers; with a mask, those it names, and 0 in the others."""
        align = align or self.item
        if mask is None:
            return self.b.load(pointer, typ=self.vector, align=align)
        name = f"llvm.masked.load.{suffix(self.vector)}.p0"
        return self.call(name, self.vector, pointer, ir.Constant(I32, align), mask, self.splat(0.0))

    def store_vector(self, value: Any, pointer: Any, mask: Any = None, align: int = 0) -> None:
        """Write ``width`` numbers; with a mask, those it names."""
        align = align or self.item
        if mask is None:
            self.b.store(value, pointer, align=align)
            return
        self.call(f"llvm.masked.store.{suffix(self.vector)}.p0", VOID, value, pointer, ir.Constant(I32, align), mask)

    def prefetch(self, pointer: Any, cache: int) -> None:
        """Bring the line at an address, which may be none of ours, into the first- or second-level ``cache``."""
        read, near, data = (ir.Constant(I32, value) for value in (0, 4 - cache, 1))
        self.call("llvm.prefetch.p0", VOID, pointer, read, near, data)

    def lanes(self, count: int) -> Any:
        """The mask of the first ``count`` lanes; None where that is all of them."""
        if count >= self.width:
            return None
        return constant(ir.VectorType(I1, self.width), *(int(i < count) for i in range(self.width)))

    def buffer(self, count: int) -> Any:
        """Room for ``count`` numbers on the stack."""
        return self.room(ir.ArrayType(self.real, count), 64)

    def room(self, kind: Any, align: int) -> Any:
        """Room for one value of a kind on the stack."""
        with self.b.goto_entry_block():
            room = self.b.alloca(kind)
        room.align, room.type = align, PTR
        return room

    # Flow

    @contextmanager
    def loop(self, start: Any, stop: Any, step: Any = 1, carry: Sequence[Any] = ()) -> Iterator[Loop]:
        """``for index in range(start, stop, step)``, with values carried along."""
        start, stop, step = (i64(v) if isinstance(v, int) else v for v in (start, stop, step))
        head, body, after = (self.b.append_basic_block(n) for n in ("head", "body", "after"))
        before = self.b.block
        self.b.branch(head)
        self.b.position_at_end(head)
        index = self.b.phi(I64)
        index.add_incoming(start, before)
        values = [self.b.phi(v.type) for v in carry]
        for phi, value in zip(values, carry, strict=True):
            phi.add_incoming(value, before)
        self.b.cbranch(self.b.icmp_signed("<", index, stop), body, after)
        self.b.position_at_end(body)
        turn = Loop(index, values)
        yield turn
        index.add_incoming(self.b.add(index, step), self.b.block)
        for phi, value in zip(values, turn.next, strict=True):
            phi.add_incoming(value, self.b.block)
        self.b.branch(head)
        self.b.position_at_end(after)

    def when(self, condition: Any) -> Any:
        """``if condition:``, as a context."""
        return self.b.if_then(condition)


def suffix(kind: Any) -> str:
    """How an intrinsic's name ends for a type."""
    if isinstance(kind, ir.VectorType):
        return f"v{kind.count}{suffix(kind.element)}"
    return "f64" if kind == F64 else "f32"
