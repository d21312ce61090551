"""The measurement: all peers of a case in turn, several rounds, medians and paired ratios.

Machines drift by tens of per cent within minutes and hold several thread pools at once. So every round measures each
peer once, a ratio is taken inside a round, and before each peer the pools of the others get time to fall asleep.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

from elman.bench.cases import CATALOGUE, GRID, MODES, QUICK, Shape, Work
from elman.bench.peers import LOOP, OURS, PEERS, THREE, Run, missing
from elman.cells import REGISTRY

AGREES = 1e-3  # relative to the largest entry; peers use approximations of tanh and sigmoid of their own
LONG = 0.1  # seconds of a call from which warming up before it changes nothing


@dataclass(frozen=True)
class Plan:
    """What to measure, and how often.

    ``rounds`` per case; in each, a peer is called for at least ``seconds``, then all wait for ``pause`` seconds.
    """

    cells: tuple[str, ...] = THREE
    shapes: tuple[Shape, ...] = GRID
    modes: tuple[str, ...] = tuple(MODES)
    backend: str = "auto"
    rounds: int = 7
    seconds: float = 0.05
    pause: float = 0.02
    peers: tuple[str, ...] = tuple(PEERS)
    options: Mapping[str, Any] = field(default_factory=dict)  # of the cells

    @classmethod
    def quick(cls, **choices: Any) -> Plan:
        """A short look: the two smallest shapes, few rounds.

        >>> Plan.quick(rounds=1).rounds
        1
        """
        short: dict[str, Any] = {"shapes": QUICK, "rounds": 3, "seconds": 0.01}
        return cls(**(short | choices))

    @classmethod
    def catalogue(cls, **choices: Any) -> Plan:
        """The plan for every cell of the catalogue, against a loop of torch's operations.

        Forward and backward, at one shape.

        >>> len(Plan.catalogue().cases()) == len(REGISTRY)
        True
        """
        every: dict[str, Any] = {
            "cells": tuple(REGISTRY), "shapes": (CATALOGUE,), "modes": ("forward+backward",), "peers": (OURS, LOOP),
        }  # fmt: skip
        return cls(**(every | choices))

    def cases(self) -> list[tuple[str, Shape, str]]:
        """Every case: cell, shape and mode."""
        return [(cell, shape, mode) for mode in self.modes for shape in self.shapes for cell in self.cells]


def measure(plan: Plan, peak: float | None = None, say: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """Measure all cases of ``plan``.

    ``peak`` is the machine's in GF/s, for the per cent of it; ``say`` hears of each case as it is begun.
    Raises :class:`ElmanError` for an unknown cell, or a backend named that refuses one.

    >>> plan = Plan(("rnn",), (Shape(2, 3, 1, 4),), ("forward",), rounds=1, seconds=0, peers=("torch.nn",))
    >>> sorted(measure(plan)["cases"][0]["peers"]["torch.nn"])
    ['gflops', 'ms', 'note', 'percent_of_peak', 'ratio']
    """
    absent = {name: reason for name in plan.peers if (reason := missing(name))}
    cases = plan.cases()
    results = []
    for number, (cell, shape, mode) in enumerate(cases, start=1):
        say(f"{number}/{len(cases)} {cell} {shape} {mode}")
        results.append(_case(plan, Work.of(cell, shape, mode, plan.backend, plan.options), absent, peak))
    return {"peak_gflops": peak, "rounds": plan.rounds, "cases": results, "absent": absent}


def _case(plan: Plan, work: Work, absent: Mapping[str, str], peak: float | None) -> dict[str, Any]:
    backend = work.backend()
    runs, aside = _prepare(work, [name for name in plan.peers if name not in absent])
    notes = _compare(runs)
    times = interleave(runs, plan.rounds, plan.seconds, plan.pause)
    peers = {
        name: _figures(seconds, times[OURS], work.flops, peak) | {"note": notes[name]}
        for name, seconds in times.items()
    }
    shape = [work.shape.B, work.shape.T, work.shape.I, work.shape.H]
    return {
        "cell": work.cell, "shape": shape, "mode": work.mode, "backend": backend, "fallback": work.fallback(),
        "flops": work.flops, "peers": peers, "aside": aside,
    }  # fmt: skip


def _prepare(work: Work, names: Sequence[str]) -> tuple[dict[str, Run], dict[str, str]]:
    """What runs each peer, and why others stand aside. Ours must run; a peer that fails is noted."""
    runs: dict[str, Run] = {OURS: _ready(PEERS[OURS](work))}
    aside: dict[str, str] = {}
    for name in names:
        if name == OURS:
            continue
        try:
            prepared = PEERS[name](work)
            if isinstance(prepared, str):
                aside[name] = prepared
            else:
                prepared()
                runs[name] = prepared
        except Exception as error:
            aside[name] = f"failed: {type(error).__name__}: {error}"
    return runs, aside


def _ready(prepared: Run | str) -> Run:
    assert not isinstance(prepared, str), prepared
    prepared()
    return prepared


def _compare(runs: Mapping[str, Run]) -> dict[str, str]:
    """A note for each peer whose output or gradient is not ours: it would be measured at something else."""
    ours = _arrays(runs[OURS]())
    notes = {}
    for name, run in runs.items():
        pairs = zip(_arrays(run()), ours, strict=True)
        error = max(float(np.abs(theirs - own).max() / max(np.abs(own).max(), 1e-6)) for theirs, own in pairs)
        notes[name] = "" if error < AGREES else f"results differ by {error:.1e}"
    return notes


def _arrays(values: Sequence[Any]) -> list[Any]:
    return [np.asarray(v.detach() if hasattr(v, "detach") else v) for v in values[:2]]


def interleave(
    runs: Mapping[str, Callable[[], Any]], rounds: int = 7, seconds: float = 0.05, pause: float = 0.02
) -> dict[str, list[float]]:
    """Time several functions in turn.

    Returns the seconds of a call: for each of ``runs`` one median per round; each round calls all of them.

    >>> times = interleave({"sum": lambda: sum(range(10)), "nothing": lambda: None}, rounds=3, seconds=0, pause=0)
    >>> [len(each) for each in times.values()]
    [3, 3]
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            time.sleep(pause)
            if not times[name] or times[name][-1] < LONG:
                run()
            times[name].append(_block(run, seconds))
    return times


