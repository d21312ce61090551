"""A program at given sizes: which runner takes a call, and on how many threads."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from elman.backends.cpu.call.inputs import Inputs, Wanted
from elman.backends.cpu.call.inputs import wanted as inputs_wanted
from elman.backends.cpu.call.runner import Runner
from elman.backends.cpu.functions.lowering import refuse_unwritten
from elman.backends.cpu.layout import early
from elman.backends.cpu.layout.variant import Variant
from elman.backends.cpu.llvm import compiler, machine, threads
from elman.backends.cpu.llvm.machine import Vectors
from elman.backends.plan.parts import Refused
from elman.backends.plan.plan import Plan
from elman.equations import Program

# Tiles are chosen for one of these counts of rows a thread, so that a new batch size seldom means a new kernel.
_ROWS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
_SMALL = 1 << 20  # multiply-adds below which a second thread costs more than it brings
# The units of all rows are dealt to threads, which wait for each other at every step, where there are fewer rows than
# threads, or so few for each and weights that overflow its cache: to two from _WORTH weights
# on, which is where an LSTM's overflow the first-level cache, and to more where each of them gets as many.
_FEW = 4
_WORTH = 1 << 14


class Engine:
    """A program at given sizes. ``reason`` says why it cannot be taken, where it cannot."""

    def __init__(self, program: Program, sizes: Mapping[str, int]) -> None:
        self.program: Program = program
        self.sizes: dict[str, int] = dict(sizes)
        self.reason: str | None = None
        self._runners: dict[tuple[int, int, int, bool, bool, int], Runner] = {}
        self._plans: dict[bool, Plan] = {}
        try:
            refuse_unwritten(program.nodes)
            plan = self.plan(False)
            refuse_unwritten(plan.nodes)
        except Refused as refused:
            self.reason = str(refused)
            return
        self.state_sizes: list[int] = [self.sizes[s.size] for s in program.states]
        self.output_size: int = self.sizes[program.output_size]
        self.work: int = plan.work
        self._dealt: dict[bool, int] = {}

    def plan(self, with_reset: bool) -> Plan:
        """The plan; raises :class:`Refused`."""
        if with_reset not in self._plans:
            self._plans[with_reset] = Plan(self.program, self.sizes, with_reset)
        return self._plans[with_reset]

    def _runner(self, inputs: Inputs) -> tuple[Runner, int, int]:
        """(runner, team, chunks of the rows) for a call."""
        steps, batch = inputs.x.shape[:2]
        team = threads.team() if steps * batch * self.work > _SMALL else 1
        item, masked, resets = inputs.x.element_size(), inputs.valid is not None, inputs.reset is not None
        members = self._members(team, batch, item, resets) if batch <= _FEW * team > _FEW else 1
        chunks = min(team, batch)
        key = (batch if members > 1 else -(-batch // chunks), machine.width(), item, masked, resets, members)
        runner = self._runners.get(key)
        if runner is None:
            runner = self._runners[key] = self._new_runner(*key)
        return runner, team, chunks

    def _members(self, team: int, batch: int, item: int, resets: bool) -> int:
        """To how many threads the units of all rows are dealt, where rows are few; 1 where each has rows of its own."""
        if resets not in self._dealt:
            self._dealt[resets] = early.dealt_weights(self.plan(resets))
        weights = self._dealt[resets]
        pays = batch < team or weights * item > machine.second_cache()
        return min(team, max(2, weights // _WORTH)) if pays and weights >= _WORTH else 1

    def _new_runner(self, each: int, width: int, item: int, masked: bool, resets: bool, members: int) -> Runner:
        rows = max(r for r in _ROWS if r <= each)
        with compiler.LOCK:
            same = (-rows, width, item, masked, resets, members)
            if same not in self._runners:
                variant = Variant(rows, Vectors(width, item), masked, resets, members)
                self._runners[same] = Runner(self.plan(resets), variant)
            return self._runners[same]

    def forward(self, inputs: Inputs, keep: bool) -> tuple[list[Tensor], list[Tensor]]:
        """([output, *final states], what is kept for the backward pass)."""
        if 0 in inputs.x.shape[:2]:
            return self._nothing(inputs, keep)
        inputs = inputs.readable()
        runner, team, chunks = self._runner(inputs)
        return runner.forward(inputs, team, chunks, keep)

    def kept_sizes(self, masked: bool, resets: bool) -> list[int]:
        """The sizes n of what is kept for the backward pass, (T, B, n) each."""
        return Runner(self.plan(resets), Variant(1, Vectors(machine.width()), masked, resets)).kept_sizes

    def _nothing(self, inputs: Inputs, keep: bool) -> tuple[list[Tensor], list[Tensor]]:
        """The results where there are no steps or no rows: the states stay as they are."""
        steps, batch, _ = inputs.x.shape
        sizes = self.kept_sizes(inputs.valid is not None, inputs.reset is not None) if keep else []
        kept = [inputs.x.new_empty(steps, batch, n) for n in sizes]
        return [inputs.x.new_empty(steps, batch, self.output_size), *(s.clone() for s in inputs.states)], kept

    def _nothing_back(self, inputs: Inputs, wanted: Wanted, grads: Sequence[Tensor | None]) -> list[Tensor | None]:
        states = [
            torch.zeros_like(s) if g is None else g.clone() for s, g in zip(inputs.states, grads[1:], strict=True)
        ]
        rest = [torch.zeros_like(t) for t in (*inputs.initial, *inputs.parameters, *inputs.extras)]
        wants = (wanted.x, *wanted.states, *wanted.initial, *wanted.parameters, *wanted.extras)
        return [g if w else None for g, w in zip((torch.zeros_like(inputs.x), *states, *rest), wants, strict=True)]

    def backward(
        self, inputs: Inputs, needs: Sequence[bool], grads: Sequence[Tensor | None], output: Tensor,
        kept: Sequence[Tensor],
    ) -> list[Tensor | None]:  # fmt: skip
        """The gradients in the order of :class:`Inputs`; ``grads`` are those of the output and the final states."""
        wanted = inputs_wanted(inputs, needs)
        if 0 in inputs.x.shape[:2]:
            return self._nothing_back(inputs, wanted, grads)
        dims = [extra.dim() for extra in inputs.extras]
        inputs = inputs.readable()
        runner, team, chunks = self._runner(inputs)
        gradients = runner.backward(inputs, team, chunks, wanted, grads, output, kept)
        for i, dim in enumerate(dims, start=len(gradients) - len(dims)):
            gradient = gradients[i]
            gradients[i] = gradient.sum(0) if dim == 2 and gradient is not None else gradient
        return gradients


# Engines that are kept, those used last: with their code each takes half a megabyte or more. A call that is under way
# holds its own.
KEPT = 64
_BY_IDENTITY: dict[tuple[int, tuple[int, ...]], tuple[Program, Engine]] = {}


def engine(program: Program, sizes: Mapping[str, int]) -> Engine:
    """The engine of a program at these sizes."""
    key = (id(program), tuple(sizes.values()))
    entry = _BY_IDENTITY.get(key)
    if entry is None:
        if len(_BY_IDENTITY) >= KEPT:
            _BY_IDENTITY.clear()  # those used last are found again by the program's text
        # The program is kept with it, so that its identity is not given to another.
        entry = _BY_IDENTITY[key] = (program, of_text(program.to_json(), tuple(sizes.items())))
    return entry[1]


@functools.lru_cache(KEPT)
def of_values(text: str, sizes: tuple[int, ...]) -> Engine:
    """The engine of a program's text; ``sizes`` are the numbers of :meth:`Program.sizes`, in its order."""
    names = ("input", "hidden", "1", *Program.from_json(text).size_names)
    return of_text(text, tuple(zip(names, sizes, strict=True)))


def of_text(text: str, sizes: tuple[tuple[str, int], ...]) -> Engine:
    """The engine of a program's text at these sizes."""
    with compiler.LOCK:  # so that two threads make one engine
        return _made(text, sizes)


@functools.lru_cache(KEPT)
def _made(text: str, sizes: tuple[tuple[str, int], ...]) -> Engine:
    return Engine(Program.from_json(text), dict(sizes))


def forget() -> None:
    """Keep no engine."""
    _BY_IDENTITY.clear()
    of_values.cache_clear()
    _made.cache_clear()
