"""A sweep: the same training for every combination of some choices, several side by side, each a process of its own."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from elman.errors import ElmanError, RunError
from elman.options import checked
from elman.training.files import write_atomically, write_synced

RESULTS = "results.jsonl"
NAMED = 80  # characters of a run's name
Value = str | bool | int | float


class SweepConfig(BaseModel):
    """What a sweep's file says.

    ``fixed`` and ``over`` have the options of ``elman train`` TASK by name; ``over`` gives each a list of values.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    task: Literal["forecast", "generate", "classify"] = Field("forecast", description="what is trained")
    data: str = Field(description="DATA of the training")
    fixed: dict[str, Value | list[Value]] = Field(default_factory=dict, description="options of all runs")
    over: dict[str, list[Value]] = Field(description="lists of values, combined in every way")

    @field_validator("over")
    @classmethod
    def _has_values(cls, over: dict[str, list[Value]]) -> dict[str, list[Value]]:
        empty = [name for name, values in over.items() if not values]
        if empty or not over:
            raise ValueError(f"got no values{' for ' + ', '.join(empty) if empty else ''}; want a list of them")
        return over

    @classmethod
    def read(cls, path: Path) -> SweepConfig:
        """Read a sweep from a TOML file.

        Raises :class:`ElmanError` where it is none, naming the field.
        """
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ElmanError(f"{path}: cannot be read: {error}; want a TOML file with data and [over]") from error
        try:
            config = checked(cls, values)
        except ElmanError as error:
            raise ElmanError(f"{path}: {error}") from error
        twice = [name for name in config.fixed if name in config.over]
        if twice:
            raise ElmanError(f"{path}: {', '.join(twice)}: stands in [fixed] and in [over]; leave one out")
        return config

    def trials(self) -> dict[str, dict[str, Value]]:
        """Return what is varied in each run, by the run's name.

        >>> list(SweepConfig(data="a.csv", over={"cell": ["lstm", "gru"], "hidden": [8]}).trials())
        ['cell-lstm-hidden-8', 'cell-gru-hidden-8']
        """
        trials: dict[str, dict[str, Value]] = {}
        for values in itertools.product(*self.over.values()):
            chosen = dict(zip(self.over, values, strict=True))
            words = "-".join(f"{name}-{value}" for name, value in chosen.items())
            name = re.sub(r"[^\w.]+", "-", words).strip("-")[:NAMED]
            while name in trials and trials[name] != chosen:
                name += "-"
            trials[name] = chosen
        return trials


