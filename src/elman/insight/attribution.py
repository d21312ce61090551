"""Attribution: which steps of the input an output comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from elman.errors import ElmanError, ShapeError, nearest
from elman.layers import Recurrent
from elman.sequences import Batch

METHODS = ("gradient", "integrated")


@dataclass(frozen=True)
class Attribution:
    """What each number of x contributes to the output explained: ``values`` (T, B, I), signed."""

    values: Tensor

    @property
    def mass(self) -> Tensor:
        """How much each step contributes, (T, B).

        The sum of its absolute values, as a fraction of that of the whole row.
        """
        size = self.values.abs().sum(2)
        return size / size.sum(0)

    def on(self, marked: Tensor) -> Tensor:
        """(B,): the share of the mass that lies on the steps ``marked`` (T, B), bool."""
        return torch.where(marked, self.mass, 0.0).sum(0)


def attribution(
    layer: Recurrent,
    x: Any,
    output: Callable[[Tensor], Tensor] | None = None,
    method: str = "gradient",
    points: int = 64,
    **given: Any,
) -> Attribution:
    """Measure how much each step of ``x`` contributes to a number computed from the output.

    - ``output``: a function of the output (T, B, O), a head say, that gives that number for each row, (B,); the sum of
      the last step's units where None.
    - ``method``: ``"gradient"``, gradient times input; or ``"integrated"``, x times the gradient's mean along the
      straight line from an input of zeros to x, taken at ``points`` points: its values add up to f(x) - f(0)
      (Sundararajan et al. 2017). That asks the network about inputs it never saw, half marked steps say, and spreads
      the mass where it answers oddly there.

    ``given``: state, lengths, reset and further inputs. Raises :class:`ElmanError` for another method,
    :class:`ShapeError` for an output of another shape.

    >>> import torch, elman
    >>> layer = elman.Recurrent("rnn", 1, 1, nonlinearity="identity", bias=False)
    >>> _ = layer.weight_ih_l0.data.fill_(1.0), layer.weight_hh_l0.data.fill_(0.5)
    >>> attribution(layer, torch.tensor([[[1.0]], [[2.0]], [[4.0]]])).values.flatten().tolist()
    [0.25, 1.0, 4.0]
    """
    if method not in METHODS:
        raise ElmanError(f"there is no attribution {method!r}; {nearest(str(method), METHODS)}")
    if not isinstance(x, Tensor):
        raise ShapeError(f"x: got a {type(x).__name__}, want a tensor; give sequences one at a time, or padded")
    along = [1.0] if method == "gradient" else [(i + 0.5) / points for i in range(points)]
    mean = torch.stack([_gradient(layer, a * x.detach(), output, given) for a in along]).mean(0)
    contributed = torch.where(mean == 0, 0.0, x.detach() * mean)  # what stands in the padding may be no number
    return Attribution(Batch.of(contributed, layer.input_size, batch_first=layer.batch_first).x)


def _gradient(layer: Recurrent, x: Tensor, output: Callable[[Tensor], Tensor] | None, given: dict[str, Any]) -> Tensor:
    leaf = x.requires_grad_()
    with torch.enable_grad():
        run = layer.calls(leaf, **given)[1]
        explained = run[-1].sum(-1) if output is None else output(run)
    if explained.shape != run.shape[1:2]:
        raise ShapeError(f"output: gave {tuple(explained.shape)}, want one number a row: ({run.shape[1]},)")
    (gradient,) = torch.autograd.grad(explained.sum(), leaf)
    return gradient
