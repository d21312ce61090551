"""The sequence that a network is explained on, and what of its output is looked at: of a run, or of a layer alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from elman.data.calendar import date_text
from elman.data.vocabulary import LEVELS
from elman.errors import ElmanError, ShapeError
from elman.jobs import Classifier, Forecaster, Generator
from elman.layers import Recurrent
from elman.metrics import softmax
from elman.sequences import Batch

STEPS = 200  # unless told
WRITTEN = 200  # symbols of a text's sample
SHOWN = 10  # classes, the likeliest


@dataclass(frozen=True)
class Sample:
    """One sequence as the ``layer`` is given it, ``x`` (T, 1, I), and three gradients to its output, (T, 1, O).

    ``loss`` is that of the loss of every step, ``trained`` that of the loss trained on, ``explained`` that of the
    number which attribution asks about. What comes after the layer is linear in each, so they say all of it.
    ``labels`` (T,) are tokens or dates, or empty; ``result`` is what the network makes of the sequence. ``task`` is
    empty of a layer alone, ``parameters`` the count of its whole model's, ``training`` the rows of metrics.jsonl, of
    ``epochs`` that were asked for; ``given`` is the state before the first step, where it is not the layer's own.
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
        """A sequence ``x`` of one's own, of one row, that a layer of one's own reads; what follows it are functions.

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
        layer = copy(layer)  # of the same weights
        layer.batch_first = False
        with torch.enable_grad():
            watched = _Watched(read, layer.calls(read)[1].detach().requires_grad_())
            number = watched.number("output", output or (lambda y: y[-1]))
            lost = number if loss is None else watched.number("loss", loss)
            lost = watched.output.sum() if loss is None and output is None else lost
        gradient = watched.gradient(lost)
        own = sum(p.numel() for p in layer.parameters())
        return cls(
            what, layer, read, gradient, gradient, watched.gradient(number), question, {"value": number.item()},
            layer.program.name, own, training=training, labels=tuple(labels),
        )  # fmt: skip


def sample(job: Any, steps: int | None = None) -> Sample:
    """The sequence of at most ``steps`` steps (200, or a forecast's context) from the test part of a job's data.

    Where there is no test part it is from the validation part, else from training. Raises :class:`ElmanError` for
    fewer steps than 1.

    >>> from elman.jobs import Forecaster
    >>> forecaster = Forecaster("rnn", hidden=4, context=20, epochs=1)
    >>> history = forecaster.fit("wave:sine")
    >>> sample(forecaster).x.shape
    torch.Size([20, 1, 1])
    """
    if steps is not None and steps < 1:
        raise ElmanError(f"--steps: got {steps}, want 1 or more")
    job.model.eval()
    if isinstance(job, Forecaster):
        return _of_series(job, steps)
    return _of_text(job, steps) if isinstance(job, Generator) else _of_labelled(job, steps)


@dataclass
class _Watched:
    """What a model's recurrent layer was given, and what it gave."""

    x: Tensor
    output: Tensor

    @classmethod
    def of(cls, layer: Recurrent, run: Callable[[], Tensor]) -> tuple[_Watched, Tensor]:
        """Run a model, and keep what passes its ``layer``."""
        kept: list[_Watched] = []

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
        """The sum of what the function ``name`` makes of the output. Raises :class:`ShapeError` where it is none."""
        made = of(self.output)
        if not isinstance(made, Tensor) or not made.requires_grad:
            raise ShapeError(f"{name}: what it gives does not depend on the output it was given")
        return made.sum()

    def gradient(self, number: Tensor) -> Tensor:
        """The gradient of ``number`` to what the layer gave."""
        (found,) = torch.autograd.grad(number, self.output, retain_graph=True)
        return found


def _of_job(job: Any) -> dict[str, Any]:
    """What of a sample is the job's and not the sequence's."""
    return {
        "task": job.task.name,
        "layer": job.model.recurrent,
        "cell": job.network.cell,
        "parameters": sum(p.numel() for p in job.model.parameters()),
        "training": job.run.metrics() if job.run is not None else (),
        "epochs": job.recipe.epochs,
    }


def _of_series(job: Forecaster, steps: int | None) -> Sample:
    task, config, series = job.task, job.config, job.series
    part = task.split.test or task.split.validation or task.split.train
    end = part[-1] + config.context  # of what is read; the horizon follows it
    length = min(end, STEPS if config.stateful else min(config.context, STEPS)) if steps is None else min(end, steps)
    first = end - length
    z = task.z.to(next(job.model.parameters()).device)
    with torch.no_grad():  # a stateful network has read all that lies before
        before = job.model(z[:first, None])[1] if config.stateful and first else None
    watched, prediction = _Watched.of(job.model.recurrent, lambda: job.model(z[first:end, None], before)[0])
    targets = z[first + 1 :].unfold(0, config.horizon, 1)[:length].mT
    losses = (prediction[:, 0] - targets).square().mean((1, 2))
    last = series.values[first:end]
    values = task.scaler.invert(prediction[:, 0].detach().cpu().double().numpy(), last)
    times = None if series.times is None else series.times[first:end]
    beyond = f", more than the context of {config.context}" if length > config.context and not config.stateful else ""
    span = f"{first} to {end - 1}" if length > 1 else f"{first}"
    return Sample(
        **_of_job(job),
        what=f"{length} value{'s' * (length > 1)} of {Path(series.source).name}, {span} counted from 0{beyond}",
        x=watched.x,
        given={} if before is None else {"state": before},
        loss=watched.gradient(losses.sum()),
        trained=watched.gradient(losses.sum() if config.targets == "every" else losses[-1]),
        explained=watched.gradient(prediction[-1].sum()),
        question="the forecast after the last step",
        result={
            "names": list(series.names),
            "inputs": last.tolist(),
            "forecast": values[:, 0].tolist(),
            "truth": series.values[first + 1 : end + 1].tolist(),
        },
        labels=() if times is None else tuple(date_text(t, series.step) for t in times),
    )


def _of_text(job: Generator, steps: int | None) -> Sample:
    task, tokens = job.task, job.task.alphabet.tokens
    name, part = next((name, part) for name in ("test", "validation", "train") if len(part := getattr(task, name)) > 1)
    length = min(len(part) - 1, steps or STEPS)
    ids = torch.from_numpy(task.ids.block(part.start, part.start + length + 1)).to(task.device)
    watched, scores = _Watched.of(job.model.recurrent, lambda: job.model(ids[:-1, None])[0])
    loss = cross_entropy(scores[:, 0], ids[1:], reduction="sum")
    gradient = watched.gradient(loss)
    likeliest = [_written(tokens, i) for i in scores[:, 0].argmax(1).tolist()]
    return Sample(
        **_of_job(job),
        what=f"the first {length} symbol{'s' * (length > 1)} of the {name} part",
        x=watched.x,
        loss=gradient,
        trained=gradient,
        explained=watched.gradient(scores[-1, 0].max()),
        question=f"the score of what is likeliest after the last step, {likeliest[-1]!r}",
        result={
            "nats": float(loss.detach()) / length,
            "likeliest": likeliest,
            "sample": job.generate(length=WRITTEN, seed=0)[0],
        },
        labels=tuple(_written(tokens, i) for i in ids[:-1].tolist()),
        text=True,
    )


def _written(tokens: Sequence[str], symbol: int) -> str:
    """A symbol as a token, or a byte as its ASCII letter; what has none as it is escaped, ``\\xe4``."""
    if len(tokens):
        return tokens[symbol]
    letter = chr(symbol)
    return letter if letter in "\n\t" or " " <= letter <= "~" else f"\\x{symbol:02x}"


def _of_labelled(job: Classifier, steps: int | None) -> Sample:
    task = job.task
    name = next(name for name in ("test", "validation", "train") if len(getattr(task.parts, name)))
    index = _longest_within(task.inputs, getattr(task.parts, name), steps or STEPS)
    inputs = task.inputs[index][: steps or STEPS]
    batch = task.collated([inputs], task.truth[[index]])
    watched, logits = _Watched.of(job.model.recurrent, lambda: job.model(batch.inputs, batch.lengths))
    best = int(logits[0].argmax())
    odds = softmax((logits / job.model.temperature).detach().cpu().double().numpy())[0]
    gradient = watched.gradient(cross_entropy(logits, batch.labels))
    data = task.parts.data
    tokens = LEVELS[job.config.level](str(data.sequences[index]))[: len(inputs)] if data.is_text else []
    tokens += ["end"] * (len(inputs) - len(tokens)) if data.is_text else []  # runs of tokens have a step for the end
    cut = (
        f", the first {len(inputs)} of its {len(task.inputs[index])} steps"
        if len(inputs) < len(task.inputs[index])
        else ""
    )
    return Sample(
        **_of_job(job),
        what=f"sequence {index} of the {name} part{cut}",
        x=watched.x,
        loss=gradient,
        trained=gradient,
        explained=watched.gradient(logits[0, best]),
        question=f"the score of the class {job.classes[best]!r}",
        result={
            "predicted": job.classes[best],
            "truth": data.labels[index],
            "probabilities": {job.classes[i]: float(odds[i]) for i in np.argsort(-odds)[:SHOWN]},
        },
        labels=tuple(tokens),
        text=data.is_text and bool(tokens),
    )


def _longest_within(inputs: Sequence[Tensor], part: Sequence[int], steps: int) -> int:
    """Of the sequences of ``part`` the longest of at most ``steps`` steps; the shortest where all are longer."""
    within = [i for i in part if len(inputs[i]) <= steps]
    return int(max(within, key=lambda i: len(inputs[i])) if within else min(part, key=lambda i: len(inputs[i])))
