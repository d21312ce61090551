"""Blends of many series: of some hundreds one each, chosen on all cores; of more, one that suits a sample of them.

Choosing takes a second for a long series. What is chosen for one knows nothing of another, so it is done in processes
of their own, which load nothing but numpy.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.errors import DataError
from elman.linear.blend import Blend, Member

Array = NDArray[np.float64]
Work = tuple[Array, int, int, int, tuple[str, ...]]  # the values, horizon, season, longest, families
ONE_EACH = 500  # series that have a blend each
SAMPLED = 64  # series that the blend of more is chosen on
MOST_LOOKED_AT = 1 << 15  # values of a series, its last
MOST_MEMBERS = 8  # of that blend
FOLDS_OF_MANY = 2  # on M4 hourly as good as four, and nearly twice as fast
CONTEXTS_OF_MANY = 1  # of a family; on M4 hourly as good as six, and twice as fast with all that follows
FEWEST_APART = 16  # series that a process of its own pays for
# Of a worker: one thread, and memory that is kept for the next arrays, where the C library (glibc) is told so.
WORKING = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
WORKING |= {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}


def choose_many(
    columns: Sequence[Array],
    horizon: int,
    season: int,
    longest: Sequence[int] | None = None,
    families: Sequence[str] = (),
    report: Callable[[int, int], None] = lambda done, total: None,
) -> list[Blend]:
    """A :class:`Blend` for each of ``columns`` (N,), as :meth:`Blend.choose` finds it.

    ``longest`` (S,) bounds what each may read. Of more than 500 they have the members of one, which is chosen on 64 of
    them and has the mean weights of theirs, as far as they are long enough. ``report`` is told how many are done, of
    how many.

    >>> many = choose_many([np.arange(30.0), np.arange(50.0) ** 2], horizon=2, season=0)
    >>> [blend.horizon for blend in many]
    [2, 2]
    """
    bounds = [len(values) for values in columns] if longest is None else list(longest)

    def work(number: int) -> Work:
        return columns[number][-MOST_LOOKED_AT:], horizon, season, bounds[number], tuple(families)

    if len(columns) <= ONE_EACH:
        return _chosen([work(i) for i in range(len(columns))], report)
    sample = np.linspace(0, len(columns) - 1, SAMPLED).round().astype(int)
    blend = together(_chosen([work(i) for i in sample.tolist()], report))
    kept = {bound: _within(blend, bound) for bound in set(bounds)}
    return [kept[bound] or Blend.choose(*work(i)) for i, bound in enumerate(bounds)]


def _within(blend: Blend, longest: int) -> Blend | None:
    """``blend`` without the members that read more than ``longest`` values; None where none is left."""
    members = [member for member in blend.members if member.reach(blend.season) <= longest]
    whole = sum(member.weight for member in members)
    return replace(blend, members=tuple(replace(m, weight=m.weight / whole) for m in members)) if members else None


def together(blends: Sequence[Blend]) -> Blend:
    """One blend of the heaviest members of several, each with the mean of its weights; on the values themselves."""
    weights: dict[tuple[Any, ...], float] = {}
    for blend in blends:
        for member in blend.members:
            key = (member.base, member.context, member.strength)
            weights[key] = weights.get(key, 0.0) + member.weight * (not member.log)
    heaviest = sorted(weights.items(), key=lambda item: -item[1])[:MOST_MEMBERS]
    whole = sum(weight for _, weight in heaviest)
    if not whole:
        raise DataError("no linear forecast is good on the values themselves, as series of 0 or less need it")
    members = (Member(base, False, context, strength, weight / whole) for (base, context, strength), weight in heaviest)
    return replace(blends[0], members=tuple(members))


def _chosen(work: Sequence[Work], report: Callable[[int, int], None]) -> list[Blend]:
    """One each, in as many processes as there are cores and work for them."""
    count = min(os.cpu_count() or 1, len(work) // FEWEST_APART)
    if count < 2:
        fitted = []
        for done, one in enumerate(work, start=1):
            fitted.append(Blend.choose(*one))
            report(done, len(work))
        return fitted
    workers = [_Worker([(i, work[i]) for i in range(k, len(work), count)]) for k in range(count)]
    try:
        blends: dict[int, Blend] = {}
        while len(blends) < len(work):
            for worker in workers:
                blends |= worker.next()
                report(len(blends), len(work))
    finally:
        for worker in workers:
            worker.close()
    return [blends[i] for i in range(len(work))]


class _Worker:
    """A process that chooses blends, one after the other."""

    def __init__(self, work: list[tuple[int, Work]]):
        command = [sys.executable, "-c", "from elman.linear import many; many.serve()"]
        environment = {**os.environ, **WORKING, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self.left = len(work)
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        assert self.process.stdin is not None
        pickle.dump(work, self.process.stdin)
        self.process.stdin.close()

    def next(self) -> dict[int, Blend]:
        """The next blend, by its number; none once all are there."""
        if not self.left:
            return {}
        assert self.process.stdout is not None
        try:
            number, blend = pickle.load(self.process.stdout)
        except EOFError:
            raise RuntimeError(f"a process that chooses lines ended with {self.process.wait()}") from None
        if isinstance(blend, DataError):
            raise blend
        self.left -= 1
        return {number: blend}

    def close(self) -> None:
        """End the process, done or not."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def serve() -> None:
    """Read what is to be chosen from stdin and write the blends to stdout, each as it is found."""
    for number, one in pickle.load(sys.stdin.buffer):
        try:
            values, horizon, season, longest, families = one
            blend: Blend | DataError = Blend.choose(
                values, horizon, season, longest, families, FOLDS_OF_MANY, CONTEXTS_OF_MANY
            )
        except DataError as error:
            blend = error
        pickle.dump((number, blend), sys.stdout.buffer)
        sys.stdout.buffer.flush()
