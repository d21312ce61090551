"""Whether the forms of a model agree: the job at once, its stream, ONNX, C and the page, on the same values."""

from __future__ import annotations

import ctypes
import importlib.util
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from elman.errors import ExportError
from elman.export.c_model import c_files
from elman.export.html import page
from elman.export.layer import layer_as_c, layer_as_onnx
from elman.export.onnx_layer import initial_states, state_sizes
from elman.export.onnx_model import sequence_model, step_model
from elman.layers import Recurrent
from elman.layers.flat import flat_step
from elman.stepping.interpret import Interpreted
from elman.stepping.model import Model
from elman.stepping.stream import Stream

ALLOWED = 1e-5  # of the largest value
COMPILERS = ("cc", "gcc", "clang")


@dataclass(frozen=True)
class Agreement:
    """How far one exported form is from the step in float64.

    As a fraction of the largest value; or why it was left out.
    """

    form: str
    difference: float | None
    reason: str = ""

    @property
    def holds(self) -> bool:
        """Whether it agrees, or was left out."""
        return self.difference is None or self.difference <= ALLOWED


class LeftOut(Exception):
    """A form that cannot be tried here, and why."""


class Broken(Exception):
    """A form that was written and cannot be run, and why."""


def agreements(model: Model) -> list[Agreement]:
    """Compare every form of ``model`` on its example."""
    try:
        truth = _streamed(model, torch.float64)
    except ExportError as error:
        return [Agreement("step", None, str(error)), _compared("onnx sequence", _onnx_sequence, model, _said(model))]
    forms: dict[str, Callable[[Model], NDArray[Any]]] = {
        "at once": _said,
        "step": lambda model: _streamed(model, None),
        "onnx sequence": _onnx_sequence,
        "onnx step": _onnx_step,
        "c": _c,
        "page": _page,
    }
    return [_compared(form, compute, model, truth) for form, compute in forms.items()]


def _compared(form: str, compute: Callable[[Model], NDArray[Any]], model: Model, truth: NDArray[Any]) -> Agreement:
    try:
        computed = np.asarray(compute(model), dtype=np.float64).reshape(-1)
    except (LeftOut, ExportError) as error:
        return Agreement(form, None, str(error))
    except Broken as error:
        return Agreement(form, float("inf"), str(error))
    largest = np.abs(truth).max() or 1.0
    difference = np.abs(computed - truth.reshape(-1)).max() if computed.size == truth.size else np.inf
    return Agreement(form, float("inf") if np.isnan(difference) else float(difference / largest))


def _said(model: Model) -> NDArray[Any]:
    if model.said is None:
        raise LeftOut("the model does not say what it says at once")
    return model.said()


def _streamed(model: Model, dtype: torch.dtype | None) -> NDArray[Any]:
    stream, said = Stream(model, dtype=dtype), None
    for value in model.example:
        said = stream.push(value)
    if said is None:
        raise LeftOut("the example is too short")
    return said


