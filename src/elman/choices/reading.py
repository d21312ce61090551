"""How a series is read: what a person says of their file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

from elman.errors import DataError
from elman.options import argument, checked

Fill = Literal["interpolate", "previous", "zero", "mean"]
FILLS = get_args(Fill)
NO_TIME = "none"
MEMORY = 512  # MiB of Parquet files read at once, unless told


class ReadConfig(BaseModel):
    """How a series is to be read; what is not said here is found in the file.

    >>> ReadConfig(target="x").target
    ('x',)
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(title="Data", extra="forbid", frozen=True)

    target: tuple[str, ...] | None = Field(None, description="column to read; repeat for several")
    time: str | None = Field(None, description="column of dates; none: no dates, rows in file order")
    known: tuple[str, ...] | None = Field(
        None, description="column known ahead of time, such as a price or a holiday; repeat for several"
    )
    past: tuple[str, ...] | None = Field(None, description="column known up to now, such as the weather; repeat")
    static: tuple[str, ...] | None = Field(
        None, description="column that is the same in all rows of a series, such as a kind or a size; repeat"
    )
    id: str | None = Field(None, description="column that tells several series apart, or COLUMN=NAME for one of them")
    date_format: str | None = Field(
        None, description="format of the dates: %d/%m/%Y, unix, unix_ms, excel, year, index, ..."
    )
    zone: str | None = Field(None, description="time zone of the dates: Europe/Berlin")
    decimal: Literal["point", "comma"] | None = Field(None, description="decimal mark: point or comma")
    separator: str | None = Field(None, description="separator between cells: comma, semicolon, tab or pipe")
    encoding: str | None = Field(None, description="encoding of the text: cp1252, gbk")
    fill: Fill | None = Field(None, description=f"fill gaps and empty cells: {', '.join(FILLS)}")
    resample: str | None = Field(None, description="take means over periods: 1y, 1mo, 1w, 1d, 1h")
    memory: int | None = Field(
        None, ge=16, description=f"MiB of memory for reading Parquet files piece by piece [{MEMORY}, of a folder]"
    )

    @property
    def beside(self) -> tuple[str, ...]:
        """The columns of covariates that change with time."""
        return (*(self.known or ()), *(self.past or ()))

    @property
    def aside(self) -> tuple[str, ...]:
        """The columns of all covariates, none of which is a target."""
        return (*self.beside, *(self.static or ()))

    @field_validator("target", "known", "past", "static", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value or None


def read_choices(reading: Mapping[str, Any]) -> ReadConfig:
    """The config of a person's choices. Raises DataError naming those that do not fit.

    >>> read_choices({"tme": "date"})
    Traceback (most recent call last):
    elman.errors.DataError: `tme`: is not known; did you mean 'time'? Known: date_format, ...
    """
    return checked(ReadConfig, reading, argument, DataError)
