"""A network unrolled in time: its layers' steps, and the way back from its output through all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from elman.backends import Call
from elman.errors import ShapeError
from elman.insight.steps import Back, Steps
from elman.layers import Recurrent
from elman.layers.stack import MERGES

# How many numbers one chunk of queries may hold in a tensor: 128 MB in float64.
CHUNK = 1 << 24


Visit = Callable[[tuple[int, int], Back], None]


@dataclass(frozen=True)
class Unrolled:
    """A layer's run over an input: its ``calls`` and ``places`` by layer and direction, its ``output`` (T, B, O)."""

    layer: Recurrent
    calls: list[list[Call]] = field(repr=False)
    places: list[list[Steps]]
    output: Tensor
    valid: Tensor | None = field(repr=False)

    @classmethod
    def of(cls, layer: Recurrent, x: Any, **given: Any) -> Unrolled:
        """Run ``layer`` over ``x``, in evaluation; ``given`` is what its ``forward`` takes beside x."""
        return cls.in_dtype(torch.float64, layer, x, **given)

    @classmethod
    @torch.no_grad()
    def in_dtype(cls, dtype: torch.dtype, layer: Recurrent, x: Any, **given: Any) -> Unrolled:
        """:meth:`of`, the way back in another dtype: to see what goes wrong in it."""
        calls, output = layer.calls(x, **given)
        if not output.numel():
            raise ShapeError(f"x: there is nothing to look at in an output of {tuple(output.shape)} (T, B, O)")
        return cls(
            layer, calls, [[Steps(call, dtype) for call in row] for row in calls], output.to(dtype), calls[0][0].valid
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """T, B, O."""
        steps, rows, size = self.output.shape
        return steps, rows, size

    def gradient(self, loss: Any) -> Tensor:
        """dL_t/dy_t, (T, B, O), of the losses that ``loss`` gives: see :func:`step_losses`."""
        output = self.output.detach().requires_grad_()
        with torch.enable_grad():
            losses = step_losses(output, loss)
        (gradient,) = torch.autograd.grad(losses.sum(), output, retain_graph=True)
        _expect_own_step(losses, output)
        return gradient

    def chunks(self) -> Iterator[range]:
        """The steps, as many at a time as queries fit into memory together."""
        steps, rows, size = self.shape
        widest = max(size, *(max(s.call.sizes.values()) for layer in self.places for s in layer))
        count = max(1, CHUNK // max(1, steps * rows * widest))
        for start in range(0, steps, count):
            yield range(start, min(start + count, steps))

    def seeds(self, gradient: Tensor, chunk: range) -> Tensor:
        """One query for each step t of ``chunk``: ``gradient`` (T, B, O) at t and 0 elsewhere, (N, T, B, O)."""
        seeds = gradient.new_zeros(len(chunk), *gradient.shape)
        at = torch.arange(len(chunk))
        seeds[at, at + chunk.start] = gradient[chunk.start : chunk.stop]
        return seeds

    @torch.no_grad()
    def back(self, cotangent: Tensor, visit: Visit | None = None, last: Sequence[int] | None = None) -> Tensor:
        """Take N queries, ``cotangent`` (N, T, B, O), back through all layers, to their gradient to x, (N, T, B, I).

        ``visit`` is shown every step of every layer and direction, as (layer, direction), with what passes it.
        ``last``, ascending, is the step after which a query has nothing.
        """
        if self.layer.stack.bidirectional:
            last = None  # what is after a step reaches it too
        if self.valid is not None:
            cotangent = torch.where(self.valid.unsqueeze(-1), cotangent, 0.0)
        for layer in reversed(range(len(self.places))):
            arriving, around = self._split(layer, cotangent)
            x = self.places[layer][0].call.x
            below = around if around is not None else cotangent.new_zeros(len(cotangent), *x.shape)
            for direction, steps in enumerate(self.places[layer]):
                for passed in steps.back(arriving[direction], last):
                    if visit is not None:
                        visit((layer, direction), passed)
                    below[passed.live, passed.step] += passed.input()
            cotangent = below
        return cotangent

    def _split(self, layer: int, cotangent: Tensor) -> tuple[list[Tensor], Tensor | None]:
        """The cotangent of a layer's result as those of its directions' outputs, and of its input going round them."""
        stack, outputs = self.layer.stack, [steps.output for steps in self.places[layer]]
        around = None
        if stack.residual and cotangent.shape[1:] == self.places[layer][0].call.x.shape:
            around = cotangent.clone()
        if not stack.bidirectional:
            return [cotangent], around
        leaves = [output.detach().requires_grad_() for output in outputs]
        with torch.enable_grad():
            merged = MERGES[stack.merge](*leaves)
        return list(torch.autograd.grad(merged, leaves, cotangent, is_grads_batched=True)), around


def step_losses(output: Tensor, loss: Any) -> Tensor:
    """The loss L_t of every step, (T,), from the output (T, B, O).

    ``loss`` is a function of the output that gives (T,), or (T, B) to be summed over the rows; a weight (O,) or
    (T, B, O), with L_t = the sum over rows of weight times y_t; or None for a weight of ones. Raises
    :class:`ShapeError` for anything else.
    """
    if callable(loss):
        losses = loss(output)
        losses = losses.sum(1) if losses.dim() == 2 and losses.shape == output.shape[:2] else losses
        if losses.shape != output.shape[:1]:
            want = f"(T,) or (T, B) with T={output.shape[0]}, B={output.shape[1]}"
            raise ShapeError(f"loss: gave {tuple(losses.shape)}, want one number a step: {want}")
        if not losses.requires_grad:
            raise ShapeError("loss: what it gives does not depend on the output it was given")
        return losses
    weight = torch.ones_like(output[0, 0]) if loss is None else torch.as_tensor(loss).to(output)
    if weight.shape not in (output.shape[-1:], output.shape):
        raise ShapeError(f"loss: got a weight {tuple(weight.shape)}, want (O,) or (T, B, O) of {tuple(output.shape)}")
    return (output * weight).sum((1, 2))


def _expect_own_step(losses: Tensor, output: Tensor) -> None:
    """Refuse losses of which the first or the last depends on the output of another step."""
    for t in {0, len(losses) - 1}:
        (own,) = torch.autograd.grad(losses[t], output, retain_graph=True)
        if own[:t].any() or own[t + 1 :].any():
            raise ShapeError(f"loss: L_t must depend on the output of step t alone, and that of step {t} does not")
