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
    words: int = Field(30_000, ge=1, description="largest vocabulary, for level word")
    embedding: int = Field(64, ge=0, description="size of a symbol's vector; 0: one-hot")
    bptt: int = Field(64, ge=1, description="steps of truncated back-propagation; the state is carried on")
    split: tuple[float, float, float] = Field((90, 10, 0), description="percentages for training, validation and test")
    tied: bool = Field(False, description="share the embeddings with the output layer")
    input_dropout: float = Field(0.0, ge=0, lt=1, description="dropout of the embeddings")
    output_dropout: float = Field(0.2, ge=0, lt=1, description="dropout before the scores")
    variational: bool = Field(False, description="draw these two masks once per piece, not once per step")


class Sampling(BaseModel):
    """How the next symbol is drawn; :func:`elman.tasks.sampling.draw` draws it.

    >>> Sampling(temperature=0).top_p
    1.0
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(title="Writing", extra="forbid", frozen=True, allow_inf_nan=False)

    temperature: float = Field(1.0, ge=0, description="below 1 safer, above 1 wilder; 0: always the likeliest")
    top_k: int = Field(0, ge=0, description="draw from this many likeliest symbols; 0: from all")
    top_p: float = Field(
        1.0, gt=0, le=1, description="draw from the likeliest symbols that together have this probability"
    )
