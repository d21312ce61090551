"""config.json: what a run was asked for, in an envelope that names its format, Elman's version and the task."""

from __future__ import annotations

import hashlib
import json
import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticUndefined

from elman.errors import RunError
from elman.options import worded
from elman.training.files import FORMAT, is_there, naming

CONFIG = "config.json"


def _own_version() -> str:
    try:
        return version("elman")
    except PackageNotFoundError:
        return "unknown"


class RunConfig(BaseModel):
    """What config.json holds for every task.

    A task's own config adds its fields and names itself.

    ``data_checksum`` is set by :meth:`Run.create <elman.training.run.Run.create>`: the SHA-256 of
    data.safetensors, or None where the run keeps no data.

    >>> class CountConfig(RunConfig):
    ...     task: str = "count"
    ...     hidden: int = 32
    >>> CountConfig(hidden=8).hidden
    8
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True)

    format: int = FORMAT
    elman: str = Field(default_factory=_own_version)
    task: str
    data_checksum: str | None = None


Config = TypeVar("Config", bound=RunConfig)


def read_config(folder: Path, model: type[Config]) -> tuple[Config, str]:
    """Return the config of the run in ``folder``, as a ``model``, and its :func:`digest`.

    Raises :class:`RunError` when it is not there, damaged, newer, or of another task than ``model``.
    """
    raw = _read_envelope(folder)
    expected = model.model_fields["task"].default
    if expected is not PydanticUndefined and raw.get("task") != expected:
        raise RunError(f"{folder / CONFIG}: is a run of task {raw.get('task')!r}, not {expected!r}")
    try:
        return model.model_validate(raw), digest(raw)
    except ValidationError as error:
        raise RunError(f"{folder / CONFIG}: {worded(error, model)}") from error
    except RecursionError as error:
        raise RunError(f"{folder / CONFIG}: is nested too deeply") from error


def config_bytes(config: RunConfig) -> bytes:
    """Return ``config`` as the JSON of config.json."""
    fields = config.model_dump(mode="json")
    return (json.dumps(fields, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def task_of(path: str | os.PathLike[str]) -> str:
    """Return the name of the task whose run is at ``path``; :class:`RunError` if it is no run."""
    task = _read_envelope(Path(path)).get("task")
    if not isinstance(task, str):
        raise RunError(f"{Path(path) / CONFIG}: does not name its task")
    return task


def digest(raw: Any) -> str:
    """Return the SHA-256 of what a config says, however its JSON is laid out."""
    return hashlib.sha256(json.dumps(raw, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _read_envelope(folder: Path) -> dict[str, Any]:
    """Return config.json as it stands, once it is known to be a run's and not a newer Elman's."""
    path = folder / CONFIG
    if not is_there(folder):
        raise RunError(f"{folder}: is not a run: it is not there")
    if not folder.is_dir():
        raise RunError(f"{folder}: is not a run: not a folder")
    if not is_there(path):
        raise RunError(f"{folder}: is not a run: it has no {CONFIG}")
    with naming(path):
        data = path.read_bytes()
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}: is not valid JSON: {error}") from error
    number = raw.get("format") if isinstance(raw, dict) else None
    if type(number) is not int or number < 1:
        raise RunError(f"{path}: is not a run's: it has no format number")
    if number > FORMAT:
        raise RunError(f"{path}: is of a newer Elman (format {number}, this one reads {FORMAT}); upgrade Elman")
    return raw
