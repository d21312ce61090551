"""What all tests share."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

# The cases are tiny: a second thread costs more than it gives, many times over where the machine is busy. numpy asks
# once, when it is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# And OpenMP, of the commands and examples that tests start: with as many workers as cores, two threads each take
# twenty times as long as one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Kernels for the GPU are interpreted. Triton asks once too.
os.environ["TRITON_INTERPRET"] = "1"

import pytest
import torch
from hypothesis import settings

from elman.backends.cpu.call import engine
from elman.backends.cpu.llvm import compiler
from elman.cells import REGISTRY
from elman.cli import run

torch.set_num_threads(1)

# Kernels are compiled ten times as fast without LLVM's optimisations. Where these matter a file asks for `optimised`;
# `make test-all` runs everything with them.
FULL = compiler.LEVEL
if not os.environ.get("ELMAN_OPTIMISED"):
    compiler.LEVEL = 0


@pytest.fixture(scope="module")
def optimised():
    """Kernels as users have them, none that was compiled before."""
    before, compiler.LEVEL = compiler.LEVEL, FULL
    engine.forget()
    yield
    compiler.LEVEL = before


DATA = Path(os.environ.get("ELMAN_DATA", Path(__file__).parents[1] / ".." / "shared" / "data"))


def pytest_configure(config):
    """All workers, and the commands they start, share the kernels that one of them compiled; no other run does."""
    if not hasattr(config, "workerinput"):
        config.kernels = os.environ["ELMAN_CACHE"] = tempfile.mkdtemp(prefix="elman-kernels-")


# In these files `make test` takes the cells KEPT alone: one of each kind of state, gate and block.
EVERY_CELL = {
    *(
        "test_reference",
        "test_padding",
        "test_contract",
        "test_recompute",
        "test_extras",
        "test_layers",
        "test_stepping",
        "test_fork",
    ),
    *("test_insight_memory", "test_insight_activity", "test_insight_paths", "test_insight_flow"),
    *("test_insight_jacobians", "test_export_c", "test_export_onnx", "test_cpu_backend", "test_cpu_torch"),
}
KEPT = {"lstm", "gru", "rnn", "slstm"}
# And these are left to `make test-all`: of a test with several cases the costliest, where one like it stays.
LEFT_OUT = re.compile(
    r"elman\.checks\.cell\.check$|elman\.jobs\.classifier\.Classifier$"
    r"|test_every_cell_says_the_same|test_torch_s_own_exporters_take_a_layer|test_projections\[2"
    r"|test_an_interrupt_at_any_time\w*\[(0\.05|0\.3|4\.0|8\.0)|test_any_text_goes_to_any_stdout\[(utf-8|cp1252)"
    r"|test_c_is_the_cell\[float|test_it_runs_on_a_microcontroller\[(class|carried)"
    r"|test_equals_the_reference\[(rnn|gru)-torch\.float\d\d-all|test_ulps\[\w+-4-float32"
    r"|test_equals_the_reference_in_float64\[(?!metered|raw)|test_equals_the_reference\[\w+-one"
    r"|test_(a_layer_of_any_length_is_the_same|a_stepper_is_the_sequence|steps_are_the_sequence)\[(outside|own)_(?!raw)"
    r"|test_equals_the_reference\[(three_heads|four_heads|normed_gates|decay)-"
    r"|test_gradients_formed_in_several_stretches\[(gru_cho|centred|four_heads)|test_ulps\[\w+-8-"
    r"|test_no_inner_loop_touches_the_stack\[(?!lstm-331)|test_the_doctor_finds_a_wrong_backend\[(?!lstm)"
    r"|test_every_vector_width\[(?!lstm)|test_the_bench_of_the_catalogue|test_code_that_does_not_compile"
)


def pytest_collection_modifyitems(items):
    """Mark what `make test-all` runs besides: see the marker `full`."""
    for item in items:
        named = set(item.name.partition("[")[2].rstrip("]").split("-")) & REGISTRY.keys()
        kept = KEPT | {"gru_cho"} if item.path.stem == "test_reference" else KEPT  # there, the other of two conventions
        every_cell = item.path.stem in EVERY_CELL and bool(named - kept)
        if every_cell or LEFT_OUT.match(item.name):
            item.add_marker(pytest.mark.full)


def pytest_unconfigure(config):
    if not hasattr(config, "workerinput"):
        shutil.rmtree(config.kernels, ignore_errors=True)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of public data sets; the test is skipped where there is none."""
    if not DATA.is_dir():
        pytest.skip(f"no public data at {DATA}; say where they are with ELMAN_DATA=folder")
    return DATA


# On a build machine the same examples every time; at one's own desk new ones.
settings.register_profile("tests", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("tests")


@pytest.fixture(autouse=True)
def _same_numbers_every_time():
    """Torch's own module cases draw their inputs from its global generator."""
    torch.manual_seed(0)


@pytest.fixture
def write(tmp_path):
    """Writes a file of this text, or these bytes, into the test's folder and returns its path."""

    def written(text: str | bytes, name: str = "a.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return written


@pytest.fixture
def elman(tmp_path, monkeypatch, capsys):
    """Run one command line in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        capsys.readouterr()
        code = run([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call
