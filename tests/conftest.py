"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

# The cases are tiny: a second thread costs more than it gives, many times over where the machine is busy.
torch.set_num_threads(1)

DATA = Path(os.environ.get("ELMAN_DATA", Path(__file__).parents[1] / ".." / "shared" / "data"))


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of public data sets; the test is skipped where there is none."""
    if not DATA.is_dir():
        pytest.skip(f"no public data at {DATA}; say where they are with ELMAN_DATA=folder")
    return DATA
