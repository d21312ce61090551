"""What the commands that train have in common: begin or go on, then say how it went."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from elman import ranks
from elman.cli import console, options
from elman.errors import ElmanError


def train(
    job: Any,
    data: str | None,
    out: Path | None,
    choices: Mapping[str, Any],
    reading: Mapping[str, Any],
    resume: bool,
    *,
    wanted: str,
    next_steps: Callable[[Any, Path], str],
    as_json: bool,
    log: str | None = None,
    opened: Any = None,
) -> int:
    """Train a ``job`` (Forecaster, say) on ``data`` read as ``reading`` says, or ``resume`` the run ``out``.

    ``wanted`` says what DATA may be, ``next_steps`` what a person would type after it; ``opened`` is DATA where it was
    read already.
    """

    def report() -> Any:
        assert out is not None
        return TensorBoard(out / "tensorboard") if log else Progress()

    from elman.training import Progress
    from elman.training.tensorboard import TensorBoard

    if resume:
        run = _resumed(out, data, choices, reading)
        trained, history = job.resume(run, report=report(), choices=choices)
    elif data is None:
        raise ElmanError(f"DATA is missing: {wanted}")
    else:
        trained = job(**choices)
        out = out or default_folder(data, trained.network.cell)
        if ranks.restarted() and ranks.ranks().agree((out / "config.json").is_file):  # `torchrun --max-restarts`
            trained, history = job.resume(out, report=report())
        else:
            history = trained.fit(data if opened is None else opened, run=out, report=report(), **reading)
        for note in trained.notes if history.epochs else ():
            console.say(f"note: {note}")
    assert out is not None
    return say_trained(trained, history, out, next_steps, as_json)


def _resumed(out: Path | None, data: str | None, choices: Mapping[str, Any], reading: Mapping[str, Any]) -> Path:
    """The run to go on with; raises :class:`ElmanError` for what it holds itself and cannot be given again."""
    in_the_run = options.given(DATA=data, **{f"`{name}`": value for name, value in reading.items()})
    in_the_run |= {f"--set {name}": value for name, value in choices.get("options", {}).items()}
    if in_the_run:
        raise ElmanError(f"{', '.join(in_the_run)}: a resumed training has it from the run; leave it out")
    if out is None:
        raise ElmanError("--resume goes on with a run: name it with -o RUN")
    return out


def default_folder(data: str, cell: str) -> Path:
    """Where a run goes that nobody named: runs/DATA-CELL."""
    words = [Path(data).stem if Path(data).suffix else data, cell]
    return Path("runs") / "-".join(re.sub(r"\W+", "-", word).strip("-") for word in words)


def say_trained(job: Any, history: Any, out: Path, next_steps: Callable[[Any, Path], str], as_json: bool) -> int:
    """Print how a training went."""
    task = job.run.config.task
    result = {
        "task": task,
        "run": str(out),
        "cell": job.network.cell,
        "parameters": sum(p.numel() for p in job.model.parameters()),
        "epochs": history.epochs,
        "best_epoch": history.best_epoch,
        "best_loss": history.best_loss if history.best_epoch else None,
        "seconds": round(sum(row["seconds"] for row in history.rows), 3),
        "interrupted": history.interrupted,
        "notes": list(job.notes),
    }
    how = f"{history.epochs} epochs, the best {history.best_epoch} (loss {history.best_loss:.6g})"
    go_on = f"go on with: elman train {job.command} --resume -o {out}"
    if not history.epochs:
        lines = [f"{out}: interrupted before the first epoch ended; {go_on}"]
    elif history.interrupted:
        lines = [f"{out}: {how}", f"interrupted; {go_on}"]
    else:
        lines = [f"{out}: {how}", f"next: {next_steps(job, out)}"]
    console.emit(result, lines, as_json)
    return console.INTERRUPTED if history.interrupted else console.DONE
