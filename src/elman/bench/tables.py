"""A measurement as a plain table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elman.bench.peers import LOOP, OURS

HEADER = f"{'':28}{'ms':>10}{'times ours':>12}{'GF/s':>9}{'% of peak':>11}"


def table(result: Mapping[str, Any]) -> list[str]:
    """Format a measurement as text: a block per case, then the ratios to torch.nn.

    >>> figures = {"ms": 0.25, "ratio": 1.0, "gflops": 40.0, "percent_of_peak": None, "note": ""}
    >>> case = {"cell": "rnn", "shape": [32, 50, 1, 32], "mode": "forward", "backend": "cpu", "aside": {}}
    >>> result = {"cases": [case | {"peers": {"elman": figures}}], "absent": {}, "peak_gflops": None}
    >>> print(*table(result)[1:], sep="\\n")
    rnn 32,50,1,32 forward
      elman (cpu)                     0.25           1       40          -
    """
    lines = [HEADER]
    for case in result["cases"]:
        lines.append(f"{case['cell']} {_shape(case)} {case['mode']}")
        lines += [_line(name, figures, case["backend"]) for name, figures in case["peers"].items()]
        lines += [f"  {name}: {why}" for name, why in case["aside"].items() if why.startswith("failed")]
    lines += _summary(result)
    lines += [f"not measured: {name}: {why}" for name, why in result["absent"].items()]
    if result["peak_gflops"]:
        lines.append(f"peak: {result['peak_gflops']:.0f} GF/s, a multiply-add loop in registers on all threads")
    return lines


def catalogue_table(result: Mapping[str, Any]) -> list[str]:
    """Format a measurement of the catalogue as text, a line per cell.

    >>> figures = {"ms": 0.25, "ratio": 8.0, "gflops": 40.0, "percent_of_peak": None, "note": ""}
    >>> case = {"cell": "rnn", "shape": [32, 50, 1, 32], "backend": "cpu", "fallback": ""}
    >>> print(*catalogue_table({"cases": [case | {"peers": {"elman": figures, "reference loop": figures}}]}), sep="\\n")
    32,50,1,32                    ms   loop ms    ratio     GF/s  % of peak  backend
    rnn                         0.25      0.25        8       40          -  cpu
    """
    lines: list[str] = []
    for shape in dict.fromkeys(_shape(case) for case in result["cases"]):
        lines.append(f"{shape:22}{'ms':>10}{'loop ms':>10}{'ratio':>9}{'GF/s':>9}{'% of peak':>11}  backend")
        lines += [_catalogue_line(case) for case in result["cases"] if _shape(case) == shape]
    return lines


def _catalogue_line(case: Mapping[str, Any]) -> str:
    own, loop = case["peers"][OURS], case["peers"][LOOP]
    percent = "-" if own["percent_of_peak"] is None else f"{own['percent_of_peak']:.1f}"
    why = f": {case['fallback']}" if case["fallback"] else ""
    note = f"  ({loop['note']})" if loop["note"] else ""
    figures = f"{own['ms']:10.4g}{loop['ms']:10.4g}{loop['ratio']:9.3g}{own['gflops']:9.3g}{percent:>11}"
    return f"{case['cell']:22}{figures}  {case['backend']}{why}{note}"


def _shape(case: Mapping[str, Any]) -> str:
    return ",".join(map(str, case["shape"]))


def _line(name: str, figures: Mapping[str, Any], backend: str) -> str:
    label = f"{name} ({backend})" if name == OURS else name
    percent = figures["percent_of_peak"]
    shown = f"{percent:11.1f}" if percent is not None else f"{'-':>11}"
    note = f"  {figures['note']}" if figures["note"] else ""
    return f"  {label:26}{figures['ms']:10.4g}{figures['ratio']:12.3g}{figures['gflops']:9.3g}{shown}{note}"


def _summary(result: Mapping[str, Any]) -> list[str]:
    """How many times faster than torch.nn, shapes down and cells across, a block a mode."""
    compared = [case for case in result["cases"] if "torch.nn" in case["peers"]]
    if len(compared) < 2:
        return []
    cells = list(dict.fromkeys(case["cell"] for case in compared))
    lines = []
    for mode in dict.fromkeys(case["mode"] for case in compared):
        lines.append(f"{'torch.nn / elman, ' + mode:40}" + "".join(f"{cell:>9}" for cell in cells))
        ratios = {(_shape(c), c["cell"]): c["peers"]["torch.nn"]["ratio"] for c in compared if c["mode"] == mode}
        for shape in dict.fromkeys(shape for shape, _ in ratios):
            lines.append(f"  {shape:38}" + "".join(f"{ratios.get((shape, cell), float('nan')):9.3g}" for cell in cells))
    return lines
