"""Files that are there whole or not at all, and tensors in them that no flipped byte slips past.

A tensor file is a safetensors file, which any reader of that format opens. Its metadata holds two entries
of ours: ``elman_format`` and ``checksum``, the SHA-256 of the whole file taken with 64 zeros in its place.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import safetensors.torch
from torch import Tensor

from elman.errors import RunError

FORMAT = 1
TEMPORARY = ".elman-{}.tmp"
_ZEROS = b"0" * 64
_CHECKSUM = re.compile(rb'"checksum":"([0-9a-f]{64})"')
_OURS = b'"elman_format"'


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn an ``OSError`` met on ``path`` into a :class:`RunError` that names it.

    >>> with naming("here.txt"):
    ...     raise OSError(28, "No space left on device")
    Traceback (most recent call last):
    elman.errors.RunError: here.txt: No space left on device
    """
    try:
        yield
    except OSError as error:
        raise RunError(f"{os.fspath(path)}: {error.strerror or error}") from error


def is_there(path: Path) -> bool:
    """Say whether anything is at ``path``; :class:`RunError` where one may not look, or the name is too long.

    >>> is_there(Path("no", "such", "file"))
    False
    """
    with naming(path):
        return path.exists()


def temporary_beside(path: Path) -> Path:
    """Return a fresh name in the folder of ``path``, for what will be renamed to ``path`` when whole."""
    return path.parent / TEMPORARY.format(secrets.token_hex(8))


def sync_folder(folder: Path) -> None:
    """Wait until the names in ``folder`` are on the disk; Windows has no such call."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` to ``path`` atomically.

    Whoever looks, even after a crash, sees the whole old file or the whole new one.

    The permissions are those the umask gives to any new file. Raises :class:`RunError` naming the file
    when it cannot be written, and then leaves nothing behind.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomically(Path(folder, "a.txt"), b"whole")
    ...     Path(folder, "a.txt").read_bytes(), os.listdir(folder)
    (b'whole', ['a.txt'])
    """
    target = Path(path)
    temporary = temporary_beside(target)
    with naming(target):
        try:
            write_synced(temporary, data)
            os.replace(temporary, target)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        sync_folder(target.parent)


def link_or_copy(path: Path, other: Path) -> None:
    """Have what is at ``path`` at ``other`` too, whole or not at all."""
    temporary = temporary_beside(other)
    try:
        try:
            os.link(path, temporary)
        except OSError:  # a file system without links
            shutil.copyfile(path, temporary)
        os.replace(temporary, other)
        with suppress(FileNotFoundError):  # a link in place of itself stays
            temporary.unlink()
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(other.parent)


def write_synced(path: Path, data: bytes, mode: str = "xb") -> None:
    """Write ``data`` to ``path`` and wait until it is on the disk; ``mode`` "ab" appends."""
    with open(path, mode) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def save_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write ``tensors`` and ``metadata`` to ``path``.

    Of any shapes, views and shared storage included.

    Equal content gives equal bytes. Raises :class:`RunError` when the file cannot be written.

    >>> import tempfile, torch
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_tensors(Path(folder, "w.safetensors"), {"w": torch.eye(2)}, {"epoch": "3"})
    ...     load_tensors(Path(folder, "w.safetensors"))
    ({'w': tensor([[1., 0.],
            [0., 1.]])}, {'epoch': '3'})
    """
    write_atomically(path, encode(tensors, metadata or {}))


def encode(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return the bytes of a tensor file, checksum included."""
    own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    entries = {**metadata, "elman_format": str(FORMAT), "checksum": _ZEROS.decode()}
    blank = _in_order(safetensors.torch.save(own, entries))
    match = _CHECKSUM.search(blank)
    assert match is not None, "the header holds the entry just given"
    return _with_digest(blank, match, hashlib.sha256(blank).hexdigest().encode())


def _in_order(data: bytes) -> bytes:
    """Sort the metadata, which safetensors writes in an order that changes from call to call."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[end:]


def _with_digest(data: bytes, match: re.Match[bytes], digest: bytes) -> bytes:
    return data[: match.start(1)] + digest + data[match.end(1) :]


def load_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read what :func:`save_tensors` wrote: the tensors, on the CPU, and the metadata.

    Nothing in the file is run. Raises :class:`RunError` naming the file when it is missing, empty, cut
    short, changed by so much as a bit, not Elman's, or of a newer Elman.
    """
    with naming(path):
        try:
            data = Path(path).read_bytes()
        except FileNotFoundError as error:
            raise RunError(f"{os.fspath(path)}: is missing") from error
    try:
        return decode(data)
    except RunError as error:
        raise RunError(f"{os.fspath(path)}: {error}") from error.__cause__


def decode(data: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and metadata in the bytes of a tensor file, or raise :class:`RunError`."""
    if not data:
        raise RunError("is empty")
    _check(data)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    metadata = header["__metadata__"]
    version = metadata.pop("elman_format")
    if version != str(FORMAT):
        raise RunError(f"was written by a newer Elman (format {version}, this one reads {FORMAT}); upgrade Elman")
    del metadata["checksum"]
    return safetensors.torch.load(data), metadata


def _check(data: bytes) -> None:
    """Refuse bytes that are not exactly those :func:`encode` gave, in this version or a later one."""
    header = data[8 : 8 + int.from_bytes(data[:8], "little")]
    if _OURS not in header:
        raise RunError("is not a file of Elman's, or its beginning is damaged")
    match = _CHECKSUM.search(data, 8, 8 + len(header))
    if match is None or hashlib.sha256(_with_digest(data, match, _ZEROS)).hexdigest().encode() != match[1]:
        raise RunError("is damaged (its checksum does not match): restore it from a copy, or train again")
