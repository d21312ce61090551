"""What is forecast from what: the choices of a forecast, and what of them follows from others."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Scaling = Literal["standard", "minmax", "none", "differences"]
LEVELS = (80.0, 95.0)  # per cent, of the intervals that are tested and drawn
CONTEXT = 24  # of a network alone, unless told
# Of the recipe of a network on a line: what it can add is little, and soon found.
USUAL: dict[str, Any] = {"clip": 1.0, "patience": 20}
USUAL_OF_MANY: dict[str, Any] = {"clip": 1.0, "patience": 5, "epochs": 20, "batch": 256}  # of one for many series


class ForecastConfig(BaseModel):
    """What is forecast from what. Counts are in steps of the series.

    >>> ForecastConfig(context=50, split=(80, 0, 20)).horizon
    1
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(title="Forecast", extra="forbid", frozen=True, allow_inf_nan=False)

    context: int | None = Field(None, ge=1, description="values read before a forecast [found in the data]")
    horizon: int = Field(1, ge=1, description="values to forecast at once")
    split: tuple[float, float, float] = Field((70, 10, 20), description="percentages for training, validation and test")
    season: int | None = Field(None, ge=0, description="steps in a season; 0: none [found in the data]")
    calendar: Literal["auto", "none"] = Field(
        "auto", description="auto: use what dates say of working days, leap days, Easter, the time of the year; or none"
    )
    strategy: Literal["direct", "recursive"] = Field(
        "direct", description="direct: the whole horizon at once; recursive: one step, fed back"
    )
    network_alone: bool = Field(False, description="use the network alone, without the linear forecast under it")
    segment: int | None = Field(None, ge=1, description="values the network reads in a step [by the context]")
    scaler: Scaling = Field("standard", description="scaling of the values: standard, minmax, none or differences")
    targets: Literal["last", "every"] = Field(
        "last", description="last: forecast after the context; every: after each step"
    )
    stateful: bool = Field(False, description="carry the state from window to window")
    loss: Literal["mse", "mae"] = Field(
        "mse", description="what training makes small: mse, or mae, in which large errors count less"
    )
    likelihood: Literal["none", "gaussian", "student-t", "negative-binomial", "quantiles"] = Field(
        "none",
        description="what the network learns of the spread of what is to come: none (intervals are as past errors), "
        "gaussian, student-t, negative-binomial (of counts) or quantiles",
    )
    ensemble: int = Field(1, ge=1, description="networks trained separately; the forecast is their mean")
    short: Literal["refuse", "skip"] = Field("refuse", description="series that are too short: refuse or skip")

    @model_validator(mode="after")
    def _that_go_together(self) -> ForecastConfig:
        if self.strategy == "recursive" and (self.stateful or self.targets == "every"):
            raise ValueError("strategy recursive: is of networks with `targets` last that carry no state; want direct")
        if self.ensemble > 1 and not self.on_line:
            raise ValueError("ensemble: is of networks on a line; want 1")
        if self.likelihood != "none" and not self.on_line:
            raise ValueError("likelihood: is of networks on a line; want none")
        if self.segment not in (None, 1) and not self.on_line:
            raise ValueError("segment: a network alone reads value by value; want 1")
        return self

    @property
    def on_line(self) -> bool:
        """Whether the network stands on a linear forecast: it does unless told, or trained as one alone is."""
        return not (self.network_alone or self.stateful or self.targets == "every" or self.scaler == "differences")

    @property
    def trained_horizon(self) -> int:
        """The steps the network forecasts at once; of a recursive one, the others come from feeding back."""
        return 1 if self.strategy == "recursive" else self.horizon

    @property
    def settled_context(self) -> int:
        """The context, once it is known."""
        return CONTEXT if self.context is None else self.context
