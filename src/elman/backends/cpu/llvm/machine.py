"""The processor: how many floats its vectors hold, and LLVM's machine for that width.

Widths: 16 (AVX-512), 8 (AVX2 with FMA) and 4, which every processor has. ``ELMAN_VECTORS`` names the widest that is
used. Tests force one with :func:`forced`, and write code for another kind of processor with :func:`foreign`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from elman.backends.cpu.llvm import objects
from elman.errors import ElmanError

WIDTHS = (16, 8, 4)
LINE = 64  # bytes that caches and processors pass on at once
X86, ARM = "x86-64", "arm64"
_KINDS = {"x86_64": X86, "amd64": X86, "aarch64": ARM, "arm64": ARM}
# The lines of /proc/cpuinfo that say which processor it is.
_LASTING = "vendor", "cpu family", "model", "stepping", "flags", "CPU ", "Features"
_forced: list[int] = []
_foreign: list[str] = []  # triples


def triple() -> str:
    """What LLVM calls the kind of processor and system that code is written for: this one, unless a test says."""
    from llvmlite import binding

    return _foreign[-1] if _foreign else str(binding.get_default_triple())


def kind() -> str:
    """The kind of processor: X86, ARM, or how it is called."""
    name = _foreign[-1].partition("-")[0] if _foreign else platform.machine().lower()
    return _KINDS.get(name, name)


@contextmanager
def foreign(name: str) -> Iterator[None]:
    """Write code for the processor and the system that LLVM calls so, such as "aarch64-linux-gnu".

    It cannot be run here, so it must not be kept where other code is.
    """
    from llvmlite import binding

    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    _foreign.append(name)
    try:
        yield
    finally:
        _foreign.pop()


@functools.cache
def _host() -> tuple[str, dict[str, bool]]:
    """LLVM's name of this processor and its features, kept as kernels are: asking takes LLVM's library."""
    key = hashlib.sha256(repr(("host", _compiler(), _described())).encode()).hexdigest()
    kept = objects.read(key) if _described() else None
    if kept is None:
        kept = json.dumps(_asked_host()).encode()
        if _described():
            objects.write(key, kept)
    name, has = json.loads(kept)
    return name, has


def _asked_host() -> tuple[str, dict[str, bool]]:
    from llvmlite import binding

    try:
        return binding.get_host_cpu_name(), dict(binding.get_host_cpu_features())
    except RuntimeError:
        return "", {}


@functools.cache
def _described() -> str:
    """What Linux says of the processor, without what changes, and what torch finds; "" where that is not all."""
    try:
        with open("/proc/cpuinfo") as file:
            first = file.read(1 << 14).partition("\n\n")[0]
    except OSError:
        return ""
    lines = [line for line in first.split("\n") if line.startswith(_LASTING)]
    # Where the processor is emulated, the file may speak of the one below. Torch asks the processor.
    capability = getattr(torch.backends.cpu, "get_cpu_capability", None)
    has_features = any(line.startswith(("flags", "Features")) for line in lines)
    return "\n".join([*lines, capability()]) if capability and has_features else ""


@functools.cache
def _compiler() -> tuple[object, ...]:
    """Which LLVM compiles, without loading it."""
    import llvmlite

    files = sorted((Path(llvmlite.__file__).parent / "binding").glob("*llvmlite.*"))
    return llvmlite.__version__, [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files]


def facts(wanted: int) -> tuple[object, ...]:
    """All that kernels of that width depend on, beside their source: the machine, the system and LLVM."""
    caches = first_cache(), second_cache()
    return _compiler(), sys.platform, platform.machine(), _foreign, processor(wanted), caches


@functools.cache
def widths() -> tuple[int, ...]:
    """The vector widths this processor can run, and ``ELMAN_VECTORS`` allows, widest first.

    Raises :class:`ElmanError` where that is no width.
    """
    _, has = _host()
    wide = {16: has.get("avx512f") and has.get("avx512dq"), 8: has.get("avx2") and has.get("fma")}
    most = os.environ.get("ELMAN_VECTORS", str(WIDTHS[0]))
    if most not in map(str, WIDTHS):
        raise ElmanError(f"ELMAN_VECTORS: got {most!r}, want {', '.join(map(str, WIDTHS))}: floats in a vector")
    return tuple(w for w in WIDTHS if w <= int(most) and (w == 4 or (kind() == X86 and wide[w])))


def width() -> int:
    """The vector width kernels are built for: the widest there is, unless a test forces another."""
    return _forced[-1] if _forced else 4 if _foreign else widths()[0]


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
    return _cache(0, 1 << 15)


@functools.cache
def second_cache() -> int:
    """Bytes of a core's second-level cache: what Linux says, else 512 KiB."""
    return _cache(2, 1 << 19)


def _cache(index: int, otherwise: int) -> int:
    try:
        text = Path(f"/sys/devices/system/cpu/cpu0/cache/index{index}/size").read_text()
        return int(text.strip().removesuffix("K")) << 10
    except (OSError, ValueError):
        return otherwise


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
    return 32 if wanted == 16 or kind() == ARM else 16


def processor(wanted: int) -> tuple[str, str]:
    """LLVM's name of the processor that kernels of that width are compiled for, and its features."""
    if _foreign:
        return "generic", ""
    name, has = _host()
    if wanted == 16:
        return name, ",".join(f"{'+' if on else '-'}{feature}" for feature, on in has.items()) + ",-prefer-256-bit"
    return ({8: "x86-64-v3", 4: "x86-64"}[wanted] if kind() == X86 else name), ""


def target_machine(wanted: int, level: int = 2) -> Any:
    """LLVM's target machine for that width, which optimises as much as ``level`` says."""
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    target = binding.Target.from_triple(triple())
    name, features = processor(wanted)
    if _foreign:
        return target.create_target_machine(cpu=name, features=features, opt=level, reloc="pic")
    return target.create_target_machine(cpu=name, features=features, opt=level, jit=True, codemodel="jitdefault")
