"""What every network is chosen by."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field


class NetworkChoices(BaseModel):
    """The cell, its sizes, and what acts between the layers.

    >>> NetworkChoices(hidden=(64, 32)).cell
    'gru'
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(title="Network", extra="forbid", frozen=True)

    cell: str = Field("gru", description="a cell of `elman cells`, or file.py:name")
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (32,), min_length=1, description="hidden size, or one a layer: 64,32"
    )
    bidirectional: bool = Field(False, description="read in both directions")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout between layers")
    recurrent_dropout: float = Field(0.0, ge=0, lt=1, description="dropout of the states, one mask per sequence")
    weight_drop: float = Field(0.0, ge=0, lt=1, description="dropout of the recurrent weights, one mask per batch")
    init: str = Field("orthogonal", description="initial weights: torch, glorot, orthogonal or identity")
