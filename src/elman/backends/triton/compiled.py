"""What a kernel becomes on a card, without one: its registers, what it spills, its shared memory."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from elman.backends.plan.plan import plan_of
from elman.backends.triton import scan
from elman.backends.triton.kernel import Kernel, computed_in, kernels
from elman.backends.triton.layout import H100, Card, Variant, bytes_of, layout_of, precision
from elman.backends.triton.linear import states_are_linear
from elman.equations import Cell
from elman.equations.loop import loop_of

TYPES = {torch.float32: "fp32", torch.float64: "fp64", torch.bfloat16: "bf16", torch.float16: "fp16"}


class Resources(NamedTuple):
    """What a program of a kernel takes: registers a thread, bytes spilled a thread, bytes of shared memory."""

    registers: int
    spilled: int
    shared: int


def compiled(kernel: Kernel, dtype: torch.dtype, capability: int) -> Any:
    """``kernel`` compiled for a compute capability: 80, 90 or 100."""
    constants = {"F": computed_in(dtype), "P": precision(dtype)}
    signature = {name: kernel.kind(name, TYPES[dtype]) for name in kernel.source.arguments}
    return _compiled(kernel.function, signature, constants, ("group", "B", "T"), capability, kernel.options)


def of_scan(dtype: torch.dtype, capability: int) -> Resources:
    """What the scan takes, to which loops come that are linear in their states."""
    constants = {"F": computed_in(dtype), "REVERSE": False, "AHEAD": 0}
    constants |= {"STEPS": scan.STEPS, "COLUMNS": scan.COLUMNS}
    signature = dict.fromkeys(("a", "b", "first", "h"), f"*{TYPES[dtype]}")
    return _resources(_compiled(scan.kernel, signature, constants, ("T", "N"), capability, scan.OPTIONS), capability)


def _compiled(
    function: Any, signature: Mapping[str, str], constants: Mapping[str, Any], numbers: Iterable[str],
    capability: int, options: Mapping[str, Any],
) -> Any:  # fmt: skip
    kinds = dict.fromkeys(numbers, "i32") | dict.fromkeys(constants, "constexpr")
    # As in a launch: torch's memory begins at multiples of 16 bytes, and the grid's sizes are multiples of 16.
    places = range(len(signature) + len(kinds) - len(constants))
    multiples = {(place,): [["tt.divisibility", 16]] for place in places}
    source = ASTSource(function, {**signature, **kinds}, dict(constants), multiples)
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=dict(options))


def resources(kernel: Kernel, dtype: torch.dtype, capability: int) -> Resources:
    """What ``kernel`` takes on cards of a compute capability, as NVIDIA's assembler reports it."""
    return _resources(compiled(kernel, dtype, capability), capability)


def _resources(made: Any, capability: int) -> Resources:
    from triton.backends.nvidia.compiler import get_ptxas

    suffix = "a" if capability >= 90 else ""
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "kernel.ptx"
        text.write_text(made.asm["ptx"])
        command = [get_ptxas(capability).path, "-v", f"--gpu-name=sm_{capability}{suffix}", str(text)]
        command += ["-o", str(Path(folder) / "kernel.cubin")]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    registers = int(re.search(r"Used (\d+) registers", said)[1])  # type: ignore[index]
    spilled = sum(map(int, re.findall(r"(\d+) bytes spill", said)))
    return Resources(registers, spilled, made.metadata.shared)


CARDS = {80: Card(108, 163 << 10), 90: H100, 100: Card(148, 227 << 10)}  # A100, H100 and H200, B200


def of_cell(
    cell: Cell, hidden: int, batch: int, dtype: torch.dtype, capability: int, **options: Any
) -> dict[str, Resources]:
    """What the kernels of ``cell`` take where ``batch`` rows are run at once, with a backward pass and without."""
    program = cell.program(**options)
    inside = loop_of(program).program
    if states_are_linear(inside):
        return dict.fromkeys(("forward", "backward"), of_scan(dtype, capability))
    sizes = tuple(program.sizes(hidden, hidden).items())
    layout = layout_of(plan_of(inside, sizes), batch, bytes_of(dtype), CARDS[capability])
    assert layout is not None
    kinds = ("steps",) * len(inside.extras)
    training, alone = (kernels(inside, sizes, Variant(layout, kinds, keep=keep)) for keep in (True, False))
    made = {"forward": training.forward, "backward": training.backward, "forward alone": alone.forward}
    return {name: resources(kernel, dtype, capability) for name, kernel in made.items()}
