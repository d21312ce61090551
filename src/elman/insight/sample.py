"""The sequence that a network is explained on, and what of its output is looked at: here of a layer of one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from elman.errors import ElmanError, ShapeError
from elman.layers import Recurrent
from elman.sequences import Batch


@dataclass(frozen=True)
class Sample:
    """One sequence that a network is explained on.

    ``x`` (T, 1, I) as the ``layer`` reads it, and three gradients with respect to its output, (T, 1, O).

    ``loss`` is that of the loss of every step, ``trained`` that of the loss trained on, ``explained`` that of the
    number which attribution asks about. What comes after the layer is linear in each, so they say all of it.
    ``labels`` (T,) are tokens or dates, or empty; ``result`` is what the network makes of the sequence, as JSON can
    hold it, with what a page says of that under "shown": its "title", and as far as there is any "said", "text" and the
    "head" and "rows" of a table. ``task`` is empty of a layer alone, ``parameters`` the count of its whole model's,
    ``training`` the rows of metrics.jsonl, of ``epochs`` that were asked for; ``given`` is the state before the first
    step, where it is not the layer's own.
    """

    what: str
    layer: Recurrent
    x: Tensor
    loss: Tensor
    trained: Tensor
    explained: Tensor
    question: str
    result: dict[str, Any]
    cell: str
    parameters: int
    task: str = ""
    training: Sequence[Mapping[str, Any]] = ()
    epochs: int | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    text: bool = False

    def __len__(self) -> int:
        return len(self.x)

    @classmethod
    def of(
        cls,
        layer: Recurrent,
        x: Any,
        output: Callable[[Tensor], Tensor] | None = None,
        loss: Callable[[Tensor], Tensor] | None = None,
        *,
        what: str = "a sequence",
        question: str = "the last output",
        labels: Sequence[str] = (),
        training: Sequence[Mapping[str, Any]] = (),
    ) -> Sample:
        """Make a sample of your own sequence ``x`` and your own layer.

        It has one row; the arguments after it are functions of the output.

        - ``output``: of the layer's output (T, 1, O), a head say, the number that ``question`` names; the sum of the
          last step's units where None.
        - ``loss``: of the same, the loss of every step, (T,), or that of the whole sequence; where None it is what
          ``output`` gives, and without either the sum of each step's units.
        - ``labels``: what to call the steps, T of them; ``training``: ``History.rows`` of :func:`elman.training.fit`.

        Raises :class:`ElmanError` for another kind of layer, :class:`ShapeError` for several rows, for a loss or output
        that does not depend on the layer's, and for a cell that needs inputs beside x.

        >>> import torch, elman
        >>> layer, head = elman.Recurrent("lstm", 2, 8), torch.nn.Linear(8, 1)
        >>> chosen = Sample.of(layer, torch.randn(30, 2), lambda y: head(y[-1]))
        >>> len(chosen), chosen.explained.shape
        (30, torch.Size([30, 1, 8]))
        """
        if not isinstance(layer, Recurrent):
            raise ElmanError(
                f"layer: got a {type(layer).__name__}, want an elman.Recurrent; one of the same cell, sizes and layers "
                "takes the weights of torch's: load_state_dict"
            )
        if layer.program.extras:
            names = ", ".join(extra.name for extra in layer.program.extras)
            raise ShapeError(f"cell '{layer.program.name}' needs {names} beside x; elman.insight takes it, a page not")
        read = Batch.of(x, layer.input_size, None, layer.batch_first).x.detach()
        if read.shape[1] != 1 or not len(read):
            raise ShapeError(
                f"x: got {tuple(read.shape)} (T, B, I), want one row of 1 step or more; take one: x[:, :1]"
            )
        if len(labels) not in (0, len(read)):
            raise ShapeError(f"labels: got {len(labels)}, want one a step, {len(read)}, or none")
        layer = copy(layer).eval()  # of the same weights
        layer.batch_first = False
        with torch.enable_grad():
            watched = Watched(read, layer.calls(read)[1].detach().requires_grad_())
            number = watched.number("output", output or (lambda y: y[-1]))
            lost = number if loss is None else watched.number("loss", loss)
            lost = watched.output.sum() if loss is None and output is None else lost
        gradient = watched.gradient(lost)
        own = sum(p.numel() for p in layer.parameters())
        return cls(
            what, layer, read, gradient, gradient, watched.gradient(number), question, _result(question, number.item()),
            layer.program.name, own, training=training, labels=tuple(labels),
        )  # fmt: skip


@dataclass
class Watched:
    """What a model's recurrent layer was given, and what it gave."""

    x: Tensor
    output: Tensor

    @classmethod
    def of(cls, layer: Recurrent, run: Callable[[], Tensor]) -> tuple[Watched, Tensor]:
        """Run a model, and keep what passes its ``layer``."""
        kept: list[Watched] = []

        def keep(module: Any, args: Any, result: Any) -> None:
            kept.append(cls(args[0].detach(), result[0]))

        hook = layer.register_forward_hook(keep)
        try:
            with torch.enable_grad():
                result = run()
        finally:
            hook.remove()
        return kept[0], result

    def number(self, name: str, of: Callable[[Tensor], Tensor]) -> Tensor:
        """Evaluate the function ``name`` of the output, and sum.

        Raises :class:`ShapeError` if it gives no number.
        """
        made = of(self.output)
        if not isinstance(made, Tensor) or not made.requires_grad:
            raise ShapeError(f"{name}: what it gives does not depend on the output it was given")
        return made.sum()

    def gradient(self, number: Tensor) -> Tensor:
        """The gradient of ``number`` to what the layer gave."""
        (gradient,) = torch.autograd.grad(number, self.output, retain_graph=True)
        return gradient


def _result(question: str, value: float) -> dict[str, Any]:
    return {"value": value, "shown": {"title": "What it gives", "said": f"{question} is {value:.4g}"}}
