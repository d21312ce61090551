"""Choosing what a forecast is made with by trial, on the validation part. The test part is never looked at."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from elman.data import Series, read_series
from elman.errors import DataError, ElmanError, RunError
from elman.jobs.forecaster import Forecaster
from elman.training import Progress

TRIALS = 20
STUDY, BEST = "study.log", "best"  # in the folder of a tuning: its trials, and the run of the best
CELLS = ("gru", "lstm", "rnn", "mingru", "peephole")
SIZES = (8, 16, 32, 64, 128)
CONTEXTS = (12, 24, 48, 96, 192)  # beside the one that is found
RATES = (0.002, 0.05)
LOOKED_AFTER = 0.5  # seconds: how often several processes are


@dataclass(frozen=True)
class Tuned:
    """The result of a search.

    The ``trials`` in their order, each with its choices and, if it could be trained, its validation MSE; and the
    ``best`` of them, trained once more as ``forecaster``. ``interrupted`` before all were done.
    """

    trials: list[dict[str, Any]]
    best: dict[str, Any]
    forecaster: Forecaster | None
    interrupted: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The tuning as JSON can hold it."""
        return {"trials": self.trials, "best": self.best, "interrupted": self.interrupted}


def tune(
    data: Any,
    folder: str | os.PathLike[str],
    trials: int = TRIALS,
    *,
    seed: int = 0,
    workers: int = 1,
    report: Callable[[int, int], None] = lambda done, total: None,
    reading: Mapping[str, Any] | None = None,
    **choices: Any,
) -> Tuned:
    """Search for the best settings to forecast ``data``, in ``trials`` trials.

    The best is trained once more, into ``folder``/best.

    ``choices`` are those of :class:`Forecaster`: what is given is fixed. Of the cell, hidden, layers, context, rate
    and, of a horizon above 1, the strategy, what is not given is chosen, by a tree-structured Parzen estimator
    (Bergstra et al. 2011, by optuna). A choice is as good as its mean squared error on the validation part, with the
    scaler and the lines of what stands before it; nothing is read of the test part. The same call goes on with a
    tuning that was interrupted, or adds trials to it. ``workers`` are processes that try side by side, each on its
    share of the cores: what is tried then depends on which is done first. ``report`` is told how many are done.

    Raises :class:`ElmanError` without optuna or a validation part, :class:`RunError` for a folder of another tuning.

    >>> import tempfile
    >>> wave = np.sin(np.arange(150.0) / 3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = tune(wave, folder, trials=2, cell="rnn", hidden=4, epochs=1)
    >>> len(found.trials), sorted(found.best)
    (2, ['context', 'layers', 'lr'])
    """
    _optuna()
    series = read_series(data, **(reading or {}))
    fixed = Forecaster(**choices)
    if not fixed.config.split[1]:
        raise ElmanError("`split`: leaves nothing to validate choices on; give one such as 70,10,20")
    search = _Search(series, choices, os.fspath(folder), trials, seed)
    study = search.study()
    if workers > 1:
        stopped = _side_by_side(search, workers, lambda: report(len(_rows(study)), trials))
    else:
        stopped = search.run(lambda: report(len(_rows(study)), trials))
    rows = _rows(study)
    report(min(len(rows), trials), trials)
    done = [row for row in rows if row["mse"] is not None]
    if not done and not stopped:
        failed = f": {rows[0]['failed']}" if rows else ""
        raise DataError(f"{series.source}: none of {trials} ways to forecast it could be trained{failed}")
    best = min(done, key=lambda row: row["mse"])["choices"] if done else {}
    if stopped:
        return Tuned(rows, best, None, interrupted=True)
    return Tuned(rows, best, _trained(series, data, Path(folder) / BEST, {**choices, **best}, reading or {}))


@dataclass(frozen=True)
class _Search:
    """Trials of one process; several share the study in the folder."""

    series: Series
    choices: Mapping[str, Any]
    folder: str
    trials: int
    seed: int

    def study(self, worker: int = 0) -> Any:
        """The study kept in the folder: a new one, or the same one to go on with."""
        optuna = _optuna()
        storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(_kept_in(self.folder))))
        study = optuna.create_study(storage=storage, study_name="elman", load_if_exists=True)
        _check_same(study, Path(self.folder), self.series, self.choices)
        study.sampler = optuna.samplers.TPESampler(
            seed=self.seed + len(study.trials) + worker, constant_liar=worker > 0
        )
        return study

    def run(self, report: Callable[[], None] = lambda: None, worker: int = 0) -> bool:
        """Try until there are enough trials; whether a person stopped it."""
        study, optuna, stopped = self.study(worker), _optuna(), False
        space = _space(self.series, Forecaster(**self.choices), self.choices)

        def tried(trial: Any) -> float:
            nonlocal stopped
            report()
            try:
                forecaster = Forecaster(**self.choices, **{name: suggest(trial) for name, suggest in space.items()})
                history = forecaster.fit(self.series)
                if not history.interrupted:
                    return validation_error(forecaster)
            except ElmanError as error:  # one that diverges, or whose context does not fit
                trial.set_user_attr("failed", str(error))
                raise optuna.TrialPruned from error
            stopped = True
            study.stop()
            raise optuna.TrialPruned

        while not stopped and len(_rows(study)) < self.trials:
            study.optimize(tried, n_trials=1)
        return stopped


