"""A trained network with what stands around its step: a task's whole way from a user's values to its results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.stepping.flat import Flat

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Standing:
    """What a network on a line knows of each of C columns, see :class:`elman.tasks.forecast_networks.NetworkOnLine`.

    The line forecasts ``share[0] (W0 v + b0) + share[1] exp(min(W1 log max(v, floor) + b1, largest))`` of the last R
    values ``v``: ``weights`` (2, C, K, R), ``biases`` (2, C, K), ``share`` (2, C), ``floor`` (C,). The network reads
    ``segment`` values in a step, and counts by ``gain`` (2,) in ``units`` (2, C) of a ``spread`` (C,).
    """

    weights: Array
    biases: Array
    share: Array
    floor: Array
    largest: float
    segment: int
    gain: Array
    units: Array
    spread: Array
    spread_floor: float
    furthest: float


@dataclass(frozen=True)
class Part:
    """One network: its recurrent layers and the linear layer that reads off them, as modules; before them the
    ``embedding`` of symbols, if any; of a class how outputs become one (``pooling``), by the layer ``attention``, and
    the table ``bag`` that what is read adds scores by."""

    recurrent: Any
    head: Any
    embedding: Any = None
    pooling: str = ""
    attention: Any = None
    bag: Any = None


@dataclass(frozen=True)
class Model:
    """A network in a form that can leave Python.

    ``parts`` are its networks: one, or those of an ensemble; none where nothing but the line counts; ``networks`` are
    their steps, as ``flats`` gives them, which raises :class:`ExportError` where there is none. What comes in is a
    value for each of the ``columns``, scaled as ``(value - shift) / scale``, or a symbol, one of ``tokens``. What comes
    out is a forecast of ``horizon`` steps, ``at_once`` of them in one and the others fed back; a score for each of the
    tokens; or one for each of the ``classes``.

    A network that was trained on windows reads the last ``context`` values anew for each forecast; with ``context`` 0
    it carries its state.
    """

    task: str
    parts: tuple[Part, ...]
    flats: Callable[[], tuple[Flat, ...]]
    columns: tuple[str, ...] = ()
    shift: Array = field(default_factory=lambda: np.zeros(0))
    scale: Array = field(default_factory=lambda: np.ones(0))
    differences: bool = False
    context: int = 0
    horizon: int = 0
    at_once: int = 0
    standing: Standing | None = None
    tokens: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    prior: Array = field(default_factory=lambda: np.zeros(0))  # taken off the scores of the classes
    temperature: float = 1.0  # that divides them then
    level: str = ""  # of the tokens: char, word or byte
    unwritten: tuple[int, ...] = ()  # tokens that are read and never written
    example: tuple[Any, ...] = ()  # what comes in, of the data: rows of values, or symbols
    said: Callable[[], Array] | None = None  # what the job says of the example, all at once

    @cached_property
    def networks(self) -> tuple[Flat, ...]:
        """The step of each network."""
        return self.flats()

    @property
    def steps(self) -> int:
        """How many steps the network takes through a window."""
        segment = self.standing.segment if self.standing else 1
        return self.context // segment
