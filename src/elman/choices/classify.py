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

    split: tuple[float, float, float] = Field(
        (80, 10, 10), description="per cent for training, validation, test; where a part is a file, training's"
    )
    level: Literal["char", "word"] = Field("char", description="what a text is a sequence of: char or word")
    fewest: int = Field(1, ge=1, description="times a token stands in training to be known")
    ngrams: int = Field(
        5,
        ge=1,
        le=8,
        description="runs of up to so many tokens are read beside, as a bag; 1: none, as of words",
    )
    embedding: int = Field(128, ge=1, description="size of a token's embedding")
    directions: int = Field(2, ge=1, le=2, description="2: read from both ends; 1: forwards alone")
    pooling: Literal["last", "mean", "max", "attention"] = Field(
        "max", description="what is made of the outputs: last, mean, max or attention"
    )
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="in the loss: none, or balanced: the rarer a class, the more"
    )
    prior_shift: float = Field(
        0.1, ge=0, le=1, description="how far rare classes are favoured: 0 not at all, 1 as if all were as common"
    )
    network_alone: bool = Field(False, description="leave out naive Bayes, which texts have weighed with the network")
    smoothing: float = Field(0.1, ge=0, lt=1, description="label smoothing of texts; of numbers 0 is usual")
    token_dropout: float = Field(0.1, ge=0, lt=1, description="share of tokens training takes for unknown; of words .2")
    embedding_dropout: float = Field(0.3, ge=0, lt=1, description="dropout of embeddings; of words .5 is usual")
    head_dropout: float = Field(
        0.5, ge=0, lt=1, description="dropout of what the head and the bag read, of texts; of numbers 0 is usual"
    )
    best: Literal["loss", "accuracy", "macro_f1"] = Field(
        "accuracy", description="the validation score that says which weights are best: loss, accuracy or macro_f1"
    )

    @model_validator(mode="before")
    @classmethod
    def _as_usual_of_its_level(cls, values: Any) -> Any:
        return USUAL.get(str(values.get("level")), {}) | values if isinstance(values, dict) else values

    def of_numbers(self) -> ClassifyConfig:
        """The same with what is usual of numbers wherever nothing else was asked for.

        >>> ClassifyConfig(smoothing=0.2).of_numbers().smoothing, ClassifyConfig().of_numbers().head_dropout
        (0.2, 0.0)
        """
        given = self.model_fields_set
        return self.model_copy(update={k: v for k, v in USUAL["numbers"].items() if k not in given})
