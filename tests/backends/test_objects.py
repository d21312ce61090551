"""Kernels that are kept for the next process: equal bits, and nothing that is wrong with the folder does harm."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from elman.backends.cpu.llvm import compiler, objects

CODE = """define i64 @entry() {{
  ret i64 {0}
}}"""
TRAIN = """import sys, torch, elman
from elman.backends.cpu.llvm import compiler
def refuse(*_): raise AssertionError("compiled")
if "kept" in sys.argv: compiler._compile = refuse
torch.manual_seed(0)
layer = elman.GRU(3, 5)
x = torch.randn(7, 4, 3)
output, _ = layer(x)
output.square().sum().backward()
print(*(t.double().sum().item().hex() for t in (output, *(p.grad for p in layer.parameters()))))"""


@pytest.fixture
def kernels(tmp_path, monkeypatch):
    monkeypatch.setenv("ELMAN_CACHE", str(tmp_path))
    return tmp_path / "kernels"


def built(number):
    import ctypes

    return ctypes.CFUNCTYPE(ctypes.c_int64)(compiler.build(CODE.format(number), 4, ["entry"])["entry"])()


def trained(*arguments):
    done = subprocess.run([sys.executable, "-c", TRAIN, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.full
def test_the_next_process_compiles_nothing_and_has_equal_bits(kernels):
    first = trained()
    assert list(kernels.iterdir())
    assert trained("kept") == first


@pytest.mark.full
def test_two_processes_at_once(kernels):
    command = [sys.executable, "-c", TRAIN]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = {process.communicate()[0] for process in running}
    assert len(said) == 1
    assert said.pop()
    assert all(file.suffix == ".o" for file in kernels.iterdir())


def test_damaged_files_are_made_anew(kernels):
    assert built(7) == 7
    (file,) = kernels.iterdir()
    whole = file.read_bytes()
    for broken in (b"", whole[:20], whole[:-1], whole[:40] + b"\xff" + whole[41:]):
        file.write_bytes(broken)
        assert objects.read(file.stem) is None
        assert built(7) == 7
        assert file.read_bytes() == whole


def test_only_the_user_can_read_and_write(kernels):
    built(8)
    assert kernels.stat().st_mode & 0o777 == 0o700
    assert [f.stat().st_mode & 0o777 for f in kernels.iterdir()] == [0o600]


def test_a_folder_in_which_others_write_is_not_used(kernels):
    kernels.mkdir()
    kernels.chmod(0o777)
    assert built(9) == 9
    assert not list(kernels.iterdir())


@pytest.mark.parametrize("value", ["", "0", "off", "OFF"])
def test_it_can_be_switched_off(monkeypatch, tmp_path, value):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ELMAN_CACHE", value)
    assert objects.folder() is None
    assert built(10) == 10
    assert not list(tmp_path.iterdir())


def test_a_place_where_no_folder_can_be_made(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ELMAN_CACHE", str(tmp_path / "file"))
    assert built(11) == 11


def test_it_stays_within_its_limit(kernels, monkeypatch):
    monkeypatch.setattr(objects, "LIMIT", 1000)
    for k in range(9):
        objects.write(f"{k}", bytes(200))
        os.utime(kernels / f"{k}.o", (k, k))
    assert sorted(f.stem for f in kernels.iterdir()) == ["5", "6", "7", "8"]
    assert objects.read("5")  # used just now
    objects.write("9", bytes(200))
    assert sorted(f.stem for f in kernels.iterdir()) == ["5", "7", "8", "9"]
