"""From LLVM IR to functions that can be called, under one lock; what was compiled is kept for the next process."""

from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Sequence
from typing import Any

from elman.backends.cpu.llvm import machine, objects

# LLVM's passes and llvmlite's engines are not made for several threads at once.
LOCK = threading.RLock()
LEVEL = 2  # how much LLVM optimises, 0 to 2; at 0 it compiles ten times as fast, for tests
# What is done before LLVM writes machine code, in order. Vectors, tiles and loops are written out already: with LLVM's
# own list of passes, which takes five times as long, kernels are no more than 2 % faster.
PASSES = (
    "simplify_cfg", "sroa", "instruction_combine", "loop_simplify", "lcssa", "loop_rotate", "new_gvn",
    "dead_code_elimination", "simplify_cfg",
)  # fmt: skip
_FOR_EVER: list[Any] = []


def build(text: str, width: int, names: Sequence[str], keep: list[Any] = _FOR_EVER) -> dict[str, int]:
    """Compile a module's text for vectors of ``width`` floats; the addresses of the functions ``names``.

    The text names what it calls outside by :func:`define`; no address stands in it. The code is there as long as what
    is put into ``keep``: for ever, unless told otherwise.
    """
    with LOCK:
        key = _key(text, width)
        code = objects.read(key)
        if code is None:
            code = _compile(text, width)
            objects.write(key, code)
        engine = _load(code, width)
        keep.append(engine)
        return {name: engine.get_function_address(name) for name in names}


def define(symbol: str, address: int) -> None:
    """Let compiled code call the function at an address by a name."""
    from llvmlite import binding

    with LOCK:
        binding.add_symbol(symbol, address)


def _key(text: str, width: int) -> str:
    """All that the object depends on."""
    import llvmlite
    from llvmlite import binding

    facts = (
        llvmlite.__version__,
        binding.llvm_version_info,
        machine.triple(),
        machine.processor(width),
        (LEVEL, PASSES),
    )
    return hashlib.sha256(repr((facts, text)).encode()).hexdigest()


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
    from llvmlite import binding

    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), machine.target_machine(width))
    engine.add_object_file(binding.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine
