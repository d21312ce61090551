"""Waiting until every member of a team is there, at every step of a loop.

Each member counts the times it came, in a line of memory that it alone writes, and looks at the others' lines: what one
has written reaches another in a single transfer between processors. A wait takes a fraction of a microsecond.

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
from elman.backends.cpu.llvm.code import I8, I32, I64, PTR, VOID, Code, i64, outside

_EAGER = 50  # looks without a pause, which is as long as a transfer
_SPINS = 2000  # looks in all: a tenth of a millisecond
_WAIT, _WAKE = 128, 129  # FUTEX_WAIT and FUTEX_WAKE, private to the process
_FUTEX = {"x86_64": 202, "aarch64": 98}  # the system call's number
_PAUSES = {machine.X86: ("llvm.x86.sse2.pause", []), machine.ARM: ("llvm.aarch64.hint", [1])}


def emit_wait(c: Code, counters: Any, member: Any, members: Any) -> None:
    """Wait until ``members`` have come here, this ``member`` among them.

    ``counters`` is the address of numbers of 32 bits, 0 at first: a line of each member, and one for those who sleep.
    """
    if not threads.has_pool():
        return
    number = _FUTEX.get(platform.machine()) if sys.platform == "linux" else None
    if number is None or machine.kind() not in _PAUSES:
        c.b.call(outside(c.module, threads.BARRIER, VOID, []), [])
        return
    with c.when(c.b.icmp_signed(">", members, i64(1))):
        c.b.call(_waiting(c, number), [counters, member, members])


def _waiting(c: Code, number: int) -> Any:
    """The function that waits, written once for a module."""
    if "wait" in c.module.globals:
        return c.module.globals["wait"]
    w = Code(c.module, "wait", [PTR, I64, I64], c.vectors, internal=True)
    counters, member, members = w.function.args
    b, one, zero = w.b, ir.Constant(I32, 1), ir.Constant(I32, 0)
    system = outside(c.module, "syscall", I64, [I64], is_variadic=True)

    def line(which: Any) -> Any:
        return w.at(counters, w.mul(which, machine.LINE), I8)

    def call(what: int, address: Any, value: Any) -> None:
        b.call(system, [i64(number), address, ir.Constant(I32, what), value, i64(0), i64(0), i64(0)])

    own, asleep = line(member), line(members)
    times = b.add(b.load_atomic(own, "monotonic", 4, typ=I32), one)
    b.atomic_rmw("xchg", own, times, "seq_cst")
    # Whoever sleeps said so before it looked at this line for the last time.
    with b.if_then(b.icmp_signed("!=", b.load_atomic(asleep, "seq_cst", 4, typ=I32), zero)):
        call(_WAKE, own, b.trunc(members, I32))
    with w.loop(0, members) as each:
        other = line(each.index)
        look, pause, rest, sleep, done = (
            w.function.append_basic_block(n) for n in ("look", "pause", "rest", "sleep", "done")
        )
        start = b.block
        b.branch(look)
        b.position_at_end(look)
        count = b.phi(I32)
        count.add_incoming(zero, start)
        seen = b.load_atomic(other, "acquire", 4, typ=I32)
        more = b.add(count, one)
        # One that is ahead has come already; the numbers may go round.
        b.cbranch(b.icmp_signed(">=", b.sub(seen, times), zero), done, pause)
        b.position_at_end(pause)
        count.add_incoming(more, pause)
        b.cbranch(b.icmp_signed("<", more, ir.Constant(I32, _EAGER)), look, rest)
        b.position_at_end(rest)
        name, values = _PAUSES[machine.kind()]
        w.call(name, VOID, *(ir.Constant(I32, value) for value in values))
        count.add_incoming(more, rest)
        b.cbranch(b.icmp_signed("<", more, ir.Constant(I32, _SPINS)), look, sleep)
        b.position_at_end(sleep)
        b.atomic_rmw("add", asleep, one, "seq_cst")
        call(_WAIT, other, seen)
        b.atomic_rmw("sub", asleep, one, "seq_cst")
        # Woken for nothing, too, it looks again.
        count.add_incoming(zero, sleep)
        b.branch(look)
        b.position_at_end(done)
    w.finish()
    return w.function
