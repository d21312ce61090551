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


Stage = Products | Single | Loop


@dataclass(frozen=True)
class Order:
    """The stages of a step, and which values are kept as arrays.

    ``kept`` are whole; the others live inside one loop.

    ``in_place`` are memories (by position) whose new value may be written over the old one as it is computed: nothing
    reads the old one afterwards.
    """

    stages: tuple[Stage, ...]
    kept: frozenset[int]
    in_place: frozenset[int]


def order_of(flat: Flat) -> Order:
    """Order the values of a step into stages.

    Whatever is ready and whole, then whatever is ready and pointwise, and again.
    """
    values = flat.values
    done = {i for i, v in enumerate(values) if v.op in LEAVES}
    left = [i for i in range(len(values)) if i not in done]
    stages: list[Stage] = []
    while left:
        wide = [i for i in left if values[i].op in WIDE and set(values[i].args) <= done]
        if wide:
            stages += _joined(flat, wide)
            made = set(wide)
        else:
            # The scalars first: loops over units use them.
            size = min(values[i].size for i in left if values[i].op not in WIDE and set(values[i].args) <= done)
            made = set[int]()
            for i in left:
                value = values[i]
                if value.op not in WIDE and value.size == size and set(value.args) <= done | made:
                    made.add(i)
            stages.append(Loop(size, tuple(sorted(made))))
        done |= made
        left = [i for i in left if i not in made]
    return Order(tuple(stages), _kept(flat, stages), _in_place(flat, stages))


def _joined(flat: Flat, wide: list[int]) -> list[Stage]:
    """Each product's neighbours in the rows of its matrix are joined to it."""
    values, stages = flat.values, list[Stage]()
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
            stages.append(Products(tuple(run)))
        run = [i]
    if run:
        stages.append(Products(tuple(run)))
    return [*stages, *(Single(i) for i in wide if values[i].op != "product")]


def _made(stage: Stage) -> tuple[int, ...]:
    return stage.parts if isinstance(stage, Products) else (stage.value,) if isinstance(stage, Single) else stage.values


def _kept(flat: Flat, stages: list[Stage]) -> frozenset[int]:
    values = flat.values
    home = {i: k for k, stage in enumerate(stages) for i in _made(stage)}
    kept = {*flat.outputs.values(), *(m.new for m in flat.memories)}
    for i, value in enumerate(values):
        kept |= {a for a in value.args if value.op in WIDE or home.get(a) != home.get(i)}
    whole = {i for i in home if values[i].op in WIDE}
    return frozenset((kept & home.keys()) | whole)


def _in_place(flat: Flat, stages: list[Stage]) -> frozenset[int]:
    values, overwritten = flat.values, set[int]()
    home = {i: k for k, stage in enumerate(stages) for i in _made(stage)}
    for k, memory in enumerate(flat.memories):
        where = home.get(memory.new)
        if where is None or not isinstance(stages[where], Loop) or values[memory.new].size != memory.size:
            continue
        shared = [m for m in flat.memories if m.new == memory.new]
        last = max((home[i] for i, v in enumerate(values) if memory.old in v.args), default=-1)
        read_after = memory.old in flat.outputs.values() or any(m.new == memory.old for m in flat.memories)
        if last <= where and not read_after and len(shared) == 1:
            overwritten.add(k)
    return frozenset(overwritten)
