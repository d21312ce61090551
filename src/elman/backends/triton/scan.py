"""h[t] = a[t] h[t-1] + b[t] for all steps: a parallel scan over time (Blelloch 1990), chunk by chunk."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from elman.backends.triton.kernel import computed_in

STEPS, COLUMNS = 64, 32  # of a block
OPTIONS = {"num_warps": 4, "num_stages": 3, "enable_fp_fusion": True}


@triton.jit
def _both(a, b, c, d):
    """One step behind another: h -> a h + b, then h -> c h + d."""
    return a * c, c * b + d


@triton.jit
def kernel(  # type: ignore[no-untyped-def]
    a, b, first, h, T, N, REVERSE: tl.constexpr, AHEAD: tl.constexpr, F: tl.constexpr,
    STEPS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """All steps of some columns, from ``first`` on; the factor of step t is ``a[t + AHEAD]``, 1 beyond the ends."""
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    within = tl.arange(0, STEPS)[:, None]
    carried = tl.load(first + column, mask=column < N, other=0.0).to(F)
    for start in range(0, T, STEPS):
        turn = start + within
        t = (T - 1 - turn if REVERSE else turn).to(tl.int64)
        here = (turn < T) & (column < N)
        known = here & (t + AHEAD >= 0) & (t + AHEAD < T)
        factor = tl.load(a + (t + AHEAD) * N + column, mask=known, other=1.0).to(F)
        added = tl.load(b + t * N + column, mask=here, other=0.0).to(F)
        factor, added = tl.associative_scan((factor, added), 0, _both)
        state = factor * carried + added
        tl.store(h + t * N + column, state, mask=here)
        carried = tl.sum(tl.where(within == STEPS - 1, state, 0.0), axis=0, keep_dims=True)


def _run(a: Tensor, b: Tensor, first: Tensor, reverse: bool, ahead: int) -> Tensor:
    h = torch.empty_like(b)
    steps, columns = len(b), b[0].numel()
    with torch.cuda.device_of(b):
        kernel[(triton.cdiv(columns, COLUMNS),)](
            a, b, first, h, steps, columns, reverse, ahead, computed_in(b.dtype), STEPS, COLUMNS, **OPTIONS
        )  # fmt: skip
    return h


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, first: Tensor, reverse: bool) -> Tensor:
        a, b, first = a.contiguous(), b.contiguous(), first.contiguous()
        h = _run(a, b, first, reverse, 0)
        ctx.reverse = reverse
        ctx.save_for_backward(a, first, h)
        return h

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:
        a, first, h = ctx.saved_tensors
        # What reaches h[t] reaches h[t-1] times a[t]: the same scan, the other way.
        into = _run(a, grads[0].contiguous(), torch.zeros_like(first), not ctx.reverse, -1 if ctx.reverse else 1)
        of_a = into * before(h, first, ctx.reverse)
        start = -1 if ctx.reverse else 0
        return of_a, into, a[start] * into[start], None


def before(h: Tensor, first: Tensor, reverse: bool) -> Tensor:
    """The states (T, B, n) before each step, where ``h`` are those after it."""
    return torch.cat([h[1:], first[None]] if reverse else [first[None], h[:-1]])


def scan(a: Tensor, b: Tensor, first: Tensor, reverse: bool) -> Tensor:
    """The states (T, B, n) of h[t] = a[t] h[t-1] + b[t] from ``first`` (B, n); from the last step where ``reverse``."""
    return _Scan.apply(a, b, first, reverse)
