"""Sequences with labels: texts, or steps of numbers in channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.data.labelled.stored import StoredSequences, chosen_of, joined_of
from elman.errors import DataError

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Labelled:
    """``sequences``, all texts or all numbers (T, C) with one C, and the label of each.

    ``places`` say where each came from ("a.csv: row 3"), ``notes`` what was changed on reading. A missing number
    is NaN. Raises DataError when the parts do not fit, and for a sequence of no steps.

    >>> films = Labelled(("so good", "so so"), ("1", "0"))
    >>> films.classes, films.is_text
    (('0', '1'), True)
    """

    sequences: Sequence[Any]
    labels: Sequence[str]
    source: str = "sequences"
    places: Sequence[str] = ()
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        set_once = object.__setattr__
        stored = isinstance(self.sequences, StoredSequences)
        for name in ("sequences", "labels", "places", "notes"):
            if not (stored and name in ("sequences", "places")):
                set_once(self, name, tuple(getattr(self, name)))
        if not self.places:
            set_once(self, "places", tuple(f"{self.source}: sequence {i}" for i in range(len(self))))
        if len(self.labels) != len(self):
            raise DataError(f"{self.source}: {len(self)} sequences and {len(self.labels)} labels; want one each")
        if not len(self):
            raise DataError(f"{self.source}: is empty; want sequences, each with its label")
        if stored:  # checked as they were read
            return
        if self.is_text:
            check_texts(self.sequences, self.places)
        else:
            set_once(self, "sequences", as_numbers(self.sequences, self.places))

    def __len__(self) -> int:
        return len(self.sequences)

    @property
    def is_text(self) -> bool:
        """Whether the sequences are texts."""
        if isinstance(self.sequences, StoredSequences):
            return not self.sequences.channels
        return isinstance(self.sequences[0], str)

    @property
    def channels(self) -> int:
        """C, the numbers of a step; 0 of texts."""
        return 0 if self.is_text else self.sequences[0].shape[1]

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels there are, in order."""
        return tuple(sorted(set(self.labels)))

    def chosen(self, indices: Sequence[int], *notes: str) -> Labelled:
        """The members of ``indices``, and ``notes`` on why."""
        return replace(
            self,
            sequences=chosen_of(self.sequences, indices),
            labels=tuple(self.labels[i] for i in indices),
            places=chosen_of(self.places, indices),
            notes=(*self.notes, *notes),
        )

    def joined(self, other: Labelled) -> Labelled:
        """These members, then those of ``other``. Raises DataError where the two are not alike."""
        if (self.is_text, self.channels) != (other.is_text, other.channels):
            raise DataError(f"{other.source}: holds {other.kind}, and {self.source} {self.kind}; give like to like")
        if isinstance(self.sequences, StoredSequences) != isinstance(other.sequences, StoredSequences):
            raise DataError(f"{other.source}: give it as {self.source} is, piece by piece or at once: with `memory`")
        return replace(
            self,
            sequences=joined_of(self.sequences, other.sequences),
            labels=(*self.labels, *other.labels),
            places=joined_of(self.places, other.places),
            notes=(*self.notes, *other.notes),
        )

    @property
    def kind(self) -> str:
        """What the sequences are, in words."""
        return "texts" if self.is_text else f"sequences of {self.channels} channel(s)"

    def to_arrays(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Split into arrays and facts that JSON can hold.

        ``content`` holds the sequences end to end, ``ends`` where each ends, ``label`` its class.

        >>> Labelled.from_arrays(*Labelled(("né", "so"), ("a", "b")).to_arrays()).sequences
        ('né', 'so')
        """
        contents = [np.frombuffer(s.encode(), np.uint8) if self.is_text else s for s in self.sequences]
        classes = {name: i for i, name in enumerate(self.classes)}
        arrays = {
            "content": np.concatenate(contents),
            "ends": np.cumsum([len(part) for part in contents]),
            "label": np.array([classes[label] for label in self.labels], dtype=np.int64),
        }
        return arrays, {"source": self.source, "classes": list(classes), "notes": list(self.notes)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> Labelled:
        """Join what :meth:`to_arrays` split.

        Raises DataError if the parts do not fit.
        """
        content, classes = arrays["content"], facts["classes"]
        contents = [content[start:end] for start, end in pairwise([0, *arrays["ends"].tolist()])]
        sequences = [part.tobytes().decode() for part in contents] if content.dtype == np.uint8 else contents
        return cls(sequences, [classes[i] for i in arrays["label"]], facts["source"], notes=facts["notes"])


def check_texts(texts: Sequence[Any], places: Sequence[str]) -> None:
    """Raise DataError for the first of ``texts`` (N) that is none, or is blank."""
    for text, where in zip(texts, places, strict=True):
        if not isinstance(text, str):
            raise DataError(f"{where}: holds a {type(text).__name__}, where the first is a text; give texts only")
        if not text.strip():
            raise DataError(f"{where}: the text is empty; fill it in or remove the row")


def as_numbers(sequences: Sequence[Any], places: Sequence[str]) -> tuple[Numbers, ...]:
    """Sequences as numbers (T, C): lists of numbers (C = 1), lists of steps, or arrays (T,) or (T, C).

    Raises DataError, naming the place, for a text, a sequence of no steps, and channels that differ in number.

    >>> as_numbers([[1, 2, 3]], ["row 1"])[0].shape, as_numbers([[[1, 2], [3, 4], [5, 6]]], ["row 1"])[0].shape
    ((3, 1), (3, 2))
    """
    arrays: list[Numbers] = []
    for sequence, where in zip(sequences, places, strict=True):
        if isinstance(sequence, str):
            raise DataError(f"{where}: holds a text, where the first is numbers; give numbers only")
        values = _array(sequence, where)
        if arrays and values.shape[1] != arrays[0].shape[1]:
            raise DataError(
                f"{where}: has {values.shape[1]} channel(s), and {places[0]} {arrays[0].shape[1]}; "
                "every sequence needs the same"
            )
        arrays.append(values)
    return tuple(arrays)


def _array(sequence: Any, where: str) -> Numbers:
    if not isinstance(sequence, np.ndarray):
        _check_steps(sequence, where)
    try:
        values = np.array(sequence, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: want numbers, or steps that are lists of numbers: {error}") from error
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or not values.size:
        raise DataError(f"{where}: the sequence is of shape {values.shape}; want (T, C), neither 0")
    if np.isinf(values).any():
        raise DataError(f"{where}: holds infinity; give finite numbers, or leave the place empty")
    return values


def _check_steps(sequence: Sequence[Any], where: str) -> None:
    widths = [len(step) if isinstance(step, Sequence | np.ndarray) else 1 for step in sequence]
    for t, width in enumerate(widths):
        if width != widths[0]:
            raise DataError(f"{where}: step {t} (counted from 0) has {width} channel(s), and step 0 {widths[0]}")


def filled(values: Numbers, missing: Numbers) -> Numbers:
    """``values`` (T, C) with each NaN on the line between its neighbours, and at an end as the nearest.

    A channel without any value takes that of ``missing`` (C,).

    >>> filled(np.array([[np.nan], [1.0], [np.nan], [3.0]]), np.zeros(1))[:, 0].tolist()
    [1.0, 1.0, 2.0, 3.0]
    """
    gaps = np.isnan(values)
    if not gaps.any():
        return values
    steps, out = np.arange(len(values)), values.copy()
    for c in np.flatnonzero(gaps.any(axis=0)):
        known = ~gaps[:, c]
        out[:, c] = np.interp(steps, steps[known], values[known, c]) if known.any() else missing[c]
    return out
