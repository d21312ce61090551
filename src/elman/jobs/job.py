"""What every job has in common: it is trained, kept in a run folder, opened again and gone on with."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from elman.errors import ElmanError, ExportError, RunError, nearest
from elman.insight import Sample
from elman.jobs.config import NetworkConfig, refuse_changes
from elman.stepping.model import Model
from elman.stepping.stream import Stream
from elman.training import History, Progress, Recipe, Run, RunConfig, Trainable, fit, task_of

Task = TypeVar("Task", bound=Trainable)
# What building a job from a config.json raises that somebody wrote in, or from another version's.
JOBS: dict[str, type[Job]] = {}  # by the name of their task; see Job
MISFITS = (ElmanError, KeyError, IndexError, TypeError, ValueError)


BEGUN_AT = "begun_at."  # before the names of weights that a training began at


def begun_at(weights: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    """The ``weights`` that a training begins at, as a run keeps them; none where they are those of the seed."""
    return {f"{BEGUN_AT}{name}": weight.cpu().numpy() for name, weight in weights.items()}


def begin_at(model: nn.Module, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Give ``model`` the weights that its training began at, where its run keeps such."""
    begun = {k.removeprefix(BEGUN_AT): torch.from_numpy(v) for k, v in arrays.items() if k.startswith(BEGUN_AT)}
    if begun:
        model.load_state_dict(begun)


class JobRun(RunConfig):
    """config.json of a job; a further field, named as the task is, holds the task's own choices."""

    data: dict[str, Any]
    network: NetworkConfig
    recipe: Recipe


