"""From LLVM IR to functions that can be called, under one lock."""

from __future__ import annotations

import threading
from typing import Any

from elman.backends.cpu import machine

# LLVM's passes and llvmlite's engines are not made for several threads at once.
LOCK = threading.RLock()
_KEEP: list[Any] = []  # code lives as long as its engine


def build(text: str, width: int, names: tuple[str, ...]) -> dict[str, int]:
    """Compile a module's text for vectors of ``width`` floats; the addresses of the functions ``names``."""
    from llvmlite import binding

    with LOCK:
        target = machine.target_machine(width)
        module = binding.parse_assembly(text)
        module.triple = binding.get_default_triple()
        module.data_layout = str(target.target_data)
        options = binding.create_pipeline_tuning_options(speed_level=2)
        # The vectors and the tiles are written out already: more unrolling only costs time to compile.
        options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = False
        passes = binding.create_pass_builder(target, options)
        passes.getModulePassManager().run(module, passes)
        engine = binding.create_mcjit_compiler(module, target)
        engine.finalize_object()
        _KEEP.append(engine)
        return {name: engine.get_function_address(name) for name in names}
