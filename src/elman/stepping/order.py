"""In which order a step is computed: whole values one by one, and unit by unit whatever can share a loop."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from elman.stepping.flat import LEAVES, WIDE, Flat


@dataclass(frozen=True)
class Products:
    """Products of one matrix with one value, taken together.

    The values ``parts`` follow each other in its rows.
    """

    parts: tuple[int, ...]


@dataclass(frozen=True)
class Single:
    """A row of an embedding, or a total."""

    value: int


@dataclass(frozen=True)
class Loop:
    """Pointwise values of one size, in order: a loop over units computes them all."""

    size: int
    values: tuple[int, ...]


Piece = Products | Single | Loop


@dataclass(frozen=True)
class Order:
    """The pieces of a step, and which values are kept as arrays.

    ``kept`` are whole; the others live inside one loop.

    ``in_place`` are memories (by position) whose new value may be written over the old one as it is computed: nothing
    reads the old one afterwards.
    """

    pieces: tuple[Piece, ...]
    kept: frozenset[int]
    in_place: frozenset[int]


def order_of(flat: Flat) -> Order:
    """Order the values of a step into pieces.

    Whatever is ready and whole, then whatever is ready and pointwise, and again.
    """
    values = flat.values
    done = {i for i, v in enumerate(values) if v.op in LEAVES}
    left = [i for i in range(len(values)) if i not in done]
    pieces: list[Piece] = []
    while left:
        wide = [i for i in left if values[i].op in WIDE and set(values[i].args) <= done]
        if wide:
            pieces += _joined(flat, wide)
            made = set(wide)
        else:
            # The scalars first: loops over units use them.
            size = min(values[i].size for i in left if values[i].op not in WIDE and set(values[i].args) <= done)
            made = set[int]()
            for i in left:
                value = values[i]
                if value.op not in WIDE and value.size == size and set(value.args) <= done | made:
                    made.add(i)
            pieces.append(Loop(size, tuple(sorted(made))))
        done |= made
        left = [i for i in left if i not in made]
    return Order(tuple(pieces), _kept(flat, pieces), _in_place(flat, pieces))


def _joined(flat: Flat, wide: list[int]) -> list[Piece]:
    """Each product's neighbours in the rows of its matrix are joined to it."""
    values, pieces = flat.values, list[Piece]()
    products = [i for i in wide if values[i].op == "product"]
    products.sort(key=lambda i: (values[i].name, values[i].args, values[i].blocks, values[i].first))
    run: list[int] = []
    for before, i in pairwise([None, *products]):
        assert i is not None
        a = None if before is None else values[before]
        b = values[i]
        follows = a is not None and (a.name, a.args, a.blocks) == (b.name, b.args, b.blocks) and b.blocks == 1
        if follows and a is not None and a.first + a.size == b.first:
            run.append(i)
            continue
        if run:
            pieces.append(Products(tuple(run)))
        run = [i]
    if run:
        pieces.append(Products(tuple(run)))
    return [*pieces, *(Single(i) for i in wide if values[i].op != "product")]


def _made(piece: Piece) -> tuple[int, ...]:
    return piece.parts if isinstance(piece, Products) else (piece.value,) if isinstance(piece, Single) else piece.values


def _kept(flat: Flat, pieces: list[Piece]) -> frozenset[int]:
    values = flat.values
    home = {i: k for k, piece in enumerate(pieces) for i in _made(piece)}
    kept = {*flat.outputs.values(), *(m.new for m in flat.memories)}
    for i, value in enumerate(values):
        kept |= {a for a in value.args if value.op in WIDE or home.get(a) != home.get(i)}
    whole = {i for i in home if values[i].op in WIDE}
    return frozenset((kept & home.keys()) | whole)


def _in_place(flat: Flat, pieces: list[Piece]) -> frozenset[int]:
    values, overwritten = flat.values, set[int]()
    home = {i: k for k, piece in enumerate(pieces) for i in _made(piece)}
    for k, memory in enumerate(flat.memories):
        where = home.get(memory.new)
        if where is None or not isinstance(pieces[where], Loop) or values[memory.new].size != memory.size:
            continue
        shared = [m for m in flat.memories if m.new == memory.new]
        last = max((home[i] for i, v in enumerate(values) if memory.old in v.args), default=-1)
        read_after = memory.old in flat.outputs.values() or any(m.new == memory.old for m in flat.memories)
        if last <= where and not read_after and len(shared) == 1:
            overwritten.add(k)
    return frozenset(overwritten)
