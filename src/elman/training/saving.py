"""Saving where a training stands: how often, in the background, and within an epoch too."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from elman.choices.recipe import Every
from elman.training.checkpoint import Tensors

ROWS = -2  # the dimension of a state's tensors that holds the rows of a batch


@dataclass
class Within:
    """Where a training stands within an epoch: the ``steps`` taken, what they gave, and the states carried on.

    ``states`` are those of the parts of a batch, one after the other, over all processes.
    """

    steps: int = 0
    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    seconds: float = 0.0
    health: dict[str, Any] = field(default_factory=dict)
    states: list[Any] = field(default_factory=list)

    def numbers(self) -> dict[str, Any]:
        """All but the states, as JSON can hold it, and the form of the states."""
        own = {name: getattr(self, name) for name in ("steps", "losses", "norms", "seconds", "health")}
        return own | {
            "form": next((form_of(state, itertools.count()) for state in self.states if state is not None), None)
        }

    def tensors(self) -> Tensors:
        """The states of all rows, by number."""
        there = [list(leaves(state)) for state in self.states if state is not None]
        return {str(i): torch.cat(list(parts), ROWS) for i, parts in enumerate(zip(*there, strict=True))}

    @classmethod
    def of(cls, numbers: Mapping[str, Any], tensors: Mapping[str, Tensor], parts: int) -> Within:
        """Undo :meth:`numbers` and :meth:`tensors`, for ``parts`` parts of a batch."""
        own = {name: value for name, value in numbers.items() if name != "form"}
        form = numbers["form"]
        if form is None:
            return cls(**own, states=[None] * parts)
        rows = next(iter(tensors.values())).shape[ROWS]
        cuts = [rows * k // parts for k in range(parts + 1)]
        return cls(
            **own,
            states=[
                None
                if start == stop
                else shaped(form, {k: t.narrow(ROWS, start, stop - start) for k, t in tensors.items()})
                for start, stop in itertools.pairwise(cuts)
            ],
        )


def leaves(state: Any) -> Iterator[Tensor]:
    """The tensors of a state, whatever its form.

    >>> [x.item() for x in leaves((torch.tensor(1), (torch.tensor(2), torch.tensor(3))))]
    [1, 2, 3]
    """
    if isinstance(state, Tensor):
        yield state
    else:
        for part in state:
            yield from leaves(part)


def form_of(state: Any, numbers: Iterator[int]) -> Any:
    """The form of a state, with a number for each of its tensors."""
    return next(numbers) if isinstance(state, Tensor) else [form_of(part, numbers) for part in state]


def shaped(form: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The state of a :func:`form_of`."""
    return tensors[str(form)] if isinstance(form, int) else tuple(shaped(part, tensors) for part in form)


class Pace:
    """Tells when a checkpoint is due, ``every`` so often since the last one."""

    def __init__(self, every: Every):
        self.every = every
        self.saved()

    def saved(self) -> None:
        """Begin to count anew."""
        self.steps = 0
        self.begun = time.monotonic()

    def step(self) -> bool:
        """Count a step; whether a checkpoint is due after it."""
        self.steps += 1
        return self.within

    @property
    def within(self) -> bool:
        """Whether one is due by steps or by time."""
        if self.every.unit == "step":
            return self.steps >= self.every.count
        return self.every.unit == "second" and time.monotonic() - self.begun >= self.every.count

    def epoch(self, number: int) -> bool:
        """Whether one is due at the end of epoch ``number``."""
        return number % self.every.count == 0 if self.every.unit == "epoch" else self.within


class Background:
    """Does one thing after the other in a thread of its own; what failed there is raised by the next call.

    >>> done = []
    >>> with Background() as background:
    ...     background.do(lambda: done.append(1))
    >>> done
    [1]
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "elman-saving")
        self._last: Future[None] | None = None

    def __enter__(self) -> Background:
        return self

    def __exit__(self, *error: Any) -> None:
        try:
            self.wait()
        finally:
            self._thread.shutdown()

    def do(self, work: Callable[[], None]) -> None:
        """Do ``work``, once what came before is done."""
        self.wait()
        self._last = self._thread.submit(work)

    def wait(self) -> None:
        """Wait until all is done."""
        last, self._last = self._last, None
        if last is not None:
            last.result()


def copied(tensors: Mapping[str, Tensor]) -> Tensors:
    """Copies on the CPU, which training does not change."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}
