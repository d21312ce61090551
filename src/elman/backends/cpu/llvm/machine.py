"""The processor: how many floats its vectors hold, and LLVM's machine for that width.

Widths: 16 (AVX-512), 8 (AVX2 with FMA) and 4, which every processor has. Tests force one with :func:`forced`.
"""

from __future__ import annotations

import functools
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WIDTHS = (16, 8, 4)
_X86 = platform.machine().lower() in ("x86_64", "amd64")
_forced: list[int] = []


@functools.cache
def _host() -> tuple[str, dict[str, bool]]:
    from llvmlite import binding

    try:
        return binding.get_host_cpu_name(), dict(binding.get_host_cpu_features())
    except RuntimeError:
        return "", {}


@functools.cache
def widths() -> tuple[int, ...]:
    """The vector widths this processor can run, widest first."""
    _, has = _host()
    wide = {16: has.get("avx512f") and has.get("avx512dq"), 8: has.get("avx2") and has.get("fma")}
    return tuple(w for w in WIDTHS if w == 4 or (_X86 and wide[w]))


def width() -> int:
    """The vector width kernels are built for: the widest there is, unless a test forces another."""
    return _forced[-1] if _forced else widths()[0]


@contextmanager
def forced(wanted: int) -> Iterator[None]:
    """Build kernels for vectors of ``wanted`` floats, for tests: one of :func:`widths`."""
    assert wanted in widths(), f"this processor runs the widths {widths()}"
    _forced.append(wanted)
    try:
        yield
    finally:
        _forced.pop()


@functools.cache
def first_cache() -> int:
    """Bytes of the first-level data cache: what Linux says, else 32 KiB."""
    try:
        text = Path("/sys/devices/system/cpu/cpu0/cache/index0/size").read_text()
        return int(text.strip().removesuffix("K")) << 10
    except (OSError, ValueError):
        return 1 << 15


@dataclass(frozen=True)
class Vectors:
    """A kernel's vectors: as many lanes as floats of float32 fit in, or half of them of float64."""

    floats: int
    item: int = 4  # bytes of a lane

    @property
    def lanes(self) -> int:
        """Numbers in a vector."""
        return self.floats * 4 // self.item


def registers(wanted: int) -> int:
    """How many vector registers there are at that width."""
    return 32 if wanted == 16 or not _X86 else 16


def is_x86() -> bool:
    """Whether the processor has the control word that flushes denormals as x86 has it."""
    return _X86


def processor(wanted: int) -> tuple[str, str]:
    """LLVM's name of the processor that kernels of that width are compiled for, and its features."""
    name, has = _host()
    if wanted == 16:
        return name, ",".join(f"{'+' if on else '-'}{feature}" for feature, on in has.items()) + ",-prefer-256-bit"
    return ({8: "x86-64-v3", 4: "x86-64"}[wanted] if _X86 else name), ""


def target_machine(wanted: int, level: int = 2) -> Any:
    """LLVM's target machine for that width, which optimises as much as ``level`` says."""
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    target = binding.Target.from_default_triple()
    name, features = processor(wanted)
    return target.create_target_machine(cpu=name, features=features, opt=level, jit=True, codemodel="jitdefault")
