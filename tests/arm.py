"""Kernels for an ARM processor: written here, looked at, and, emulated, run in the place of this processor's."""

from __future__ import annotations

import ctypes
import gc
import shutil
import struct
import subprocess
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from elman.backends.cpu.call import engine
from elman.backends.cpu.kernels import building
from elman.backends.cpu.llvm import compiler, machine, threads
from elman.backends.cpu.llvm.native import Kernel

TRIPLE = "aarch64-linux-gnu"
CROSS, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"
EMULATED = all(map(shutil.which, (CROSS, EMULATOR)))

# Reads memory and a table of numbers and of places in it, runs the kernel, and writes the memory out again.
DRIVER = r"""
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

void entry(int64_t *);

int main(int count, char **names) {
    FILE *in = fopen(names[1], "rb"), *out = fopen(names[2], "wb");
    int64_t blocks, n;
    if (!in || !out || fread(&blocks, 8, 1, in) != 1 || fread(&n, 8, 1, in) != 1) return 2;
    char **memory = calloc(blocks + 1, sizeof *memory);
    int64_t *sizes = calloc(blocks + 1, 8), *table = calloc(n + 1, 8), where[2];
    for (int64_t i = 0; i < blocks; i++) {
        if (fread(&sizes[i], 8, 1, in) != 1) return 3;
        memory[i] = aligned_alloc(64, (sizes[i] + 127) / 64 * 64);
        if (fread(memory[i], 1, sizes[i], in) != (size_t) sizes[i]) return 4;
    }
    for (int64_t i = 0; i < n; i++) {  /* block -1: a number */
        if (fread(where, 8, 2, in) != 2) return 5;
        table[i] = where[0] < 0 ? where[1] : (int64_t) (memory[where[0]] + where[1]);
    }
    entry(table);
    for (int64_t i = 0; i < blocks; i++)
        if (fwrite(memory[i], 1, sizes[i], out) != (size_t) sizes[i]) return 6;
    return fclose(out);
}
"""


class Written:
    """The kernels that were written: ``texts`` by a number that stands for their address, and ``symbols``."""

    def __init__(self) -> None:
        self.texts: dict[int, str] = {}
        self.symbols: dict[str, int] = {}

    def build(self, of: str, width: int, write: Callable[[], compiler.Written]) -> compiler.Compiled:
        """What :func:`elman.backends.cpu.llvm.compiler.build` does, without a compiler."""
        written, number = write(), len(self.texts) + 1
        self.texts[number] = written.text
        return compiler.Compiled(SimpleNamespace(get_function_address=lambda symbol: number), written.names)

    def define(self, symbol: str, address: int) -> None:
        """Know a kernel by a name too."""
        self.symbols[symbol] = address

    def modules(self, number: int) -> list[Any]:
        """The optimised modules of a kernel and of those that it calls."""
        text = self.texts[number]
        others = [(name, self.texts[other]) for name, other in self.symbols.items() if f'@"{name}"' in text]
        return [optimised(each, name) for name, each in [("entry", text), *others]]


def optimised(text: str, symbol: str) -> Any:
    """A kernel's module as the compiler has it, its entry called ``symbol``."""
    from llvmlite import binding

    target = machine.target_machine(4)
    made = binding.parse_assembly(text.replace('@"entry"', f'@"{symbol}"'), binding.create_context())
    made.triple, made.data_layout = machine.triple(), str(target.target_data)
    options = binding.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = False
    passes = binding.create_pass_builder(target, options)
    passes.getModulePassManager().run(made, passes)
    return made


@contextmanager
def writing(monkeypatch: Any, triple: str = TRIPLE) -> Iterator[Written]:
    """Kernels are written for ARM inside, on one thread, and none of them is kept."""
    written = Written()
    engine.forget()
    with monkeypatch.context() as patch, machine.foreign(triple):
        patch.setattr(building, "_GRADIENTS", {})
        patch.setattr(building, "_COPIES", {})
        patch.setattr(compiler, "build", written.build)
        patch.setattr(compiler, "define", written.define)
        patch.setattr(threads, "has_pool", lambda: False)
        patch.setattr(threads, "team", lambda: 1)
        try:
            yield written
        finally:
            engine.forget()


@contextmanager
def emulating(monkeypatch: Any, folder: Path) -> Iterator[Written]:
    """Kernels are written for ARM inside, and run by an emulator."""
    programs: dict[int, Path] = {}
    with writing(monkeypatch) as written, monkeypatch.context() as patch:

        def run(self: Kernel, values: Mapping[str, int]) -> None:
            if self.address not in programs:
                programs[self.address] = _linked(written, self.address, folder / str(self.address))
            _run(programs[self.address], [int(values[name]) for name in self.names])

        patch.setattr(Kernel, "__call__", run)
        yield written


def _linked(written: Written, number: int, folder: Path) -> Path:
    folder.mkdir()
    objects = []
    for i, module in enumerate(written.modules(number)):
        objects.append(folder / f"{i}.o")
        objects[-1].write_bytes(machine.target_machine(4).emit_object(module))
    (folder / "driver.c").write_text(DRIVER)
    command = [CROSS, "-O1", "-static", "-o", folder / "driver", folder / "driver.c", *objects, "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder / "driver"


def _run(program: Path, table: list[int]) -> None:
    """Run a kernel on copies of the tensors that its arguments point into, and copy them back."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what else of torch is looked at
        tensors = [one for one in gc.get_objects() if isinstance(one, torch.Tensor)]
    storages = {one.data_ptr(): one.nbytes() for one in (t.untyped_storage() for t in tensors) if one.nbytes()}
    blocks: list[int] = []
    places = []
    for value in table:
        begin = next((p for p, size in storages.items() if p <= value < p + size), None)
        if begin is None:
            assert value < 1 << 32, "an address in no tensor"
            places.append((-1, value))
            continue
        if begin not in blocks:
            blocks.append(begin)
        places.append((blocks.index(begin), value - begin))
    given, found = program.with_name("in"), program.with_name("out")
    with given.open("wb") as file:
        file.write(struct.pack("<qq", len(blocks), len(table)))
        for begin in blocks:
            file.write(struct.pack("<q", storages[begin]) + ctypes.string_at(begin, storages[begin]))
        file.writelines(struct.pack("<qq", *place) for place in places)
    done = subprocess.run([EMULATOR, program, given, found], capture_output=True, timeout=600, check=False)
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-500:]!r}"
    raw = memoryview(found.read_bytes())
    for begin in blocks:
        ctypes.memmove(begin, raw[: storages[begin]].tobytes(), storages[begin])
        raw = raw[storages[begin] :]
