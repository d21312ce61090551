"""What every job has in common: it is trained, kept in a run folder, opened again and gone on with."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch

from elman.errors import ElmanError, RunError
from elman.jobs.config import NetworkConfig, refuse_changes
from elman.training import History, Progress, Recipe, Run, RunConfig, Trainable, fit

Task = TypeVar("Task", bound=Trainable)
# What building a job from a config.json raises that somebody wrote in, or from another version's.
MISFITS = (ElmanError, KeyError, IndexError, TypeError, ValueError)


class JobRun(RunConfig):
    """config.json of a job; a further field, named as the task is, holds the task's own choices."""

    data: dict[str, Any]
    network: NetworkConfig
    recipe: Recipe


class Job(Generic[Task]):
    """A network, the recipe it is trained by and, once trained or opened, its task.

    ``config`` holds the task's own choices, ``run`` the folder it is kept in, if any. A job of its own says
    in ``kept_as`` what its config.json is, and how it is built from one in ``_restored``.
    """

    kept_as: ClassVar[type[JobRun]]

    config: Any
    network: NetworkConfig
    recipe: Recipe
    run: Run[Any] | None = None
    _task: Task | None = None

    @property
    def task(self) -> Task:
        """The data and the network, as training sees them. Raises :class:`ElmanError` before ``fit``."""
        if self._task is None:
            name = type(self).__name__
            raise ElmanError(f"this {name.lower()} is not trained yet: call fit, or {name}.load(run)")
        return self._task

    @classmethod
    def load(cls, run: str | os.PathLike) -> Self:
        """The job of a run folder, with its best weights. Raises :class:`RunError` where it cannot be read."""
        job, kept = cls._open(run, trained=True)
        try:
            job.task.model.load_state_dict(kept.weights())
        except RuntimeError as error:
            raise RunError(f"{kept.path}: model.safetensors does not fit config.json: {error}") from error
        return job

    @classmethod
    def resume(
        cls, run: str | os.PathLike, report: Progress | None = None, choices: Mapping[str, Any] | None = None
    ) -> tuple[Self, History]:
        """Go on with an interrupted training, to the same bits as if it had never stopped (unless time ends it).

        ``choices`` that were given again must be those of the run; raises :class:`RunError` where they are not.
        """
        job, _ = cls._open(run, trained=False)
        refuse_changes(job.network, [job.config, job.recipe], choices or {})
        return job, job._trained(report, resume=True)

    @classmethod
    def _open(cls, path: str | os.PathLike, trained: bool) -> tuple[Self, Run[Any]]:
        run = Run.open(path, cls.kept_as, trained=trained)
        job = cls.__new__(cls)
        job.run = run
        job.config = getattr(run.config, run.config.task)
        job.recipe, job.network = run.config.recipe, run.config.network
        with _blamed_on(run):
            job._task = job._restored(run)
        return job, run

    def _restored(self, run: Run[Any]) -> Task:
        """The task as it was begun, from what its run keeps."""
        raise NotImplementedError

    def _kept(self, **own: Any) -> JobRun:
        """config.json of this job; ``own`` are the fields that are not every job's."""
        kind = self.kept_as
        choices: dict[str, Any] = {kind.model_fields["task"].default: self.config}
        return kind(network=self.network, recipe=self.recipe, **choices, **own)

    def _trained(self, report: Progress | None, resume: bool = False) -> History:
        return fit(self.task, self.recipe, self.run, resume=resume, report=report)

    @contextmanager
    def _seeded(self) -> Iterator[None]:
        """Where a network is made: it begins at the same weights whatever was drawn before, and disturbs nothing
        drawn after."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.recipe.seed)
            yield


@contextmanager
def _blamed_on(run: Run[Any]) -> Iterator[None]:
    """A config.json that nothing can be built from is named; what is wrong with other files names them itself."""
    try:
        yield
    except RunError:
        raise
    except MISFITS as error:
        raise RunError(f"{run.path / 'config.json'}: {error}") from error
