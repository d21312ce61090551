"""A kernel as Python calls it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from elman.backends.cpu.llvm import compiler, threads
from elman.backends.cpu.llvm.compiler import Compiled, Written
from elman.backends.cpu.llvm.machine import Vectors


class Kernel:
    """A compiled kernel: call it with its arguments by name, ``names`` among them; ``address`` is its entry."""

    @classmethod
    def of(cls, what: tuple[object, ...], vectors: Vectors, write: Callable[[], Written]) -> Kernel:
        """The kernel that ``what`` says in full, kept from before or written."""
        return cls(compiler.build(repr((*what, vectors, threads.has_pool())), vectors.floats, write))

    def __init__(self, code: Compiled) -> None:
        self.address: int = code.address("entry")
        self._code = code
        self.names: tuple[str, ...] = code.names
        self.call: Callable[[Any], None] = threads.caller(self.address)
        self.table: Any = threads.table(len(self.names))
        self._chosen: Callable[[Mapping[str, int]], tuple[int, ...]] = operator.itemgetter(*self.names)

    def __call__(self, values: Mapping[str, int]) -> None:
        """Run it; the GIL is free meanwhile."""
        self.call(self.table(*self._chosen(values)))
