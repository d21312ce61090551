"""The machine's multiply-add peak: a loop that touches registers alone, on all of torch's threads."""

from __future__ import annotations

import ctypes
import functools
import time

import torch

from elman.backends.cpu.llvm import compiler, machine, threads
from elman.backends.cpu.llvm.compiler import Compiled

# Multiply-adds in flight: enough for two a cycle that take four to five cycles each, few enough for 16 registers.
CHAINS = 12


def peak_gflops(seconds: float = 0.5) -> float:
    """Measure the peak speed of multiply-adds, in GFLOP/s over all threads.

    It is what the widest vectors the kernels may use can reach, with nothing to load and nothing to store.
    """
    turns = 1 << 14
    # On one thread, and the shortest of three: where the machine is busy, waiting for the team takes long.
    while min(_run(turns, 1) for _ in range(3)) < 0.01:
        turns *= 2
    team, end = threads.team(), time.perf_counter() + seconds
    best = _run(turns, team)
    while time.perf_counter() < end:
        best = min(best, _run(turns, team))
    return 2 * CHAINS * machine.width() * turns * team / best / 1e9


def _run(turns: int, team: int) -> float:
    """Seconds until every thread of a team has done ``turns`` turns of the loop."""
    function, pool = _loop(machine.width()).address("peak"), threads.pool()
    data = ctypes.c_int64(turns)
    begun = time.perf_counter()
    if pool is None or team == 1:
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(function)(ctypes.byref(data))
    else:
        pointer, count = ctypes.c_void_p, ctypes.c_uint
        start = ctypes.CFUNCTYPE(None, pointer, pointer, count, count)(pool.parallel)
        start(function, ctypes.byref(data), team, 0)
    return time.perf_counter() - begun


@functools.cache
def _loop(width: int) -> Compiled:
    torch.get_num_threads()  # torch's pool is up before ours is asked of it
    return compiler.build_text(text(width), width)


def text(width: int) -> str:
    """The loop in LLVM IR: ``CHAINS`` vectors of ``width`` floats, each multiplied and added to at every turn.

    >>> text(8).count("call <8 x float> @llvm.fmuladd") == CHAINS
    True
    """
    vector, chains = f"<{width} x float>", range(CHAINS)
    phis = [f"  %a{k} = phi {vector} [ %s{k}, %entry ], [ %n{k}, %turn ]" for k in chains]
    # Each chain starts elsewhere, or the compiler would keep one for all.
    starts = [f"  %s{k} = insertelement {vector} zeroinitializer, float {k + 1}.0, i32 0" for k in chains]
    adds = [
        f"  %n{k} = call {vector} @llvm.fmuladd.v{width}f32({vector} %a{k}, {vector} %factor, {vector} %term)"
        for k in chains
    ]
    # What is stored is needed: without it nothing above would be computed.
    stores = [f"  store volatile {vector} %n{k}, ptr %room, align 64" for k in chains]
    return "\n".join([
        f"declare {vector} @llvm.fmuladd.v{width}f32({vector}, {vector}, {vector})",
        "define void @peak(ptr %data) {", "entry:", f"  %room = alloca {vector}, align 64",
        f"  store volatile {vector} {_splat(width, 0.5)}, ptr %room, align 64",
        f"  %factor = load volatile {vector}, ptr %room, align 64",
        f"  %term = load volatile {vector}, ptr %room, align 64",
        "  %turns = load i64, ptr %data, align 8", *starts, "  br label %turn",
        "turn:", "  %i = phi i64 [ 0, %entry ], [ %next, %turn ]", *phis, *adds,
        "  %next = add i64 %i, 1", "  %more = icmp slt i64 %next, %turns",
        "  br i1 %more, label %turn, label %end",
        "end:", *stores, "  ret void", "}",
    ])  # fmt: skip


def _splat(width: int, value: float) -> str:
    return "<" + ", ".join([f"float {value}"] * width) + ">"
