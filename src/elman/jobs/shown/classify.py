"""What is shown of a network that classifies: its test in words, its confusion, the sequence that explains it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from elman.data.text.vocabulary import LEVELS
from elman.insight import Sample, Watched
from elman.metrics import softmax

if TYPE_CHECKING:
    from elman.jobs.classifier import Classifier

STEPS = 200  # that explain it, unless told
LIKELIEST = 10  # classes of an explanation
LISTED = 30  # classes; of more, the table by class is left to --json


def words(result: Mapping[str, Any]) -> list[str]:
    """A test's scores as a table, then one by class."""
    rows = {"this network": result["test"]} | {k.replace("_", " "): v for k, v in result["baselines"].items()}
    lines = [f"{result['sequences']} test sequences", f"{'':16}{'ACCURACY':>12}{'MACRO-F1':>12}"]
    lines += [f"{name:16}{row['accuracy']:12.4f}{row['macro_f1']:12.4f}" for name, row in rows.items()]
    before, after = result["calibration"]["error_before"], result["calibration"]["error_after"]
    temperature = result["calibration"]["temperature"]
    lines += [f"expected calibration error {before:.4f}, {after:.4f} at temperature {temperature:.3f}"]
    if len(result["classes"]) > LISTED:
        return lines
    width = max(16, *(len(name) + 2 for name in result["classes"]))
    lines += [f"{'':{width}}{'PRECISION':>12}{'RECALL':>12}{'F1':>12}{'SEQUENCES':>12}"]
    return lines + [
        f"{name:{width}}{row['precision']:12.4f}{row['recall']:12.4f}{row['f1']:12.4f}{row['support']:12.0f}"
        for name, row in result["classes"].items()
    ]


def pictures(job: Classifier, folder: Path, kind: str) -> dict[str, Path]:
    """Draw the confusion of the test part, where there is one."""
    from elman import pictures as drawing

    if not len(job.task.parts.test):
        return {}
    counts = job.test_part().counts
    name, right = Path(job.task.parts.data.source).name, counts.trace() / counts.sum()
    title = f"{name}, {job.network.cell}: test part, accuracy {right:.2%}"
    return {"Confusion": drawing.draw_confusion(folder / f"confusion.{kind}", counts, job.classes, title)}


def sample(job: Classifier, steps: int | None) -> Sample:
    """The longest sequence of at most ``steps`` steps of the test part, or of another where there is none."""
    task, data = job.task, job.task.parts.data
    name = next(name for name in ("test", "validation", "train") if len(getattr(task.parts, name)))
    index = _longest_within(task.inputs.lengths, getattr(task.parts, name), steps or STEPS)
    inputs = task.inputs[index][: steps or STEPS]
    batch = task.collated([inputs], task.truth[[index]])
    watched, logits = Watched.of(job.model.recurrent, lambda: job.model(batch.inputs, batch.lengths))
    weighed = job.weighing.weighed(logits.detach().cpu().double().numpy(), [data.sequences[index]])
    odds = softmax(weighed / job.weighing.temperature)[0]
    best = int(odds.argmax())
    likeliest = {job.classes[i]: float(odds[i]) for i in np.argsort(-odds)[:LIKELIEST]}
    gradient = watched.gradient(cross_entropy(logits, batch.labels))
    tokens = LEVELS[job.config.level](str(data.sequences[index]))[: len(inputs)] if data.is_text else []
    tokens += ["end"] * (len(inputs) - len(tokens)) if data.is_text else []  # runs of tokens have a step for the end
    beside = "" if job.model.bag is None else "what the recurrent network adds to "
    cut = (
        f", the first {len(inputs)} of its {len(task.inputs[index])} steps"
        if len(inputs) < len(task.inputs[index])
        else ""
    )
    return Sample(
        **job.about(),
        what=f"sequence {index} of the {name} part{cut}",
        x=watched.x,
        loss=gradient,
        trained=gradient,
        explained=watched.gradient(logits[0, best]),
        question=f"{beside}the score of the class {job.classes[best]!r}",
        result={
            "predicted": job.classes[best],
            "truth": data.labels[index],
            "probabilities": likeliest,
            "shown": {
                "title": "What it takes the sequence for",
                "said": f"{job.classes[best]}, and it is {data.labels[index]}",
                "head": ["class", "probability"],
                "rows": [[name, f"{100 * p:.3g} %"] for name, p in likeliest.items()],
            },
        },
        labels=tuple(tokens),
        text=data.is_text and bool(tokens),
    )


def _longest_within(lengths: NDArray[np.int64], part: NDArray[np.int64], steps: int) -> int:
    """Of the sequences of ``part`` the longest of at most ``steps`` steps; the shortest where all are longer."""
    own = lengths[part]
    return int(part[np.where(own <= steps, own, -1).argmax() if (own <= steps).any() else own.argmin()])
