"""A run folder: everything a trained network needs to be tested, drawn, used and trained further.

    config.json              what was asked for: a RunConfig
    data.safetensors         the prepared data, where the task keeps any
    data.bin                 or what of it does not fit into memory, as the task writes it
    model.safetensors        the best weights so far
    checkpoint.safetensors   where training stands, for `resume`
    checkpoint-*.safetensors the last of them, where several are kept
    metrics.jsonl            a line an epoch
    log.txt                  what happened when
    lock                     held by the process that trains; see :meth:`Run.writing`
    *.png, *.svg             pictures

Weights and checkpoint carry the digest of config.json, and that the checksum of the data, so that none is
used with another run's.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Generic

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elman.errors import RunError
from elman.ranks import ranks
from elman.training.config import CONFIG, Config, config_bytes, digest, read_config
from elman.training.files import (
    TEMPORARY,
    encode,
    is_there,
    link_or_copy,
    load_tensors,
    naming,
    save_tensors,
    sync_folder,
    temporary_beside,
    write_atomically,
    write_synced,
)
from elman.training.lock import only_writer
from elman.training.rows import read_row

DATA, LARGE, MODEL = "data.safetensors", "data.bin", "model.safetensors"
CHECKPOINT, METRICS, LOG = "checkpoint.safetensors", "metrics.jsonl", "log.txt"
EARLIER = "checkpoint-{:09}.safetensors"  # with the steps taken before it


class Run(Generic[Config]):
    """A run folder that is there; made by :meth:`create` or :meth:`open`.

    ``path`` is the folder and ``config`` what was asked for. Everything raises :class:`RunError`, naming
    the file, when that file cannot be read or written. Of several processes that train together rank 0 alone writes.

    >>> import tempfile
    >>> from elman.training import RunConfig
    >>> class CountConfig(RunConfig):
    ...     task: str = "count"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = Run.create(Path(folder, "r"), CountConfig(), {"counts": np.arange(3)})
    ...     run.save_weights({"w": torch.ones(2)}, {"epoch": "1"})
    ...     again = Run.open(Path(folder, "r"), CountConfig)
    ...     again.weights(), again.arrays()
    ({'w': tensor([1., 1.])}, {'counts': array([0, 1, 2])})
    """

    def __init__(self, path: Path, config: Config, digest: str):
        self.path = path
        self.config = config
        self._digest = digest

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        config: Config,
        arrays: Mapping[str, NDArray[Any]] | None = None,
        write: Callable[[Path], None] | None = None,
    ) -> Run[Config]:
        """Make the run folder ``path``, whole or not at all.

        It holds ``config`` and the ``arrays`` (any shapes).

        ``write`` stands for arrays that do not fit into memory: it writes data.bin, at the path it is given. Raises
        :class:`RunError` when there is something at ``path`` already.
        """
        folder = Path(path)
        config = ranks().agree(lambda: cls._created(folder, config, arrays, write))
        return cls(folder, config, digest(json.loads(config_bytes(config))))

    @classmethod
    def _created(
        cls,
        folder: Path,
        config: Config,
        arrays: Mapping[str, NDArray[Any]] | None,
        write: Callable[[Path], None] | None,
    ) -> Config:
        _refuse_existing(folder)
        with naming(folder), _built(folder) as temporary:
            if arrays is not None:
                write_synced(temporary / DATA, _data_bytes(arrays))
            if write is not None:
                write(temporary / LARGE)
            config = config.model_copy(update={"data_checksum": _checksum(temporary)})
            write_synced(temporary / CONFIG, config_bytes(config))
        return config

    @classmethod
    def open(cls, path: str | os.PathLike[str], config: type[Config], trained: bool = True) -> Run[Config]:
        """Open the run at ``path``, whose config.json must hold a ``config``.

        With ``trained`` its weights must be there, though they are not read yet; ``--resume`` says False.
        Raises :class:`RunError` when ``path`` is no run, is damaged, newer, or of another task.
        """
        folder = Path(path)
        run = cls(folder, *read_config(folder, config))
        if trained:
            run._need_weights()
        return run

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays given to :meth:`create`.

        Raises :class:`RunError` for damaged data and for data of another run.
        """
        tensors, _ = load_tensors(self.path / DATA)  # says first whether it is missing or damaged
        self._need_own(DATA)
        return {name: tensor.numpy() for name, tensor in tensors.items()}

    def large(self) -> Path:
        """Return the path of the data that :meth:`create` was given to write.

        Raises :class:`RunError` for that of another run.
        """
        if not is_there(self.path / LARGE):
            raise RunError(f"{self.path / LARGE}: is missing")
        self._need_own(LARGE)
        return self.path / LARGE

    def _need_own(self, name: str) -> None:
        with naming(self.path / name):
            checksum = _checksum(self.path)
        if self.config.data_checksum is None:
            raise RunError(
                f"{self.path / CONFIG}: has no checksum of {name}: the run is of an older Elman, or the file not its "
                "own; train it anew"
            )
        if checksum != self.config.data_checksum:
            raise RunError(
                f"{self.path / name}: is not the data of this run: {CONFIG} has another checksum; restore it"
            )

    def save_weights(self, weights: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
        """Write model.safetensors, in place of the one before."""
        self._save(MODEL, weights, metadata or {})

    def weights(self) -> dict[str, Tensor]:
        """Return the best weights, on the CPU, by their ``state_dict`` names."""
        self._need_weights()
        return self._load(MODEL)[0]

    def save_checkpoint(
        self, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], steps: int = 0, keep: int = 1
    ) -> None:
        """Write checkpoint.safetensors, in place of the one before.

        Of the last ``keep``, where that is more than one, another name tells after how many ``steps`` each was written.
        """
        self._save(CHECKPOINT, tensors, metadata)
        if not self._writes or keep == 1:
            return
        with naming(self.path / CHECKPOINT):
            link_or_copy(self.path / CHECKPOINT, self.path / EARLIER.format(steps))
            for old in self._earlier()[keep:]:
                old.unlink()

    def _earlier(self) -> list[Path]:
        """The checkpoints that were kept, the last first."""
        return sorted(self.path.glob(EARLIER.replace("{:09}", "?????????")), reverse=True)

    def checkpoint(self) -> tuple[dict[str, Tensor], dict[str, str]] | None:
        """Return the tensors and metadata of the checkpoint; None before the first.

        Where it is damaged or lost, those of the last one that is whole.
        """
        first: RunError | None = None
        for path in (self.path / CHECKPOINT, *self._earlier()):
            try:
                if is_there(path):
                    saved = self._load(path.name)
                    if path.name != CHECKPOINT:
                        self.log(f"going on from {path.name}: {first or f'{CHECKPOINT} is missing'}")
                    return saved
            except RunError as error:
                first = first or error
        if first is not None:
            raise first
        return None

    def append_metrics(self, row: Mapping[str, Any]) -> None:
        """Add a line to metrics.jsonl."""
        if not self._writes:
            return
        line = json.dumps(row, allow_nan=False) + "\n"
        with naming(self.path / METRICS):
            write_synced(self.path / METRICS, line.encode(), "ab")

    def metrics(self) -> list[dict[str, Any]]:
        """Return the rows of metrics.jsonl, one per epoch.

        A last line that was cut short is left out.
        """
        path = self.path / METRICS
        if not is_there(path):
            return []
        with naming(path):
            lines = path.read_bytes().split(b"\n")[:-1]
        try:
            return [read_row(line, number) for number, line in enumerate(lines, start=1)]
        except RunError as error:
            raise RunError(f"{path}: is damaged: {error}; restore it from a copy") from error

    @property
    def _writes(self) -> bool:
        return ranks().first

    def rewind(self, epochs: int) -> list[dict[str, Any]]:
        """Cut metrics.jsonl to its first ``epochs`` lines and return them; sweep what a kill left."""
        return ranks().agree(lambda: self._rewound(epochs))

    def _rewound(self, epochs: int) -> list[dict[str, Any]]:
        for leftover in self.path.glob(TEMPORARY.format("*")):
            with naming(leftover):
                leftover.unlink()
        rows = self.metrics()
        if len(rows) < epochs:
            raise RunError(
                f"{self.path / METRICS}: holds {len(rows)} epochs and {CHECKPOINT} {epochs}; "
                f"restore it, or train again with another -o"
            )
        lines = "".join(json.dumps(row) + "\n" for row in rows[:epochs])
        write_atomically(self.path / METRICS, lines.encode())
        return rows[:epochs]

    def log(self, text: str) -> None:
        """Add a line to log.txt, with the time."""
        if not self._writes:
            return
        line = f"{datetime.now().isoformat(sep=' ', timespec='seconds')} {text}\n"
        with naming(self.path / LOG):
            write_synced(self.path / LOG, line.encode(), "ab")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Lock the run for training.

        Raises :class:`RunError`, naming the other process, if one trains here.
        """
        with ExitStack() as stack:
            ranks().agree(lambda: stack.enter_context(only_writer(self.path)))
            yield

    def begun(self) -> bool:
        """Say whether training has left anything here."""
        return any(is_there(self.path / name) for name in (MODEL, CHECKPOINT, METRICS))

    def _need_weights(self) -> None:
        if not is_there(self.path / MODEL):
            raise RunError(
                f"{self.path}: has no {MODEL}: training stopped before its first epoch ended; go on with `resume`"
            )

    def _save(self, name: str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
        if self._writes:
            save_tensors(self.path / name, tensors, {**metadata, "config": self._digest})

    def _load(self, name: str) -> tuple[dict[str, Tensor], dict[str, str]]:
        tensors, metadata = load_tensors(self.path / name)
        if metadata.pop("config", None) != self._digest:
            raise RunError(f"{self.path / CONFIG}: was changed since the weights were saved; restore it")
        return tensors, metadata


def _refuse_existing(folder: Path) -> None:
    if is_there(folder) and is_there(folder / CONFIG):
        raise RunError(f"{folder}: holds a run already; choose another `run`, or go on with `resume`")
    if os.path.lexists(folder):
        raise RunError(f"{folder}: is there already; choose another `run` (`resume` goes on with a run)")


def _data_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    # np.array copies, so that what is read-only or runs backwards is taken too.
    return encode({name: torch.from_numpy(np.array(a, order="C")) for name, a in arrays.items()}, {})


def _checksum(folder: Path) -> str | None:
    """The SHA-256 of the data in ``folder``, if any; of two files that of theirs, one after the other."""
    digests = []
    for path in (folder / name for name in (DATA, LARGE) if is_there(folder / name)):
        with open(path, "rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return hashlib.sha256("".join(digests).encode()).hexdigest() if len(digests) > 1 else next(iter(digests), None)


@contextmanager
def _built(folder: Path) -> Iterator[Path]:
    """A folder to fill under a name of its own, which then gets the name asked for."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(folder)
    try:
        temporary.mkdir()
        yield temporary
        sync_folder(temporary)
        os.rename(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_folder(folder.parent)
