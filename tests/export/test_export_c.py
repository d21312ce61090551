"""Exported C: every cell, every task, under the sanitizers, and what is refused."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

import elman
from cortex_m import COMPILE, LIBRARIES, LINKED, RUN, STARTED
from elman.errors import ExportError
from elman.export import agreements, export, layer_as_c
from elman.export.c import CStep
from elman.export.c_functions import preamble
from elman.export.c_model import c_files
from elman.export.expressions import c_name
from elman.jobs import Classifier, Generator
from elman.layers.flat import flat_step
from exported_cells import CELLS, exactly, network, sequence
from trained import FORECASTS, forecaster

COMPILERS = [path for name in ("gcc", "clang") if (path := shutil.which(name))]
if not COMPILERS:
    pytest.skip("no C compiler on the PATH", allow_module_level=True)
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Werror"]


@pytest.fixture(scope="module", params=["float", "double"])
def library(request, tmp_path_factory):
    """All cells in one library: a compiler started once."""
    dtype = {"float": torch.float32, "double": torch.float64}[request.param]
    made = {key: network(key, dtype) for key in CELLS}
    folder = tmp_path_factory.mktemp("c")
    (folder / "cells.c").write_text("\n".join(layer_as_c(layer, c_name(key)) for key, layer in made.items()))
    command = [COMPILERS[0], *STRICT, "-O1", "-shared", "-fPIC", "-o", "cells.so", "cells.c", "-lm"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:2000]
    return request.param, made, ctypes.CDLL(str(folder / "cells.so"))


def run_c(library, key, x, extras):
    real, made, loaded = library
    layer, name = made[key], c_name(key)
    number = {"float": np.float32, "double": np.float64}[real]
    state = ctypes.create_string_buffer(1 << 16)
    getattr(loaded, f"{name}_reset")(state)
    outputs = np.zeros((len(x), layer.output_size), number)
    for t in range(len(x)):
        given = [
            np.ascontiguousarray((x if n == "x" else extras[n])[t, 0].numpy(), number) for n in flat_step(layer).inputs
        ]
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (*given, outputs[t])]
        getattr(loaded, f"{name}_step")(state, *pointers)
    return outputs


@pytest.mark.parametrize("key", CELLS)
def test_c_is_the_cell(library, key):
    layer = library[1][key]
    x, extras = sequence(layer, 60, 1)
    want, allowed = exactly(layer, x, extras)[0]
    allowed = allowed if library[0] == "float" else 1e-11 * np.abs(want).max()
    np.testing.assert_allclose(run_c(library, key, x, extras), want[:, 0], rtol=0, atol=allowed)


@pytest.mark.slow
@pytest.mark.parametrize("key", CELLS)
def test_c_is_the_cell_over_ten_thousand_steps(library, key):
    layer = library[1][key]
    x, extras = sequence(layer, 10_000, 1)
    # The exported functions err by up to 4e-7, seven times as much as torch's, and chaos multiplies that.
    want, allowed = exactly(layer, x, extras, times=16)[0]
    allowed = allowed if library[0] == "float" else 1e-9 * np.abs(want).max()
    assert np.abs(run_c(library, key, x, extras) - want[:, 0]).max() <= allowed


def test_functions_are_exact_to_a_few_units_in_the_last_place(tmp_path):
    names = ["exp", "tanh", "sigmoid", "softplus"]
    code = "#include <math.h>\n#include <stdint.h>\n" + preamble("t", "float", set(names))
    code += "".join(
        f"\nvoid all_{n}(const float *x, float *y, int c) {{ while (c--) y[c] = t_{n}(x[c]); }}" for n in names
    )
    (tmp_path / "f.c").write_text(code)
    command = [COMPILERS[0], "-std=c99", "-O2", "-shared", "-fPIC", "-o", "f.so", "f.c", "-lm"]
    subprocess.run(command, cwd=tmp_path, check=True)
    loaded = ctypes.CDLL(str(tmp_path / "f.so"))
    x = np.concatenate([np.linspace(-20, 20, 200_001), np.logspace(-6, 0, 5000), [0.0, 80, -80, 88]]).astype(np.float32)
    for name in names:
        y = np.empty_like(x)
        getattr(loaded, f"all_{name}")(ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(y.ctypes.data), len(x))
        want = getattr(torch.nn.functional if name == "softplus" else torch, name)(torch.from_numpy(x).double()).numpy()
        near = np.abs(y - want) <= 4e-7 * np.abs(want) + 1e-37
        assert near.all(), (name, x[~near][:3], y[~near][:3], want[~near][:3])
    odd = np.array([np.inf, -np.inf, np.nan], np.float32)
    y = np.empty_like(odd)
    loaded.all_tanh(ctypes.c_void_p(odd.ctypes.data), ctypes.c_void_p(y.ctypes.data), 3)
    assert y[0] == 1
    assert y[1] == -1
    assert np.isnan(y[2])


# Whole models

SERIES = [np.sin(np.arange(20) / (2 + k % 2)) + 0.01 * k for k in range(40)]


def classifier(**choices):
    job = Classifier("gru", hidden=5, epochs=1, directions=1, **choices)
    job.fit((SERIES, ["slow" if k % 2 else 'fa"st\n' for k in range(40)]))
    return job


def generator(**choices):
    job = Generator("lstm", hidden=8, epochs=1, split=(100, 0, 0), **choices)
    job.fit('a "quoted" text \\ with?? trigraphs, süß 東京\n'.encode() * 6)
    return job


MODELS = {
    **{name: lambda name=name: forecaster(name) for name in FORECASTS},
    "class": lambda: classifier(pooling="attention"),
    "text": lambda: generator(),
    "tied text": lambda: generator(embedding=8, tied=True),
}


@pytest.fixture(scope="module")
def models():
    found = {}

    def model(name):
        if name not in found:
            found[name] = MODELS[name]().portable()
        return found[name]

    return model


# Every way of writing, with every compiler; and every kind of model in one way.
WAYS = [(name, options) for name in ("on a line", "text") for options in ({}, {"int8": True}, {"apart": True})]


@pytest.mark.full
@pytest.mark.parametrize(("name", "options"), [*WAYS, *((name, {}) for name in MODELS if (name, {}) not in WAYS)])
def test_the_test_that_is_written_passes_under_the_sanitizers(models, name, options, tmp_path):
    export(models(name), "c", tmp_path / "c", "net_1", **options)
    flags = [*STRICT, "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    for compiler in COMPILERS if (name, options) in WAYS else COMPILERS[:1]:
        command = [compiler, *flags, "-o", "tested", "test_net_1.c", "net_1.c", "-lm"]
        built = subprocess.run(command, cwd=tmp_path / "c", capture_output=True, text=True, check=False)
        assert built.returncode == 0, built.stderr[:2000]
        done = subprocess.run(["./tested"], cwd=tmp_path / "c", capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not all(map(shutil.which, (COMPILE[0], RUN[0]))), reason="no compiler and emulator of a Cortex-M")
@pytest.mark.parametrize("name", ["on a line", "carried", "class", "text"])
def test_it_runs_on_a_microcontroller(models, name, tmp_path):
    folder = tmp_path / "c"
    export(models(name), "c", folder, "net")
    (folder / "board.ld").write_text(LINKED)
    (folder / "board.c").write_text(STARTED)
    command = [*COMPILE, "-Wall", "-Wextra", "test_net.c", "net.c", *LIBRARIES]
    built = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr[:2000]
    assert "warning" not in built.stderr
    done = subprocess.run(RUN, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_test_that_is_written_can_fail(models, tmp_path):
    export(models("alone"), "c", tmp_path / "c", "net")
    code = tmp_path / "c" / "net.c"
    code.write_text(code.read_text().replace("(1.0f - z_l0)", "(1.1f - z_l0)"))
    subprocess.run([COMPILERS[0], "-o", "t", "test_net.c", "net.c", "-lm"], cwd=tmp_path / "c", check=True)
    assert subprocess.run(["./t"], cwd=tmp_path / "c", check=False, capture_output=True).returncode == 1


def test_the_equations_can_be_read_in_the_code(models):
    code = c_files(models("alone"), "net").files["net.c"]
    assert "const float h_l0 = (1.0f - z_l0) * n_l0 + z_l0 * m->net.h_l0[j];" in code


def test_sizes_are_what_the_compiler_says(models, tmp_path):
    made = c_files(models("carried"), "net")
    for name, content in made.files.items():
        (tmp_path / name).write_text(content)
    ask = '#include <stdio.h>\n#include "net.h"\nint main(void) { printf("%zu", sizeof(net)); return 0; }'
    (tmp_path / "ask.c").write_text(ask)
    subprocess.run([COMPILERS[0], "-o", "ask", "ask.c"], cwd=tmp_path, check=True)
    said = int(subprocess.run(["./ask"], cwd=tmp_path, capture_output=True, check=True).stdout)
    assert abs(said - made.sizes["state"]) <= 8
    assert f"{made.sizes['weights']:,}" in made.files["README.md"]


def test_eight_bits_are_a_quarter():
    job = Generator("lstm", hidden=64, epochs=1, split=(100, 0, 0))
    job.fit(b"to be or not to be " * 9)
    whole, small = (c_files(job.portable(), "net", int8=int8).sizes["weights"] for int8 in (False, True))
    assert small < 0.35 * whole


@pytest.mark.full
def test_all_forms_agree(models):
    pytest.importorskip("onnxruntime")
    for name in ("on a line", "carried", "text", "class"):
        found = {a.form: a for a in agreements(models(name))}
        assert found["c"].difference is not None
        assert found["onnx sequence"].difference is not None
        assert all(a.holds for a in found.values()), found


# What is refused, and what is written


def test_what_is_there_is_not_written_over(models, tmp_path):
    (tmp_path / "c").mkdir()
    with pytest.raises(ExportError, match="is there already"):
        export(models("alone"), "c", tmp_path / "c")
    with pytest.raises(ExportError, match="there is no 'cpp'"):
        export(models("alone"), "cpp", tmp_path / "d")
    with pytest.raises(ExportError, match="not small letters"):
        export(models("alone"), "c", tmp_path / "d", "A b")
    for name in ("double", "exp", "../out"):
        with pytest.raises(ExportError, match="choose another"):
            export(models("alone"), "html", tmp_path / "d", name)
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


def test_code_that_does_not_compile_does_not_agree(models, monkeypatch):
    from elman.export import c_model

    monkeypatch.setattr(c_model, "ONCE", c_model.ONCE + "this is no C")
    found = {a.form: a for a in agreements(models("carried"))}["c"]
    assert not found.holds
    assert "refuses the code" in found.reason


def test_an_operation_without_a_form_is_named(monkeypatch):
    from elman.export import c

    monkeypatch.setattr(c, "FAST", {k: v for k, v in c.FAST.items() if k != "sigmoid"})
    with pytest.raises(ExportError, match="operation 'sigmoid' of the cell cannot be written as C"):
        CStep(flat_step(elman.Recurrent("gru", 2, 3)), "net")


def test_the_command_writes_what_it_says(elman, tmp_path):
    import json

    assert elman("train", "forecast", "wave:sine", "--epochs", 1, "--hidden", 4, "-o", "My Run")[0] == 0
    code, out, _ = elman("export", "My Run", "--to", "c", "--json")
    said = json.loads(out)
    assert code == 0
    assert said["name"] == "my_run"
    assert all(Path(file).is_file() for file in said["files"])
    code, _, err = elman("export", "My Run", "--to", "c")
    assert code == 2
    assert re.search(r"is there already; remove it, or choose another with --out", err)
    code, _, err = elman("export", "My Run")
    assert code == 2
    assert "--to: say c, onnx or html" in err
    code, _, err = elman("export", "My Run", "--to", "html", "--int8")
    assert code == 2
    assert "--int8 and --weights-apart are of C alone" in err
    assert elman("export", "My Run", "--to", "html", "-o", "page")[0] == 0
    assert (tmp_path / "page" / "my_run.html").stat().st_size > 10_000


def test_two_directions_are_refused(elman, tmp_path):
    rows = "text,label\n" + "".join(f"{'abc' * (1 + k % 3)},{'xy'[k % 2]}\n" for k in range(60))
    (tmp_path / "a.csv").write_text(rows)
    assert elman("train", "classify", "a.csv", "--epochs", 1, "--hidden", 4, "--sequence", "text", "--label", "label",
                 "--network-alone", "--ngrams", 1, "-o", "r")[0] == 0  # fmt: skip
    code, _, err = elman("export", "r", "--to", "c")
    assert code == 2
    assert "two directions reads a sequence from its end too" in err
