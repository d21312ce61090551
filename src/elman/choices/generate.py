"""What is generated and how: the choices of training, those of writing, and what is usual."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

# What a text is learned with unless told: a network and a recipe for a megabyte on two cores in four minutes.
NETWORK: dict[str, Any] = {"cell": "lstm", "hidden": (256,), "layers": 2, "dropout": 0.2}
RECIPE: dict[str, Any] = {"epochs": 8, "batch": 64, "lr": 0.006, "clip": 1.0}
NOISE = ("recurrent_dropout", "weight_drop", "init")  # of the network's choices, those a text's has beside the others


class GenerateConfig(BaseModel):
    """What is generated, and how it is read. Counts are in symbols of the text.

    >>> GenerateConfig(level="byte", embedding=0).bptt
    64
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(title="Text", extra="forbid", frozen=True, allow_inf_nan=False)

    level: Literal["char", "byte", "word"] = Field("char", description="what a symbol is: char, byte or word")
    words: int = Field(30_000, ge=1, description="most words an alphabet of words has")
    embedding: int = Field(64, ge=0, description="size of a symbol's vector; 0: one-hot")
    bptt: int = Field(64, ge=1, description="symbols the gradient goes back over; the state is carried on")
    split: tuple[float, float, float] = Field((90, 10, 0), description="per cent for training, validation, test")
    tied: bool = Field(False, description="score symbols by their own embeddings")
    input_dropout: float = Field(0.0, ge=0, lt=1, description="dropout of the embeddings")
    output_dropout: float = Field(0.2, ge=0, lt=1, description="dropout before the scores")
    variational: bool = Field(False, description="these two with one mask a stretch, not one a step")


class Sampling(BaseModel):
    """How the next symbol is drawn; :func:`elman.tasks.sampling.draw` draws it.

    >>> Sampling(temperature=0).top_p
    1.0
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(title="Writing", extra="forbid", frozen=True, allow_inf_nan=False)

    temperature: float = Field(1.0, ge=0, description="below 1 bolder, above 1 wilder; 0: always the likeliest")
    top_k: int = Field(0, ge=0, description="draw from so many of the likeliest; 0: from all")
    top_p: float = Field(1.0, gt=0, le=1, description="draw from the likeliest that have so much probability together")
