"""What follows the backward loop: the products that form the weights' gradients, and the learned vectors' sums."""

from __future__ import annotations

import itertools
from typing import Any

from llvmlite import ir

from elman.backends.cpu.kernels import building
from elman.backends.cpu.kernels.narrow import NarrowGradient
from elman.backends.cpu.kernels.tiles import each_vector
from elman.backends.cpu.kernels.weights import Wide
from elman.backends.cpu.layout.shares import BLOCK, gather_offsets, rooms, share_lengths
from elman.backends.cpu.llvm import kernel
from elman.backends.cpu.llvm.code import PTR, i64
from elman.backends.cpu.llvm.kernel import Arguments, Entry, Part, Written
from elman.backends.cpu.llvm.machine import Vectors
from elman.backends.plan.parts import Product
from elman.backends.plan.plan import GIVEN, Plan
from elman.backends.plan.uses import NARROW


def write(vectors: Vectors, down: int, across: int) -> Written:
    """Write the kernel for tiles of so many columns and vectors; ``across`` is 0 where ``down`` units are narrow."""

    def run(module: ir.Module, arguments: Arguments) -> Part:
        c = Part(module, arguments, "run", vectors)
        (Wide(c, down, across) if across else NarrowGradient(c, down)).write()
        return c

    return kernel.write(vectors, run)


def emit_products(c: Entry, plan: Plan) -> None:
    """After a stretch of the loop: every product that is wanted, one after the other, each on the whole team."""
    is_one = c.b.icmp_signed("==", c.number("shares"), i64(1))
    for product, at in _places(plan):
        sums, split = i64(0), product.count > NARROW
        if product in plan.sums_of_columns:
            here = plan.sums_of_columns[product] * plan.width + product.column
            sums = c.add(c.number("sums"), c.item * here)
        n = product.count
        gradient = c.number(f"gradient:parameter:{product.parameter}")
        with c.when(c.b.icmp_signed("!=", gradient, i64(0))):
            batch, whole = c.number("batch"), c.add(gradient, c.item * product.row * n)
            own = c.b.select(is_one, whole, c.add(c.number("shared"), c.item * at)) if split else whole
            row_step = c.b.select(is_one, i64(product.row_step), i64(product.width)) if split else product.row_step
            rows = c.least(c.number("share_rows") if split else batch, i64(BLOCK))
            values = {
                "team": c.number("team"), "m": product.groups * product.width, "n": n, "batch": batch,
                "steps": c.b.sub(c.number("stop"), c.number("start")),
                "adds": c.b.sub(c.number("steps"), c.number("stop")),
                "room": c.number("room"), "room_each": rooms(plan, c.vectors),
                "block_rows": rows, "block_steps": c.b.sdiv(i64(BLOCK), rows),
                "columns": c.add(c.number("columns"), c.item * product.column), "columns_row": plan.width,
                "group": product.width, "column_step": product.column_step, "row_step": row_step,
                "gradient": own, "sums": sums, "shares": c.number("shares"), "share_rows": c.number("share_rows"),
                "gradient_share": share_lengths(plan)[0], "sums_share": share_lengths(plan)[1],
                "masked": c.number("masked"),
                # Where nothing is masked the flag is read all the same, from memory that is not 0.
                "valid": c.b.select(
                    c.b.icmp_signed("!=", c.number("masked"), i64(0)),
                    c.add(c.number("valid"), c.mul(c.number("base"), batch)),
                    c.number("ones"),
                ),
                **_operand(c, plan, product, batch),
            }  # fmt: skip
            symbol, made = building.for_operand(n, c.vectors)
            c.run(symbol, made.names, values)


def _places(plan: Plan) -> list[tuple[Product, int]]:
    """Each product, and where its gradient begins among those of a share; narrow ones form theirs at once."""
    at, places = 0, []
    for product in plan.products:
        places.append((product, at))
        at += product.groups * product.width * product.count if product.count > NARROW else 0
    return places


def emit_shares(c: Entry, plan: Plan) -> None:
    """The gradients and the sums of all shares, where there are several, come together in the shares' order."""
    gradients, sums = share_lengths(plan)
    with c.when(c.b.icmp_signed(">", c.number("shares"), i64(1))):
        for product, at in _places(plan):
            if product.count <= NARROW:
                continue
            gradient = c.number(f"gradient:parameter:{product.parameter}")
            with c.when(c.b.icmp_signed("!=", gradient, i64(0))), c.loop(0, product.groups) as group:
                source = c.at(c.pointer("shared"), c.add(c.mul(group.index, product.width * product.count), at))
                row = c.add(c.mul(group.index, product.row_step), product.row)
                target = c.at(c.b.inttoptr(gradient, PTR), c.mul(row, product.count))
                _add_up(c, source, target, product.width * product.count, gradients)
                if product in plan.sums_of_columns:
                    column = c.add(c.mul(group.index, product.column_step), product.column)
                    address = c.at(c.pointer("sums"), c.add(column, plan.sums_of_columns[product] * plan.width))
                    _add_up(c, address, address, product.width, sums)