def _block(run: Callable[[], Any], seconds: float) -> float:
    taken: list[float] = []
    while not taken or sum(taken) < seconds:
        begun = time.perf_counter()
        run()
        taken.append(time.perf_counter() - begun)
    return median(taken)


def _figures(seconds: Sequence[float], ours: Sequence[float], flops: int, peak: float | None) -> dict[str, Any]:
    """The figures of a peer; ``ratio`` is how many times our time it takes, the median of the rounds' ratios."""
    middle = median(seconds)
    gflops = flops / middle / 1e9
    return {
        "ms": middle * 1e3,
        "ratio": ratio(seconds, ours),
        "gflops": gflops,
        "percent_of_peak": None if not peak else 100 * gflops / peak,
    }


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> float:
    """How many times our time theirs is: the median of the ratios of each round.

    >>> ratio([2.0, 9.0, 4.0], [1.0, 1.0, 2.0])
    2.0
    """
    return median(one / own for one, own in zip(theirs, ours, strict=True))


def median_of(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge measurements of one plan, made in several processes: the median of each figure.

    >>> one, two, three = ({"cases": [{"peers": {"a": {"ms": ms, "note": ""}}}]} for ms in (1.0, 9.0, 2.0))
    >>> median_of([one, two, three])["cases"][0]["peers"]["a"]["ms"]
    2.0
    """
    first = dict(results[0]) | {"processes": len(results)}
    first["cases"] = [_merged(same) for same in zip(*(r["cases"] for r in results), strict=True)]
    if first.get("peak_gflops"):
        first["peak_gflops"] = median(r["peak_gflops"] for r in results)
    return first


def _merged(same: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    names = [name for name in same[0]["peers"] if all(name in case["peers"] for case in same)]
    peers = {name: _middle([case["peers"][name] for case in same]) for name in names}
    return dict(same[0]) | {"peers": peers}


def _middle(figures: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        key: median(f[key] for f in figures) if isinstance(value, float) else value for key, value in figures[0].items()
    }
