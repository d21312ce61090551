"""The backend ``graph``: the reference's loop over a chunk of steps, captured once and replayed for every chunk."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from elman import internals
from elman.backends.chunks import run_in_chunks
from elman.backends.contract import Backend, Call, Result
from elman.backends.graphs.capture import Captured, capture
from elman.backends.reference import Reference
from elman.backends.tensors import gradients

STEPS = 32  # of a chunk: its capture takes about as long as running it once without
KEPT = 32  # captured chunks, the last ones used


class Graphs:
    """Replays the loop as CUDA graphs, forwards and backwards, a chunk of steps at a time.

    ``capture`` records work; tests give one that records nothing and runs it, so that the rest runs without CUDA.
    """

    name = "graph"

    def __init__(self, record: Callable[[Callable[[], Any], Tensor], Captured] = capture, device: str = "cuda") -> None:
        self.record = record
        self.device = device
        self.kept: OrderedDict[Hashable, _Work] = OrderedDict()

    def refuses(self, call: Call) -> str | None:
        """Why the loop cannot be captured for ``call``, or None where it can."""
        for tensor in call.tensors:
            if tensor.device.type != self.device:
                return f"needs tensors on CUDA and got one on {tensor.device}"
        if call.record:
            return "does not record values of the steps"
        if len(call.x) < 2 or not call.x.shape[1]:
            return "pays from two steps on, and for a row at least"
        if reason := internals.transform():
            return reason
        if torch.compiler.is_compiling() or (self.device == "cuda" and torch.cuda.is_current_stream_capturing()):
            return "does not run inside torch.compile or another CUDA graph"
        if torch.is_autocast_enabled(call.x.device.type):
            return "does not run under autocast"
        return None

    def run(self, call: Call) -> Result:
        """Run ``call``; differentiable by torch, a second time by the reference."""
        return run_in_chunks(_Replayed(self), call, min(STEPS, len(call.x)))

    def work(self, key: Hashable, make: Callable[[], _Work]) -> _Work:
        """The captured chunk of that ``key``, made where there is none; the one longest unused makes room."""
        if key not in self.kept:
            self.kept[key] = make()
            while len(self.kept) > KEPT:
                self.kept.popitem(last=False)
        self.kept.move_to_end(key)
        return self.kept[key]


class _Replayed:
    """A chunk that is replayed: :class:`elman.backends.chunks.Chunk`."""

    def __init__(self, backend: Graphs) -> None:
        self.backend = backend

    def forward(self, call: Call) -> Result:
        """The result of ``call``: its states are copies, its output is good until the next chunk."""
        key = ("forward", _kind(call))
        output, *states = self.backend.work(key, lambda: _Forward(self.backend.record, call)).replay(call)
        return Result(output, tuple(state.clone() for state in states))

    def backward(self, call: Call, needs: Sequence[bool], grads: Sequence[Tensor | None]) -> list[Tensor | None]:
        """The gradients of the tensors of ``call``, good until the next chunk."""
        key = ("backward", _kind(call), tuple(needs), tuple(g is None for g in grads))
        work = self.backend.work(key, lambda: _Backward(self.backend.record, call, needs, grads))
        computed = iter(work.replay(call, [g for g in grads if g is not None]))
        return [next(computed) if need else None for need in needs]

    def differentiable(self) -> Backend:
        """The reference."""
        return Reference()


def _kind(call: Call) -> Hashable:
    """What calls must have in common to be replayed by one graph."""
    stream = torch.cuda.current_stream().cuda_stream if call.x.is_cuda else 0
    tensors = tuple((tuple(t.shape), t.dtype, t.device) for t in call.tensors)
    masks = (call.valid is not None, call.reset is not None)
    precision = torch.backends.cuda.matmul.fp32_precision
    return (call.program, tuple(call.sizes.items()), tensors, masks, call.reverse, stream, precision)


class _Work:
    """A captured chunk: tensors of its own that a call is copied into, and the work on them."""

    def __init__(self, call: Call, needs: Sequence[bool]) -> None:
        own = [t.detach().clone().requires_grad_(need) for t, need in zip(call.tensors, needs, strict=True)]
        masks = [None if mask is None else mask.clone() for mask in (call.valid, call.reset)]
        self.call: Call = replace(call.with_tensors(own), valid=masks[0], reset=masks[1])
        self.further: list[Tensor] = []
        self.captured: Captured

    def replay(self, call: Call, further: Sequence[Tensor] = ()) -> list[Tensor]:
        """Copy ``call`` in and do the work; what comes out is overwritten by the next replay."""
        pairs = [*zip(self.call.tensors, call.tensors, strict=True), *zip(self.further, further, strict=True)]
        pairs += [(self.call.valid, call.valid), (self.call.reset, call.reset)]
        with torch.no_grad():
            for own, new in pairs:
                if own is not None:
                    own.copy_(new)
        return self.captured.replay()


class _Forward(_Work):
    def __init__(self, record: Callable[..., Captured], call: Call) -> None:
        super().__init__(call, [False] * len(call.tensors))
        self.captured = record(self._run, self.call.x)

    @torch.no_grad()
    def _run(self) -> list[Tensor]:
        result = Reference().run(self.call)
        return [result.output, *result.states]


class _Backward(_Work):
    def __init__(
        self, record: Callable[..., Captured], call: Call, needs: Sequence[bool], grads: Sequence[Tensor | None]
    ) -> None:
        super().__init__(call, needs)
        self.grads = [None if g is None else g.clone() for g in grads]
        self.further = [g for g in self.grads if g is not None]
        self.captured = record(self._run, self.call.x)

    def _run(self) -> list[Tensor]:
        wanted = [t for t in self.call.tensors if t.requires_grad]
        with torch.enable_grad():
            result = Reference().run(self.call)
        computed = gradients(result, self.grads, wanted)
        return [torch.zeros_like(t) if g is None else g for t, g in zip(wanted, computed, strict=True)]
