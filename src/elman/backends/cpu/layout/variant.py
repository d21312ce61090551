"""What a kernel is built for beside the program and its sizes."""

from __future__ import annotations

from dataclasses import dataclass

from elman.backends.cpu.llvm.machine import Vectors
from elman.backends.plan.plan import Plan


@dataclass(frozen=True)
class Variant:
    """What a kernel is built for beside the program and its sizes."""

    rows: int  # about how many rows a thread has
    vectors: Vectors
    masked: bool  # some rows end early
    resets: bool  # some rows start anew
    members: int = 1  # threads to which the units of all rows are dealt in the loop; 1: each has rows of its own

    @property
    def by_units(self) -> bool:
        """Whether threads are dealt units, and not rows."""
        return self.members > 1

    def shares_output(self, plan: Plan) -> bool:
        """Whether the first state's steps are the output."""
        return not (self.masked or self.resets) and plan.program.output == plan.program.states[0].new
