"""How much a server takes on."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field


class Limits(BaseModel):
    """What a server refuses beyond. Times are in seconds.

    >>> Limits(sessions=10).body
    1000000
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(title="Limits", extra="forbid", frozen=True, allow_inf_nan=False)

    body: int = Field(1_000_000, ge=1, description="largest request, in bytes")
    sessions: int = Field(1000, ge=0, description="most sessions open at once")
    idle: float = Field(600.0, gt=0, description="seconds a session may be idle before it is closed")
    time: float = Field(30.0, gt=0, description="seconds a request may take")
    length: int = Field(10_000, ge=1, description="most symbols, steps or values in one request")
