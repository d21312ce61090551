"""The sizes of a layer and of what runs through it, in one word."""

from __future__ import annotations

from dataclasses import dataclass, replace

from elman.equations import Program
from elman.errors import ShapeError


@dataclass(frozen=True)
class Shape:
    """B rows, T steps, input size I and hidden size H."""

    B: int
    T: int
    I: int
    H: int

    @classmethod
    def read(cls, text: str) -> Shape:
        """The shape that ``B,T,I,H`` spells. Raises :class:`ShapeError` for anything else.

        >>> Shape.read("32,50,1,32")
        Shape(B=32, T=50, I=1, H=32)
        """
        try:
            sizes = [int(part) for part in text.split(",")]
        except ValueError:
            sizes = []
        if len(sizes) != 4 or min(sizes) < 1:
            raise ShapeError(f"`shape`: got {text!r}, want four whole numbers above 0: B,T,I,H such as 32,50,1,32")
        return cls(*sizes)

    def __str__(self) -> str:
        return f"{self.B},{self.T},{self.I},{self.H}"

    @property
    def words(self) -> str:
        """The sizes with their letters."""
        return f"B={self.B}, T={self.T}, I={self.I}, H={self.H}"

    def fitting(self, program: Program) -> Shape:
        """Adapt the shape to a program.

        H becomes a multiple of the cell's blocks, and I equal to H if x is used as it is.

        >>> from elman.cells import get
        >>> str(Shape(3, 7, 2, 5).fitting(get("slstm").program(heads=3)))
        '3,7,2,6'
        """
        blocks = max((node.blocks for node in program.nodes), default=1)
        H = -(-self.H // blocks) * blocks
        I = self.I if program.input_size == "input" else H
        in_blocks = any(n.blocks > 1 and program.nodes[n.args[0]].size == "input" for n in program.nodes)
        return replace(self, H=H, I=-(-I // blocks) * blocks if in_blocks else I)
