"""What is classified and how: the choices, and what is usual of each kind of sequence."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from elman.choices.recipe import Recipe

# What is not given, where it is not the field's default: runs of words did not help SST-2 as a bag, and a sentence of
# words has fewer tokens to remember it by than a text of letters. What numbers want is not what texts want.
USUAL: dict[str, dict[str, Any]] = {
    "char": {"ngrams": 5},
    "word": {"ngrams": 1, "token_dropout": 0.2, "embedding_dropout": 0.5},
    "numbers": {"head_dropout": 0.0, "smoothing": 0.0},
}
CELL, HIDDEN = "gru", 128
RECIPE = Recipe.model_validate({"epochs": 10, "batch": 32, "lr": 0.005, "clip": 1.0})
STEPS, MOST_EPOCHS = 1500, 400
# Of each kind of sequence: the batch and the fewest epochs where no others are given. A name of eight letters says less
# than a sentence.
SIZES = {"char": (64, 12), "word": (32, 8), "numbers": (32, 8)}


class ClassifyConfig(BaseModel):
    """What is classified, and how.

    >>> ClassifyConfig(pooling="mean").level, ClassifyConfig(level="word").ngrams
    ('char', 1)
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(
        title="Classification", extra="forbid", frozen=True, allow_inf_nan=False
    )

    split: tuple[float, float, float] = Field((80, 10, 10), description="percentages for training, validation and test")
    level: Literal["char", "word"] = Field("char", description="what a text is split into: char or word")
    fewest: int = Field(1, ge=1, description="how often a token must occur in training to be known")
    ngrams: int = Field(
        5,
        ge=1,
        le=8,
        description="also read n-grams of up to this many tokens, as a bag; 1: none",
    )
    embedding: int = Field(128, ge=1, description="size of a token's embedding")
    directions: int = Field(2, ge=1, le=2, description="2: bidirectional; 1: forwards only")
    pooling: Literal["last", "mean", "max", "attention"] = Field(
        "max", description="how the outputs become one vector: last, mean, max or attention"
    )
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="class weights in the loss: none, or balanced (rare classes count more)"
    )
    prior_shift: float = Field(
        0.1, ge=0, le=1, description="how much to favour rare classes: 0 not at all, 1 as if all were equally common"
    )
    network_alone: bool = Field(False, description="use the network alone, without naive Bayes beside it")
    smoothing: float = Field(0.1, ge=0, lt=1, description="label smoothing of texts; for numbers usually 0")
    token_dropout: float = Field(
        0.1, ge=0, lt=1, description="fraction of tokens that training replaces by unknown; for words usually .2"
    )
    embedding_dropout: float = Field(0.3, ge=0, lt=1, description="dropout of embeddings; for words usually .5")
    head_dropout: float = Field(
        0.5, ge=0, lt=1, description="dropout before the head and the bag, of texts; for numbers usually 0"
    )
    best: Literal["loss", "accuracy", "macro_f1"] = Field(
        "accuracy", description="validation score that picks the best weights: loss, accuracy or macro_f1"
    )

    @model_validator(mode="before")
    @classmethod
    def _as_usual_of_its_level(cls, values: Any) -> Any:
        return USUAL.get(str(values.get("level")), {}) | values if isinstance(values, dict) else values

    def of_numbers(self) -> ClassifyConfig:
        """Return the settings with the defaults for numbers where nothing else was given.

        >>> ClassifyConfig(smoothing=0.2).of_numbers().smoothing, ClassifyConfig().of_numbers().head_dropout
        (0.2, 0.0)
        """
        chosen = self.model_fields_set
        return self.model_copy(update={k: v for k, v in USUAL["numbers"].items() if k not in chosen})
