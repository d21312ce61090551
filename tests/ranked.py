"""Trains small networks of every task; `torchrun` starts it as several processes: ranked.py FOLDER float32|float64."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch

from elman.jobs import Classifier, Forecaster, Generator, PanelForecaster
from elman.training import Recipe, fit

WAVE = np.sin(np.arange(260) / 5) + 0.1 * np.cos(np.arange(260))


def panel(folder: Path) -> str:
    path = folder / "panel.csv"
    rows = [
        f"s{s},{1990 + t // 12}-{t % 12 + 1:02},{10 * s + WAVE[t + 9 * s]}" for s in range(4) for t in range(60 + 7 * s)
    ]
    path.write_text("\n".join(["id,t,v", *rows]))
    return str(path)


def labelled(folder: Path) -> str:
    path = folder / "labelled.csv"
    rows = [f"{'good ' * (i % 5 + 1)}day,yes" if i % 3 else f"{'bad ' * (i % 4 + 1)}night,no" for i in range(130)]
    path.write_text("\n".join(["sequence,label", *rows]))
    return str(path)


def text(folder: Path) -> str:
    path = folder / "text.txt"
    path.write_text("".join(f"{i * i % 97} " for i in range(2500)))
    return str(path)


DRY = {"dropout": 0, "recurrent_dropout": 0, "input_dropout": 0, "output_dropout": 0}
STILL = {"token_dropout": 0, "embedding_dropout": 0, "head_dropout": 0}  # what each rank draws by itself is left out
DATED, NAMED = {"id": "id", "time": "t"}, {"sequence": "sequence", "label": "label"}
JOBS = {  # about 50 steps each, of batches that no number of ranks divides
    "line": lambda f: (Forecaster("lstm", hidden=5, context=12, epochs=9, batch=31), WAVE, {}),
    "windows": lambda f: (Forecaster("gru", hidden=5, context=9, epochs=9, batch=31, network_alone=True), WAVE, {}),
    "every": lambda f: (
        Forecaster("rnn", hidden=5, context=9, epochs=9, batch=31, network_alone=True, targets="every"), WAVE, {}
    ),
    "streams": lambda f: (
        Forecaster("gru", hidden=5, context=9, epochs=25, batch=7, network_alone=True, stateful=True), WAVE, {}
    ),
    "panel": lambda f: (PanelForecaster("gru", hidden=5, horizon=3, epochs=8, batch=19), panel(f), DATED),
    "text": lambda f: (Generator("lstm", hidden=8, epochs=1, batch=5, bptt=25, **DRY), text(f), {}),
    "classes": lambda f: (
        Classifier("gru", hidden=5, epochs=6, batch=13, class_weights="balanced", **STILL), labelled(f), NAMED
    ),
}  # fmt: skip


class Halves:
    """A task of one's own with a parameter that no loss reads, one that half of the rows read, and one row at times."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = torch.nn.ParameterDict(
            {n: torch.nn.Parameter(torch.randn(3)) for n in ("whole", "some", "unread")}
        )
        self.x = torch.randn(9, 3)

    def batch_count(self) -> int:
        return 5

    def batches(self, generator: torch.Generator):
        return torch.randperm(9, generator=generator).split(2)

    def share(self, rows: torch.Tensor, part: int, parts: int):
        own = rows[len(rows) * part // parts : len(rows) * (part + 1) // parts]
        return own, len(own) / len(rows)

    def loss(self, rows: torch.Tensor, state: None):
        each = (self.x[rows] * self.model["whole"]).sum(1)
        if (rows < 5).any():
            each = each + torch.where(rows < 5, (self.x[rows] * self.model["some"]).sum(1), 0.0)
        return (each - 1).square().mean(), None

    def validate(self) -> None:
        return None


def main(folder: Path) -> dict[str, dict[str, list[float]]]:
    """The weights and the curve of each, and what is found on the test part."""
    results = {}
    for name, made in JOBS.items():
        job, data, reading = made(folder)
        history = job.fit(data, **reading)
        curve = [row[key] for row in history.rows for key in ("train_loss", "validation_loss", "grad_norm")]
        weights = torch.cat([p.detach().double().flatten() for p in job.task.model.parameters()])
        results[name] = {"weights": weights.tolist(), "curve": curve, "test": list(numbers(job.test()["test"]))}
    task = Halves()
    history = fit(task, Recipe(epochs=10, weight_decay=0.1))
    weights = torch.cat([p.detach().double().flatten() for p in task.model.parameters()])
    results["halves"] = {"weights": weights.tolist(), "curve": [row["train_loss"] for row in history.rows], "test": []}
    return results


def numbers(facts):
    for value in facts.values():
        yield from numbers(value) if isinstance(value, dict) else [value] if isinstance(value, float) else []


if __name__ == "__main__":
    folder, dtype = Path(sys.argv[1]), sys.argv[2]
    torch.set_default_dtype(getattr(torch, dtype))
    from elman.ranks import number

    own = folder / f"{number()}"
    own.mkdir(parents=True)
    (own / "results.json").write_text(json.dumps(main(own)))
