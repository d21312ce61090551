"""Where torch's own OpenMP pool is looked for."""

from __future__ import annotations

import ctypes
import shutil
from pathlib import Path

import pytest
import torch

from elman.backends.cpu.llvm import threads

GNU = sorted((Path(torch.__file__).parent / "lib").glob("libgomp*.so*"))


@pytest.mark.skipif(not GNU, reason="this torch brings no libgomp")
@pytest.mark.parametrize("place", ["torch/lib/libgomp.so.1", "torch.libs/libgomp-0.so.1", "torch/lib/libomp.dylib"])
def test_the_pool_is_found_where_wheels_have_it(place, tmp_path, monkeypatch):
    """Of torch for Linux, for Linux on ARM, and for macOS, whose library has the same names."""
    library = tmp_path / place
    library.parent.mkdir(parents=True)
    shutil.copy(GNU[0], library)
    monkeypatch.setattr(threads.torch, "__file__", str(tmp_path / "torch" / "__init__.py"))
    pool = threads.pool.__wrapped__()
    assert pool.parallel == ctypes.cast(ctypes.CDLL(str(library)).GOMP_parallel, ctypes.c_void_p).value


def test_without_one_there_is_none(tmp_path, monkeypatch):
    (tmp_path / "torch" / "lib").mkdir(parents=True)
    (tmp_path / "torch" / "lib" / "libomp.dylib").write_bytes(b"no library")
    monkeypatch.setattr(threads.torch, "__file__", str(tmp_path / "torch" / "__init__.py"))
    assert threads.pool.__wrapped__() is None
