"""From LLVM IR to functions that can be called, under one lock; what was compiled is kept for the next process."""

from __future__ import annotations

import functools
import hashlib
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from elman.backends.cpu.llvm import loader, machine, objects

# LLVM's passes and llvmlite's engines are not made for several threads at once.
LOCK = threading.RLock()
LEVEL = 2  # how much LLVM optimises, 0 to 2; at 0 it compiles ten times as fast, for tests
# What is done before LLVM writes machine code, in order. Vectors, tiles and loops are written out already: with LLVM's
# own list of passes, which takes five times as long, kernels are no more than 2 % faster.
PASSES = (
    "simplify_cfg", "sroa", "instruction_combine", "loop_simplify", "lcssa", "loop_rotate", "new_gvn",
    "dead_code_elimination", "simplify_cfg",
)  # fmt: skip
# Where the source stands that says what a kernel's text is: folders below elman.
WRITERS = ("backends/cpu", "backends/plan", "equations")
_OUTSIDE: dict[str, int] = {}


class Written(NamedTuple):
    """A module's text, and names to keep beside it."""

    text: str
    names: tuple[str, ...] = ()


class Compiled(NamedTuple):
    """Code in memory, for as long as this is held, and the ``names`` that were written beside it."""

    code: Any
    names: tuple[str, ...]

    def address(self, symbol: str) -> int:
        """Where a function of it begins."""
        return int(self.code.get_function_address(symbol))


def build(of: str, width: int, write: Callable[[], Written]) -> Compiled:
    """Compile a module for vectors of ``width`` floats, or fetch it from the folder of kept ones.

    No address stands in its text: what it calls outside is known by :func:`define`. ``of`` says what it is, in full:
    the text must follow from it, this package's source and the machine.
    """
    with LOCK:
        key = _key(of, width)
        kept = objects.read(key) if _source() else None
        if kept is None:
            text, names = write()
            kept = json.dumps(names).encode() + b"\n" + _compile(text, width)
            if _source():
                objects.write(key, kept)
        noted, _, code = kept.partition(b"\n")
        return Compiled(_load(code, width), tuple(json.loads(noted)))


def build_text(text: str, width: int) -> Compiled:
    """:func:`build` for a text that is written already, wherever its source stands."""
    return build(text, width, lambda: Written(text))


def define(symbol: str, address: int) -> None:
    """Let compiled code call the function at an address by a name."""
    _OUTSIDE[symbol] = address


def _key(of: str, width: int) -> str:
    """All that the object depends on."""
    facts = (_source(), machine.facts(width), LEVEL, PASSES)
    return hashlib.sha256(repr((facts, of)).encode()).hexdigest()


@functools.cache
def _source() -> str:
    """A digest of the source that writes kernels; "" where there is none to read, and nothing may be kept."""
    digest, root = hashlib.sha256(), Path(__file__).parents[3]
    files = [sorted((root / folder).rglob("*.py")) for folder in WRITERS]
    for file in (file for folder in files for file in folder):
        digest.update(file.read_bytes())
    return digest.hexdigest() if all(files) else ""


@functools.cache
def _compiling(width: int, level: int, triple: str) -> Any:
    """The machine that compiles, kept: each takes a megabyte. One that is given to an engine stays small."""
    return machine.target_machine(width, level)


def _compile(text: str, width: int) -> bytes:
    from llvmlite import binding

    target = _compiling(width, LEVEL, machine.triple())
    # In a context of its own, which goes when it is done: the common one keeps what it has seen.
    module = binding.parse_assembly(text, binding.create_context())
    module.triple = machine.triple()
    module.data_layout = str(target.target_data)
    if LEVEL:
        passes = binding.newpassmanagers.create_new_module_pass_manager()
        for name in PASSES:
            getattr(passes, f"add_{name}_pass")()
        passes.run(module, binding.create_pass_builder(target, binding.create_pipeline_tuning_options()))
    return target.emit_object(module)


def _load(code: bytes, width: int) -> Any:
    """Code in memory, ready to run: placed by our own loader where it knows how, else by llvmlite's engine."""
    try:
        return loader.Image(code, _OUTSIDE)
    except loader.Unknown:
        pass
    from llvmlite import binding

    for symbol, address in list(_OUTSIDE.items()):
        binding.add_symbol(symbol, address)
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), machine.target_machine(width))
    engine.add_object_file(binding.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine
