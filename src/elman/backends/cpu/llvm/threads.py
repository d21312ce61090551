"""Threads: torch's own OpenMP pool, reached through the library it brings, and how many to use.

A second pool would fight with torch's waiting workers. Where torch's cannot be reached, kernels run on one thread.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from elman.backends.cpu.llvm import compiler
from elman.backends.forks import one_thread_after_fork


@dataclass(frozen=True)
class Pool:
    """Addresses of the OpenMP runtime's functions: start a team, which member is this, how many are there, wait."""

    parallel: int
    member: int
    members: int
    barrier: int


# By what names kernels call the pool's functions.
PARALLEL, MEMBER, MEMBERS, BARRIER = "elman_parallel", "elman_member", "elman_members", "elman_barrier"


@functools.cache
def has_pool() -> bool:
    """Whether there is a pool; where there is, kernels can call its functions by name."""
    addresses = pool()
    if addresses is not None:
        for symbol, address in (
            (PARALLEL, addresses.parallel),
            (MEMBER, addresses.member),
            (MEMBERS, addresses.members),
            (BARRIER, addresses.barrier),
        ):
            compiler.define(symbol, address)
    return addresses is not None


@functools.cache
def pool() -> Pool | None:
    """The OpenMP pool inside torch, or None."""
    own = Path(torch.__file__).parent
    beside = own.with_name("torch.libs")  # where wheels for ARM bring it
    # On macOS it is LLVM's, which knows GNU's names too; Intel's, on Windows, does not.
    for path in sorted(
        [*(own / "lib").glob("libgomp*.so*"), *beside.glob("libgomp*.so*"), *own.glob("lib/libomp.dylib")]
    ):
        try:
            library = ctypes.CDLL(str(path))
            names = ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads", "GOMP_barrier")
            addresses = (ctypes.cast(getattr(library, name), ctypes.c_void_p).value for name in names)
            return Pool(*(address or 0 for address in addresses))
        except (OSError, AttributeError):
            continue
    return None


def team() -> int:
    """How many threads a kernel takes: as many as torch does (one in a forked child), and one without a pool."""
    one_thread_after_fork()
    return 1 if pool() is None else torch.get_num_threads()


@functools.cache
def table(size: int) -> Any:
    """The type of a kernel's table of arguments."""
    return ctypes.c_int64 * size


def caller(address: int) -> Callable[[Any], None]:
    """A function at an address as Python calls it; it frees the GIL meanwhile."""
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)
