"""The machine code of the products' inner loops: with few registers no sum may leave them for memory."""

from __future__ import annotations

import re

import pytest
import torch

import elman
from assembly import inner_loops as loops_of
from elman.backends.cpu.llvm import machine

pytestmark = pytest.mark.usefixtures("optimised")


def inner_loops(assembly: str) -> list[str]:
    """The inner loops of products, on x86."""
    return loops_of(assembly, r"j\w+", "vfmadd", "vmulp|vdivp")


@pytest.fixture
def modules(monkeypatch):
    """The modules that are compiled from here on."""
    from llvmlite import binding

    monkeypatch.setenv("ELMAN_CACHE", "off")
    made, parse = [], binding.parse_assembly

    def kept(*arguments):
        made.append(parse(*arguments))
        return made[-1]

    monkeypatch.setattr(binding, "parse_assembly", kept)
    return made


def loops_at(width: int, cell: str, hidden: int, rows: int, modules: list) -> list[str]:
    with machine.forced(width):
        layer, x = elman.Recurrent(cell, 24, hidden), torch.randn(2, rows, 24, requires_grad=True)
        layer(x)[0].sum().backward()
        target = machine.target_machine(width)
        return [loop for module in modules for loop in inner_loops(target.emit_assembly(module))]


# Sizes that no other test uses, so that nothing of them is compiled yet; and rows for which other tiles are taken.
@pytest.mark.parametrize(("hidden", "rows"), [(139, 16), (331, 16), (331, 66), (347, 3)])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm", "peephole"])
@pytest.mark.parametrize("width", [8, 16])
def test_no_inner_loop_touches_the_stack(width, cell, hidden, rows, modules):
    if width not in machine.widths():
        pytest.skip("this processor has no such vectors")
    loops = loops_at(width, cell, hidden, rows, modules)
    assert len(loops) >= 2
    for loop in loops:
        assert not re.search(r"\(%[re][sb]p", loop), loop


@pytest.mark.parametrize("width", [8, 16])
def test_the_next_panel_is_asked_for_where_weights_overflow_and_tiles_are_many(width, modules, monkeypatch):
    if width not in machine.widths():
        pytest.skip("this processor has no such vectors")
    monkeypatch.setattr(machine, "second_cache", lambda: 1 << 16)

    def asked(hidden: int, rows: int) -> list[int]:
        modules.clear()
        return [loop.count("prefetch") for loop in loops_at(width, "lstm", hidden, rows, modules)]

    assert set(asked(23, 64)) == {0}
    assert set(asked(151, 2)) == {0}
    assert 1 in asked(151, 65)


def test_the_test_can_fail():
    loop = ".LBB0_1:\n" + "\tvfmadd231ps %ymm0, %ymm1, %ymm2\n" * 6 + "\tvmovaps 32(%rsp), %ymm0\n\tjne .LBB0_1\n"
    assert len(inner_loops(f"\n{loop}\n.LBB0_2:\n\tret")) == 1
    assert re.search(r"\(%[re][sb]p", inner_loops(f"\n{loop}")[0])
