"""The training loop, in small steps. What is trained is a :class:`Trainable`; how, a :class:`Recipe`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from elman import internals
from elman.choices.recipe import Recipe
from elman.errors import ElmanError, RankError, RunError
from elman.training.checkpoint import own_randomness
from elman.training.contract import History, Trainable
from elman.training.interrupts import Interrupts
from elman.training.optimizer import clipping, one_cycle
from elman.training.progress import Progress
from elman.training.run import Run
from elman.training.saving import Within
from elman.training.standing import Standing


def fit(
    task: Trainable,
    recipe: Recipe,
    run: Run | None = None,
    *,
    resume: bool = False,
    report: Progress | None = None,
) -> History:
    """Train ``task.model`` in place and return the history.

    The model is left in eval mode, with its best weights.

    Processes that ``torchrun`` started train it together: see :mod:`elman.ranks`.

    With ``run`` each epoch's metrics, checkpoint and the best weights go to its folder; ``resume`` goes on
    from there to the same bits as if it had never stopped. Ctrl-C or SIGTERM drops the epoch it falls in
    and returns early. After ``recipe.max_time`` seconds of training, those before a resume included, the epoch ends
    where it is and is the last. torch's own random numbers are seeded inside and untouched outside.

    Raises :class:`ElmanError` when a loss is no longer finite (the best weights are kept), and
    :class:`RunError` for a run that was begun already, or whose checkpoint does not fit.

    >>> from torch import nn
    >>> class Line:
    ...     model = nn.Linear(1, 1)
    ...     x = torch.linspace(-1, 1, 64)[:, None]
    ...     def batch_count(self):
    ...         return 4
    ...     def batches(self, generator):
    ...         return torch.randperm(64, generator=generator).split(16)
    ...     def loss(self, rows, state):
    ...         return nn.functional.mse_loss(self.model(self.x[rows]), 2 * self.x[rows] + 1), None
    ...     def validate(self):
    ...         return None
    >>> history = fit(Line(), Recipe(epochs=20, lr=0.1))
    >>> history.epochs, history.best_loss < 0.01
    (20, True)
    """
    training = Training(task, recipe, run)
    report = report if report and training.ranks.first else Progress(silent=True)
    with own_randomness(recipe.seed, training.device), report, Interrupts() as interrupts, training.background:
        training.held = interrupts.held
        try:
            training.begin(resume, report)
            while not training.finished:
                row = training.run_epoch()
                with interrupts.held():
                    training.keep(row)
                    report.epoch(row)
            training.background.wait()
            training.log(f"finished after epoch {training.history.epochs}, the best {training.history.best_epoch}")
        except KeyboardInterrupt:
            training.history.interrupted = True
            training.log(f"interrupted after epoch {training.history.epochs}")
            if lost := training.ranks.leave():
                raise RankError(f"{lost}; the others stop too: go on with `resume`") from None
        finally:
            training.model.load_state_dict(training.best)
            training.model.eval()
    return training.history


class Training(Standing):
    """One training, in small steps."""

    def begin(self, resume: bool, report: Progress) -> None:
        """Stand at the start, or with ``resume`` where the run's checkpoint is."""
        if self.steps == 0:
            raise ElmanError("the training part holds no batch: give it more data, or a larger share of it")
        if resume:
            self.restore()
        elif self.run is not None and self.run.begun():
            raise RunError(f"{self.run.path}: was trained already; go on with `resume`, or choose another `run`")
        report.start(self.recipe.epochs, self.history.epochs, self.recipe.max_time, self.spent)
        limit = f", or {self.recipe.max_time:g} seconds," if self.recipe.max_time else ""
        self.log(f"training for {self.recipe.epochs} epochs{limit} of {self.steps} steps on {self.device}")
        if resume and self.finished:
            self.note(f"nothing to resume: training finished after epoch {self.history.epochs}", report)
        elif resume:
            self.note(f"going on after epoch {self.history.epochs}", report)

    def run_epoch(self) -> dict[str, Any]:
        """Train and validate once; return the row, having changed neither history nor folder."""
        self.begun = time.perf_counter() - self.within.seconds
        epoch = self.history.epochs + 1
        losses, norms = self.train_epoch(epoch)
        validation = self.validate(epoch)
        clip = self.recipe.clip or math.inf
        row = {
            "epoch": epoch,
            "train_loss": math.fsum(losses) / len(losses),
            "validation_loss": validation,
            "lr": self.optimizer.param_groups[0]["lr"],
            "grad_norm": math.fsum(norms) / len(norms),
            "clipped": sum(norm > clip for norm in norms) / len(norms),
            "seconds": time.perf_counter() - self.begun,
        } | self.health.epoch()
        self.within = Within(states=self._no_states())
        return self.ranks.agree(lambda: row)

    def train_epoch(self, epoch: int) -> tuple[list[float], list[float]]:
        """Take one step a batch, while there is time; return each step's loss and norm of the gradient.

        Steps that were taken before a resume are passed over.
        """
        self.model.train()
        self.ranks.align(self.model.state_dict().values())
        taken = self.within.steps
        if not self.ranks.first and not taken:
            # What a rank draws itself, such as dropout, depends on seed, rank and epoch alone.
            torch.manual_seed(hash((self.recipe.seed, self.ranks.rank, epoch)) % 2**63)
        losses, norms = self.within.losses, self.within.norms
        first = self.ranks.rank * self.recipe.accumulate
        states = self.within.states[first : first + self.recipe.accumulate]
        drawn = self.generator.get_state()
        for step, batch in zip(range(self.steps), self.task.batches(self.generator), strict=True):
            if step < taken:
                continue
            loss, norm, passed = self.train_step(epoch, step, batch, states)
            losses.append(loss)
            norms.append(norm)
            if passed == 1:
                break
            if self.run is not None and self.is_due() and step + 1 < self.steps:
                with self.held():
                    self.save_within(self.run, step + 1, states, drawn)
        return losses, norms

    def is_due(self) -> bool:
        """Whether a checkpoint is due after this step, by the clock of the first rank."""
        due = self.pace.step()
        return self.ranks.agree(lambda: due) if self.pace.every.unit == "second" else due

    def train_step(self, epoch: int, step: int, batch: Any, states: list[Any]) -> tuple[float, float, float]:
        """Forward, backward, clip, step, and bring ``states`` on, one of each part of the batch.

        Returns the loss, the norm of the gradient before clipping, and the share of ``max_time`` that has passed.
        """
        when = f"epoch {epoch}, step {step + 1} of {self.steps}"
        self.optimizer.zero_grad()
        parts = [(k, rows, share, states[k]) for k, (rows, share) in self.own_parts(batch)]

        def loss_of(rows: Any, state: Any) -> tuple[Tensor, Any]:
            with self.precision():
                return self.task.loss(rows, state)

        def again() -> Tensor:
            return torch.stack([share * loss_of(rows, state)[0] for _, rows, share, state in parts]).sum()

        value = 0.0
        for k, rows, share, state in parts:
            loss, states[k] = loss_of(rows, state)
            loss = loss if share == 1 else share * loss
            loss.backward()
            value += loss.item()
        value, passed = self.ranks.add_up(self.parameters, value, self.time_passed())
        self.finite(value, f"the loss at {when}", again if parts else None)
        norm = self.finite(self.health.step(value), f"the norm of the gradient at {when}", again if parts else None)
        if 0 < self.recipe.clip < norm:
            internals.scale([p.grad for p in self.parameters if p.grad is not None], clipping(self.recipe.clip, norm))
        self.set_rate((epoch - 1) * self.steps + step, passed)
        self.optimizer.step()
        return value, norm, passed

    def own_parts(self, batch: Any) -> Iterator[tuple[int, tuple[Any, float]]]:
        """Yield what this rank computes of ``batch``, by number: rows, and their share of its loss."""
        count = self.recipe.accumulate
        if count * self.ranks.count == 1:
            yield 0, (batch, 1.0)
            return
        if not hasattr(self.task, "share"):
            raise ElmanError(f"a {type(self.task).__name__} cannot be trained in parts: it has no method `share`")
        for k in range(count):
            rows, share = self.task.share(batch, self.ranks.rank * count + k, count * self.ranks.count)
            if share:
                yield k, (rows, share)

    def precision(self) -> AbstractContextManager[Any]:
        """Return the context in which the loss is computed: with products in bfloat16, where the recipe says so."""
        if self.recipe.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def set_rate(self, step: int, passed: float) -> None:
        """Set the learning rate and beta of the one cycle over all epochs, or over the time where that ends first."""
        total = self.recipe.epochs * self.steps
        lr, beta = one_cycle(max(step, passed * (total - 1)), total, self.recipe.lr)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
            group["betas"] = (beta, group["betas"][1])

    def validate(self, epoch: int) -> float | None:
        """Return the task's validation loss, if it has one."""
        self.model.eval()
        with torch.no_grad():
            loss = self.task.validate()
        return None if loss is None else self.finite(float(loss), f"the validation loss of epoch {epoch}")

    def finite(self, value: float, what: str, again: Callable[[], Tensor] | None = None) -> float:
        """Return ``value``, or say that training has diverged, and where that began in the loss computed ``again``."""
        if math.isfinite(value):
            return value
        kept = self.history.best_epoch
        best = f"the best weights, of epoch {kept}, are kept" if kept else "no epoch had ended"
        raise ElmanError(
            f"{what} is {value}: training diverged; lower `lr` (now {self.recipe.lr:g}) "
            f"or `clip` (now {self.recipe.clip:g}, 0 is none); {best}"
            + ("" if again is None else f"; {self.health.explain(again)}")
        )
