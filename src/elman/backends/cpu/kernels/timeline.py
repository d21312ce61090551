"""Where a time loop is, and where the rows of its sequences and states stand there."""

from __future__ import annotations

from typing import Any

from elman.backends.cpu.layout.variant import Variant
from elman.backends.cpu.llvm.code import i64
from elman.backends.cpu.llvm.kernel import Part
from elman.backends.plan.plan import GIVEN, Plan


class Time:
    """Where the loop is: turn ``turn`` of the loop is step ``step``; and where each sequence stands there."""

    def __init__(self, c: Part, plan: Plan, variant: Variant, turn: Any, step: Any, before: Any, towards: Any) -> None:
        self.towards = towards
        self.c: Part = c
        self.plan: Plan = plan
        self.variant: Variant = variant
        self.turn: Any = turn
        self.step: Any = step
        self._ring = c.b.icmp_signed("!=", c.number("ring"), i64(0))
        is_first = c.b.icmp_signed("==", turn, i64(0))
        self._old: dict[int, tuple[Any, Any]] = {}
        for k, state in enumerate(plan.program.states):
            # The old state: the initial one at the first turn, then what the step before left.
            earlier = self.new(k, c.b.sub(turn, i64(1)), before)
            address = c.b.select(is_first, c.pointer(f"initial:{state.name}"), earlier[0])
            self._old[k] = address, c.b.select(is_first, c.number(f"initial_row:{state.name}"), earlier[1])

    @classmethod
    def at_turn(cls, c: Part, plan: Plan, variant: Variant, turn: Any, back: bool = False) -> Time:
        """The time at a turn of the loop, which goes ``back`` or not."""
        stride = c.number("stride")
        step = c.add(c.number("first"), c.mul(turn, stride))
        towards = c.b.sub(i64(0), stride) if back else stride
        return cls(c, plan, variant, turn, step, c.b.sub(step, stride), towards)

    def new(self, k: int, turn: Any, step: Any) -> tuple[Any, Any]:
        """State ``k`` after a step: address, and the length of a row."""
        c, state = self.c, self.plan.program.states[k]
        n = self.plan.sizes[state.size]
        shared = k == 0 and self.variant.shares_output(self.plan)
        slot = step if shared else c.b.select(self._ring, c.b.and_(turn, i64(1)), step)
        return c.at(c.pointer(f"new:{state.name}"), c.mul(c.mul(slot, c.number("batch")), n)), i64(n)

    def old(self, k: int) -> tuple[Any, Any]:
        """The old state ``k`` at this step: address, and the length of a row."""
        return self._old[k]

    def sequence(self, name: str) -> tuple[Any, Any]:
        """x or a further input at this step: address, and the length of a row."""
        c = self.c
        return c.at(c.pointer(name), c.mul(self.step, c.number(f"{name}_step"))), c.number(f"{name}_row")

    def whole(self, name: str, n: int) -> tuple[Any, Any]:
        """A (T, B, n) buffer at this step."""
        c = self.c
        return c.at(c.pointer(name), c.mul(c.mul(self.step, c.number("batch")), n)), i64(n)

    def kept(self, name: str, n: int) -> tuple[Any, Any]:
        """A (T, B, n) buffer that is kept for the backward pass; without one, (1, B, n)."""
        c = self.c
        step = c.b.select(self._ring, i64(0), self.step)
        return c.at(c.pointer(name), c.mul(c.mul(step, c.number("batch")), n)), i64(n)

    def pace(self, index: int) -> Any:
        """How far it is from a value's row to the one of the step that comes next; None where it is the same."""
        c, plan, node = self.c, self.plan, self.plan.nodes[index]
        if node.op in ("vector", "constant"):
            return None
        if node.op in GIVEN or (node.op == "cotangent" and not node.name):
            name = plan.sequence(index) if node.op in GIVEN else "grad"
            return c.mul(c.number(f"{name}_step"), self.towards)
        n = plan.saved_width if index in plan.saved else plan.n(index)
        return c.mul(c.mul(c.number("batch"), n), self.towards)

    def row(self, index: int) -> tuple[Any, Any]:
        """The row of a leaf or of a value that the forward pass stores: address, and the length of a row."""
        c, plan, node = self.c, self.plan, self.plan.nodes[index]
        if node.op == "state":
            return self.old(next(k for k, s in enumerate(plan.program.states) if s.old == index))
        if node.op in GIVEN:
            return self.sequence(plan.sequence(index))
        if node.op == "vector":
            name, row = plan.rows_of(index)
            return c.at(c.pointer(f"parameter:{name}"), row), i64(0)
        if index in plan.from_state:
            return self.new(plan.from_state[index], self.turn, self.step)
        if index in plan.saved:
            address, width = self.kept("saved", plan.saved_width)
            return c.at(address, plan.saved[index]), width
        return self.kept(f"operand:{index}", plan.n(index))
