"""Sums of products: which of a program's additions happen in the registers of a product.

``p.i(x, h)`` is traced as additions of two products and of biases. Such a tree of additions becomes one :class:`Sum`:
its products share an accumulator, its vectors start it, and whatever else is added comes after, pointwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from elman.equations.node import Node


@dataclass(frozen=True)
class Sum:
    """The value of node ``root``: products + learned vectors + others, each a node's index."""

    root: int
    products: tuple[int, ...]
    vectors: tuple[int, ...]
    others: tuple[int, ...]


def find_sums(nodes: Sequence[Node], results: Iterable[int]) -> dict[int, Sum]:
    """Every sum of ``nodes``, by its root; ``results`` are nodes wanted for themselves."""
    uses = Counter(a for node in nodes for a in node.args)
    uses.update(results)
    single = {a: i for i, node in enumerate(nodes) for a in node.args if uses[a] == 1}

    def joins(index: int) -> bool:
        """Whether the node is added to something at once and used nowhere else."""
        user = single.get(index)
        return user is not None and nodes[user].op == "add" and nodes[user].size == nodes[index].size

    def leaves(index: int, top: bool = True) -> list[int]:
        if nodes[index].op == "add" and (top or joins(index)):
            return [leaf for a in nodes[index].args for leaf in leaves(a, top=False)]
        return [index]

    sums = {}
    for i, node in enumerate(nodes):
        if node.op not in ("add", "product") or joins(i):
            continue
        terms = leaves(i)
        products = tuple(p for p in terms if nodes[p].op == "product" and (joins(p) or p == i))
        if products:
            vectors = tuple(p for p in terms if nodes[p].op == "vector" and nodes[p].size == node.size)
            others = tuple(p for p in terms if p not in products and p not in vectors)
            sums[i] = Sum(i, products, vectors, others)
    return sums
