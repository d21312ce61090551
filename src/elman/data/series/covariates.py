"""Columns beside a series that help to forecast it: those known ahead of time, and those known up to now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.choices.reading import ReadConfig
from elman.data.parsing import is_missing
from elman.data.series import columns
from elman.data.tables import Table
from elman.errors import DataError

Array = NDArray[np.float64]
MOST_CATEGORIES = 50  # of a column of texts


@dataclass(frozen=True, eq=False)
class Covariates:
    """``values`` (N, P) of columns ``of`` (P,); a column of texts has one for each text, which ``texts`` (P,) name.

    Those known ahead of time have more rows than the series beside them: what is to come.

    >>> beside = Covariates([[1.0, 0.0], [0.0, 1.0]], ("day", "day"), ("open", "closed"))
    >>> beside.by_column()["day"].tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """

    values: Array
    of: tuple[str, ...]
    texts: tuple[str | None, ...]

    def __post_init__(self) -> None:
        set_once = object.__setattr__
        set_once(self, "values", np.array(self.values, dtype=np.float64, order="C"))
        set_once(self, "of", tuple(self.of))
        set_once(self, "texts", tuple(self.texts))
        if self.values.ndim != 2 or not self.values.shape[1] == len(self.of) == len(self.texts):
            raise DataError(
                f"covariates of shape {self.values.shape} for {len(self.of)} columns and {len(self.texts)} texts; "
                "want (N, P), (P,) and (P,)"
            )
        if not np.isfinite(self.values).all():
            row, column = np.argwhere(~np.isfinite(self.values))[0]
            raise DataError(f"covariate {self.of[column]!r}: row {row} (counted from 0) is no finite number")

    def __len__(self) -> int:
        return len(self.values)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns, each once."""
        return tuple(dict.fromkeys(self.of))

    def by_column(self) -> dict[str, Array]:
        """The values (N, p) of each column."""
        places = {name: [i for i, one in enumerate(self.of) if one == name] for name in self.columns}
        return {name: self.values[:, where] for name, where in places.items()}

    def upto(self, end: int) -> Covariates:
        """The first ``end`` rows."""
        return replace(self, values=self.values[:end])

    def rows(self, chosen: Sequence[int]) -> Covariates:
        """The rows of these indices."""
        return replace(self, values=self.values[list(chosen)])

    def like(self, other: Covariates, source: str) -> Covariates:
        """These values in the columns of ``other``, by their names; a text that ``other`` has not counts for nothing.

        Raises :class:`DataError` where a column is not here, or is one of numbers there and of texts here.
        """
        here = {pair: self.values[:, i] for i, pair in enumerate(zip(self.of, self.texts, strict=True))}
        numbers = {of for of, text in here if text is None}
        for name, text in zip(other.of, other.texts, strict=True):
            if name not in self.columns or (text is None) != (name in numbers):
                kind = "numbers" if text is None else "texts"
                raise DataError(f"{source}: has no covariate {name!r} of {kind}, as what was trained on has")
        nothing = np.zeros(len(self))
        values = [here.get(pair, nothing) for pair in zip(other.of, other.texts, strict=True)]
        return Covariates(np.stack(values, axis=1), other.of, other.texts)

    def standardised(self) -> Array:
        """The values with numbers in standard deviations from their mean; texts stay 0 or 1."""
        numbers, spread = np.array([text is None for text in self.texts]), self.values.std(axis=0)
        scaled = (self.values - self.values.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
        return np.where(numbers, scaled, self.values)

    def to_arrays(self, name: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Split into an array called ``name`` and facts that JSON can hold."""
        return {name: self.values}, {name: {"of": list(self.of), "texts": list(self.texts)}}

    @classmethod
    def from_arrays(cls, name: str, arrays: Mapping[str, Any], facts: Mapping[str, Any]) -> Covariates | None:
        """Join what :meth:`to_arrays` split; None where there is nothing called ``name``."""
        return cls(arrays[name], **facts[name]) if name in facts else None


@dataclass(frozen=True)
class Beside:
    """Columns of numbers read beside the targets: of which column each is, for which text, and whether known ahead."""

    of: tuple[str, ...] = ()
    texts: tuple[str | None, ...] = ()
    ahead: tuple[bool, ...] = ()

    def __len__(self) -> int:
        return len(self.of)

    def names(self) -> tuple[str, ...]:
        """How messages name them."""
        return tuple(of if text is None else f"{of}={text}" for of, text in zip(self.of, self.texts, strict=True))

    def meant(self, values: Array, end: int) -> Array:
        """``values`` (N, P) with what empty cells of texts mean: where some stand before row ``end``, none of them."""
        often = np.isnan(values[:end]).any(axis=0) & np.array([text is not None for text in self.texts], dtype=bool)
        return np.where(np.isnan(values) & often, 0.0, values)

    def chosen(self, values: Array, ahead: bool) -> Covariates | None:
        """Those known ``ahead``, or those that are not, of ``values`` (N, P); None where there are none."""
        where = [i for i, one in enumerate(self.ahead) if one == ahead]
        if not where:
            return None
        return Covariates(values[:, where], tuple(self.of[i] for i in where), tuple(self.texts[i] for i in where))


def read_beside(table: Table, config: ReadConfig) -> tuple[Array, Beside, tuple[str, ...]]:
    """The covariates of a table as numbers (N, P), NaN where a cell is empty; what they are, and notes."""
    parts: list[Array] = []
    of: list[tuple[str, str | None, bool]] = []
    notes: list[str] = []
    for ahead, names in ((True, config.known or ()), (False, config.past or ())):
        for name in names:
            if columns.is_numeric(table.frame[name]):
                values, said = columns.values_of(table, name, config)
                parts.append(values)
                of.append((name, None, ahead))
                notes.extend(said)
                continue
            for text, indicator in _indicators(table, name).items():
                parts.append(indicator)
                of.append((name, text, ahead))
    values = np.stack(parts, axis=1) if parts else np.zeros((len(table.frame), 0))
    return values, Beside(*map(tuple, zip(*of, strict=True))) if of else Beside(), tuple(notes)


def members_of(table: Table, name: str) -> dict[str, list[int]]:
    """The rows of each series that column ``name`` tells apart."""
    members: dict[str, list[int]] = {}
    for i, cell in enumerate(table.frame[name].to_list()):
        members.setdefault(str(cell), []).append(i)
    return members


def read_static(table: Table, config: ReadConfig) -> Covariates | None:
    """What columns say of each series that column ``id`` tells apart, (S, P); None where none are named.

    Raises :class:`DataError` for a column that changes within a series, or says nothing of one.
    """
    if not config.static or config.id is None:
        return None
    values, beside, _ = read_beside(table, config.model_copy(update={"known": config.static, "past": None}))
    found = []
    for own, rows in members_of(table, config.id).items():
        said = np.empty(len(beside))
        for column, name in enumerate(beside.of):
            cells = values[rows, column]
            told = np.flatnonzero(~np.isnan(cells))
            if not told.size:
                raise table.rows.error(rows[0], f"series {own!r} has nothing in column {name!r}; fill it in")
            others = told[cells[told] != cells[told[0]]]
            if others.size:
                first, other = (table.frame[name].to_list()[rows[i]] for i in (told[0], others[0]))
                raise table.rows.error(
                    rows[int(others[0])],
                    f"column {name!r} of series {own!r} is {other!r}, and was {first!r}; what changes with time is "
                    "`known` or `past`",
                )
            said[column] = cells[told[0]]
        found.append(said)
    return Covariates(np.stack(found), beside.of, beside.texts)


def _indicators(table: Table, name: str) -> dict[str, Array]:
    """For each text of a column (N,) whether it stands there; NaN where the cell is empty."""
    cells = ["" if is_missing(cell) else str(cell).strip() for cell in table.frame[name].to_list()]
    texts = sorted(set(cells) - {""})
    if len(texts) > MOST_CATEGORIES:
        raise DataError(
            f"{table.rows.source}: column {name!r} holds {len(texts)} different texts, and {MOST_CATEGORIES} at most "
            "make sense beside a series; give a column of numbers or of fewer categories"
        )
    if not texts:
        raise DataError(f"{table.rows.source}: column {name!r} is empty, and cannot help; leave it out")
    column = np.array(cells)
    return {text: np.where(column == "", np.nan, column == text) for text in texts}
