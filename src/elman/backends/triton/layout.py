"""How a loop is laid out on the GPU: which rows and units a program of the grid works on, and what it must be told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from elman.backends.plan.plan import Plan
from elman.equations.node import Node

ROWS = 16  # of a program at least, and units that a product reads: what a matrix instruction takes
LEAST = 8  # units that a product gives
CHUNKS = 8  # that whole rows are cut into, at most: a program's warps multiply them side by side
STREAMED = 128  # units of a row that are multiplied at a time where their weights do not stay on the chip
ALONE = 64  # units of a row, at most, that one program works on
UNITS = 128  # of a program where no unit needs another
FREE = 0.95  # of a processor's shared memory that weights and a row may fill
WHOLE = 0.45  # of it, where a program has whole rows or blocks: its registers hold more too
MANY = 768  # units of a row, above which fewer of them are one program's


def padded(count: int) -> int:
    """The next power of two, as Triton's blocks are; not below what a matrix instruction gives."""
    return max(LEAST, 1 << (count - 1).bit_length())


def spans(count: int) -> list[tuple[int, int]]:
    """``count`` units as blocks, (first, padded length) each, with little padding."""
    cut, first = [], 0
    while count > first:
        length = padded(count - first)
        if length > 4 * LEAST and length - (count - first) >= length // 4:
            length //= 2
        cut.append((first, length))
        first += length
    return cut


@dataclass(frozen=True)
class Layout:
    """``rows`` of the batch are one program's, and of their units what falls to it where ``parts`` programs share them.

    Programs that share rows either need their own units alone (no product, or blocks of its own for each), or the rows
    are ``exchanged``: what a product or a total reads of others goes through memory, and the programs wait for each
    other in between.
    """

    rows: int
    parts: int = 1
    exchanged: bool = False
    held: bool = True  # whether the weights stay on the chip over the whole sequence
    warps: int = 8

    def count(self, size: int) -> int:
        """How many of ``size`` units a program works on."""
        return -(-size // self.parts)

    def block(self, size: int) -> int:
        """The length of the block they stand in; where a product reads it, as long as its instruction asks."""
        return padded(self.count(size)) if self.exchanged else max(ROWS, padded(self.count(size)))


@dataclass(frozen=True)
class Variant:
    """What a kernel is written for: ``kinds`` says of each further input whether it is given for all ``steps``, for
    ``rows`` (the same at every step) or once for ``all``; ``keep`` whether a backward pass is to come."""

    layout: Layout
    kinds: tuple[str, ...]
    valid: bool = False
    reset: bool = False
    reverse: bool = False
    keep: bool = True


@dataclass(frozen=True)
class Card:
    """How many programs run at once, one on each processor, and the bytes of shared memory of each."""

    processors: int
    shared: int


H100 = Card(132, 227 << 10)


def card_of(device: torch.device) -> Card:
    """The card of a device; what is interpreted on a CPU is laid out for an H100."""
    if device.type != "cuda":
        return H100
    properties = torch.cuda.get_device_properties(device)
    shared = getattr(properties, "shared_memory_per_block_optin", properties.shared_memory_per_block)
    return Card(properties.multi_processor_count, shared)


def layout_of(plan: Plan, batch: int, item: int, card: Card) -> Layout | None:
    """How the loop is laid out; ``item`` bytes are a weight's. None where the card has too few processors."""
    widest = max(plan.sizes[node.size] for node in plan.nodes)
    if is_unitwise(plan):
        return Layout(rows=1, parts=-(-widest // UNITS), warps=4)

    def fits(units: int, free: float = FREE) -> bool:
        return (_held(plan, units) + ROWS * padded(widest)) * item <= free * card.shared

    blocks = heads(plan)
    if blocks and widest // blocks <= ALONE and fits(widest // blocks, WHOLE):
        return Layout(ROWS, blocks, warps=4 if widest // blocks <= ALONE // 2 else 8)
    if widest <= ALONE and fits(widest, WHOLE):
        return Layout(ROWS)
    for held in (True, False):
        for rows in (ROWS, 2 * ROWS, 4 * ROWS):
            groups = min(-(-batch // rows), 1 if rows == 4 * ROWS else batch)  # more are run one after the other
            for units in (16, 8, 32, 64) if widest <= MANY else (8, 16, 32, 64):
                parts = -(-widest // units)
                if parts * groups <= card.processors and (not held or fits(units)):
                    return Layout(rows, parts, exchanged=True, held=held)
    return None


def _held(plan: Plan, units: int) -> int:
    """How many weights a program holds that works on so many units, padding counted; the more of both directions."""
    counts = [0, 0]
    for i, node in enumerate(plan.nodes):
        if node.op == "product":
            of = plan.n(node.args[0]) // node.blocks
            width = sum(length for _, length in spans(of))
            counts[i >= plan.count] += width * padded(min(units, plan.n(i)))
    return max(counts)


def heads(plan: Plan) -> int:
    """The number of blocks that all products have, where a program for each needs nothing of another; else 0."""
    blocks = {node.blocks for node in _inside(plan) if node.op == "product"}
    alone = len(blocks) == 1 and min(blocks) > 1 and _is_even(plan) and not _mixes(plan)
    return blocks.pop() if alone else 0


def is_unitwise(plan: Plan) -> bool:
    """Whether no unit needs another."""
    return _is_even(plan) and not _mixes(plan) and not any(node.op == "product" for node in _inside(plan))


def _is_even(plan: Plan) -> bool:
    """Whether all values have one number of units but those that have one unit."""
    return len({node.size for node in _inside(plan)} - {"1"}) == 1


def _inside(plan: Plan) -> Iterator[Node]:
    return (node for node in plan.nodes if node.op != "constant")


def _mixes(plan: Plan) -> bool:
    """Whether units meet outside of products: in a total, which a single input's gradient is too."""
    return any(node.op == "total" for node in plan.nodes)


def precision(dtype: torch.dtype) -> str:
    """How products of float32 are taken: by torch's own switch, and else three times over, which is as exact."""
    if dtype is not torch.float32:
        return "ieee"
    return "tf32" if torch.backends.cuda.matmul.fp32_precision == "tf32" else "tf32x3"


def bytes_of(dtype: torch.dtype) -> int:
    """What a weight takes on the chip."""
    return dtype.itemsize * (2 if precision(dtype) == "tf32x3" else 1)
