"""The machine: versions, processor, threads."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from elman.backends.cpu.llvm import machine, threads


def facts() -> dict[str, Any]:
    """Describe this machine.

    Versions, the processor, the width of its vectors in float32, its load of the last minute, the threads used.

    >>> facts()["torch"] == torch.__version__
    True
    """
    llvmlite = _version("llvmlite")
    return {
        "elman": _version("elman"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "llvmlite": llvmlite,
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "vector_width": machine.width() if llvmlite else None,
        "threads": torch.get_num_threads(),
        "kernel_threads": threads.team(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def processor(listing: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name, as the system knows it."""
    if sys.platform.startswith("linux") and listing.is_file():
        for line in listing.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    return platform.processor() or platform.machine()
