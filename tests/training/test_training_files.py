"""Files are whole or not there; a tensor file refuses every change of a byte."""

from __future__ import annotations

import json
import os
import stat

import pytest
import safetensors.torch
import torch

from elman.errors import RunError
from elman.training import files
from elman.training.files import load_tensors, save_tensors, write_atomically


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "model.safetensors"
    save_tensors(path, {"w": torch.tensor([1.0, -2.0]), "n": torch.tensor(3)}, {"epoch": "4"})
    return path


@pytest.fixture
def umask():
    before = os.umask(0)
    yield os.umask
    os.umask(before)


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_are_the_umasks(tmp_path, umask, mask):
    umask(mask)
    write_atomically(tmp_path / "a", b"x")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, call):
    write_atomically(tmp_path / "a", b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(RunError, match=r"a: No space left on device"):
        write_atomically(tmp_path / "a", b"new")
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "a", b"new")
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(RunError, match=r"gone/a: No such file"):
        write_atomically(tmp_path / "gone" / "a", b"x")


def test_tensors_come_back(tmp_path):
    base = torch.arange(12.0).reshape(3, 4)
    weight = torch.nn.Parameter(torch.ones(2))
    given = {
        "base": base,
        "transposed": base.T,
        "shared": base[1:],
        "parameter": weight,
        "empty": torch.zeros(0, 2),
        "scalar": torch.tensor(True),
        "double": torch.tensor([1 / 3], dtype=torch.float64),
        "ünïcode": torch.tensor([1], dtype=torch.uint8),
    }
    save_tensors(tmp_path / "a", given, {"ключ": 'says "checksum":"0"\n'})
    tensors, metadata = load_tensors(tmp_path / "a")
    assert metadata == {"ключ": 'says "checksum":"0"\n'}
    assert tensors.keys() == given.keys()
    for name, tensor in given.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)


def test_equal_content_gives_equal_bytes():
    metadata = {letter: letter for letter in "abcdefgh"}
    encoded = {files.encode({"w": torch.ones(2)}, metadata) for _ in range(10)}
    assert len(encoded) == 1


def test_any_safetensors_reader_opens_it(small):
    assert torch.equal(safetensors.torch.load_file(small)["w"], torch.tensor([1.0, -2.0]))


def test_every_flipped_byte_is_refused(small):
    whole = small.read_bytes()
    for place in range(len(whole)):
        for flip in (0x01, 0x20, 0x80, 0xFF):
            damaged = bytearray(whole)
            damaged[place] ^= flip
            with pytest.raises(RunError):
                files.decode(bytes(damaged))
    files.decode(whole)


def test_every_truncation_is_refused(small):
    whole = small.read_bytes()
    for length in range(len(whole)):
        with pytest.raises(RunError):
            files.decode(whole[:length])
    with pytest.raises(RunError, match="damaged"):
        files.decode(whole + b"\0")


def refusal(path) -> str:
    with pytest.raises(RunError) as caught:
        load_tensors(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_refusals_name_the_file_and_the_cause(small):
    whole = small.read_bytes()
    small.write_bytes(whole[:-1] + b"\x01")
    assert "is damaged" in refusal(small)
    small.write_bytes(whole[:-3])
    assert "is damaged" in refusal(small)
    small.write_bytes(b"")
    assert "is empty" in refusal(small)
    safetensors.torch.save_file({"w": torch.ones(2)}, small, {"checksum": "0" * 64})
    assert "not a file of Elman's" in refusal(small)
    small.unlink()
    assert "is missing" in refusal(small)
    small.mkdir()
    assert "directory" in refusal(small)


def test_a_newer_format_is_refused_as_newer(small, monkeypatch):
    monkeypatch.setattr(files, "FORMAT", 2)
    save_tensors(small, {"w": torch.ones(2)})
    monkeypatch.setattr(files, "FORMAT", 1)
    assert "newer Elman (format 2, this one reads 1)" in refusal(small)


def test_the_checksum_is_of_the_whole_file_with_zeros_in_its_place(small):
    import hashlib

    whole = small.read_bytes()
    end = 8 + int.from_bytes(whole[:8], "little")
    digest = json.loads(whole[8:end])["__metadata__"]["checksum"]
    assert hashlib.sha256(whole.replace(digest.encode(), b"0" * 64)).hexdigest() == digest
