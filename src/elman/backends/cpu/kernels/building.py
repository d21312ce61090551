"""The kernels of a plan, kept from before or written: only then is what writes them imported, and llvmlite with it."""

from __future__ import annotations

from elman.backends.cpu.layout.shares import tile
from elman.backends.cpu.layout.variant import Variant
from elman.backends.cpu.llvm import compiler
from elman.backends.cpu.llvm.compiler import Compiled, Written
from elman.backends.cpu.llvm.machine import Vectors
from elman.backends.cpu.llvm.native import Kernel
from elman.backends.plan.plan import Plan
from elman.backends.plan.uses import NARROW

_COPIES: dict[Vectors, Compiled] = {}
_GRADIENTS: dict[tuple[Vectors, int, int], Kernel] = {}


def forward(plan: Plan, variant: Variant) -> Kernel:
    """The forward kernel."""

    def write() -> Written:
        from elman.backends.cpu.kernels import forward

        return forward.write(plan, variant)

    copying(variant.vectors)  # it calls this by name
    return Kernel.of(("forward", *plan.identity, variant), variant.vectors, write)


def backward(plan: Plan, variant: Variant) -> Kernel:
    """The backward kernel, with the products that form the weights' gradients behind it."""

    def write() -> Written:
        from elman.backends.cpu.kernels import backward

        return backward.write(plan, variant)

    copying(variant.vectors)
    for product in plan.products:
        for_operand(product.count, variant.vectors)  # it calls these by name too
    return Kernel.of(("backward", *plan.identity, variant), variant.vectors, write)


def copying(vectors: Vectors) -> str:
    """By what name kernels call the function that copies rows of weights across: one for all, as it is long."""
    symbol = f"elman_copy_{vectors.floats}_{vectors.item}"

    def write() -> Written:
        from elman.backends.cpu.kernels import packing

        return packing.write(vectors)

    with compiler.LOCK:
        if vectors not in _COPIES:
            _COPIES[vectors] = compiler.build(repr(("copy", vectors)), vectors.floats, write)
            compiler.define(symbol, _COPIES[vectors].address("entry"))
    return symbol


def for_operand(count: int, vectors: Vectors) -> tuple[str, Kernel]:
    """The kernel that forms gradients for an operand of ``count`` units, and by what name other kernels call it."""
    key = (vectors, count, 0) if count <= NARROW else (vectors, *tile(count, vectors))
    symbol = "elman_gradient_" + "_".join(map(str, (vectors.floats, vectors.item, *key[1:])))

    def write() -> Written:
        from elman.backends.cpu.kernels import products

        return products.write(*key)

    with compiler.LOCK:
        if key not in _GRADIENTS:
            _GRADIENTS[key] = Kernel.of(("gradient", *key), vectors, write)
            compiler.define(symbol, _GRADIENTS[key].address)
    return symbol, _GRADIENTS[key]
