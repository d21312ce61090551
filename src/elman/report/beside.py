"""One network beside others: other runs, or fresh cells of its size on its own sequence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from elman.equations import Cell
from elman.insight import Sample, layers_of_equal_size
from elman.report.facts import Beside, Explanation, memory_facts, verdicts_of

THIS = "this one"


def compare(explanation: Explanation, others: Mapping[str, Any]) -> Explanation:
    """Compare an explained network with ``others``.

    Their gradient flow, their memory, and how far back the gradient comes from: returns the explanation with what was
    measured of each ``beside``, and facts "compared".

    Each of ``others``, by name, is a trained job or a :class:`Sample`, measured on so many steps of its own data; or a
    cell, by name or itself: a fresh layer of it, with at most as many numbers to learn, reads the same sequence.

    >>> from elman.jobs import Forecaster
    >>> from elman.report import explain
    >>> forecaster = Forecaster("rnn", hidden=8, context=20, epochs=1)
    >>> history = forecaster.fit("wave:sine")
    >>> found = compare(explain(forecaster), {"fresh": "lstm"})
    >>> [(one["name"], one["cell"], one["parameters"]) for one in found.facts["compared"]]
    [('this one', 'rnn', 104), ('fresh', 'lstm', 96)]
    """
    chosen = explanation.sample
    samples = {THIS: chosen} | {name: _of(other, chosen) for name, other in others.items()}
    own = Beside(explanation.flow, explanation.memories["by gradient"], explanation.shares)
    measured = {name: own if one is chosen else Beside.of(one) for name, one in samples.items()}
    words = {name: _verdict(one) for name, one in samples.items() if one is not chosen}
    words[THIS] = explanation.facts["verdict"]["word"]
    facts = [
        {"name": name, "cell": one.cell, "parameters": _size(one), "fresh": isinstance(others.get(name), str | Cell)}
        | {"what": one.what, **memory_facts(measured[name].memory)}
        | {"verdict": words[name]}
        for name, one in samples.items()
    ]
    return replace(explanation, facts=explanation.facts | {"compared": facts}, beside=measured)


def _of(other: Any, chosen: Sample) -> Sample:
    if isinstance(other, Sample):
        return other
    return _fresh(other, chosen) if isinstance(other, str | Cell) else other.sample(len(chosen))


def _fresh(cell: str | Cell, chosen: Sample) -> Sample:
    """A fresh layer of ``cell`` as large and as deep as the one of ``chosen``, on the same sequence."""
    layer, stack = chosen.layer, chosen.layer.stack
    alike: dict[str, Any] = {"num_layers": layer.num_layers, "bidirectional": stack.bidirectional, "merge": stack.merge}
    alike |= {"residual": stack.residual, "init": layer.init}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        (made,) = layers_of_equal_size([cell], layer.input_size, parameters=_size(chosen), **alike).values()
    return Sample.of(made.to(chosen.x), chosen.x, what=f"{chosen.what}, by a fresh layer")


def _verdict(chosen: Sample) -> str:
    """Whether the gradient fades or bursts in the last layer, in a word."""
    return verdicts_of(chosen)[-chosen.layer.stack.directions]["word"]


def _size(chosen: Sample) -> int:
    return sum(p.numel() for p in chosen.layer.parameters())
