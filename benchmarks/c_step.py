"""Nanoseconds of one step in exported C, beside RTNeural's, compiled and run together.

python benchmarks/c_step.py RTNEURAL [--eigen /usr/include/eigen3] [--save docs/c_step.json]

RTNEURAL is a copy of https://github.com/jatinchowdhury18/RTNeural: its Eigen backend, and layers whose sizes are known
to the compiler.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
from pathlib import Path

import torch

import elman
from elman.export import layer_as_c

CELLS, SIZES, ROUNDS = ("gru", "lstm"), (8, 16, 32, 64), 5
LAYERS = {"gru": "GRULayerT", "lstm": "LSTMLayerT"}
HEAD = """#include <RTNeural/RTNeural.h>
#include <chrono>
#include <cstdio>
static float inputs[1024], sink;
alignas(64) static char state[1 << 16];
alignas(64) static float y[64];
static double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
template <class F> static double nanoseconds(F step) {
  const int count = 20000;
  double best = 1e9;
  for (int r = 0; r < 9; r++) {
    double start = now();
    for (int i = 0; i < count; i++) step(inputs[i & 1023]);
    double each = (now() - start) / count * 1e9;
    if (each < best) best = each;
  }
  return best;
}
template <class Layer> static double peer() {
  static Layer layer;
  layer.reset();
  Eigen::Matrix<float, 1, 1> x;
  return nanoseconds([&](float value) { x(0) = value; layer.forward(x); sink += layer.outs(0); });
}
"""


def program() -> str:
    """The benchmark's C++."""
    cases = [(cell, size) for cell in CELLS for size in SIZES]
    declared = "\n".join(
        f"void {c}{h}_reset(void *); void {c}{h}_step(void *, const float *, float *);" for c, h in cases
    )
    own = "nanoseconds([](float v) {{ {0}{1}_step(state, &v, y); sink += y[0]; }})"
    other = "peer<RTNeural::{2}<float, 1, {1}>>()"
    line = '  {0}{1}_reset(state);\n  printf("{0} {1} %.1f %.1f\\n", ' + f"{own}, {other});"
    measured = "\n".join(line.format(c, h, LAYERS[c]) for c, h in cases)
    begin = "  for (int i = 0; i < 1024; i++) inputs[i] = (float)((i * 7919) % 1000) / 1000 - 0.5f;"
    return f'{HEAD}extern "C" {{\n{declared}\n}}\nint main() {{\n{begin}\n{measured}\n  return sink == 1.25f;\n}}\n'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rtneural", type=Path)
    parser.add_argument("--eigen", default="/usr/include/eigen3")
    parser.add_argument("--save", type=Path)
    args = parser.parse_args()
    found: dict[str, list[list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "bench.cpp").write_text(program())
        objects = []
        for cell in CELLS:
            for size in SIZES:
                torch.manual_seed(0)
                name = f"{cell}{size}"
                Path(folder, f"{name}.c").write_text(layer_as_c(elman.Recurrent(cell, 1, size), name))
                command = ["gcc", "-std=c99", "-O3", "-march=native", "-c", f"{name}.c", "-o", f"{name}.o"]
                subprocess.run(command, cwd=folder, check=True)
                objects.append(f"{name}.o")
        flags = [
            "-std=c++17",
            "-O3",
            "-march=native",
            "-w",
            "-DRTNEURAL_USE_EIGEN=1",
            "-DRTNEURAL_DEFAULT_ALIGNMENT=32",
        ]
        include = [f"-I{args.rtneural.resolve()}", f"-I{args.eigen}"]
        subprocess.run(["g++", *flags, *include, "bench.cpp", *objects, "-o", "bench"], cwd=folder, check=True)
        for _ in range(ROUNDS):
            out = subprocess.run([Path(folder, "bench")], capture_output=True, text=True, check=False).stdout
            for cell, size, own, peer in map(str.split, out.splitlines()):
                found.setdefault(f"{cell} {size}", []).append([float(own), float(peer)])
    result = {}
    for case, pairs in found.items():
        own, peer = (statistics.median(pair[i] for pair in pairs) for i in range(2))
        ratio = statistics.median(pair[1] / pair[0] for pair in pairs)
        result[case] = {"elman ns": own, "rtneural ns": peer, "times": round(ratio, 2)}
    print(json.dumps(result, indent=1))
    if args.save:
        args.save.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
