"""What every kernel has: named arguments, an entry that deals rows out to threads, and the denormal switch.

An argument is declared where it is read, and filled by its name.

A kernel is three functions. ``entry(args)`` is called from Python. It runs ``pack`` and then ``run`` on torch's own
OpenMP team where ``team`` is above 1, and by itself otherwise. Each of these gets (args, member, members).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llvmlite import ir

from elman.backends.cpu.llvm import machine, threads, waiting
from elman.backends.cpu.llvm.code import I32, I64, PTR, VOID, Code, i64, outside
from elman.backends.cpu.llvm.compiler import Written
from elman.backends.cpu.llvm.machine import Vectors

FLUSH_X86 = 0x8040  # in mxcsr: flush to zero, and denormals are zero
FLUSH_ARM = 1 << 24  # in fpcr: both


class Arguments:
    """A table of 64-bit values by name, which have their places in the order they are first asked for."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}

    def at(self, c: Code, table: Any, name: str) -> Any:
        """Where the argument called ``name`` stands in ``table``."""
        return c.at(table, self.places.setdefault(name, len(self.places)), I64)

    def read(self, c: Code, table: Any, name: str) -> Any:
        """The whole number called ``name``."""
        return c.load(self.at(c, table, name), I64, 8)


class Part(Code):
    """``pack`` or ``run`` of a kernel: code with the kernel's arguments at hand."""

    table: Any
    member: Any
    members: Any

    def __init__(self, module: ir.Module, arguments: Arguments, name: str, vectors: Vectors) -> None:
        super().__init__(module, name, [PTR, I64, I64], vectors, internal=True)
        self.arguments = arguments
        self.table, self.member, self.members = self.function.args
        self._read: dict[str, Any] = {}

    def number(self, name: str) -> Any:
        """An argument that is a whole number."""
        if name not in self._read:
            with self.b.goto_entry_block():
                self._read[name] = self.arguments.read(self, self.table, name)
        return self._read[name]

    def pointer(self, name: str) -> Any:
        """An argument that is an address."""
        key = f"*{name}"
        if key not in self._read:
            number = self.number(name)
            with self.b.goto_entry_block():
                # After the number's own load, which stands in the same block.
                self._read[key] = self.b.inttoptr(number, PTR)
        return self._read[key]

    def wait(self) -> None:
        """Wait until every member of the team is here."""
        waiting.emit_wait(self, self.pointer("counters"), self.member, self.members)

    def dealt(self, count: int) -> tuple[Any, Any]:
        """Which of ``count`` things side by side this member is dealt: the first, and the one after the last."""
        first, after = (
            self.b.sdiv(self.mul(at, count), self.members) for at in (self.member, self.add(self.member, 1))
        )
        return first, after


def write(
    vectors: Vectors, *parts: Callable[[ir.Module, Arguments], Part], flow: Callable[..., None] | None = None
) -> Written:
    """Write a kernel of these parts, which run one after the other, each on the whole team.

    Where that is not all, ``flow(entry, *starts)`` writes it; each of ``starts`` writes the start of its part, once.
    """
    module, arguments = ir.Module(), Arguments()
    written = [part(module, arguments) for part in parts]
    for part in written:
        part.finish()
    _entry(module, arguments, written, vectors, flow or _in_turn)
    return Written(str(module), tuple(arguments.places))


class Entry(Code):
    """The function that Python calls."""

    def __init__(self, module: ir.Module, arguments: Arguments, vectors: Vectors) -> None:
        super().__init__(module, "entry", [PTR], vectors)
        self.arguments: Arguments = arguments
        self.table: Any = self.function.args[0]

    def number(self, name: str) -> Any:
        """An argument that is a whole number."""
        return self.arguments.read(self, self.table, name)

    def pointer(self, name: str) -> Any:
        """An argument that is an address."""
        return self.b.inttoptr(self.number(name), PTR)

    def write(self, name: str, value: Any) -> None:
        """Change the whole number called ``name``."""
        self.b.store(value, self.arguments.at(self, self.table, name), align=8)

    def run(self, symbol: str, names: Sequence[str], values: Mapping[str, Any]) -> None:
        """Call the kernel that is known as ``symbol`` and takes ``names`` with these numbers and addresses."""
        table = self.room(ir.ArrayType(I64, len(names)), 8)
        for i, name in enumerate(names):
            value = values[name]
            value = i64(value) if isinstance(value, int) else value
            value = value if value.type == I64 else self.b.ptrtoint(value, I64)
            self.b.store(value, self.at(table, i, I64), align=8)
        self.b.call(outside(self.module, symbol, VOID, [PTR]), [table])


def _in_turn(c: Entry, *starts: Callable[[], None]) -> None:
    for start in starts:
        start()


def _entry(
    module: ir.Module, arguments: Arguments, parts: list[Part], vectors: Vectors, flow: Callable[..., None]
) -> None:
    c = Entry(module, arguments, vectors)
    flow(c, *(functools.partial(_start, c, part) for part in parts))
    c.finish()


def _start(c: Entry, part: Part) -> None:
    """Run a part on torch's pool, or by itself where there is none or the team is of one."""
    team, alone = c.number("team"), [c.table, i64(0), i64(1)]
    if not threads.has_pool():
        c.b.call(part.function, alone)
        return
    with c.b.if_else(c.b.icmp_signed("<=", team, i64(1))) as (then, otherwise):
        with then:
            c.b.call(part.function, alone)
        with otherwise:
            wrapper = _member(c.module, part, c.vectors)
            start = outside(c.module, threads.PARALLEL, VOID, [PTR, PTR, I32, I32])
            c.b.call(start, [wrapper.function, c.table, c.b.trunc(team, I32), ir.Constant(I32, 0)])


def _member(module: ir.Module, part: Part, vectors: Vectors) -> Code:
    """What OpenMP starts on every thread: it asks which one it is."""
    c = Code(module, part.function.name + "_member", [PTR], vectors, internal=True)
    names = (threads.MEMBER, threads.MEMBERS)
    who = [c.b.sext(c.b.call(outside(module, name, I32, []), []), I64) for name in names]
    c.b.call(part.function, [c.function.args[0], *who])
    c.finish()
    return c


class Flushed:
    """While it stands, denormals count as 0 on this thread: they can make a step ten times slower."""

    def __init__(self, c: Code) -> None:
        self.c = c
        self.kind = machine.kind()

    def __enter__(self) -> None:
        c = self.c
        if self.kind == machine.X86:
            self.kept: Any = c.room(I32, 4)
            self.room: Any = c.room(I32, 4)
            c.call("llvm.x86.sse.stmxcsr", VOID, self.kept)
            c.b.store(c.b.or_(c.load(self.kept, I32), ir.Constant(I32, FLUSH_X86)), self.room, align=4)
            c.call("llvm.x86.sse.ldmxcsr", VOID, self.room)
        elif self.kind == machine.ARM:
            self.kept = c.call("llvm.aarch64.get.fpcr", I64)
            c.call("llvm.aarch64.set.fpcr", VOID, c.b.or_(self.kept, i64(FLUSH_ARM)))

    def __exit__(self, *_: Any) -> None:
        if self.kind == machine.X86:
            self.c.call("llvm.x86.sse.ldmxcsr", VOID, self.kept)
        elif self.kind == machine.ARM:
            self.c.call("llvm.aarch64.set.fpcr", VOID, self.kept)
