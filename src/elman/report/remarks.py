"""What of an explanation calls for doing something, and what: the verdict's remedy, a network that reads nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# A gradient bursts where its largest norm is so many times the median one.
BURST = 100.0
AGAINST = {"vanishing": "to remember longer", "exploding": "to tame it"}


def remarks(facts: Mapping[str, Any]) -> list[str]:
    """Sentences, without their full stops, from the facts that :func:`~elman.report.explain` found; most often one.

    >>> healthy = {"word": "healthy", "healing": ""}
    >>> training = {"spikes": [{"epoch": 1, "step": 9}], "gradients": {"head": {"median": 1.0, "largest": 500.0}}}
    >>> for remark in remarks({"verdict": healthy, "memory": {}, "training": training}):
    ...     print(remark)
    the loss jumped at 1 step of training to more than 3 times what it was before: lower lr, or clip sooner
    the gradient of head burst in training, 500 at its largest, 500 times its median: lower lr, or clip sooner
    """
    said = []
    if any(not any(memory["influence"]) for memory in facts["memory"].values()):
        said.append("no input moves the last output, so nothing is remembered: train anew with a smaller lr")
    elif facts["verdict"]["healing"]:
        said.append(f"{AGAINST[facts['verdict']['word']]}: {facts['verdict']['healing']}")
    return said + _of_training(facts["training"])


def _of_training(training: Mapping[str, Any]) -> list[str]:
    said, cure = [], "lower lr, or clip sooner"
    if count := len(training["spikes"]):
        steps = f"{count} step{'s' * (count > 1)}"
        said.append(f"the loss jumped at {steps} of training to more than 3 times what it was before: {cure}")
    for part, norms in training["gradients"].items():
        if norms["median"] and norms["largest"] > BURST * norms["median"]:
            most, times = norms["largest"], norms["largest"] / norms["median"]
            size = f"{most:.3g} at its largest, {times:.3g} times its median"
            said.append(f"the gradient of {part} burst in training, {size}: {cure}")
    return said
