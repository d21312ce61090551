"""What a client sends and is sent: the shapes of requests and answers, which also make the server's schema."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from elman.choices.generate import Sampling

Number = Annotated[float, Field(allow_inf_nan=False)]
Values = list[Number] | list[list[Number]]


class Asked(BaseModel):
    """A request: nothing that is not known, and no NaN."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)


class ForecastAsked(Asked):
    """What is to be forecast."""

    values: Values | None = Field(None, description="a series in the units of the data, a row a step; else its own")
    begin: str | None = Field(None, max_length=40, description="the date of the first of them, such as 2024-01-31")
    steps: int | None = Field(None, ge=1, description="values to forecast; the horizon where it is not said")
    levels: list[Number] = Field([], max_length=10, description="per cent of intervals, such as 80 and 95")


class ClassifyAsked(Asked):
    """What is to be classified."""

    sequences: list[str] | list[Values] = Field(min_length=1, description="texts, or sequences of numbers")


class GenerateAsked(Sampling):
    """What is to be written on."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)

    prompt: str = Field("", description="what the text begins with")
    length: int = Field(200, ge=1, description="symbols to write")
    seed: int = Field(0, ge=0, lt=2**63, description="of what is drawn")


class PushAsked(Asked):
    """What comes next in a session."""

    values: list[Number] | list[list[Number]] | list[int] | str = Field(
        description="values in order, a row a step of several columns; symbols by number; or a text"
    )


class Answer(BaseModel):
    """What the server says."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="allow")


class Forecast(Answer):
    """A forecast: rows of the columns, and intervals by level."""

    columns: list[str]
    forecast: list[list[float]]
    dates: list[str] | None = None
    intervals: dict[str, dict[str, list[list[float]]]] = {}


class Classes(Answer):
    """Labels, and the probability of each class for each sequence."""

    classes: list[str]
    labels: list[str]
    probabilities: list[list[float]]


class Opened(Answer):
    """A session that was opened."""

    session: str


class Said(Answer):
    """What the network says to each value: a forecast, scores or probabilities; null where nothing yet."""

    said: list[Any]


class Refused(BaseModel):
    """Why a request was refused."""

    error: str
