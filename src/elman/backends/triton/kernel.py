"""Kernels from their text: made once, kept, and started with everything by its name."""

from __future__ import annotations

import functools
import hashlib
import linecache
from collections.abc import Callable, Mapping
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from elman.backends.plan.plan import Plan, plan_of
from elman.backends.triton import source
from elman.backends.triton.functions import FUNCTIONS
from elman.backends.triton.layout import Layout, Variant, card_of, precision
from elman.backends.triton.writer import TOTALS, Source
from elman.equations import Program

REGISTERS = 255  # of a thread, at most
KEPT = 256  # kernels, the last ones used


def computed_in(dtype: torch.dtype) -> Any:
    """In what the values of a sequence are computed and summed."""
    return tl.float64 if dtype is torch.float64 else tl.float32


class Kernel:
    """One direction of a loop."""

    def __init__(self, made: Source, layout: Layout) -> None:
        self.source = made
        self.layout = layout
        self.function = _function(made.text)

    def __call__(self, x: Tensor, values: Mapping[str, Any]) -> None:
        """Start it over the steps and rows of ``x``; what must run at once but cannot, group by group."""
        (steps, rows), layout = x.shape[:2], self.layout
        groups = -(-rows // layout.rows)
        at_once = max(1, card_of(x.device).processors // layout.parts) if layout.exchanged else groups
        taken = {name: values[name] for name in self.source.arguments}
        constants = {"F": computed_in(x.dtype), "P": precision(x.dtype)}
        with torch.cuda.device_of(x):
            for group in range(0, groups, at_once):
                grid = (min(at_once, groups - group), layout.parts)
                self.function[grid](**taken, group=group, B=rows, T=steps, **constants, **self.options)

    @property
    def options(self) -> dict[str, Any]:
        """How Triton is to compile it."""
        chosen: dict[str, Any] = {"num_warps": self.layout.warps, "num_stages": 1, "enable_fp_fusion": True}
        if self.layout.rows > 1:  # one program has a processor to itself, and all its registers
            chosen["maxnreg"] = REGISTERS
        if self.layout.exchanged:
            chosen["launch_cooperative_grid"] = True
        return chosen

    @staticmethod
    def kind(name: str, number: str) -> str:
        """The type of an argument in Triton's words, where the sequence's are of type ``number``."""
        if name.endswith("_stride"):
            return "i32"
        if name in ("valid", "reset"):
            return "*u8"
        if name == "arrived":
            return "*i32"
        return f"*{number}" if not name.startswith(TOTALS) else "*fp64" if number == "fp64" else "*fp32"


def _function(text: str) -> Any:
    """The text as a function of Triton's, which reads it again from where Python keeps the lines of files."""
    name = f"<elman {hashlib.sha256(text.encode()).hexdigest()[:16]}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    scope: dict[str, Any] = {"tl": tl, **FUNCTIONS}
    exec(compile(text, name, "exec"), scope)
    return triton.jit(next(v for k, v in scope.items() if k in ("forward", "backward")))


class Kernels:
    """Both directions of a loop at given sizes, in one variant."""

    def __init__(self, program: Program, sizes: Mapping[str, int], variant: Variant) -> None:
        self.plan: Plan = plan_of(program, tuple(sizes.items()))
        self.variant: Variant = variant

    @functools.cached_property
    def forward(self) -> Kernel:
        """Written when first needed."""
        return self._kernel(source.forward)

    @functools.cached_property
    def backward(self) -> Kernel:
        """Written when first needed."""
        return self._kernel(source.backward)

    def _kernel(self, write: Callable[[Plan, Variant], Source]) -> Kernel:
        return Kernel(write(self.plan, self.variant), self.variant.layout)


@functools.lru_cache(maxsize=KEPT)
def kernels(program: Program, sizes: tuple[tuple[str, int], ...], variant: Variant) -> Kernels:
    """The kernels of a loop."""
    return Kernels(program, dict(sizes), variant)
