"""Where a training stands: everything that goes on changes, saved and restored."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from elman.choices.recipe import Every, Recipe
from elman.errors import RunError
from elman.insight.health import Health
from elman.layers import Recurrent
from elman.ranks import ranks
from elman.training.checkpoint import (
    below,
    differences,
    optimizer_tensors,
    random_tensors,
    restore_optimizer,
    restore_random,
    snapshot,
    under,
)
from elman.training.contract import History, Trainable
from elman.training.optimizer import adamw
from elman.training.progress import Progress
from elman.training.run import CHECKPOINT, Run
from elman.training.saving import Background, Pace, Within, copied


class Standing:
    """A training as it stands, between two epochs or two steps."""

    def __init__(self, task: Trainable, recipe: Recipe, run: Run | None):
        self.task = task
        self.recipe = recipe
        self.run = run
        self.ranks = ranks()
        self.device = recipe.torch_device()
        recipe.check_precision()
        self.model = task.model.to(self.device)
        for layer in self.model.modules():
            if isinstance(layer, Recurrent) and recipe.recompute:
                layer.stack = replace(layer.stack, recompute=recipe.recompute)
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = adamw(self.parameters, recipe)
        self.generator = torch.Generator().manual_seed(recipe.seed)
        self.history = History()
        self.best = snapshot(self.model)
        self.steps: int = task.batch_count()
        self.health: Health = Health(self.model)
        self.within: Within = Within(states=self._no_states())  # the epoch in progress
        self.pace = Pace(Every.parse(recipe.checkpoint))
        self.background = Background()
        self.held: Callable[[], AbstractContextManager[None]] = nullcontext
        self.spent = 0.0  # seconds, by the epochs that ended
        self.begun = 0.0  # when the epoch in progress began

    def _no_states(self) -> list[Any]:
        return [None] * (self.recipe.accumulate * self.ranks.count)

    @property
    def finished(self) -> bool:
        """Say whether all epochs are done, the time is up, or enough epochs went by without improvement."""
        tired = 0 < self.recipe.patience <= self.history.waited
        return tired or self.history.epochs >= self.recipe.epochs or 0 < self.recipe.max_time <= self.spent

    def time_passed(self) -> float:
        """Return the share of ``max_time`` that training has taken so far; 0 where there is none."""
        if not self.recipe.max_time:
            return 0.0
        return min(1.0, (self.spent + time.perf_counter() - self.begun) / self.recipe.max_time)

    def note(self, text: str, report: Progress) -> None:
        """Say ``text``, in the run's log too."""
        report.say(text)
        self.log(text)

    def log(self, text: str) -> None:
        """Add ``text`` to the run's log, where there is a run."""
        if self.run is not None:
            self.run.log(text)

    def keep(self, row: dict[str, Any]) -> None:
        """Enter a finished epoch into the history and the folder."""
        self.history.rows.append(row)
        self.spent += row["seconds"]
        monitored = row["train_loss"] if row["validation_loss"] is None else row["validation_loss"]
        improved = monitored < self.history.best_loss
        if improved:
            self.history.best_loss, self.history.best_epoch = monitored, row["epoch"]
            self.best = snapshot(self.model)
        if self.run is not None:
            self.save(self.run, row, improved)

    def save(self, run: Run, row: Mapping[str, Any], improved: bool) -> None:
        """Write an epoch's files, the checkpoint last: what is newer than it is made again on resuming."""
        best, of = self.best, self._of_the_best()
        own, metadata = self._saved() if self.pace.epoch(row["epoch"]) or self.finished else ({}, None)
        steps = self.history.epochs * self.steps

        def write() -> None:
            run.append_metrics(row)
            if improved:
                run.save_weights(best, of)
            if metadata is not None:
                run.save_checkpoint(own, metadata, steps, self.recipe.keep)

        self.background.do(write)

    def _of_the_best(self) -> dict[str, str]:
        return {"epoch": str(self.history.best_epoch), "loss": repr(self.history.best_loss)}

    def _saved(
        self, tensors: Mapping[str, Tensor] | None = None, **further: Any
    ) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Where training stands now, as what a checkpoint holds, which training does not change."""
        self.pace.saved()
        own = copied(self.tensors() | dict(tensors or {})) if self.ranks.first else {}
        return own, {"training": json.dumps(self.standing() | further)}

    def save_within(self, run: Run, steps: int, states: list[Any], drawn: Tensor) -> None:
        """Save where training stands after so many ``steps`` of an epoch whose order was drawn from ``drawn``."""
        self.within.steps, self.within.seconds = steps, time.perf_counter() - self.begun
        self.within.health = self.health.noted()
        each = self.ranks.share(range(self.ranks.count), lambda rank: (states, torch.get_rng_state()))
        self.within.states = [state for own, _ in each for state in own]
        tensors = {"random.shuffle": drawn} | under("within", self.within.tensors())
        tensors |= under("ranks", {str(rank): random for rank, (_, random) in enumerate(each)})
        own, metadata = self._saved(tensors, within=self.within.numbers())
        taken = self.history.epochs * self.steps + steps
        self.background.do(lambda: run.save_checkpoint(own, metadata, taken, self.recipe.keep))

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor that going on needs."""
        return (
            under("model", self.model.state_dict())
            | under("best", self.best)
            | under("optimizer", optimizer_tensors(self.optimizer))
            | under("random", random_tensors(self.generator, self.device))
        )

    def standing(self) -> dict[str, Any]:
        """Return every number that going on needs, or must agree with."""
        return {
            "epoch": self.history.epochs,
            "best_epoch": self.history.best_epoch,
            "best_loss": self.history.best_loss,
        } | self.terms()

    def terms(self) -> dict[str, Any]:
        """Return what a resumed training cannot change."""
        return {"steps": self.steps, "recipe": self.recipe.model_dump()}

    def restore(self) -> None:
        """Stand where the run's checkpoint is; before the first, at the start."""
        if self.run is None:
            raise RunError("there is no run to resume: give fit the run too")
        kept = self.run
        saved = self.ranks.agree(kept.checkpoint)
        if saved is None:
            every = self.pace.every
            if every.unit == "epoch" and len(kept.metrics()) > every.count:
                raise RunError(f"{kept.path / CHECKPOINT}: is missing, so there is nothing to go on from")
            kept.rewind(0)
            return
        tensors, metadata = saved
        if "training" not in metadata:  # the run's weights under another name
            raise RunError(f"{self.run.path / CHECKPOINT}: holds no training to go on with; restore it")
        standing = json.loads(metadata["training"])
        if changed := differences(standing, self.terms()):
            raise RunError(f"{self.run.path}: a resumed training cannot change {changed}")
        self.restore_tensors(tensors)
        if "within" in standing:
            self.restore_within(standing["within"], tensors)
        self.history = History(self.run.rewind(standing["epoch"]), standing["best_epoch"], standing["best_loss"])
        self.spent = math.fsum(row["seconds"] for row in self.history.rows)
        # The weights on disk may be missing, or of an epoch whose checkpoint was never written.
        if self.history.best_epoch:
            self.run.save_weights(self.best, self._of_the_best())

    def restore_within(self, numbers: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Undo :meth:`save_within`, for these ranks."""
        states = {name: tensor.to(self.device) for name, tensor in below("within", tensors).items()}
        self.within = Within.of(numbers, states, self.recipe.accumulate * self.ranks.count)
        self.health.recall(self.within.health)
        random = below("ranks", tensors).get(str(self.ranks.rank))
        if random is not None:
            torch.set_rng_state(random)
        else:
            torch.manual_seed(hash((self.recipe.seed, self.ranks.rank, self.within.steps)) % 2**63)

    def restore_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Undo :meth:`tensors`."""
        try:
            self.model.load_state_dict(below("model", tensors))
            restore_optimizer(self.optimizer, below("optimizer", tensors))
        except (RuntimeError, ValueError) as error:
            raise RunError(f"{CHECKPOINT} does not fit the model: {error}") from error
        self.best = below("best", tensors)
        restore_random(below("random", tensors), self.generator, self.device)
