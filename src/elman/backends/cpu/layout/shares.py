"""What follows the backward loop: the tiles and shares of the weights' gradients, and the room that all take."""

from __future__ import annotations

import functools

from elman.backends.cpu.layout.cuts import OVERHEAD
from elman.backends.cpu.llvm import machine
from elman.backends.cpu.llvm.machine import Vectors
from elman.backends.plan.parts import offsets
from elman.backends.plan.plan import Plan
from elman.backends.plan.uses import NARROW

BLOCK = 256  # steps times rows that are summed in one go
SLAB = 8  # tiles of columns copied at once
SHARE = 8  # rows of the batch that a share has at least
_PARTIAL = 1 << 18  # numbers of all shares' gradients: they must stay in a cache


def tile(count: int, vectors: Vectors) -> tuple[int, int]:
    """Columns and vectors of the operand a tile, for an operand of ``count`` units."""
    return _tile(-(-count // vectors.lanes), machine.registers(vectors.floats) == 32)


@functools.cache
def _tile(lanes: int, wide: bool) -> tuple[int, int]:
    def cost(across: int, down: int) -> float:
        turn = max(across * down, 4 if wide else 8, across + down) + OVERHEAD
        return -(-lanes // across) * turn / down

    options = [(1, 8), (2, 8), (3, 8), (4, 4)] if wide else [(1, 8), (2, 6)]
    across, down = min(options, key=lambda o: cost(*o))
    return down, across


def room(count: int, vectors: Vectors) -> int:
    """Numbers of working room a member needs."""
    down, across = tile(count, vectors)
    span = across * vectors.lanes
    return BLOCK * (-(-count // span) * span + SLAB * down)


def rooms(plan: Plan, vectors: Vectors) -> int:
    """Numbers of working room a member needs for the largest of a plan's products."""
    return max((in_line(room(product.count, vectors)) for product in plan.products), default=0)


def share_lengths(plan: Plan) -> tuple[int, int]:
    """Numbers of the gradients that a share of the rows forms, and of the sums of its columns."""
    gradients = sum(
        product.groups * product.width * product.count for product in plan.products if product.count > NARROW
    )
    return in_line(gradients), in_line(plan.width * len(plan.sums_of_columns))


def in_line(count: int) -> int:
    """So many numbers that what follows is in line with the processor's cache."""
    return -(-count // 16) * 16


def shares(plan: Plan, batch: int) -> int:
    """Into how many shares the rows are cut, each of which forms a gradient of its own. Threads have no say in it."""
    count, each = 1, share_lengths(plan)[0]
    while each and 2 * count * SHARE <= batch and 2 * count * each <= _PARTIAL:
        count *= 2
    rows = max(1, -(-batch // count))
    return -(-batch // rows) or 1  # 130 rows in 16 shares would be 9 each, and none in the last


def gather_offsets(plan: Plan) -> tuple[list[int], int]:
    """Where each learned vector's sum stands in its row, and the row's length."""
    return offsets([plan.sizes[gather.size] for gather in plan.gathers])
