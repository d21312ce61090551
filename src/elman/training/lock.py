"""One writer for a run folder: a lock that the system lets go when its process ends, however it ends."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from elman.errors import RunError
from elman.training.files import naming

LOCK = "lock"
_FAR = 1 << 30  # where Windows locks a byte, so that what stands in the file can be read


@contextlib.contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold the lock of a run folder, and say in it who does.

    Raises :class:`RunError` with the other's process, machine and time where another writes there, in this process too.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, only_writer(Path(folder)):
    ...     with only_writer(Path(folder)):  # doctest: +ELLIPSIS
    ...         pass
    Traceback (most recent call last):
    elman.errors.RunError: ...: is being trained by process ... on ... since ...; wait until it ends, or stop it
    """
    path = folder / LOCK
    with naming(path):
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if not _locked(file):
            who = os.read(file, 1000).decode(errors="replace").strip() or "another process"
            raise RunError(f"{folder}: is being trained by {who}; wait until it ends, or stop it")
        now = datetime.now().isoformat(sep=" ", timespec="seconds")
        with naming(path):
            os.ftruncate(file, 0)
            os.write(file, f"process {os.getpid()} on {socket.gethostname()} since {now}\n".encode())
        yield
    finally:
        os.close(file)


def _locked(file: int) -> bool:
    """Take the lock, if nobody has it."""
    try:
        if os.name == "nt":
            import msvcrt

            os.lseek(file, _FAR, os.SEEK_SET)
            try:
                msvcrt.locking(file, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
            finally:
                os.lseek(file, 0, os.SEEK_SET)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # Where the file system has no locks, there is nothing to hold.
        return not isinstance(error, BlockingIOError | PermissionError)
    return True