class Job(Generic[Task]):
    """A network, the recipe it is trained by and, once trained or opened, its task.

    ``config`` holds the task's own choices, ``run`` the folder it is kept in, if any. This is where a task is added: a
    job of its own says in ``kept_as`` what its config.json is (that registers it by the task's name), how it is built
    from one in ``_restored``, how it is tested in ``test``, and what is shown of it in ``words``, ``_pictures`` and
    ``_sample``. Its ``task.model`` has its recurrent network as ``recurrent``.
    """

    kept_as: ClassVar[type[JobRun]]
    command: ClassVar[str]  # what trains it on the command line: elman train COMMAND

    config: Any
    network: NetworkConfig
    recipe: Recipe
    run: Run[Any] | None = None
    _task: Task | None = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "kept_as" in cls.__dict__:
            JOBS[cls.task_name()] = cls
            cls.command = cls.__dict__.get("command", cls.task_name())

    @classmethod
    def task_name(cls) -> str:
        """What the task is called in a run, and on the command line."""
        return cls.kept_as.model_fields["task"].default

    @property
    def task(self) -> Task:
        """The data and the network, as training sees them.

        Raises :class:`ElmanError` before ``fit``.
        """
        if self._task is None:
            name = type(self).__name__
            raise ElmanError(f"this {name.lower()} is not trained yet: call fit, or {name}.load(run)")
        return self._task

    @property
    def notes(self) -> tuple[str, ...]:
        """What reading the data did, and what was found in it, that its user should know."""
        return ()

    def test(self) -> dict[str, Any]:
        """Score the test part.

        Returns "test", "baselines" and, in words, "warnings", as JSON can hold them.
        """
        raise NotImplementedError

    @staticmethod
    def words(result: Mapping[str, Any]) -> list[str]:
        """What :meth:`test` gave as lines for a person."""
        return [f"{name} {value:.5g}" for name, value in result["test"].items()]

    def draw(self, folder: Path, kind: str = "png", steps: int = 0) -> dict[str, Path]:
        """Draw the test part and the losses into ``folder``, as png or svg.

        Returns the files by caption.

        With ``steps``, so many after the end are drawn too, where something follows it. Raises :class:`ElmanError`
        where nothing does.
        """
        from elman import pictures

        rows = self.run.metrics() if self.run is not None else []
        of = f"{self.run.path}: loss" if self.run is not None else "loss"
        own = self._pictures(folder, kind, steps)
        return own | {"Loss of each epoch": pictures.draw_losses(folder / f"loss.{kind}", rows, of, *self._loss_unit())}

    def _pictures(self, folder: Path, kind: str, steps: int) -> dict[str, Path]:
        """The pictures of the test part, by caption."""
        if steps:
            raise ElmanError(f"`steps`: nothing follows the end of a run of task '{self.task_name()}'; leave it out")
        return {}

    def _loss_unit(self) -> tuple[str, ...]:
        """What the loss is measured in, where that has a name."""
        return ()

    def sample(self, steps: int | None = None) -> Sample:
        """Return the sequence that the network is explained on.

        It has at most ``steps`` steps (200, or the context of a forecast).

        It is from the test part; where there is none from the validation part, else from training. Raises
        :class:`ElmanError` for fewer steps than 1, and a job that is not trained.
        """
        if steps is not None and steps < 1:
            raise ElmanError(f"`steps`: got {steps}, want 1 or more")
        self.task.model.eval()
        return self._sample(steps)

    def _sample(self, steps: int | None) -> Sample:
        raise NotImplementedError

    def about(self) -> dict[str, Any]:
        """What of a :class:`Sample` is the job's and not the sequence's."""
        model = self.task.model
        return {
            "task": self.task_name(),
            "layer": model.recurrent,
            "cell": self.network.cell,
            "parameters": sum(p.numel() for p in model.parameters()),
            "training": self.run.metrics() if self.run is not None else (),
            "epochs": self.recipe.epochs,
        }

    def portable(self) -> Model:
        """The network in a form that can leave Python: what exports and streams are made from.

        Raises :class:`ExportError` for a job that has none, such as of many series.
        """
        if not hasattr(self.task, "portable"):
            raise ExportError(f"a run of task '{self.task_name()}' and of this kind of data cannot be exported")
        return self.task.portable()

    def stream(self, rows: int = 1) -> Stream:
        """The network fed value by value, for ``rows`` streams side by side: see :class:`Stream`.

        Raises :class:`ExportError` for a network that has no step: of two directions, or with something beside it.
        """
        return Stream(self.portable(), rows)

    @classmethod
    def load(cls, run: str | os.PathLike[str]) -> Self:
        """Load the job of a run folder, with its best weights.

        Raises :class:`RunError` if it cannot be read.
        """
        job, kept = cls._open(run, trained=True)
        try:
            job.task.model.load_state_dict(kept.weights())
        except RuntimeError as error:
            what = " ".join(str(error).split())
            raise RunError(f"{kept.path}: model.safetensors does not fit config.json: {what}") from error
        return job

    @classmethod
    def resume(
        cls, run: str | os.PathLike[str], report: Progress | None = None, choices: Mapping[str, Any] | None = None
    ) -> tuple[Self, History]:
        """Resume an interrupted training.

        The result has the same bits as if it had never stopped (unless a time limit ends it).

        ``choices`` that were given again must be those of the run; raises :class:`RunError` where they are not.
        """
        job, _ = cls._open(run, trained=False)
        refuse_changes(job.network, [job.config, job.recipe], choices or {})
        return job, job._trained(report, resume=True)

    @classmethod
    def _open(cls, path: str | os.PathLike[str], trained: bool) -> tuple[Self, Run[Any]]:
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
        with self.run.writing() if self.run is not None else nullcontext():
            history = fit(self.task, self.recipe, self.run, resume=resume, report=report)
            if history.best_epoch and self._conclude() and self.run is not None:
                kept = {"epoch": str(history.best_epoch), "loss": repr(history.best_loss)}
                self.run.save_weights(self.task.model.state_dict(), kept)
        return history

    def _conclude(self) -> bool:
        """Find what only the trained network can tell, such as how far it is to be trusted; whether its weights hold
        that, and are to be kept once more."""
        return False

    @contextmanager
    def _undone_on_failure(self) -> Iterator[None]:
        """What fails inside leaves the job as it was."""
        before = dict(self.__dict__)
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

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


def load(run: str | os.PathLike[str]) -> Any:
    """Load the trained job of a run folder, whatever its task.

    Raises :class:`RunError` for a folder that is no run.
    """
    task = task_of(run)
    if task not in JOBS:
        raise RunError(f"{run}: is a run of task {task!r}, which this Elman has not; {nearest(task, JOBS)}")
    return JOBS[task].load(run)
