"""A plan and a variant, ready to run: the kernels, and everything about a call that can be known before it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from elman.backends.cpu.call import workspace
from elman.backends.cpu.call.inputs import Inputs, Names, Wanted
from elman.backends.cpu.kernels import building
from elman.backends.cpu.layout import early, shares
from elman.backends.cpu.layout.variant import Variant
from elman.backends.cpu.llvm import compiler, machine
from elman.backends.cpu.llvm.native import Kernel
from elman.backends.plan.plan import Plan

_COLUMNS = 1 << 18  # numbers of columns, about, that are written before the products read them
_ONES = torch.ones(1, dtype=torch.bool)


class Room(NamedTuple):
    """The working room of a call as it was ``asked`` for: its length, where in it what stands in bytes, and what else
    follows from the call's sizes alone."""

    asked: tuple[int, ...]
    length: int
    places: list[tuple[str, int]]
    numbers: dict[str, int]

    def placed(self, buffer: Tensor) -> dict[str, int]:
        """What kernels are told of it."""
        begin = buffer.data_ptr()
        return {**self.numbers, **{name: begin + place for name, place in self.places}}


class Runner:
    """Runs one plan in one variant."""

    def __init__(self, plan: Plan, variant: Variant) -> None:
        self.plan: Plan = plan
        self.variant: Variant = variant
        # In the backward loop each has rows of its own.
        self.back: Variant = replace(variant, rows=-(-variant.rows // variant.members), members=1)
        self.program = plan.program
        sizes = plan.sizes
        self.item: int = variant.vectors.item
        self.dtype = torch.float64 if self.item == 8 else torch.float32
        # Said in full: a program may have set another default.
        self.zeros = functools.partial(torch.zeros, dtype=self.dtype, device="cpu")
        self.state_sizes: list[int] = [sizes[s.size] for s in self.program.states]
        self.output_size: int = sizes[self.program.output_size]
        self.shares_output: bool = variant.shares_output(plan)
        # What is kept for the backward pass, (T, B, n) each: the states' steps, saved values, computed operands.
        new = self.state_sizes[1:] if self.shares_output else self.state_sizes
        self.kept_sizes: list[int] = [*new, plan.saved_width, *(plan.n(i) for i in plan.computed)]
        cuts = early.cuttings(plan, plan.forward.phases, variant)
        self.packed_forward: int = early.packed_length(cuts)
        self.early: int = early.row_length(cuts)
        self.packed_backward: int = early.packed_length(early.cuttings(plan, plan.backward.phases, self.back))
        self.crossing: int = plan.backward.crossing_width
        self.gathered: int = shares.gather_offsets(plan)[1]
        self.room: int = shares.rooms(plan, variant.vectors)
        self.share: int = sum(shares.share_lengths(plan))
        flows = {name for name, _ in plan.targets()}
        given = [("input", sizes[self.program.input_size])]
        given += [(f"extra:{e.name}", sizes[e.size]) for e in self.program.extras]
        # x and the further inputs: under what name their gradients go, how wide they are, and whether anything flows.
        self.leaving: list[tuple[str, int, bool]] = [(f"gradient:{name}", n, name in flows) for name, n in given]
        self.formed: list[str] = [f"gradient:parameter:{p.name}" for p in self.program.parameters]
        whole = _whole(plan)
        self.whole: list[bool] = [p.name in whole for p in self.program.parameters]
        summed = {v[0] for v in plan.column_vectors}
        self.summed: list[bool] = [p.name in summed for p in self.program.parameters]
        self.names: Names = Names.of(self.program)
        states = [s.name for s in self.program.states]
        self.new: list[str] = [f"new:{name}" for name in states]
        self.kept: list[str] = [
            *self.new[self.shares_output :], "saved", *(f"operand:{i}" for i in plan.computed)
        ]  # fmt: skip
        self._forward_room: Room | None = None  # those of the newest calls
        self._backward_room: Room | None = None
        self.finals: list[str] = [f"final:{name}" for name in states]
        self.carried_names: list[tuple[str, ...]] = [
            tuple(f"{what}:{name}" for what in ("from", "from_row", "carry", "to_initial")) for name in states
        ]
        self.spare: list[str] = [f"spare:{name}" for name in states]
        self.has_product: list[bool] = [
            any(one.parameter == p.name for one in plan.products) for p in self.program.parameters
        ]

    @functools.cached_property
    def forward_kernel(self) -> Kernel:
        """Compiled when first needed."""
        with compiler.LOCK:
            return building.forward(self.plan, self.variant)

    @functools.cached_property
    def backward_kernel(self) -> Kernel:
        """Compiled when first needed."""
        with compiler.LOCK:
            return building.backward(self.plan, self.back)

    def forward(self, inputs: Inputs, team: int, chunks: int, keep: bool) -> tuple[list[Tensor], list[Tensor]]:
        """([output, *final states], what is kept for the backward pass)."""
        steps, batch = inputs.x.shape[:2]
        output = workspace.lent(inputs.x, steps, batch, self.output_size)
        finals = [inputs.x.new_empty(batch, n) for n in self.state_sizes]
        kept = [workspace.lent(inputs.x, steps, batch, n) for n in self.kept_sizes] if keep else []
        room = self._forward_room
        if room is None or room.asked != (steps, batch, chunks, keep):
            room = self._forward_room = self._lay_forward(steps, batch, chunks, keep)
        packed = self._take(room.length)
        values = room.placed(packed) | {"team": team, "chunks": chunks, "ring": not keep}
        if self.variant.by_units:
            counters = torch.zeros(machine.LINE * (self.variant.members + 1), dtype=torch.uint8, device="cpu")
            values |= {"team": self.variant.members, "counters": counters.data_ptr()}
        inputs.fill(values, self.names)
        self._add_kept(values, output, kept)
        for name, final in zip(self.finals, finals, strict=True):
            values[name] = final.data_ptr()
        self.forward_kernel(values)
        workspace.give_back(packed)
        return [output, *finals], kept

    def _lay_forward(self, steps: int, batch: int, chunks: int, keep: bool) -> Room:
        at = {"packed": 0, "crossing": self.packed_forward}
        free = self.packed_forward + self.plan.forward.crossing_width * batch
        # Without a backward pass the states need a ring of two steps, and the rest the room of one.
        for name, n in () if keep else zip(self.kept, self.kept_sizes, strict=True):
            at[name] = free
            free += shares.in_line(2 * batch * n)
        at["early"] = free = shares.in_line(free)
        groups = 1 if self.variant.by_units else chunks
        each = -(-batch // groups)  # rows whose products come early together
        turns = max(1, min(steps, early.ROWS // each))
        rows = turns * each if self.early else 0
        numbers = {"early_turns": turns, "early_rows": rows}
        return Room((steps, batch, chunks, keep), free + groups * rows * self.early, self._in_bytes(at), numbers)

    def _lay_backward(self, steps: int, batch: int, team: int) -> Room:
        # Packed weights, the shares' gradients and sums of the columns, the room of the products, what crosses, the
        # carries' other place: the first of them at 64 bytes each.
        plan, count = self.plan, shares.shares(self.plan, batch)
        share_rows = -(-batch // count)
        at = {"packed": 0, "shared": self.packed_backward}
        at["sums"] = at["shared"] + shares.share_lengths(plan)[0] * count
        at["room"] = at["shared"] + self.share * count
        at["crossing"] = at["room"] + self.room * team
        free = at["crossing"] + self.crossing * batch
        for name, n in zip(self.spare, self.state_sizes, strict=True):
            at[name] = free
            free += batch * n
        numbers = {
            "ring": 0, "shares": count, "share_rows": share_rows, "each": _turns(batch, share_rows, plan.width),
            "ones": _ONES.data_ptr(), "start": 0, "stop": 0, "base": 0,
        }  # fmt: skip
        return Room((steps, batch, team), free, self._in_bytes(at), numbers)

    def _in_bytes(self, at: dict[str, int]) -> list[tuple[str, int]]:
        return [(name, self.item * place) for name, place in at.items()]

    def _take(self, count: int) -> Tensor:
        return workspace.take(count * self.item // 4)

    def _add_kept(self, values: dict[str, int], output: Tensor, kept: Sequence[Tensor]) -> None:
        values["output"] = output.data_ptr()
        if self.shares_output:
            values[self.new[0]] = output.data_ptr()
        for name, tensor in zip(self.kept, kept, strict=False):  # none without a backward pass
            values[name] = tensor.data_ptr()

    def backward(
        self, inputs: Inputs, team: int, chunks: int, wanted: Wanted,
        grads: Sequence[Tensor | None], output: Tensor, kept: Sequence[Tensor],
    ) -> list[Tensor | None]:  # fmt: skip
        """The gradients in the order of :class:`Inputs`; ``grads`` are those of the output and the final states."""
        steps, batch, _ = inputs.x.shape
        room = self._backward_room
        if room is None or room.asked != (steps, batch, team):
            room = self._backward_room = self._lay_backward(steps, batch, team)
        columns = self._take(min(room.numbers["each"], steps) * batch * self.plan.width)
        working = self._take(room.length)
        values = room.placed(working) | {"team": team, "chunks": chunks}
        inputs.fill(values, self.names)
        self._add_kept(values, output, kept)
        grad = _readable(grads[0], output.shape[-1], self.dtype)
        grad_step, grad_row = grad.stride()[-3:-1] if grad.dim() == 3 else (0, 0)
        carries, initials, held = self._add_states(values, grads[1:], inputs)
        x, extras = self._add_leaving(values, inputs, wanted)
        parameters = self._add_parameters(values, inputs, wanted)
        gathered = self.zeros(chunks, 2 * self.gathered) if self.gathered else columns
        values |= {
            "grad": grad.data_ptr(), "grad_step": grad_step, "grad_row": grad_row,
            "columns": columns.data_ptr(), "gathered": gathered.data_ptr(), "masked": inputs.valid is not None,
        }  # fmt: skip
        self.backward_kernel(values)
        del held
        workspace.give_back(working)
        workspace.give_back(columns)
        states: list[Tensor | None] = list(carries)
        if initials and not wanted.initial:
            # A reset goes back to the states the run began with: what flows there comes together.
            states = [c + i for c, i in zip(carries, initials, strict=True)]
        flat = [x, *states, *(initials if wanted.initial else ()), *parameters, *extras]
        wants = (wanted.x, *wanted.states, *wanted.initial, *wanted.parameters, *wanted.extras)
        return [g if w else None for g, w in zip(flat, wants, strict=True)]

    def _add_states(
        self, values: dict[str, int], grads: Sequence[Tensor | None], inputs: Inputs
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        batch = inputs.x.shape[1]
        carries = [inputs.x.new_empty(batch, n) for n in self.state_sizes]
        initials = [] if inputs.reset is None else [inputs.x.new_zeros(batch, n) for n in self.state_sizes]
        held = [_readable(g, n, self.dtype) for g, n in zip(grads, self.state_sizes, strict=True)]
        for k, (state, carry) in enumerate(zip(held, carries, strict=True)):
            row = state.stride(0) if state.dim() == 2 else 0
            places = (state.data_ptr(), row, carry.data_ptr(), initials[k].data_ptr() if initials else 0)
            values |= zip(self.carried_names[k], places, strict=True)
        return carries, initials, held

    def _add_leaving(
        self, values: dict[str, int], inputs: Inputs, wanted: Wanted
    ) -> tuple[Tensor | None, list[Tensor | None]]:
        """Room for the gradients of x and the further inputs; zeros where nothing flows to one."""
        steps, batch, _ = inputs.x.shape
        gradients: list[Tensor | None] = []
        for (name, width, flows), want in zip(self.leaving, (wanted.x, *wanted.extras), strict=True):
            if want:
                gradient = (
                    workspace.lent(inputs.x, steps, batch, width) if flows else inputs.x.new_zeros(steps, batch, width)
                )
                gradients.append(gradient)
                values[name] = gradient.data_ptr()
            else:
                gradients.append(None)
                values[name] = 0
        return gradients[0], gradients[1:]

    def _add_parameters(self, values: dict[str, int], inputs: Inputs, wanted: Wanted) -> list[Tensor | None]:
        """Room for the gradients of the parameters; a weight's is formed too where only its columns' sums are asked."""
        sums = any(w and s for w, s in zip(wanted.parameters, self.summed, strict=True))
        gradients: list[Tensor | None] = []
        for i, (name, tensor) in enumerate(zip(self.formed, inputs.parameters, strict=True)):
            if wanted.parameters[i] or (sums and self.has_product[i]):
                gradient = torch.empty_like(tensor) if self.whole[i] else torch.zeros_like(tensor)
                gradients.append(gradient)
                values[name] = gradient.data_ptr()
            else:
                gradients.append(None)
                values[name] = 0
        return gradients


def _turns(batch: int, share_rows: int, width: int) -> int:
    """After how many turns of the backward loop the weights' gradients are formed: whole blocks of their product, and
    columns that stay in the processor's cache."""
    block = shares.BLOCK // min(share_rows, shares.BLOCK)
    return block * max(1, _COLUMNS // (block * batch * max(width, 1)))


@functools.cache
def _nothing(count: int, dtype: torch.dtype) -> Tensor:
    return torch.zeros(count, dtype=dtype, device="cpu")


def _readable(grad: Tensor | None, count: int, dtype: torch.dtype) -> Tensor:
    """A gradient with its rows in order in memory; one row of zeros, (n,), where there is none."""
    if grad is None:
        return _nothing(count, dtype)
    return grad if grad.stride(-1) == 1 or count == 1 else grad.contiguous()


def _whole(plan: Plan) -> frozenset[str]:
    """The parameters every row of which gets a gradient."""
    covered: dict[str, int] = {}
    uses = [(one.parameter, one.width) for one in plan.products] + [(g.parameter, g.width) for g in plan.gathers]
    for name, width in uses + [(v[0], v[3]) for v in plan.column_vectors]:
        covered[name] = covered.get(name, 0) + width
    return frozenset(p.name for p in plan.program.parameters if covered.get(p.name) == p.shape(plan.sizes)[0])
