"""The packing of weights into panels, as the product inside a step reads them."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from elman.backends.cpu.kernels import building, narrow
from elman.backends.cpu.kernels.tiles import block_of, of_stretch
from elman.backends.cpu.kernels.weights import lanes_below
from elman.backends.cpu.layout.cuts import Cut, is_narrow, panel_length
from elman.backends.cpu.llvm.code import I64, PTR, VOID, Code, i64, outside
from elman.backends.cpu.llvm.compiler import Written
from elman.backends.cpu.llvm.kernel import Part
from elman.backends.cpu.llvm.machine import Vectors
from elman.backends.plan.parts import Phase
from elman.backends.plan.plan import Plan

_ARGUMENTS = [PTR, PTR, I64, I64, I64, I64]  # target, source, length, columns, count, step


def emit_packing(c: Part, plan: Plan, phase: Phase, cut: Cut, packed: Any) -> None:
    """Pack a phase's weights and the sums of its learned vectors; panels go round the team's members."""
    if not phase.sums:
        return
    if is_narrow(phase, cut.size):
        narrow.emit_packing(c, plan, phase, cut.size, packed)
        return
    copy_across, copy_along = outside(c.module, building.copying(c.vectors), VOID, _ARGUMENTS), _along(c)
    with c.loop(c.member, cut.panels, c.members) as panel:
        start = c.at(packed, c.mul(panel.index, panel_length(phase, cut)))
        stretch, turn = of_stretch(c, cut, panel.index)
        with c.loop(0, cut.units) as unit:
            u = unit.index
            here, inside = c.at(start, c.mul(u, cut.width)), c.mul(c.add(c.mul(turn, cut.units), u), cut.width)
            first, count = c.add(c.mul(stretch, cut.span), inside), c.b.sub(i64(cut.span), inside)
            at = 0
            for segment in phase.segments:
                step = len(segment.sums) * cut.units * cut.width
                for piece in segment.pieces:
                    lane = segment.sums.index(piece.sum) * cut.units * cut.width
                    target = c.at(here, at + piece.k * step + lane)
                    columns = plan.columns_of(piece.parameter)
                    source = c.at(c.pointer(f"parameter:{piece.parameter}"), piece.row * columns)
                    copy = copy_along if piece.transposed else copy_across
                    block = block_of(c, cut, segment, stretch)
                    begin = c.b.sub(first, c.mul(block, cut.size // segment.blocks))
                    along = c.add(c.mul(block, piece.count * columns), begin)
                    source = c.at(source, along if piece.transposed else c.mul(first, columns))
                    c.b.call(copy, [target, source, i64(piece.count), i64(columns), count, i64(step)])
                at += cut.length(segment)
            mask = lanes_below(c, count)
            for g, each in enumerate(phase.sums):
                target = c.at(here, at + g * cut.units * cut.width)
                _pack_vectors(c, plan, each.vectors, target, first, mask)


def _pack_vectors(c: Part, plan: Plan, vectors: tuple[int, ...], target: Any, first: Any, mask: Any) -> None:
    value = c.splat(0.0)
    for v in vectors:
        name, row = plan.rows_of(v)
        value = c.b.fadd(value, c.load_vector(c.at(c.pointer(f"parameter:{name}"), c.add(first, row)), mask))
    c.store_vector(value, target)


def write(vectors: Vectors) -> Written:
    """Write the function that copies across, of the arguments that :func:`_along` has.

    Lane v of turn k is source[v columns + k].
    """
    module = ir.Module()
    c = Code(module, "entry", _ARGUMENTS, vectors)
    target, source, length, columns, count, step = c.function.args
    with c.loop(0, length, c.width) as k:
        left = c.b.sub(length, k.index)
        rows = []
        for lane in range(c.width):
            inside = c.b.icmp_signed("<", i64(lane), count)
            mask = lanes_below(c, c.b.select(inside, left, i64(0)))  # of rows beyond, nothing is read
            rows.append(c.load_vector(c.at(source, c.add(c.mul(columns, lane), k.index)), mask))
        for turn, vector in enumerate(_transposed(c, rows)):
            with c.when(c.b.icmp_signed("<", i64(turn), left)):
                c.store_vector(vector, c.at(target, c.mul(c.add(k.index, turn), step)))
    c.finish()
    return Written(str(module))


def _along(part: Part) -> Any:
    """A function that copies ``length`` turns of one vector of weights; what lies beyond ``count`` units is 0.

    Lane v of turn k is source[k columns + v].
    """
    if "copy_along" in part.module.globals:
        return part.module.globals["copy_along"]
    c = Code(part.module, "copy_along", _ARGUMENTS, part.vectors, internal=True)
    target, source, length, columns, count, step = c.function.args
    mask = lanes_below(c, count)
    with c.loop(0, length) as k:
        c.store_vector(c.load_vector(c.at(source, c.mul(k.index, columns)), mask), c.at(target, c.mul(k.index, step)))
    c.finish()
    return c.function


def _transposed(c: Code, rows: list[Any]) -> list[Any]:
    """The columns of a square of vectors, by swapping the halves off the diagonal, then the quarters, and so on."""
    half = c.width // 2
    while half:
        first = [i % (2 * half) < half for i in range(c.width)]
        upper = [i if first[i] else i - half + c.width for i in range(c.width)]
        lower = [i + half if first[i] else i + c.width for i in range(c.width)]
        swapped = list(rows)
        for i in (i for i in range(c.width) if first[i]):
            a, b = rows[i], rows[i + half]
            swapped[i], swapped[i + half] = c.shuffled(a, b, upper), c.shuffled(a, b, lower)
        rows, half = swapped, half // 2
    return rows