def _add_up(c: Entry, source: Any, target: Any, count: int, step: int) -> None:
    """``count`` numbers: each the sum over the shares, which are ``step`` apart."""

    def vector(unit: Any, mask: Any, _: Any) -> list[Any]:
        first = c.at(source, unit)
        with c.loop(1, c.number("shares"), carry=[c.load_vector(first, mask)]) as share:
            value = c.load_vector(c.at(first, c.mul(share.index, step)), mask)
            share.next = [c.b.fadd(share.values[0], value)]
        c.store_vector(share.values[0], c.at(target, unit), mask)
        return []

    each_vector(c, count, vector)


def _operand(c: Entry, plan: Plan, product: Product, batch: Any) -> dict[str, Any]:
    """Where a product's operand is found at every step, counted from the first of the stretch."""

    def begin(name: str, step: Any) -> Any:
        return c.add(c.add(c.number(name), first), c.mul(c.mul(c.number("base"), step), c.item))

    index, first = product.operand, c.item * product.offset
    node, n = plan.nodes[index], plan.n(index)
    nowhere = {"initial": 0, "initial_row": 0, "initial_step": -1, "shift": 0}
    if node.op in GIVEN:
        name = plan.sequence(index)
        step = c.number(f"{name}_step")
        return {**nowhere, "operand": begin(name, step), "operand_step": step, "operand_row": c.number(f"{name}_row")}
    if node.op == "vector":
        parameter, row = plan.rows_of(index)
        operand = c.add(c.number(f"parameter:{parameter}"), c.item * row + first)
        return {**nowhere, "operand": operand, "operand_step": 0, "operand_row": 0}
    places = {"operand_step": c.mul(batch, n), "operand_row": n}
    if node.op != "state":
        stored = f"operand:{index}"
        if index in plan.from_state:
            stored = f"new:{plan.program.states[plan.from_state[index]].name}"
        return {**nowhere, **places, "operand": begin(stored, places["operand_step"])}
    name = next(s.name for s in plan.program.states if s.old == index)
    initial = {"initial": c.add(c.number(f"initial:{name}"), first), "initial_row": c.number(f"initial_row:{name}")}
    return {
        **places, **initial, "operand": begin(f"new:{name}", places["operand_step"]), "shift": c.number("stride"),
        "initial_step": c.b.sub(c.number("first"), c.number("base")),
    }  # fmt: skip


def emit_vectors(c: Entry, plan: Plan) -> None:
    """The gradients of learned vectors: sums of columns, and what each share of the rows gathered."""
    gather_at, gather_width = gather_offsets(plan)
    for name, row, column, width in plan.column_vectors:
        gradient = c.number(f"gradient:parameter:{name}")
        with c.when(c.b.icmp_signed("!=", gradient, i64(0))):
            for sums, places in itertools.groupby(range(column, column + width), plan.sum_of_column.__getitem__):
                first, *rest = places
                source = c.at(c.pointer("sums"), sums * plan.width + first)
                target = c.at(c.b.inttoptr(gradient, PTR), row + first - column)
                with c.loop(0, 1 + len(rest)) as j:
                    c.store(c.load(c.at(source, j.index)), c.at(target, j.index))
    zero = ir.Constant(c.real, 0.0)
    for gather, at in zip(plan.gathers, gather_at, strict=True):
        gradient = c.number(f"gradient:parameter:{gather.parameter}")
        count = plan.sizes[gather.size]
        with c.when(c.b.icmp_signed("!=", gradient, i64(0))):
            target = c.at(c.b.inttoptr(gradient, PTR), gather.row)
            with c.loop(0, count, carry=[zero]) as j:
                start = j.values[0] if gather.total else zero
                with c.loop(0, c.number("chunks"), carry=[start]) as share:
                    offset = c.add(c.mul(share.index, 2 * gather_width), gather_width + at)
                    value = c.load(c.at(c.pointer("gathered"), c.add(offset, j.index)))
                    share.next = [c.b.fadd(share.values[0], value)]
                j.next = share.values
                c.store(share.values[0], c.at(target, i64(0) if gather.total else j.index))
