"""Labelled sequences in training, validation and test: stratified, seeded, and nothing in two of them.

Sequences of the same content are one group, whatever their labels, and go to one part together. Each class's groups
are shared out on their own, so that every part has about the same classes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.data.labelled.labelled import Labelled
from elman.data.labelled.stored import bytes_of
from elman.data.split import PARTS, percentages
from elman.errors import DataError

Indices = NDArray[np.int64]
Key = Callable[[Any], bytes]


@dataclass(frozen=True, eq=False)
class Parted:
    """Labelled sequences, split into parts.

    ``data``, and which of its members (rising indices) are for training, validation and test.
    """

    data: Labelled
    train: Indices
    validation: Indices
    test: Indices


def digest(content: bytes) -> bytes:
    """Sixteen bytes that stand for ``content``."""
    return hashlib.blake2b(content, digest_size=16).digest()


def content(sequence: Any) -> bytes:
    """What two sequences have in common when they are the same to the last bit."""
    shape = b"" if isinstance(sequence, str) else repr(sequence.shape).encode()
    return digest(shape + bytes_of(sequence))


def parted(
    data: Labelled,
    split: Sequence[float],
    seed: int = 0,
    key: Key = content,
    validation: Labelled | None = None,
    test: Labelled | None = None,
) -> Parted:
    """Split ``data`` into parts by percentages, without duplicates.

    Of sequences with the same ``key``, a digest, and label the first is kept.

    ``validation`` and ``test`` may be data of their own, for which nothing is cut off: their share goes to training.
    They stay whole, but what stands in them is left out of the rest (of validation, what stands in test).

    Raises DataError, naming the place, for a class with one member where there is more than one part to fill, for one
    class only, and for a label that training never sees.

    >>> data = Labelled(tuple("abcdefghij"), ("x", "y") * 5)
    >>> parts = parted(data, (60, 20, 20))
    >>> [len(part) for part in (parts.train, parts.validation, parts.test)]
    [6, 2, 2]
    """
    percents = [float(percent) for percent in percentages(split)]
    whole = _Keyed.of(data, key)
    own = {number: _Keyed.of(file, key) for number, file in ((1, validation), (2, test)) if file is not None}
    if len(own) == 2:
        own[1] = own[1].without(own[2], PARTS[1])
    for number, file in own.items():
        percents[0], percents[number] = percents[0] + percents[number], 0.0
        whole = whole.without(file, PARTS[0])
    whole = whole.without_repeats()
    part, joined = _share_out(whole.data, whole.keys, percents, seed), whole.data
    for number, file in own.items():
        joined = joined.joined(file.data)
        part = np.concatenate([part, np.full(len(file.data), number)])
    split_data = Parted(joined, *(np.flatnonzero(part == number) for number in range(3)))
    _check_classes(split_data)
    return split_data


@dataclass(frozen=True)
class _Keyed:
    """Labelled sequences and the key of each."""

    data: Labelled
    keys: list[bytes]

    @classmethod
    def of(cls, data: Labelled, key: Key) -> _Keyed:
        return cls(data, [key(sequence) for sequence in data.sequences])

    def chosen(self, kept: Sequence[int], note: str) -> _Keyed:
        if len(kept) == len(self.data):
            return self
        return _Keyed(self.data.chosen(kept, note), [self.keys[i] for i in kept])

    def without(self, other: _Keyed, part: str) -> _Keyed:
        taken = set(other.keys)
        kept = [i for i, key in enumerate(self.keys) if key not in taken]
        if not kept:
            raise DataError(
                f"{self.data.source}: every sequence stands in a file of another part too; give other files"
            )
        left_out = len(self.data) - len(kept)
        return self.chosen(kept, f"{part}: left out {left_out} sequence(s) that stand in another file too")

    def without_repeats(self) -> _Keyed:
        first: dict[tuple[bytes, str], int] = {}
        for index, pair in enumerate(zip(self.keys, self.data.labels, strict=True)):
            first.setdefault(pair, index)
        left_out = len(self.data) - len(first)
        return self.chosen(list(first.values()), f"left out {left_out} sequence(s) that stand there twice")


def _share_out(data: Labelled, keys: Sequence[bytes], percents: Sequence[float], seed: int) -> Indices:
    """The part of each member: the groups of each class, in random order, cut by ``percents``."""
    sizes = Counter(data.labels)
    by_class: dict[str, list[list[int]]] = {label: [] for label in data.classes}
    for members in _groups(keys):
        # A group of several labels counts for the rarest, which can spare it least.
        rarest = min((data.labels[i] for i in members), key=lambda label: (sizes[label], label))
        by_class[rarest].append(members)
    part = np.zeros(len(data), dtype=np.int64)
    generator = np.random.default_rng(seed)
    for label, groups in by_class.items():
        if sizes[label] < 2 and percents[0] < 100:
            raise DataError(
                f"{data.places[data.labels.index(label)]}: is the one member of class {label!r}, which cannot be both "
                "trained and tested on; give more of it, leave it out, or take `split=100,0,0`"
            )
        numbers = np.repeat(range(3), _counts(len(groups), percents))
        for number, position in zip(numbers, generator.permutation(len(groups)), strict=True):
            part[groups[position]] = number
    return part


def _groups(keys: Sequence[bytes]) -> list[list[int]]:
    groups: dict[bytes, list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(key, []).append(index)
    return list(groups.values())


def _counts(count: int, percents: Sequence[float]) -> tuple[int, int, int]:
    """How many of a class go to each part: one at least to each asked for, training before test before validation.

    >>> _counts(100, (70, 10, 20)), _counts(2, (80, 10, 10)), _counts(1, (80, 10, 10))
    ((70, 10, 20), (1, 0, 1), (1, 0, 0))
    """
    if count == 0:
        return 0, 0, 0
    test = min(count - 1, max(round(count * percents[2] / 100), percents[2] > 0))
    validation = min(count - 1 - test, max(round(count * percents[1] / 100), percents[1] > 0))
    return count - validation - test, validation, test


def _check_classes(split_data: Parted) -> None:
    data, trained = split_data.data, {split_data.data.labels[i] for i in split_data.train}
    if len(data.classes) < 2:
        raise DataError(f"{data.source}: every label is {data.labels[0]!r}; want two classes at least to tell apart")
    for where, label in zip(data.places, data.labels, strict=True):
        if label not in trained:
            known = ", ".join(sorted(trained)[:20])
            raise DataError(f"{where}: has the label {label!r}, and training has none of it; it has {known}")