def _side_by_side(search: _Search, workers: int, report: Callable[[], None]) -> bool:
    """Search in so many processes; whether a person stopped it."""
    threads = max(1, (os.cpu_count() or 1) // workers)
    with ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (threads,)) as pool:
        searches = [pool.submit(search.run, worker=number) for number in range(1, workers + 1)]
        interrupted = False
        while not all(each.done() for each in searches):
            try:
                report()
                wait(searches, timeout=LOOKED_AFTER)
            except KeyboardInterrupt:  # which the others have got too
                interrupted = True
        return any(each.result() for each in searches) or interrupted


def validation_error(forecaster: Forecaster) -> float:
    """The mean squared error on the validation windows, in units of the training values' spread."""
    task = forecaster.task
    part = task.split.validation
    if not part:
        raise DataError(
            f"{task.series.source}: no window is left for validation; give more values, or a shorter horizon"
        )
    z = task.predict(part).cpu().double().numpy()
    truth = task.z.cpu().double().numpy()
    first = np.arange(part.start, part.stop) + task.context
    return float(np.square(z - truth[first[:, None] + np.arange(task.config.horizon)]).mean())


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise ElmanError("choosing by trial needs optuna: pip install 'elman[tune]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _kept_in(folder: str | os.PathLike[str]) -> Path:
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{path}: the tuning cannot go there: {error.strerror}") from error
    if not (path / STUDY).exists() and any(path.iterdir()):
        raise RunError(f"{path}: is there already and holds no tuning; choose another `run`")
    return path / STUDY


def _check_same(study: Any, folder: Path, series: Series, choices: Mapping[str, Any]) -> None:
    """Mark a new study with what it is of; raise :class:`RunError` for one of other data or other choices."""
    said = json.dumps({name: str(value) for name, value in sorted(choices.items())})
    mark = hashlib.sha256(series.values.tobytes() + said.encode()).hexdigest()
    if study.user_attrs.get("mark", mark) != mark:
        raise RunError(f"{folder}: holds a tuning of other data, or with other choices; choose another `run`")
    study.set_user_attr("mark", mark)


def _space(series: Series, fixed: Forecaster, choices: Mapping[str, Any]) -> dict[str, Callable[[Any], Any]]:
    """How each choice that is open is drawn."""
    room = len(series) * fixed.config.split[0] / 100 - 2 * fixed.config.horizon
    contexts = [None, *(context for context in CONTEXTS if 2 * context <= room)]
    space: dict[str, Callable[[Any], Any]] = {
        "cell": lambda trial: trial.suggest_categorical("cell", CELLS),
        "hidden": lambda trial: trial.suggest_categorical("hidden", SIZES),
        "layers": lambda trial: trial.suggest_int("layers", 1, 2),
        "context": lambda trial: trial.suggest_categorical("context", contexts),
        "lr": lambda trial: trial.suggest_float("lr", *RATES, log=True),
    }
    if fixed.config.horizon > 1:
        space["strategy"] = lambda trial: trial.suggest_categorical("strategy", ("direct", "recursive"))
    return {name: draw for name, draw in space.items() if name not in choices}


def _rows(study: Any) -> list[dict[str, Any]]:
    """The trials that ended; one that was interrupted is none."""
    return [_row(trial) for trial in study.trials if trial.value is not None or "failed" in trial.user_attrs]


def _row(trial: Any) -> dict[str, Any]:
    failed = {"failed": trial.user_attrs["failed"]} if "failed" in trial.user_attrs else {}
    return {"trial": trial.number, "choices": dict(trial.params), "mse": trial.value, **failed}


def _trained(
    series: Series, data: Any, run: Path, choices: Mapping[str, Any], reading: Mapping[str, Any]
) -> Forecaster:
    """The best, trained once more and kept; where it is there already, opened."""
    forecaster = Forecaster(**choices)
    if run.exists():
        kept = Forecaster.load(run)
        if kept.network == forecaster.network and kept.recipe == forecaster.recipe:
            return kept
        number = next(i for i in range(2, 10_000) if not run.with_name(f"{BEST}-{i}").exists())
        run = run.with_name(f"{BEST}-{number}")
    forecaster.fit(data, run=run, report=Progress(silent=True), **reading)
    return forecaster
