"""A run explained in numbers: what `elman explain --json` prints, what the page shows, what the pictures are of."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from elman.insight import (
    Activity,
    GradientFlow,
    Memory,
    Sample,
    Shares,
    activity,
    attribution,
    gradient_flow,
    gradient_shares,
    memory_by_gradient,
    memory_by_perturbation,
    verdict,
)
from elman.report.remarks import remarks

MEASURED = 300  # steps that are measured, the last: times and memory grow with their square
PUSHES = 4  # of each input, for the memory by perturbation
LARGEST_CHAIN = 1 << 25  # numbers in the step Jacobians of one place, 256 MB
TOP = 10  # steps named in the attribution


@dataclass(frozen=True)
class Beside:
    """What is drawn of a network beside others: its gradient flow, its memory by gradient, its shares by distance."""

    flow: GradientFlow
    memory: Memory
    shares: Shares

    @classmethod
    def of(cls, chosen: Sample) -> Beside:
        """Measure the layer of ``chosen`` on the last of its steps."""
        given, last = measured(chosen)
        layer, x = chosen.layer, chosen.x[last]
        return cls(
            gradient_flow(layer, x, chosen.loss[last], **given),
            memory_by_gradient(layer, x, **given),
            gradient_shares(layer, x, chosen.trained[last], **given),
        )


@dataclass(frozen=True)
class Explanation:
    """``facts`` are numbers, lists and words alone; the rest is what pictures are drawn of.

    ``beside`` is what was measured of it and of the networks it was compared with, by name: see
    :func:`~elman.report.compare`.
    """

    facts: dict[str, Any]
    sample: Sample
    flow: GradientFlow
    memories: dict[str, Memory]
    shares: Shares
    activities: list[list[dict[str, Activity]]]
    beside: dict[str, Beside] = field(default_factory=dict)


def explain(of: Any, steps: int | None = None, say: Callable[[str], None] = lambda text: None) -> Explanation:
    """Explain a trained job on a sequence of its own data.

    The job is a :class:`~elman.jobs.Forecaster`, Generator or Classifier.

    ``steps`` bounds its length, see :meth:`elman.jobs.Job.sample`. Or explain a layer of one's own on a sequence of
    one's own, which a :class:`Sample` holds: see :meth:`Sample.of`. ``say`` is told what is being done. What grows with
    the square of the steps is measured on the last 300, from the state before them. Raises :class:`ElmanError` for a
    job that is not trained, or ``steps`` below 1.

    >>> from elman.jobs import Forecaster
    >>> forecaster = Forecaster("rnn", hidden=4, context=20, epochs=1)
    >>> history = forecaster.fit("wave:sine")
    >>> explain(forecaster).facts["sample"]["steps"]
    20
    """
    chosen = of if isinstance(of, Sample) else of.sample(steps)
    layer, x = chosen.layer, chosen.x
    given, last = measured(chosen)
    say(f"explaining {chosen.what}: gradient flow, memory")
    own = Beside.of(chosen)
    shares = own.shares
    memories = {
        "by gradient": own.memory,
        "by perturbation": memory_by_perturbation(layer, x[last].repeat(1, PUSHES, 1), **_repeated(given)),
    }
    say("step Jacobians, states and gates, attribution")
    activities = activity(layer, x, **chosen.given)
    verdicts = verdicts_of(chosen)
    facts = {
        "task": chosen.task,
        "network": _network(chosen),
        "sample": {"what": chosen.what, "steps": len(chosen), "measured": len(x[last]), "labels": list(chosen.labels)},
        "verdict": verdicts[-layer.stack.directions],
        "verdicts": verdicts,
        "memory": {name: memory_facts(measure) for name, measure in memories.items()},
        "shares": {
            "within": shares.within,
            "projected": numbers(shares.projected()),
            "by_norm": numbers(shares.by_norm()),
        },
        "values": [
            {"layer": k, "direction": d, "names": {name: _activity(measure) for name, measure in named.items()}}
            for k, row in enumerate(activities)
            for d, named in enumerate(row)
        ],
        "attribution": _attribution(chosen),
        "training": training_health(chosen.training) | {"planned": chosen.epochs},
        "result": chosen.result,
    }
    facts["remarks"] = remarks(facts)
    return Explanation(facts, chosen, own.flow, memories, shares, activities)


@torch.no_grad()
def measured(chosen: Sample, steps: int = MEASURED) -> tuple[dict[str, Any], slice]:
    """The state before the last ``steps``, and these; a network that reads from both ends has no such state."""
    if len(chosen) <= steps:
        return dict(chosen.given), slice(0, None)
    if chosen.layer.stack.bidirectional:
        return {}, slice(-steps, None)
    return {"state": chosen.layer(chosen.x[:-steps], **chosen.given)[1]}, slice(-steps, None)


def _repeated(given: Mapping[str, Any]) -> dict[str, Any]:
    def of(state: Any) -> Any:
        return state.repeat(1, PUSHES, 1) if isinstance(state, Tensor) else tuple(of(part) for part in state)

    return {name: of(state) for name, state in given.items()}


def verdicts_of(chosen: Sample) -> list[dict[str, Any]]:
    """Of each layer and direction, over as many of the last steps as their Jacobians fit into memory."""
    verdicts = []
    for k, sizes in enumerate(chosen.layer.stack.sizes):
        width = sum(sizes[state.size] for state in chosen.layer.program.states)
        given, last = measured(chosen, max(1, min(MEASURED, LARGEST_CHAIN // width**2)))
        for d in range(chosen.layer.stack.directions):
            said = verdict(chosen.layer, chosen.x[last], (k, d), **given)
            words = {"word": said.word, "rate": number(said.rate), "distance": said.distance, "text": str(said)}
            verdicts.append({"layer": k, "direction": d, **words, "healing": said.healing})
    return verdicts


def _network(chosen: Sample) -> dict[str, Any]:
    layer = chosen.layer
    return {
        "cell": chosen.cell,
        "input": layer.input_size,
        "hidden": [sizes["hidden"] for sizes in layer.stack.sizes],
        "layers": layer.num_layers,
        "bidirectional": layer.stack.bidirectional,
        "parameters": chosen.parameters,
        "recurrent_parameters": sum(p.numel() for p in layer.parameters()),
    }


def memory_facts(memory: Memory) -> dict[str, Any]:
    """An effective memory as JSON holds it."""
    lengths = memory.lengths.tolist()
    return {
        "length": memory.length,
        "ended": memory.seen,
        "threshold": memory.threshold,
        "influence": numbers(memory.influence),
        "units": lengths,
        "median": statistics.median(lengths),
    }


def _activity(measure: Activity) -> dict[str, Any]:
    return {
        "bounds": [number(bound) for bound in measure.bounds],
        "mean": number(float(measure.values.mean())),
        "saturated": measure.saturated if measure.squashed else None,
        "low": float(measure.low.mean()) if measure.squashed else None,
        "high": float(measure.high.mean()) if measure.squashed else None,
        "stuck": measure.stuck,
        "dead": measure.dead,
        "units": measure.values.shape[-1],
    }


def _attribution(chosen: Sample) -> dict[str, Any]:
    attributed = attribution(
        chosen.layer, chosen.x, lambda output: (output * chosen.explained).sum((0, 2)), **chosen.given
    )
    mass = attributed.mass[:, 0]
    top = mass.nan_to_num().topk(min(TOP, len(mass)))
    return {
        "question": chosen.question,
        "nothing": None if mass.any() and mass.isfinite().all() else "gradient" if chosen.x.any() else "input",
        "mass": numbers(mass),
        "top": [
            {"step": t, "share": share, **_label(chosen, t)}
            for share, t in zip(top.values.tolist(), top.indices.tolist(), strict=True)
            if share
        ],
    }


def _label(chosen: Sample, step: int) -> dict[str, str]:
    return {"label": chosen.labels[step]} if chosen.labels else {}


def training_health(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What metrics.jsonl says of a training: losses, gradient norms of each part, the share clipped, the spikes.

    >>> row = {"epoch": 1, "train_loss": 2.0, "validation_loss": None, "clipped": 0.5, "gradients": {"head": [1, 3]}}
    >>> training_health([row])["gradients"]
    {'head': {'median': 2.0, 'largest': 3, 'first': 2.0, 'last': 2.0}}
    """
    norms_of: dict[str, list[list[float]]] = {}
    for row in rows:
        for part, norms in row.get("gradients", {}).items():
            norms_of.setdefault(part, []).append(norms)
    return {
        "epochs": len(rows),
        "train_loss": [row["train_loss"] for row in rows],
        "validation_loss": [row["validation_loss"] for row in rows],
        "gradients": {part: _norms([norms for norms in epochs if norms]) for part, epochs in norms_of.items()},
        "clipped": statistics.mean(row["clipped"] for row in rows) if rows else None,
        "spikes": [{"epoch": row["epoch"], "step": step} for row in rows for step in row.get("spikes", [])],
    }


def _norms(epochs: Sequence[Sequence[float]]) -> dict[str, Any]:
    every = [norm for norms in epochs for norm in norms]
    return {
        "median": statistics.median(every) if every else None,
        "largest": max(every, default=None),
        "first": statistics.median(epochs[0]) if epochs else None,
        "last": statistics.median(epochs[-1]) if epochs else None,
    }


def number(value: float) -> float | None:
    """``value``, or None for what JSON has no word for."""
    return value if math.isfinite(value) else None


def numbers(values: Tensor) -> list[float | None]:
    """A tensor (n,) as a list that JSON can hold."""
    return [number(value) for value in values.tolist()]