@dataclass
class SweepResult:
    """``rows``: of each run that ended its name, choices, and losses and scores or why it failed."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    interrupted: bool = False

    def ranked(self) -> list[dict[str, Any]]:
        """The runs that trained, the one with the least validation loss first."""
        return sorted((row for row in self.rows if "failed" not in row), key=lambda row: row["best_loss"])


def sweep(
    config: SweepConfig,
    folder: Path,
    workers: int = 0,
    report: Callable[[int, int], None] = lambda done, total: None,
    ray: str | None = None,
) -> SweepResult:
    """Train every combination of a sweep's choices, and test it; those that ended before are kept.

    ``workers`` run side by side (as many as there are cores, unless told), each on its share of the cores. With
    ``ray`` they run on the Ray cluster at that address ("local" starts one here), whose machines must all see the
    folder and the data. Results are added to ``results.jsonl`` in ``folder`` as they come. Ctrl-C stops all after the
    epoch they are in (on Ray, what runs is finished first); what was begun goes on when the same sweep is run again.
    Raises :class:`ElmanError` for a folder of another sweep.
    """
    trials = config.trials()
    rows = _kept(folder, config)
    left = [name for name in trials if name not in {row["name"] for row in rows}]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(workers or cores, max(1, len(left)))
    threads = max(1, cores // workers)
    result = SweepResult(rows)
    report(len(rows), len(trials))
    with _Runner(ray, workers, threads) as (submit, stop):
        waiting = {submit(_task(config, trials[name]), config.task, config.data, folder / name): name for name in left}
        try:
            while waiting:
                ended, _ = wait(waiting, return_when=FIRST_COMPLETED, timeout=0.5)
                for one in ended:
                    name = waiting.pop(one)
                    row = {"name": name, "choices": trials[name], **one.result()}
                    result.rows.append(row)
                    write_synced(folder / RESULTS, f"{json.dumps(row)}\n".encode(), "ab")
                    report(len(result.rows), len(trials))
        except KeyboardInterrupt:
            result.interrupted = True
            stop()
    return result


def _kept(folder: Path, config: SweepConfig) -> list[dict[str, Any]]:
    """The results that ``folder`` holds already; the folder is made where there is none."""
    path = folder / "sweep.json"
    wanted = config.model_dump(mode="json")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.exists():
            if json.loads(path.read_text(encoding="utf-8")) != wanted:
                raise RunError(f"{folder}: holds another sweep; choose another `out`")
        elif any(folder.iterdir()):
            raise RunError(f"{folder}: holds something else; choose another `out`")
        else:
            write_atomically(path, json.dumps(wanted, indent=1).encode())
        results = folder / RESULTS
        if not results.exists():
            return []
        lines = results.read_bytes().split(b"\n")[:-1]  # the last line may have been cut short
        rows = [row for row in map(json.loads, lines) if "failed" not in row]  # what failed is tried again
        write_atomically(results, "".join(f"{json.dumps(row)}\n" for row in rows).encode())
        return rows
    except (OSError, ValueError) as error:
        raise RunError(f"{folder}: cannot be used: {error}; choose another `out`") from error


def _task(config: SweepConfig, chosen: Mapping[str, Value]) -> list[str]:
    """The options of a run as they are typed."""
    return [word for name, value in ({**config.fixed, **chosen}).items() for word in _typed(name, value)]


def _typed(name: str, value: Value | list[Value]) -> Iterator[str]:
    option = f"--{name.replace('_', '-')}"
    if isinstance(value, list):
        for one in value:
            yield from _typed(name, one)
    elif value is True:
        yield option
    elif value is not False:
        yield from (option, str(value))


def train_and_test(options: list[str], task: str, data: str, run: Path, threads: int) -> dict[str, Any]:
    """Train or go on with one run in a process of its own, test it, and return its losses and scores."""
    begun = (run / "config.json").exists()
    what = ["--resume"] if begun else [data, *options]
    trained = _called(["train", task, *what, "-o", str(run), "--json"], threads)
    if "error" in trained:
        return {"failed": trained["error"]}
    if trained["interrupted"]:
        return {"failed": "interrupted"}
    row = {key: trained[key] for key in ("cell", "parameters", "epochs", "best_loss", "seconds")}
    tested = _called(["test", str(run), "--json"], threads)
    scores = tested.get("test", {})
    if "error" in tested:
        row["untested"] = tested["error"]
    return row | {"test": {k: v for k, v in scores.items() if isinstance(v, int | float)}}


def _called(arguments: list[str], threads: int) -> dict[str, Any]:
    """What a command of Elman's prints as JSON."""
    env = os.environ | {"OMP_NUM_THREADS": str(threads)}
    process = subprocess.Popen(
        [sys.executable, "-m", "elman", *arguments], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    _STARTED.add(process)
    try:
        out, err = process.communicate()
    finally:
        _STARTED.discard(process)
    try:
        return json.loads(out.strip().splitlines()[-1])
    except (IndexError, ValueError):
        return {"error": err.strip().splitlines()[-1] if err.strip() else f"ended with {process.returncode}"}


_STARTED: set[subprocess.Popen[str]] = set()


class _Runner:
    """Where runs are computed: threads that each wait for a process here, or Ray; a context of (submit, stop)."""

    def __init__(self, ray: str | None, workers: int, threads: int):
        self._pool = ThreadPoolExecutor(workers)
        self._threads = threads
        self._remote: Any = None
        if ray is not None:
            self._remote = _ray(ray, workers, threads)

    def __enter__(self) -> tuple[Callable[..., Future[dict[str, Any]]], Callable[[], None]]:
        return self._submit, self._stop

    def __exit__(self, *error: Any) -> None:
        self._pool.shutdown()

    def _submit(self, *arguments: Any) -> Future[dict[str, Any]]:
        work: Callable[..., dict[str, Any]] = self._remote or train_and_test
        return self._pool.submit(lambda: work(*arguments, self._threads))

    def _stop(self) -> None:
        """Begin nothing more, and let what runs end its epoch."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        told: set[subprocess.Popen[str]] = set()
        until = time.monotonic() + 30
        while _STARTED and time.monotonic() < until:
            for process in _STARTED - told:
                process.send_signal(signal.SIGTERM)
                told.add(process)
            time.sleep(0.1)


def _ray(address: str, workers: int, threads: int) -> Callable[..., dict[str, Any]]:
    try:
        import ray
    except ImportError as error:
        raise ElmanError("a sweep on Ray needs the package ray: pip install 'elman[ray]'") from error
    if not ray.is_initialized():
        local = {"num_cpus": workers * threads, "include_dashboard": False}
        ray.init(**(local if address == "local" else {"address": address}), log_to_driver=False)
    remote = ray.remote(num_cpus=threads, max_retries=2)(train_and_test)
    return lambda *arguments: ray.get(remote.remote(*arguments))
