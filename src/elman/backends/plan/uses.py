"""How the gradients of parameters come out of a step: columns, large products behind the loop, and sums in it.

The cotangent of a product is a *column* of the buffer (T, B, width) that all steps fill.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from elman.backends.plan.parts import Gather, Product, offsets
from elman.equations.adjoint import Adjoint, Contribution
from elman.equations.node import Parameter

NARROW = 4  # up to so many units of an operand, these are the scalars of the product that forms a gradient
GROUP = 8  # columns of a tile of that product: what is grouped is a multiple of it


class Uses:
    """The uses of a program's parameters at given sizes."""

    def __init__(self, adjoint: Adjoint, sizes: Mapping[str, int]) -> None:
        self.adjoint: Adjoint = adjoint
        self.nodes = adjoint.nodes
        self.sizes: Mapping[str, int] = sizes
        self.parameters: dict[str, Parameter] = {p.name: p for p in adjoint.program.parameters}
        self.columns, self.width = self._columns()
        self.products: tuple[Product, ...] = self._products()
        self.column_vectors, self.gathers = self._vectors()
        self.sums, self.sum_of = self._sums()

    def _n(self, index: int) -> int:
        return self.sizes[self.nodes[index].size]

    def _span(self, use: Contribution) -> tuple[int, int]:
        return self.parameters[use.parameter].span(use.rows, self.sizes)

    def _columns(self) -> tuple[dict[int, int], int]:
        """The cotangents of products and where they stand in a row of all of them, and the row's length.

        Those that only x's weights use come first, those that only the states' use last: then the columns of either
        are one stretch.
        """
        users: dict[int, set[bool]] = {}
        for use in self.adjoint.contributions:
            if use.operand is not None:
                users.setdefault(use.cotangent, set()).add(use.operand in self.adjoint.program.recurrent)
        backwards = list(users)[::-1]
        order = sorted(backwards, key=lambda i: sum(users[i]) / len(users[i]))
        starts, width = offsets([self._n(i) for i in order])
        return dict(zip(order, starts, strict=True)), width

    def _products(self) -> tuple[Product, ...]:
        products = [
            product
            for use in self.adjoint.contributions
            if use.operand is not None
            for product in self._blocks(use, use.operand)
        ]
        merged: list[Product] = []
        for product in sorted(products, key=lambda j: (j.parameter, j.operand, j.offset, j.row)):
            joined = _joined(merged[-1], product) if merged else None
            if joined:
                merged[-1] = joined
            else:
                merged.append(product)
        return tuple(merged)

    def _blocks(self, use: Contribution, operand: int) -> list[Product]:
        """A product's products: one for each of its blocks."""
        start, stop = self._span(use)
        width, count = (stop - start) // use.blocks, self._n(operand) // use.blocks
        column = self.columns[use.cotangent]
        return [
            Product(use.parameter, start + b * width, column + b * width, width, operand, b * count, count)
            for b in range(use.blocks)
        ]

    def _sums(self) -> tuple[dict[Product, int], dict[int, int]]:
        """The products that sum their columns on the way, each in a row of its own, and which row has a column's."""
        rows: dict[Product, int] = {}
        row_of: dict[int, int] = {}
        for product in self.products:
            own = {
                product.column + g * product.column_step + j
                for g in range(product.groups)
                for j in range(product.width)
            }
            if own - row_of.keys():
                rows[product] = len(rows)
                row_of = dict.fromkeys(own, rows[product]) | row_of
        return rows, row_of

    def _vectors(self) -> tuple[tuple[tuple[str, int, int, int], ...], tuple[Gather, ...]]:
        """Learned vectors whose gradient is a sum of columns: (parameter, row, column, width); and the others."""
        in_columns, gathers = [], []
        for use in self.adjoint.contributions:
            if use.operand is not None:
                continue
            start, stop = self._span(use)
            if use.cotangent in self.columns:
                in_columns.append((use.parameter, start, self.columns[use.cotangent], stop - start))
                continue
            # A total that is summed over rows and steps anyway need not be known in the step.
            terms = self.nodes[use.cotangent].args
            total = self.nodes[use.cotangent].op == "total" and len({self.nodes[p].size for p in terms}) == 1
            terms = terms if total else (use.cotangent,)
            gathers.append(Gather(use.parameter, start, stop - start, terms, self.nodes[terms[0]].size, total))
        return tuple(in_columns), tuple(gathers)


def _joined(first: Product, second: Product) -> Product | None:
    """Both products as one, where they multiply the same and stand in line."""
    if (first.parameter, first.operand, first.offset) != (second.parameter, second.operand, second.offset):
        return None
    if first.groups == 1 and (second.row, second.column) == (first.row + first.width, first.column + first.width):
        return replace(first, width=first.width + second.width)
    rows, columns = (second.row - first.row), (second.column - first.column)
    if first.groups > 1:
        rows, columns = rows - (first.groups - 1) * first.row_step, columns - (first.groups - 1) * first.column_step
        if (rows, columns) != (first.row_step, first.column_step):
            return None
    in_line = first.width == second.width and first.width % GROUP == 0 and first.count > NARROW
    return replace(first, groups=first.groups + 1, row_step=rows, column_step=columns) if in_line else None
