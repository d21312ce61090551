"""Compiled kernels in the user's cache folder, so that the next process need not compile them.

What LLVM says of the processor is kept there too. The variable ``ELMAN_CACHE`` names another folder; empty, 0 or off,
nothing is kept. A kernel is code that will run: the folder must be the user's own, nobody else may write there, and the
bytes are held against their digest. Whatever is wrong with the folder or a file, the kernel is compiled anew, and no
one is told.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

LIMIT = 256 << 20  # bytes of all files; the ones that were used longest ago go first
DIGEST = hashlib.sha256().digest_size
OFF = ("", "0", "off")


def folder() -> Path | None:
    """The folder of kept kernels, made where it is missing, or None where nothing is kept."""
    named = os.environ.get("ELMAN_CACHE")
    if named is not None and named.strip().lower() in OFF:
        return None
    if named is None:
        import platformdirs

        named = platformdirs.user_cache_dir("elman", appauthor=False)
    path = Path(named).expanduser() / "kernels"
    with contextlib.suppress(OSError):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _is_private(path):
            return path
    return None


def _is_private(path: Path) -> bool:
    if not hasattr(os, "getuid"):
        return True
    status = path.stat()
    return status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def read(key: str) -> bytes | None:
    """The object that was kept under ``key``, or None: there is none, or it is not what was written."""
    path = folder()
    if path is None:
        return None
    try:
        content = (path / f"{key}.o").read_bytes()
        os.utime(path / f"{key}.o")
    except OSError:
        return None
    code = content[DIGEST:]
    return code if hashlib.sha256(code).digest() == content[:DIGEST] else None


def write(key: str, code: bytes) -> None:
    """Keep ``code`` under ``key``: whole or not at all, whoever else writes there."""
    path = folder()
    if path is None:
        return
    with contextlib.suppress(OSError):
        _make_room(path, len(code))
        number, name = tempfile.mkstemp(dir=path, suffix=".new")  # readable by the user alone
        try:
            with os.fdopen(number, "wb") as file:
                file.write(hashlib.sha256(code).digest() + code)
            os.replace(name, path / f"{key}.o")
        except BaseException:
            os.unlink(name)
            raise


def _make_room(path: Path, count: int) -> None:
    objects = sorted(_files(path))
    total = sum(size for _, size, _ in objects) + count
    for _, size, name in objects:
        if total <= LIMIT:
            return
        total -= size
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            os.unlink(name)


def _files(path: Path) -> Iterator[tuple[float, int, str]]:
    """(when it was last used, bytes, path) of each file."""
    with os.scandir(path) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                status = entry.stat()
                yield status.st_mtime, status.st_size, entry.path
