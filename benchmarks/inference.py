"""One row at a time, as a service answers: forward alone at B=1, against torch.nn, JAX, onnxruntime and OpenVINO."""

from __future__ import annotations

import argparse
import sys

import torch

from elman.bench import Plan, Shape, measure, table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", default="1,1000,1,64", help="B,T,I,H")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    plan = Plan(shapes=(Shape.read(options.shape),), modes=("forward",), rounds=options.rounds)
    result = measure(plan, say=lambda text: print(text, file=sys.stderr))
    print(*table(result), sep="\n")
    for case in result["cases"]:
        outside = {k: f["ratio"] for k, f in case["peers"].items() if k in ("jax scan", "onnxruntime", "openvino")}
        if outside:
            best = min(outside, key=outside.__getitem__)
            print(f"{case['cell']}: the best of the others, {best}, takes {outside[best]:.2f} times our time")


if __name__ == "__main__":
    main()
