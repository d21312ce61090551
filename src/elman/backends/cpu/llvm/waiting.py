"""Waiting until every member of a team is there, at every step of a loop.

OpenMP's own barrier spins for milliseconds before it sleeps. On a busy machine, where the one that is waited for has
lost its processor, that is a slice of time at every step. This one spins for a tenth of a millisecond and then sleeps;
Linux alone is asked for that, and elsewhere OpenMP's serves.
"""

from __future__ import annotations

import platform
import sys
from typing import Any

from llvmlite import ir

from elman.backends.cpu.llvm import machine, threads
from elman.backends.cpu.llvm.code import I32, I64, PTR, VOID, Code, i64

_SPINS = 2000  # a tenth of a millisecond
_WAIT, _WAKE = 128, 129  # FUTEX_WAIT and FUTEX_WAKE, private to the process
_FUTEX = {"x86_64": 202, "aarch64": 98}  # the system call's number
_PAUSES = {machine.X86: ("llvm.x86.sse2.pause", []), machine.ARM: ("llvm.aarch64.hint", [1])}


def emit_wait(c: Code, counters: Any, members: Any) -> None:
    """Wait until ``members`` have come here. ``counters`` is the address of ``threads.COUNTERS`` numbers."""
    if not threads.has_pool():
        return
    number = _FUTEX.get(platform.machine()) if sys.platform == "linux" else None
    if number is None or machine.kind() not in _PAUSES:
        c.b.call(_function(c, threads.BARRIER, VOID, []), [])
        return
    with c.when(c.b.icmp_signed(">", members, i64(1))):
        c.b.call(_waiting(c, number), [counters, c.b.trunc(members, I32)])


def _function(c: Code, name: str, result: Any, arguments: list[Any], var_arg: bool = False) -> Any:
    return c.module.globals.get(name) or ir.Function(c.module, ir.FunctionType(result, arguments, var_arg), name)


def _waiting(c: Code, number: int) -> Any:
    """The function that waits, written once for a module."""
    if "wait" in c.module.globals:
        return c.module.globals["wait"]
    w = Code(c.module, "wait", [PTR, I32], c.vectors, internal=True)
    counters, members = w.function.args
    b, one = w.b, ir.Constant(I32, 1)
    came, turn, asleep = (w.at(counters, i, I32) for i in range(threads.COUNTERS))
    system = _function(c, "syscall", I64, [I64], var_arg=True)

    def call(what: int, value: Any) -> None:
        b.call(system, [i64(number), turn, ir.Constant(I32, what), value, i64(0), i64(0), i64(0)])

    now = b.load_atomic(turn, "seq_cst", 4, typ=I32)
    before = b.atomic_rmw("add", came, one, "seq_cst")
    with b.if_else(b.icmp_signed("==", b.add(before, one), members)) as (last, others):
        with last:
            b.atomic_rmw("xchg", came, ir.Constant(I32, 0), "seq_cst")
            b.atomic_rmw("xchg", turn, b.add(now, one), "seq_cst")
            sleepers = b.load_atomic(asleep, "seq_cst", 4, typ=I32)
            with b.if_then(b.icmp_signed("!=", sleepers, ir.Constant(I32, 0))):
                call(_WAKE, members)
        with others:
            spin, pause, sleep, done = (w.function.append_basic_block(n) for n in ("spin", "pause", "sleep", "done"))
            start = b.block
            b.branch(spin)
            b.position_at_end(spin)
            count = b.phi(I32)
            count.add_incoming(ir.Constant(I32, 0), start)
            is_over = b.icmp_signed("!=", b.load_atomic(turn, "seq_cst", 4, typ=I32), now)
            b.cbranch(is_over, done, pause)
            b.position_at_end(pause)
            name, values = _PAUSES[machine.kind()]
            w.call(name, VOID, *(ir.Constant(I32, value) for value in values))
            more = b.add(count, one)
            count.add_incoming(more, pause)
            b.cbranch(b.icmp_signed("<", more, ir.Constant(I32, _SPINS)), spin, sleep)
            b.position_at_end(sleep)
            b.atomic_rmw("add", asleep, one, "seq_cst")
            call(_WAIT, now)
            b.atomic_rmw("sub", asleep, one, "seq_cst")
            # Woken for nothing, too, it looks again.
            count.add_incoming(ir.Constant(I32, 0), sleep)
            b.branch(spin)
            b.position_at_end(done)
    w.finish()
    return w.function
