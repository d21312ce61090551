"""What is shown of a network that writes: its test in words, and the text that explains it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import cross_entropy

from elman.insight import Sample, Watched

if TYPE_CHECKING:
    from elman.jobs.generator import Generator

STEPS = 200  # that explain it, unless told
WRITTEN = 200  # symbols of a text that it writes itself


def words(result: Mapping[str, Any]) -> list[str]:
    """A test's scores as a table."""
    rows = {"this network": result["test"], **result["baselines"]}
    rows |= {f"{row['order']}-gram": row for row in [rows.pop("ngram")]}
    lines = [f"the {result['part']} part: {result['symbols']} symbols", f"{'':16}{'NATS':>12}{'BITS A CHAR':>14}"]
    return lines + [f"{name:16}{row['nats']:12.4f}{row['bits_per_char']:14.4f}" for name, row in rows.items()]


def sample(job: Generator, steps: int | None) -> Sample:
    """The beginning of the test part, or of the validation part or training where there is none."""
    task, tokens = job.task, job.task.alphabet.tokens
    name, part = next((name, part) for name in ("test", "validation", "train") if len(part := getattr(task, name)) > 1)
    length = min(len(part) - 1, steps or STEPS)
    ids = torch.from_numpy(task.ids.block(part.start, part.start + length + 1)).to(task.device)
    watched, scores = Watched.of(job.model.recurrent, lambda: job.model(ids[:-1, None])[0])
    loss = cross_entropy(scores[:, 0], ids[1:], reduction="sum")
    gradient = watched.gradient(loss)
    written = job.generate(length=WRITTEN, seed=0)[0]
    likeliest = [_written(tokens, i) for i in scores[:, 0].argmax(1).tolist()]
    return Sample(
        **job.about(),
        what=f"the first {length} symbol{'s' * (length > 1)} of the {name} part",
        x=watched.x,
        loss=gradient,
        trained=gradient,
        explained=watched.gradient(scores[-1, 0].max()),
        question=f"the score of what is likeliest after the last step, {likeliest[-1]!r}",
        result={
            "nats": float(loss.detach()) / length,
            "likeliest": likeliest,
            "sample": written,
            "shown": {"title": "What it writes", "text": written},
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