def _session(made: Any) -> Any:
    if importlib.util.find_spec("onnxruntime") is None:
        raise LeftOut("onnxruntime is not installed: pip install onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    return onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _onnx_here() -> None:
    if importlib.util.find_spec("onnx") is None:
        raise LeftOut("onnx is not installed: pip install onnx")


def _onnx_sequence(model: Model) -> NDArray[Any]:
    _onnx_here()
    session = _session(sequence_model(model))
    wanted = {entry.name for entry in session.get_inputs()}
    if model.tokens:
        symbols = np.array(model.example, dtype=np.int64)[:, None]
        if "lengths" in wanted and model.parts[0].bag is not None:
            raise LeftOut("the example has no runs of tokens")
        fed: dict[str, NDArray[Any]] = {"symbols": symbols}
    else:
        fed = {"values": np.array(model.example, dtype=np.float64)[None]}
    if "lengths" in wanted:
        fed["lengths"] = np.array([len(model.example)])
    if wanted - fed.keys():
        fed |= {name: value[None] for name, value in initial_states(model.parts[0].recurrent).items()}
    first = session.run(None, fed)[0]
    return first[-1] if model.task == "generate" else first


def _onnx_step(model: Model) -> NDArray[Any]:
    if model.context:
        raise LeftOut("the network reads a window anew for each forecast")
    _onnx_here()
    session = _session(step_model(model))
    flat = model.networks[0]
    begun = Interpreted(flat, torch.float32).initial(rows=1)
    state = {memory.name: part.numpy() for memory, part in zip(flat.memories, begun, strict=True)}
    outputs: list[NDArray[Any]] = []
    stream = Stream(model)
    for value in model.example:
        if model.tokens:
            fed = {"symbol": np.array([value])}
        else:
            if model.differences:
                raise LeftOut("the network reads differences")
            fed = {"x": ((np.array(value) - model.shift) / model.scale)[None].astype(np.float32)}
        outputs = session.run(None, {**fed, **state})
        state = dict(zip(state, outputs[1:], strict=True))
    said = stream.said(outputs[0])
    if model.task == "forecast":
        return said.reshape(-1, len(model.columns)) * model.scale + model.shift
    return said


def _c(model: Model) -> NDArray[Any]:
    files = c_files(model, "network").files
    with tempfile.TemporaryDirectory(prefix="elman-c-") as folder:
        for name, content in files.items():
            Path(folder, name).write_bytes(content if isinstance(content, bytes) else content.encode())
        Path(folder, "main.c").write_text(_printing(model))
        _compile(folder, "-o", "main", "main.c", "network.c")
        values = np.array(model.example, dtype=np.float64)
        written = " ".join(map(str, model.example)) if model.tokens else " ".join(map(repr, values.ravel().tolist()))
        done = subprocess.run([Path(folder, "main")], input=written, capture_output=True, text=True, cwd=folder)
    return np.array([float(number) for number in done.stdout.split()])


def _printing(model: Model) -> str:
    """A program that reads what comes in and prints what the network says of the last."""
    columns = len(model.columns)
    size = model.horizon * columns if model.task == "forecast" else len(model.classes or model.tokens)
    real = "double" if model.task == "forecast" else "float"
    read = "int value;" if model.tokens else f"double value[{columns}];"
    one = '(scanf("%d", &value) == 1)' if model.tokens else " && ".join(
        f'(scanf("%lf", value + {c}) == 1)' for c in range(columns)
    )  # fmt: skip
    return f"""#include <stdio.h>
#include "network.h"
int main(void) {{
    static network m;
    static {real} made[{size}];
    {read}
    network_init(&m);
    while ({one}) network_step(&m, value, made);
    for (int k = 0; k < {size}; k++) printf("%.17g\\n", (double)made[k]);
    return 0;
}}
"""


def run_c(layer: Recurrent, x: torch.Tensor, extras: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """What the step of ``layer`` says in C, step by step: x (T, 1, I) to (T, 1, O).

    Raises :class:`LeftOut` where there is no compiler, :class:`Broken` where it refuses the code.
    """
    kind = ctypes.c_float if x.dtype == torch.float32 else ctypes.c_double
    outputs = torch.zeros(len(x), 1, layer.output_size, dtype=x.dtype)
    with tempfile.TemporaryDirectory(prefix="elman-c-") as folder:
        Path(folder, "layer.c").write_text(layer_as_c(layer, "layer"))
        _compile(folder, "-shared", "-fPIC", "-o", "layer.so", "layer.c")
        loaded = ctypes.CDLL(str(Path(folder, "layer.so")))
        flat = flat_step(layer)
        state = (kind * max(1, sum(memory.size for memory in flat.memories)))()
        loaded.layer_reset(state)
        for t in range(len(x)):
            inputs = [(x if n == "x" else extras[n])[t, 0].contiguous() for n in flat.inputs]
            pointers = [ctypes.c_void_p(tensor.data_ptr()) for tensor in (*inputs, outputs[t, 0])]
            loaded.layer_step(state, *pointers)
    return outputs


def run_onnx(layer: Recurrent, x: torch.Tensor, extras: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """What ``layer`` says in onnxruntime of x (T, B, I). Raises :class:`LeftOut`."""
    _onnx_here()
    session = _session(layer_as_onnx(layer))
    fed = {"x": x.numpy(), "lengths": np.full(x.shape[1], len(x))}
    fed |= {name: np.zeros((x.shape[1], size), np.float32) for name, size in state_sizes(layer).items()}
    fed |= {name: value.numpy() for name, value in extras.items()}
    return torch.from_numpy(session.run(None, fed)[0])


def _compile(folder: str, *arguments: str) -> None:
    compiler = next((path for name in COMPILERS if (path := shutil.which(name))), None)
    if compiler is None:
        raise LeftOut("no C compiler is on the PATH")
    command = [compiler, "-std=c99", "-O1", *arguments, "-lm"]
    built = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if built.returncode:
        raise Broken(f"{compiler} refuses the code: {' '.join(built.stderr.split())[:300]}")


def _page(model: Model) -> NDArray[Any]:
    browser, driver = (shutil.which(name) for name in ("chromium", "chromedriver"))
    if not (browser and driver):
        raise LeftOut("no chromium with its chromedriver is on the PATH")
    if importlib.util.find_spec("selenium") is None:
        raise LeftOut("selenium is not installed: pip install selenium")
    from selenium import webdriver

    with tempfile.TemporaryDirectory(prefix="elman-page-") as folder:
        file = Path(folder, "page.html")
        file.write_text(page(model, "network"), encoding="utf-8")
        options = webdriver.ChromeOptions()
        options.binary_location = browser
        for switch in ("--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/browser"):
            options.add_argument(switch)
        opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
        try:
            opened.get(file.as_uri())
            said = opened.execute_script(
                "STREAM.reset(); let said = null; for (const v of JSON.parse(arguments[0])) said = STREAM.push(v);"
                "return JSON.stringify(said);",
                json.dumps(model.example),
            )
        finally:
            opened.quit()
    return np.array(json.loads(said), dtype=np.float64)
