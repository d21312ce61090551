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
        LEVEL,
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
    options = binding.create_pipeline_tuning_options(speed_level=LEVEL)
    # The vectors and the tiles are written out already: more unrolling only costs time to compile.
    options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = False
    passes = binding.create_pass_builder(target, options)
    passes.getModulePassManager().run(module, passes)
    return target.emit_object(module)


def _load(code: bytes, width: int) -> Any:
    from llvmlite import binding

    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), machine.target_machine(width))
    engine.add_object_file(binding.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine
