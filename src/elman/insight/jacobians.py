"""The step Jacobian ds_t/ds_{t-1}: its norm, spectrum and products, and what becomes of a gradient over many steps.

The state s is whole: all of a cell's states side by side (an LSTM's h and c), so that the chain of steps is the
product of these matrices and nothing goes round it. A layer above another adds no chain of its own: the Jacobian of a
stack is block-triangular, and each layer's own blocks say how fast it forgets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from elman.backends import Call
from elman.errors import ElmanError, ShapeError
from elman.insight.steps import Steps
from elman.layers import Recurrent

HEALING = {
    "vanishing": "a gated cell with its memory open at first (lstm with forget_bias=1 or more), or relu with "
    "init='identity'; init='orthogonal' keeps a tanh network's gradient longer",
    "exploding": "a clipped gradient (clip) and a smaller lr; recurrent weights that begin smaller: init='orthogonal', "
    "or with relu init='identity'",
}


@dataclass(frozen=True)
class Jacobians:
    """The Jacobians of all steps of one row.

    ``matrices`` (T, S, S): ``matrices[t]`` is ds_t/ds_{t-1}, in the order in which the steps are run.

    ``spans`` says which of the S numbers of the whole state are a state's, by name.
    """

    matrices: Tensor
    spans: dict[str, slice]

    def block(self, new: str, old: str) -> Tensor:
        """Return the block d(new)_t/d(old)_{t-1} of every step, (T, n, m).

        For an LSTM, ``block("c", "c")`` holds the forget gates on its diagonal.
        """
        return self.matrices[:, self.spans[new], self.spans[old]]

    def norms(self) -> Tensor:
        """(T,): the largest singular value of each, the most that a step can stretch a gradient."""
        return torch.linalg.matrix_norm(self.matrices, ord=2)

    def spectrum(self) -> Tensor:
        """(T, S), complex: the eigenvalues of each, largest first."""
        values = torch.linalg.eigvals(self.matrices)
        order = values.abs().argsort(dim=1, descending=True)
        return values.gather(1, order)

    def product_log_norms(self) -> Tensor:
        """Log norms of the products of the last d steps, (T,).

        ln ||ds_T/ds_{T-d}|| for d = 1 ... T; -inf where everything is lost.
        """
        product = torch.eye(self.matrices.shape[-1], dtype=self.matrices.dtype, device=self.matrices.device)
        logs, scale = [], 0.0
        for matrix in self.matrices.flip(0):
            product = product @ matrix
            size = float(torch.linalg.matrix_norm(product, ord=2))
            scale += math.log(size) if size else -math.inf
            logs.append(scale)
            product = product / size if size else product
        return torch.tensor(logs, dtype=torch.float64)

    def lyapunov(self, settle: int | None = None) -> Tensor:
        """(S,): the Lyapunov exponents, per step, largest first, by QR (Benettin et al. 1980).

        exp of the largest is what a gradient is multiplied with at each step, in the long run. The first ``settle``
        steps, a quarter of them where None, turn the directions and are not counted: a state that has not settled yet
        says nothing about the long run. Raises :class:`ShapeError` where they leave no step.
        """
        count = len(self.matrices)
        settle = count // 4 if settle is None else settle
        if not 0 <= settle < count:
            raise ShapeError(f"settle: got {settle}, want 0 to {count - 1} of the {count} steps there are")
        turned = torch.eye(self.matrices.shape[-1], dtype=self.matrices.dtype, device=self.matrices.device)
        total = torch.zeros_like(turned[0])
        for t, matrix in enumerate(self.matrices):
            turned, stretched = torch.linalg.qr(matrix @ turned)
            if t >= settle:
                total += stretched.diagonal().abs().log()
        return (total / (count - settle)).sort(descending=True).values


@torch.no_grad()
def jacobians(layer: Recurrent, x: Any, place: tuple[int, int] = (-1, 0), row: int = 0, **given: Any) -> Jacobians:
    """Compute the Jacobian of every step while ``layer`` runs over ``x``.

    Those of one row at ``place``, (layer, direction).

    Of a row that is over sooner, the steps that it has. ``given``: state, lengths, reset and further inputs.
    Raises :class:`ShapeError` for a row that is not there or has no step, :class:`ElmanError` for a run that is not
    finite.

    >>> import torch, elman
    >>> layer = elman.Recurrent("lstm", 1, 4, forget_bias=5.0)
    >>> found = jacobians(layer, torch.zeros(20, 1, 1))
    >>> found.matrices.shape, found.block("c", "c").shape, bool(found.lyapunov()[0] > -0.02)
    (torch.Size([20, 8, 8]), torch.Size([20, 4, 4]), True)
    """
    calls, _ = layer.calls(x, **given)
    call = calls[place[0]][place[1]]
    rows = call.x.shape[1]
    if not 0 <= row < rows:
        raise ShapeError(f"row: got {row}, want 0 to {rows - 1}: x has B={rows}")
    steps = Steps(_one_row(call, row))
    program, stop, spans = call.program, 0, {}
    for state in program.states:
        spans[state.name] = slice(stop, stop + call.sizes[state.size])
        stop += call.sizes[state.size]
    every = torch.eye(stop, dtype=steps.like.dtype, device=steps.like.device)
    arriving = [every[:, None, span] for span in spans.values()]
    nothing = steps.like.new_zeros(stop, 1, call.sizes[program.output_size])
    products = []
    for t in steps.order:
        if call.valid is None or call.valid[t, row]:
            back = steps.at(t, slice(0, stop), nothing, arriving)
            products.append(torch.cat([value[:, 0] for value in steps.leaving(back)], dim=1))
            if not products[-1].isfinite().all():
                raise ElmanError(f"the network is not finite at step {t}: it has no Jacobian; lower its weights or x")
    if not products:
        raise ShapeError(f"row {row} of x has no step, so there is no Jacobian")
    return Jacobians(torch.stack(products), spans)


def _one_row(call: Call, row: int) -> Call:
    def of(value: Tensor | None, dim: int) -> Any:
        return None if value is None else value.narrow(dim, row, 1)

    return replace(
        call,
        x=of(call.x, 1),
        states=tuple(of(s, 0) for s in call.states),
        initial=None if call.initial is None else tuple(of(s, 0) for s in call.initial),
        extras={n: of(e, e.dim() - 2) for n, e in call.extras.items()},
        valid=of(call.valid, 1),
        reset=of(call.reset, 1),
    )


@dataclass(frozen=True)
class Verdict:
    """What becomes of a gradient: ``word`` is vanishing, healthy or exploding.

    ``rate`` is the logarithm of what it is multiplied with at each step (the largest Lyapunov exponent), ``distance``
    the steps after which it is below 1 / ``factor``, or above ``factor``; None where it stays for ever. It is healthy
    where that takes more than ``horizon`` steps.
    """

    word: str
    rate: float
    distance: int | None
    factor: float
    horizon: int

    @classmethod
    def of(cls, rate: float, factor: float = 100.0, horizon: int = 100) -> Verdict:
        """Judge a rate.

        >>> print(Verdict.of(math.log(0.5)))
        vanishing: a gradient is multiplied by 0.5 at each step (rate -0.693) and is below 1/100 after 7 steps
        >>> print(Verdict.of(-0.0067))
        healthy: a gradient is multiplied by 0.993 at each step (rate -0.007) and is below 1/100 after 688 steps
        """
        distance = math.ceil(math.log(factor) / abs(rate)) if rate else None
        if distance is None or distance > horizon:
            return cls("healthy", rate, distance, factor, horizon)
        return cls("exploding" if rate > 0 else "vanishing", rate, max(distance, 1), factor, horizon)

    def __str__(self) -> str:
        """The verdict in words."""
        times = f"a gradient is multiplied by {math.exp(self.rate):.3g} at each step (rate {self.rate:.3f})"
        if self.distance is None:
            return f"{self.word}: {times}"
        side = "above" if self.rate > 0 else "below 1/"
        size = f" {self.factor:g}" if self.rate > 0 else f"{self.factor:g}"
        return f"{self.word}: {times} and is {side}{size} after {self.distance} step{'s' * (self.distance != 1)}"

    @property
    def healing(self) -> str:
        """What is known to help; nothing where it is healthy."""
        return HEALING.get(self.word, "")


def verdict(
    layer: Recurrent,
    x: Any,
    place: tuple[int, int] = (-1, 0),
    row: int = 0,
    settle: int | None = None,
    factor: float = 100.0,
    horizon: int = 100,
    **given: Any,
) -> Verdict:
    """Say whether gradients vanish or explode, see :class:`Verdict`.

    Measured at ``place``, (layer, direction), once the state has settled.

    The rate is a property of the network and of where ``x`` takes it: of the same weights, a tanh network that has
    saturated forgets where one at rest explodes.

    >>> import torch, elman
    >>> layer = elman.Recurrent("rnn", 1, 4, nonlinearity="identity")
    >>> _ = torch.nn.init.eye_(layer.weight_hh_l0.data).mul_(1.5)
    >>> print(verdict(layer, torch.zeros(50, 1, 1)))
    exploding: a gradient is multiplied by 1.5 at each step (rate 0.405) and is above 100 after 12 steps
    """
    exponents = jacobians(layer, x, place, row, **given).lyapunov(settle)
    return Verdict.of(float(exponents[0]), factor, horizon)
